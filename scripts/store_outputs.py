"""Run every notebook, and store its outputs in it: `make outputs`, or `python scripts/store_outputs.py 03 04`.

A notebook is run on a copy in memory, in its own folder, on the CPU, offline. Only if every cell succeeds is it
cleaned (no widget state, no timing, nothing of this machine) and written, in one step. So a failed run changes no file.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from packaging.requirements import Requirement
from packaging.version import Version

from coop_edu.files import atomically, cache_folder

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CONSTRAINTS = NOTEBOOKS.with_name("constraints.txt")
WIDGET = "application/vnd.jupyter.widget-view+json"
SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "",  # the stored run is the one every reader can repeat
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "default",
    "TQDM_DISABLE": "1",  # progress bars are for people who wait
}
REMOVED = ("COOP_EDU_SCALE", "COOP_EDU_STRICT")
METADATA = {  # as JupyterLab writes it: else a notebook that was only opened would count as changed
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="first characters of the notebooks' names; all without any")
    wanted = tuple(parser.parse_args().only)
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if not wanted or path.name.startswith(wanted)]
    if not paths:
        print(
            f"no notebook in {NOTEBOOKS.name}/ starts with {' or '.join(wanted) or 'anything'}",
            file=sys.stderr,
        )
        return 1
    os.environ.update(SETTINGS)
    shutil.rmtree(cache_folder() / "runs", ignore_errors=True)  # results that notebooks keep: this run is a clean one
    for name in REMOVED:
        os.environ.pop(name, None)
    failed = [path.name for path in paths if not store(path)]
    if failed:
        print(f"failed, and left as they were: {', '.join(failed)}", file=sys.stderr)
    elif not wanted:
        with atomically(CONSTRAINTS) as scratch:
            scratch.write_text(constraints(), encoding="utf-8")
    return 1 if failed else 0


def constraints() -> str:
    """The versions at work here, as pip's constraints: of what coop_edu and its tests require."""
    required = (Requirement(line) for line in metadata.requires("coop_edu") or [])
    names = {each.name for each in required if each.marker is None or each.marker.evaluate({"extra": "test"})}
    lines = [f"{name}=={Version(metadata.version(name)).public}" for name in sorted(names)]
    head = f"# What the stored outputs were made with, on Python {platform.python_version()}; written by make outputs."
    return "\n".join([head, *lines, ""])


def store(path: Path) -> bool:
    """Run one notebook and write it with its outputs; False, and no change to the file, if a cell fails."""
    start = time.perf_counter()
    nb = nbformat.read(path, as_version=4)
    # A busy machine takes its time to start a kernel.
    options = {"timeout": 1800, "startup_timeout": 600, "record_timing": False}
    client = NotebookClient(nb, **options, resources={"metadata": {"path": str(path.parent)}})
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"[FAIL] {path.name}\n{error}", file=sys.stderr)
        return False
    swallowed = [o for state in client.widget_state.values() for o in state.get("outputs", ()) if "ename" in o]
    if swallowed:
        print(
            f"[FAIL] {path.name}: a widget shows {swallowed[0]['ename']}: {swallowed[0]['evalue']}",
            file=sys.stderr,
        )
        return False
    clean(nb)
    with atomically(path) as scratch:
        nbformat.write(nb, scratch)
    print(f"[OK]   {path.name}: {time.perf_counter() - start:.0f} s, {path.stat().st_size / 1000:,.0f} KB")
    return True


def clean(nb: nbformat.NotebookNode) -> None:
    """Leave only what a reader of the file can see: no widgets, no timing, no name of this machine's kernel."""
    nb.metadata = nbformat.from_dict(METADATA)
    for cell in nb.cells:
        kept = {"tags": cell.metadata.get("tags")}
        if cell.metadata.get("jupyter", {}).get("source_hidden"):  # a folded cell
            kept["jupyter"] = {"source_hidden": True}
        cell.metadata = nbformat.from_dict({name: value for name, value in kept.items() if value})
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in merged(cell.outputs) if not is_widget(output)]
        for output in cell.outputs:
            output.pop("transient", None)


def merged(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Neighbouring pieces of the same stream as one, so that the file does not depend on timing."""
    result: list[nbformat.NotebookNode] = []
    for output in outputs:
        stream = output.output_type == "stream"
        if stream and result and result[-1].output_type == "stream" and result[-1].name == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def is_widget(output: nbformat.NotebookNode) -> bool:
    """A live widget: nothing of it survives in a file, so the notebook has a still figure beside it."""
    return WIDGET in output.get("data", {})


if __name__ == "__main__":
    sys.exit(main())
