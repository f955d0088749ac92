"""Tasks and results that a notebook needs: a task by its role in the paper, results that need not be computed anew."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from coop_edu.data.dataset import Dataset
from coop_edu.data.datasets import load_dataset
from coop_edu.files import ASSETS
from coop_edu.grid.frame import as_frame
from coop_edu.grid.results import Cell, read_results_file
from coop_edu.grid.run import run_grid
from coop_edu.grid.workspace import results_file
from coop_edu.scales import SCALES, Scale


def results_of(cells: Sequence[Cell]) -> pd.DataFrame:
    """The results of some cells of a grid: those that come with the package, and the others computed here, and kept.

    At scale mini the package has most of them (scripts/measure.py measured them), at scale paper none.
    """
    known = read_results_file(ASSETS / "mini_results.jsonl")
    if missing := [cell for cell in cells if cell not in known]:
        file = results_file("notebooks", SCALES[missing[0].scale])
        run_grid(missing, file, progress=False)
        known |= read_results_file(file)
    return as_frame({cell: known[cell] for cell in cells})


def task_of(scale: Scale, role: str) -> Dataset:
    """The scale's task in the role of one of the paper's data sets; at scale paper that data set itself.

    >>> task_of(SCALES["mini"], "Food101").name
    'IconFood'
    """
    return next(data for data in map(load_dataset, scale.tasks) if data.card.get("stands for", data.name) == role)
