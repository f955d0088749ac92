"""Results as a table of pandas: a row for each figure, to be grouped and averaged as one likes.

    results = read_results("runs/mini.jsonl")
    few_shot(results).groupby(["label", "shots"])["percent"].mean()

Leaves out: how results get into a file (results.py), tables and curves of them (report.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from coop_edu.files import ASSETS
from coop_edu.grid.methods import find_method
from coop_edu.grid.results import Cell, read_lines

COLUMNS = ["scale", "clip", "protocol", "dataset", "method", "shots", "seed", "label", "figure", "percent"]


def read_results(*results: str | Path) -> pd.DataFrame:
    """One file or several; the columns are COLUMNS, where label is the method's name in figures.

    Raises ValueError as `read_lines` does.
    """
    return as_frame(read_lines(*results))


def as_frame(lines: Mapping[Cell, Mapping[str, Any]]) -> pd.DataFrame:
    """What is not learned stands first, then methods by name."""
    order = sorted(lines, key=lambda cell: (cell.protocol, cell.shots > 0, cell.method, cell))
    rows = [
        {**vars(cell), "label": find_method(cell.method).label, "figure": figure, "percent": percent}
        for cell in order
        for figure, percent in lines[cell]["figures"].items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def few_shot(results: pd.DataFrame) -> pd.DataFrame:
    """The accuracies of the protocol few-shot, whole test lists only."""
    return results[(results["protocol"] == "few-shot") & (results["figure"] == "accuracy")]


@lru_cache(maxsize=1)
def shipped_results() -> pd.DataFrame:
    """The miniature's own results, which come with the package (assets/mini_results.jsonl, scripts/measure.py)."""
    return read_results(ASSETS / "mini_results.jsonl")
