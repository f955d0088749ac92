"""mypy accepts the public names, README's code and the notebooks' cells: what a user's editor shows is true."""

import json
import re
import subprocess
import sys

import pytest

import coop_edu

from test_repository import ROOT, read

# Habits of notebooks: a variable that starts as {}, ctx.grad without a test for None, `key=accuracies.get`.
HABITS = ("var-annotated", "has-type", "union-attr", "operator", "misc", "call-overload", "assignment", "arg-type")


def cells(path):
    """The code of a notebook without cells that are not Python alone."""
    sources = ("".join(cell["source"]) for cell in json.loads(read(path))["cells"] if cell["cell_type"] == "code")
    return "\n\n".join(source for source in sources if not re.search(r"(?m)^\s*[%!]", source))


def mypy(folder, cache, *options):
    """The errors of all files in `folder`, without the lines that only explain them."""
    command = [sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports", f"--cache-dir={cache}"]
    files = sorted(map(str, folder.iterdir()))
    done = subprocess.run([*command, *options, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if " error: " in line]


@pytest.fixture
def cache(request):
    return request.config.cache.mkdir("mypy")


@pytest.mark.slow
def test_every_public_name_has_a_type_and_so_has_readmes_code(tmp_path, cache):
    names = ", ".join(name for name in coop_edu.__all__ if name != "__version__")
    (tmp_path / "names.py").write_text(f"from coop_edu import {names}\n")
    for number, block in enumerate(re.findall(r"(?ms)^```python\n(.*?)^```$", read("README.md"))):
        (tmp_path / f"readme_{number}.py").write_text(block)
    assert mypy(tmp_path, cache, "--no-implicit-reexport") == []
    (tmp_path / "wrong.py").write_text("from coop_edu import load_clip, nonsense\nload_clip(5).nonsense\n")
    assert len(mypy(tmp_path, cache, "--no-implicit-reexport")) == 3


@pytest.mark.slow
def test_the_notebooks_use_what_there_is(tmp_path, cache):
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        (tmp_path / f"notebook_{path.stem}.py").write_text(cells(path), encoding="utf-8")
    disabled = [f"--disable-error-code={code}" for code in HABITS]
    assert mypy(tmp_path, cache, "--allow-redefinition", *disabled) == []
