"""The site of two notebooks, built once in a test run, for all files and processes that look at it."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
MODULES = {"sphinx", "myst_nb", "furo", "latex2mathml", "onnx"}
MISSING = sorted(name for name in MODULES if importlib.util.find_spec(name) is None)
needs_the_extra = pytest.mark.skipif(bool(MISSING), reason=f'no {", ".join(MISSING)}: pip install -e ".[site]"')
PYTHON = {"language_info": {"name": "python"}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
WHOLE = ("00_start_here", "01_clip_probability")  # the others are a title here, as README links to them


@pytest.fixture(scope="session")
def scripts():
    sys.path.insert(0, str(ROOT / "scripts"))
    names = {"build": "build_site", "check": "check_site", "explorer": "export_explorer", "five": "five_minutes",
             "tower": "text_tower", "gradient": "gradient_graph", "tasks": "export_tasks",
             "image_tower": "image_tower"}  # fmt: skip
    yield SimpleNamespace(**{short: importlib.import_module(name) for short, name in names.items()})
    sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="session")
def site(scripts, tmp_path_factory):
    """The folder of the pages; with the live parts, where npm has installed what they need."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small_site"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):  # the first process builds, the others wait for it
        if not (folder / "pages").is_dir():
            build(scripts, folder)
    return folder / "pages"


def build(scripts, folder):
    """From two notebooks; a cell of the others would leave a file behind if it were executed."""
    from coop_edu import plots

    notebooks = [ROOT / "notebooks" / f"{name}.ipynb" for name in WHOLE]
    for name, question, _ in plots.NOTEBOOKS:
        if name not in WHOLE:
            cells = [new_markdown_cell(f"# {question}"), new_code_cell(f"open({str(folder / 'executed')!r}, 'w')")]
            nbformat.write(new_notebook(cells=cells, metadata=PYTHON), folder / f"{name}.ipynb")
            notebooks.append(folder / f"{name}.ipynb")
    assert scripts.build.build(folder / "pages", notebooks) == []
