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


@pytest.mark.slow
def test_public_names_readmes_code_and_notebooks_have_types(tmp_path, request):
    names = ", ".join(name for name in coop_edu.__all__ if name != "__version__")
    (tmp_path / "names.py").write_text(f"from coop_edu import {names}\n")
    (tmp_path / "wrong.py").write_text("from coop_edu import load_clip, nonsense\nload_clip(5).nonsense\n")
    for number, block in enumerate(re.findall(r"(?ms)^```python\n(.*?)^```$", read("README.md"))):
        (tmp_path / f"readme_{number}.py").write_text(block)
    habits = f'# mypy: allow-redefinition, disable-error-code="{", ".join(HABITS)}"\n'
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        (tmp_path / f"notebook_{path.stem}.py").write_text(habits + cells(path), encoding="utf-8")
    options = ["--config-file=", "--ignore-missing-imports", "--no-implicit-reexport"]
    options.append(f"--cache-dir={request.config.cache.mkdir('mypy')}")
    command = [sys.executable, "-m", "mypy", *options, *sorted(map(str, tmp_path.iterdir()))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert [line for line in errors if "wrong.py" not in line] == [], done.stderr
    assert len(errors) == 3
