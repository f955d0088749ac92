"""Results as a table of pandas: a row for each metric of a cell, to be grouped and averaged as one likes.

results = read_results("runs/mini.jsonl")
few_shot(results).groupby(["label", "shots"])["percent"].mean()
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from coop_edu.files import ASSETS
from coop_edu.grid.methods import METHODS
from coop_edu.grid.results import Cell, read_results_file

COLUMNS = ["scale", "clip", "protocol", "dataset", "method", "shots", "seed", "label", "metric", "percent"]


def read_results(*results: str | Path) -> pd.DataFrame:
    """One file or several; the columns are COLUMNS, where label is the method's name in figures.

    A method of your own has its label if it is registered, and else its name.
    Raises FileNotFoundError without a file; ValueError as `read_results_file` does.
    """
    for path in (Path(path).expanduser() for path in results):
        if not path.is_file():
            raise FileNotFoundError(f"no results file {path}: python -m coop_edu run --results {path} makes one")
    return as_frame(read_results_file(*results))


def as_frame(lines: Mapping[Cell, Mapping[str, Any]]) -> pd.DataFrame:
    """Untrained methods first, then the others by name."""
    order = sorted(lines, key=lambda cell: (cell.protocol, cell.shots > 0, cell.method, cell))
    labels = {cell.method: METHODS[cell.method].label if cell.method in METHODS else cell.method for cell in lines}
    short = {cell.dataset: Path(cell.dataset).name for cell in lines}  # a folder's last part
    # Two folders of one last part keep their paths.
    short = {path: name if list(short.values()).count(name) == 1 else path for path, name in short.items()}
    rows = [
        {
            **vars(cell),
            "dataset": short[cell.dataset],
            "label": labels[cell.method],
            "metric": metric,
            "percent": percent,
        }
        for cell in order
        for metric, percent in lines[cell]["figures"].items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def few_shot(results: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """One metric of the protocol few-shot, on whole test lists."""
    return results[(results["protocol"] == "few-shot") & (results["metric"] == metric)]


@cache
def shipped_results() -> pd.DataFrame:
    """The miniature's own results, which come with the package (assets/mini_results.jsonl, scripts/measure.py)."""
    return read_results(ASSETS / "mini_results.jsonl")
