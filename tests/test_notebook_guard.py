"""Notebook tests that must fail, do: swallowed exceptions, allow_errors, the network, wrong solutions."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow
CHECKER = (
    "import os\ndef check_half(f):\n"
    "    try:\n        ok = f(4) == 2\n    except NotImplementedError:\n        ok = None\n"
    "    if not ok and os.environ.get('COOP_EDU_STRICT') == '1':\n        raise AssertionError('wrong')\n"
    "    return ok"
)
CELLS = {  # notebook: (its code, should it pass, words of the failure)
    "good": ("import os\nassert os.environ['HF_HUB_OFFLINE'] == '1'", True, ""),
    "observed": ("import ipywidgets as w\ns = w.IntSlider()\ns.observe(lambda c: 1 / 0)\ns.value = 3", False, "Zero"),
    "interact": ("from ipywidgets import interact\ninteract(lambda x: 1 / 0, x=3);", False, "ZeroDivisionError"),
    "output": ("import ipywidgets as w\nwith w.Output():\n    1 / 0", False, "ZeroDivisionError"),
    "connects": ("import socket\nsocket.create_connection(('93.184.215.14', 80), timeout=5)", False, "run offline"),
    "resolves": ("import urllib.request\nurllib.request.urlopen('http://example.org')", False, "run offline"),
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    for file in ("conftest.py", "exercises.py", "no_network.py", "small_site.py"):
        shutil.copy(HERE / file, folder)
    for name, (source, _, _) in CELLS.items():
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), folder / f"{name}.ipynb")
    lenient = new_notebook(cells=[new_code_cell("1 / 0")], metadata={"execution": {"allow_errors": True}})
    nbformat.write(lenient, folder / "lenient.ipynb")
    for name, answer in {"solved": "x / 2", "unsolved": "x / 3"}.items():
        stub = new_code_cell("def half(x):\n    raise NotImplementedError\n\ncheck_half(half)")
        stub.metadata.tags = ["exercise"]
        solution = f"<details>\n\n```python\ndef half(x):\n    return {answer}\n```\n</details>"
        cells = [new_code_cell(CHECKER), stub, new_markdown_cell(solution)]
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbmake", "-rA", "--color=no"]
    command += ["-c", str(folder / "empty.ini"), "--rootdir", str(folder), str(folder)]
    (folder / "empty.ini").write_text("[pytest]\n")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280).stdout


@pytest.mark.parametrize("name", CELLS)
def test_notebook(outcome, name):
    _, passes, words = CELLS[name]
    assert verdict(outcome, name) == ("PASSED" if passes else "FAILED"), outcome
    assert words in outcome


def test_allow_errors_is_refused(outcome):
    assert verdict(outcome, "lenient") == "FAILED"
    assert "it could never fail" in outcome


def test_solutions_are_run_and_checked(outcome):
    assert verdict(outcome, "solved") == "PASSED"
    assert verdict(outcome, "unsolved") == "FAILED"


def verdict(outcome, name):
    lines = [line for line in outcome.splitlines() if f" {name}.ipynb::" in line]
    lines = [line.split()[0] for line in lines if line.startswith(("PASSED", "FAILED"))]
    assert len(lines) == 1, outcome
    return lines[0]
