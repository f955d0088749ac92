"""The page "CoOp in five minutes" for Sphinx: docs/five_minutes.md with its figures and its live parts in place.

In docs/five_minutes.md a line that is only a link stands for a figure, and its text is the alt text.  A link to a
notebook becomes the figure that one of its cells has stored, with the stored sentence under it; the link's title is a
word of that cell.  A comment `live: explorer.html` becomes that live part.  So no number of this page is typed.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = "docs/five_minutes.md"
FIGURE = re.compile(r'(?m)^\[([^\]]*)\]\(\.\./notebooks/(\w+)\.ipynb "([^"]*)"\)$')
LIVE = re.compile(r"<!-- live: ([\w.]+) -->")


def lay_out(sources: Path, live: Path | None) -> None:
    """Write the page and its figures into `sources`; `live`: the folder of the live parts, if they will be there."""
    target = sources / PAGE
    figures = target.with_suffix("")  # a folder
    figures.mkdir(parents=True)

    def stored(link: re.Match[str]) -> str:
        alt, notebook, word = link.groups()
        image, width, sentence = stored_figure(notebook, word)
        return figure(f"{notebook}.png", image, width, alt, sentence)

    def figure(name: str, image: bytes, width: int, alt: str, sentence: str) -> str:
        (figures / name).write_bytes(image)
        lines = [f"```{{figure}} five_minutes/{name}", f":alt: {alt}", f":width: {width}px", "", sentence, "```"]
        return "\n".join(lines)

    def lively(mark: re.Match[str]) -> str:
        return live_part(live, mark[1], "../") if live else ""

    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for pattern, made in ((FIGURE, stored), (LIVE, lively)):
        text = pattern.sub(made, text)
    target.write_text(text.replace("(../README.md", "(../index.md"), encoding="utf-8")


def live_part(folder: Path, name: str, up: str = "") -> str:
    """A part of the page that needs JavaScript, as Markdown; `up`: the way to the site's first page, as in `../`."""
    html = re.sub(r'\b(href|src)="', rf'\1="{up}', (folder / name).read_text(encoding="utf-8"))
    return f"```{{raw}} html\n{html}```\n"


def stored_figure(notebook: str, word: str) -> tuple[bytes, int, str]:
    """(PNG, width in pixels of the page, sentence) of the first executed cell with a word and a figure."""
    for cell in cells_of(notebook):
        found = [output for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]
        if word in "".join(cell["source"]) and found:
            shown = found[0]["metadata"]["image/png"]
            texts = ["".join(output.get("data", {}).get("text/markdown", "")) for output in cell["outputs"]]
            (sentence,) = (text.removeprefix("*Figure.* ") for text in texts if text.startswith("*Figure.* "))
            return base64.b64decode(found[0]["data"]["image/png"]), shown["width"], sentence
    raise SystemExit(f"{notebook} shows no figure of {word!r}: run `make outputs` first")


def cells_of(notebook: str) -> list[dict]:
    return json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
