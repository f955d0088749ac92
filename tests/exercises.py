"""The convention of the notebooks' exercises, and the way a test run solves them.

An exercise is a code cell tagged `exercise` that holds a stub and ends with one line `checks.check_...(stub)`. The
Markdown cell after it holds the solution: a ```python block inside <details>. A test run executes the notebook as the
learner gets it (the checker answers "not attempted"), then every solution with its checker in strict mode, where
anything but "right" is an error. So no solution can be wrong, and no checker can be commented out.
"""

import re

import nbformat

SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)


def is_exercise(cell) -> bool:
    return cell.cell_type == "code" and "exercise" in cell.metadata.get("tags", ())


def solutions(nb) -> list[tuple[str, str]]:
    """(solution, checker line) of every exercise; ValueError where either is missing."""
    found = []
    for number, cell in enumerate(nb.cells):
        if not is_exercise(cell):
            continue
        check = cell.source.strip().splitlines()[-1]
        following = nb.cells[number + 1] if number + 1 < len(nb.cells) else None
        match = SOLUTION.search(following.source) if following and following.cell_type == "markdown" else None
        if "check_" not in check:
            raise ValueError(f"exercise in cell {number}: its last line must call a checker, it is {check!r}")
        if match is None:
            raise ValueError(f"exercise in cell {number}: no ```python solution in <details> in the next cell")
        found.append((match.group(1), check))
    return found


def append_solutions(nb):
    """`nb` with one more cell for each exercise: its solution, checked strictly."""
    for solution, check in solutions(nb):
        strict = "import os\nos.environ['COOP_EDU_STRICT'] = '1'"
        nb.cells.append(nbformat.v4.new_code_cell(f"{strict}\n{solution}\n{check}"))
    return nb
