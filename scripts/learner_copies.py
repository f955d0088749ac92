"""Write the notebooks as a class gets them, without outputs and without solutions: `make learner`.

A solution is what is folded in the cell after an exercise; CONTRIBUTING.md has the convention.  All else stays: the
stubs, their checkers, the answers to the questions in the text.  The copies lie beside notebooks/, so that their links
and their paths are the same.  A copy that somebody has worked in is kept as it is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
COPIES = ROOT / "learner"
FOLDED = re.compile(r"<details>.*?</details>\s*", re.DOTALL)


def main(notebooks: Path = NOTEBOOKS, copies: Path = COPIES) -> int:
    copies.mkdir(exist_ok=True)
    for path in sorted(notebooks.glob("*.ipynb")):
        text = nbformat.writes(learner_copy(nbformat.read(path, as_version=4), path.name)) + "\n"
        target = copies / path.name
        if target.exists() and target.read_text(encoding="utf-8") != text:
            print(f"[KEPT] {target.name} has been changed since it was written; rename it to get a new copy")
            continue
        target.write_text(text, encoding="utf-8")
        print(f"[OK]   {target.name}")
    return 0


def learner_copy(nb: nbformat.NotebookNode, name: str = "the notebook") -> nbformat.NotebookNode:
    """`nb` without outputs and solutions; ValueError where an exercise has no solution to take away."""
    cells: list[nbformat.NotebookNode] = []
    after_exercise = False
    for number, cell in enumerate(nb.cells):
        if after_exercise:
            source, found = FOLDED.subn("", cell.source)
            if cell.cell_type != "markdown" or not found:
                raise ValueError(f"{name}: cell {number} follows an exercise, and has no solution in <details>")
            cell.source = source.strip()
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if cell.source or not after_exercise:
            cells.append(cell)
        after_exercise = cell.cell_type == "code" and "exercise" in cell.metadata.get("tags", ())
    if after_exercise:
        raise ValueError(f"{name}: its last cell is an exercise, without a solution")
    nb.cells = cells
    return nb


if __name__ == "__main__":
    sys.exit(main())
