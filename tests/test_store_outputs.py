"""`make outputs`: a good run is stored clean, a failed one changes nothing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.slow  # notebooks and processes


SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "store_outputs.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("store_outputs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook(tmp_path, *sources):
    path = tmp_path / "a.ipynb"
    nb = new_notebook(cells=[new_code_cell(source) for source in sources])
    folded = {"source_hidden": True, "outputs_hidden": True}
    nb.cells[0].metadata = nbformat.from_dict({"tags": ["lesson"], "collapsed": True, "jupyter": folded})
    nbformat.write(nb, path)
    return path


def test_a_good_run_is_stored_clean(script, tmp_path):
    path = notebook(
        tmp_path,
        "for i in range(3):\n    print(i, flush=True)",
        "import ipywidgets as w\ns = w.IntSlider()\ns",
        "from IPython.display import HTML\nHTML('<b>x</b>')",
    )
    assert script.store(path)
    nb = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in nb.cells] == [1, 2, 3]
    assert nb.cells[0].outputs == [{"name": "stdout", "output_type": "stream", "text": "0\n1\n2\n"}]
    assert nb.cells[0].metadata == {"tags": ["lesson"], "jupyter": {"source_hidden": True}}
    assert nb.cells[1].outputs == []
    assert nb.cells[2].outputs[0].data["text/html"] == "<b>x</b>"
    assert "widgets" not in nb.metadata
    assert [file.name for file in tmp_path.iterdir()] == ["a.ipynb"]
    keys = "metadata.widgets cell.metadata.execution"
    command = ["nbstripout", "--verify", "--keep-output", "--keep-count", "--keep-id", "--extra-keys", keys]
    assert subprocess.run([sys.executable, "-m", *command, str(path)]).returncode == 0


@pytest.mark.parametrize("source", ["1 / 0", "import ipywidgets as w\nwith w.Output():\n    1 / 0"])
def test_a_failed_run_changes_nothing(script, tmp_path, capsys, source):
    path = notebook(tmp_path, "1", source)
    before = path.read_bytes()
    assert not script.store(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.ipynb"]
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("disable, show, seen", [("1", True, False), ("", True, True), ("", False, False)])
def test_a_bar_obeys_tqdm_disable(disable, show, seen):
    """In a process of its own: tqdm reads the variable when it is imported."""
    code = f"from coop_edu.bars import progress_bar; list(progress_bar(range(3), desc='counted', show={show}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TQDM_DISABLE": disable}, capture_output=True, text=True
    )
    assert done.returncode == 0 and ("counted" in done.stderr) == seen
