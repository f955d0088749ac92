"""Tables and curves from the results of a grid, with the paper's published curves beside one's own.

Leaves out: running the grid (run.py), how curves are drawn (plots/).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from coop_edu.evaluate.seeds import mean_and_std
from coop_edu.grid.results import HALVES, Cell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Curves = dict[str, dict[str, dict[int, list[float]]]]  # data set -> method -> shots -> one figure per seed

LABELS = {
    "zero_shot": "zero-shot",
    "linear_probe": "linear probe",
    "M16_end": "CoOp",
    "M16_end_CSC": "CoOp, class-specific",
    "M4_end": "CoOp, M=4",
    "init_end": "CoOp, M=4 from words",
}
# in assets/paper_results.json
PUBLISHED_NAMES = {
    "OxfordFlowers": "Flowers102",
    "DescribableTextures": "DTD",
}


def curves(results: Mapping[Cell, dict]) -> Curves:
    """Few-shot accuracies as `plots.accuracy_panels` draws them; other protocols are left out.

    >>> cell = Cell("mini", "mini", "few-shot", "IconFood", "M16_end", 16, 1)
    >>> curves({cell: {"figures": {"accuracy": 81.5}}})
    {'IconFood': {'CoOp': {16: [81.5]}}}
    """
    found: Curves = {}
    for cell in sorted(results, key=_order):
        if cell.protocol == "few-shot":
            method = LABELS.get(cell.method, cell.method)
            points = found.setdefault(cell.dataset, {}).setdefault(method, {})
            points.setdefault(cell.shots, []).append(results[cell]["figures"]["accuracy"])
    return found


def few_shot_frame(results: Mapping[Cell, dict]) -> pd.DataFrame:
    """A row for each few-shot cell: dataset, variant, method (its name in figures), shots, seed, accuracy in percent."""
    import pandas as pd

    rows = [
        (c.dataset, c.method, LABELS.get(c.method, c.method), c.shots, c.seed, line["figures"]["accuracy"])
        for c, line in results.items()
        if c.protocol == "few-shot"
    ]
    return pd.DataFrame(rows, columns=["dataset", "variant", "method", "shots", "seed", "accuracy"])


def published(dataset: str, variants: Iterable[str]) -> dict[str, dict[int, list[float]]]:
    """The paper's curves (RN50) for a data set of the paper, or for the one that a small task is modelled on.

    Methods are called "zero-shot (paper)" and so on; those that the paper does not have are left out.
    """
    name = _models().get(dataset, dataset)
    name = PUBLISHED_NAMES.get(name, name)
    few_shot = _asset("paper_results.json")["few_shot"]
    found = {}
    for variant in variants:
        label = f"{LABELS.get(variant, variant)} (paper)"
        if variant == "zero_shot" and name in few_shot["zero_shot"]:
            found[label] = {0: [few_shot["zero_shot"][name]]}
        elif variant in few_shot and variant != "zero_shot":
            points = {int(k): [row[name]] for k, row in few_shot[variant].items() if k.isdigit() and name in row}
            found |= {label: points} if points else {}
    return found


def average(panels: Curves) -> dict[str, dict[int, list[float]]]:
    """Mean over data sets, one figure per seed, of the methods and numbers of shots that every data set has.

    >>> average({"A": {"CoOp": {1: [50.0, 52.0], 2: [60.0, 60.0]}}, "B": {"CoOp": {1: [70.0, 70.0]}}})
    {'CoOp': {1: [60.0, 61.0]}}
    """
    if not panels:
        raise ValueError("expected at least one data set to average over, got none")
    found: dict[str, dict[int, list[float]]] = {}
    for method, points in next(iter(panels.values())).items():
        for shots in points:
            seeds = [panel.get(method, {}).get(shots, []) for panel in panels.values()]
            if len(set(map(len, seeds))) == 1:
                found.setdefault(method, {})[shots] = [sum(some) / len(some) for some in zip(*seeds)]
    return found


def table(results: Mapping[Cell, dict]) -> str:
    """Mean and standard deviation over seeds, in percent: for each protocol, a row a method and number of shots.

    Few-shot: a column a data set, and the average over data sets where none is missing.
    """
    if not results:
        raise ValueError("there is no result to show: run a grid first")
    groups: dict[str, dict[str, dict[str, list[float]]]] = {}
    for cell in sorted(results, key=_order):
        row = f"{LABELS.get(cell.method, cell.method)}{f', {cell.shots} shots' if cell.shots else ''}"
        for name, figure in results[cell]["figures"].items():
            if name in HALVES:
                continue
            column = {"few-shot": cell.dataset, "base-to-new": f"{cell.dataset}: {name}"}.get(cell.protocol, name)
            rows = groups.setdefault(f"{cell.protocol}, CLIP {cell.clip}", {})
            rows.setdefault(row, {}).setdefault(column, []).append(figure)
    return "\n\n".join(
        f"{title}\n{_aligned(rows, average=title.startswith('few-shot'))}" for title, rows in groups.items()
    )


def _aligned(rows: Mapping[str, Mapping[str, list[float]]], *, average: bool) -> str:
    columns = sorted({column for row in rows.values() for column in row})
    cells = [["", *columns, *(["average"] if average else [])]]
    for name, row in rows.items():
        means = {column: mean_and_std(row[column]) for column in columns if column in row}
        texts = [f"{means[c][0]:.1f} ± {means[c][1]:.1f}" if c in means else "-" for c in columns]
        if average:
            whole = len(means) == len(columns)
            texts.append(f"{sum(mean for mean, _ in means.values()) / len(means):.1f}" if whole else "-")
        cells.append([name, *texts])
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join(text.rjust(width) if i else text.ljust(width) for i, (text, width) in enumerate(zip(line, widths)))
        for line in cells
    )


def figure(results: Mapping[Cell, dict]) -> Figure:
    """The paper's eleven-panel figure from the few-shot results, the published curves (RN50) drawn beside one's own.

    The average stands first, over what all the data sets have; the published one is over the same data sets.
    Raises ValueError where there are no few-shot results.
    """
    from coop_edu.plots import accuracy_panels

    own = curves(results)
    if not own:
        raise ValueError("there is no few-shot result to draw: run the protocol 'few-shot' first")
    variants = list(dict.fromkeys(cell.method for cell in sorted(results, key=_order) if cell.protocol == "few-shot"))
    panels = {name: {**methods, **published(name, variants)} for name, methods in own.items()}
    if len(panels) > 1 and (mean := average(panels)):
        panels = {f"Average of {len(panels)}": mean, **panels}
    return accuracy_panels(panels, message=f"Paper: {_asset('paper_results.json')['source']}")


def _order(cell: Cell) -> tuple:
    """By protocol; what needs no training first; by method and shots."""
    return cell.protocol, cell.shots > 0, cell.method, cell.shots, cell


def _models() -> dict[str, str]:
    """{small task: the data set of the paper that it is modelled on}."""
    return {name: facts["models"] for name, facts in _asset("iconnet.json").items() if "models" in facts}


@lru_cache
def _asset(name: str) -> dict:
    return json.loads((files("coop_edu") / "assets" / name).read_text(encoding="utf-8"))
