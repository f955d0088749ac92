"""The executed course as static pages in site/: README, notebooks with their stored outputs, glossary, API, search.

Sphinx and MyST-NB come with the extra `site`; docs/conf.py has their settings.  Nothing is executed.  The sources are
laid out in a folder of their own, where README is the first page and each room of the library has a page made from
coop_edu.PUBLIC.  A warning of Sphinx, a dead internal link or a page that asks another host for something
(check_site.py) is an error, and site/ stays as it was.  The first page and "CoOp in five minutes" (five_minutes.py)
have live parts that run without a kernel (export_explorer.py), where npm has installed what they need.

Leaves out: what stands on the pages, and the live parts' part in the page (docs/explorer/).
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from pprint import pformat
from textwrap import indent

import coop_edu

import five_minutes
from check_site import problems
from export_explorer import EXPLORER, RUNTIME, export

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "site"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = ("sphinx", "myst_nb", "furo", "latex2mathml", "onnx")  # of the extra
PAGES = (
    *("docs/paper_scale.md", "docs/library.md", "docs/glossary.md", "docs/troubleshooting.md", "docs/speed.md"),
    *("CONTRIBUTING.md", "CHANGELOG.md", "ATTRIBUTION.md"),
)
FILES = ("LICENSE", "CITATION.cff", "docs/wordings.png", "docs/walkthrough.png")


def main() -> int:
    found = build(SITE)
    served = f"python -m http.server --directory {SITE.name}, then open http://localhost:8000"
    print("\n".join(found) or served, file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


def build(site: Path, notebooks: Iterable[Path] = NOTEBOOKS) -> list[str]:
    """What is wrong; if nothing is, `site` is the new one."""
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        return [f'{", ".join(missing)} missing: make site installs them, and so does  pip install -e ".[site]"']
    if not RUNTIME.is_dir():
        print("onnxruntime-web is missing, so the first page has no explorer: get npm, and make site", file=sys.stderr)
    notebooks = list(notebooks)
    with tempfile.TemporaryDirectory() as scratch:
        sources, pages = Path(scratch, "sources"), Path(scratch, "pages")
        lay_out(sources, notebooks)
        if run_sphinx(sources, pages, Path(scratch, "doctrees")):
            return ["Sphinx found the faults above"]
        for path in notebooks:
            for copy in pages.glob(f"_downloads/*/{path.name}"):
                shutil.copy(path, copy)  # as it is in the repository, not as it was laid out
        if RUNTIME.is_dir():
            export(pages / "explorer")
        found = problems(pages)
        if not found:
            shutil.rmtree(site, ignore_errors=True)
            shutil.copytree(pages, site, ignore=shutil.ignore_patterns(".buildinfo"))
    return found


def run_sphinx(sources: Path, pages: Path, doctrees: Path) -> int:
    """Zero if Sphinx had nothing to warn of."""
    from sphinx.cmd.build import build_main

    options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(ROOT / "docs"), "-d", str(doctrees)]
    return build_main([*options, str(sources), str(pages)])


def lay_out(sources: Path, notebooks: list[Path]) -> None:
    """The folder that Sphinx reads: as the repository, but README is index.md."""
    live = EXPLORER if RUNTIME.is_dir() else None
    places = {name: ROOT / name for name in (*PAGES, *FILES)} | {f"notebooks/{path.name}": path for path in notebooks}
    for name, path in places.items():
        target = sources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix in (".md", ".ipynb"):
            text = path.read_text(encoding="utf-8")
            text = as_page(text, path.name) if target.suffix == ".ipynb" else text
            target.write_text(to_index(text), encoding="utf-8")
        else:
            shutil.copy(path, target)
    five_minutes.lay_out(sources, live)
    (sources / five_minutes.PAGE).write_text(
        to_index((sources / five_minutes.PAGE).read_text(encoding="utf-8")), encoding="utf-8"
    )
    api = sources / "api"
    api.mkdir()
    for room, text in rooms().items():
        (api / f"{room}.rst").write_text(text, encoding="utf-8")
    trees = {
        "The course": [five_minutes.PAGE.removesuffix(".md"), *(f"notebooks/{path.stem}" for path in notebooks)],
        "The library": [f"api/{room}" for room in rooms()],
        "About": [page.removesuffix(".md") for page in PAGES],
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[[^\]]*\]", lambda image: image[0].replace("\n", " "), text)
    if live:
        parts = "".join(f"{five_minutes.live_part(live, name)}\n" for name in ("explorer.html", "learn.html"))
        text = text.replace("![", f"{parts}![", 1)
    for caption, tree in trees.items():
        text += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *tree, "```", ""])
    (sources / "index.md").write_text(text, encoding="utf-8")


def as_page(notebook: str, name: str) -> str:
    """A notebook with cells folded as in JupyterLab, which says under its title that it stands still."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["metadata"].get("jupyter", {}).get("source_hidden"):
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
        for output in cell.get("outputs", []):
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell["metadata"]["mystnb"] = {"image": {"alt": alt}}  # else it would be the name of a file
    live = ", or [try it live](../index.md)" if RUNTIME.is_dir() else ""
    title, _, rest = "".join(content["cells"][0]["source"]).partition("\n")
    still = f"*This page is a still copy with stored results. Run the notebook {{download}}`{name}`{live}.*"
    content["cells"][0]["source"] = f"{title}\n\n{still}\n{rest}"
    return json.dumps(content, ensure_ascii=False)


def to_index(text: str) -> str:
    return re.sub(r"\]\(((?:\.\./)?)README\.md", r"](\1index.md", text)


def rooms() -> dict[str, str]:
    """{room: its page, in reStructuredText}: what the room says of itself, then its public names in their order."""
    names: dict[str, list[str]] = {}
    for module, public in coop_edu.PUBLIC.items():
        names.setdefault(module.split(".")[0], []).extend(f"coop_edu.{name}" for name in public)
    for module in coop_edu.MODULES.values():
        whole = importlib.import_module(f"coop_edu.{module}")
        public = [name for name in whole.__all__ if not hasattr(coop_edu, name)]  # the others stand in PUBLIC
        names.setdefault(module.split(".")[0], []).extend(f"coop_edu.{module}.{name}" for name in public)
    return {room: page(room, entries) for room, entries in names.items()}


def page(room: str, names: list[str]) -> str:
    title = f"coop_edu.{room}"
    directives = [f".. automodule:: {title}\n   :no-members:\n"]
    for name in names:
        module, _, short = name.rpartition(".")
        obj = getattr(importlib.import_module(module), short)
        if inspect.isclass(obj):
            directives.append(f".. autoclass:: {name}\n   :members:\n")
        elif callable(obj):
            directives.append(f".. autofunction:: {name}\n")
        else:
            value = indent(pformat(obj, width=100, compact=True, sort_dicts=False), " " * 6)
            directives.append(f".. autodata:: {name}\n   :no-value:\n\n   ::\n\n{value}\n")
    return "\n".join([title, "=" * len(title), "", *directives])


if __name__ == "__main__":
    sys.exit(main())
