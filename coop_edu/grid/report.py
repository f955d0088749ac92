"""Tables and curves from the results of a grid, with the paper's published curves beside one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pandas as pd

from coop_edu.data.few_shot import ALL
from coop_edu.data.iconnet import iconnet_cards
from coop_edu.files import read_asset
from coop_edu.grid.frame import few_shot
from coop_edu.grid.methods import find_method
from coop_edu.grid.results import METRICS_OF
from coop_edu.scales import SCALES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = dict[str, dict[str, dict[int, list[float]]]]  # dataset -> method -> shots -> one number per seed

# in assets/paper_results.json
PUBLISHED_NAMES = {"OxfordFlowers": "Flowers102", "DescribableTextures": "DTD"}


def tables(results: pd.DataFrame, metric: str = "accuracy") -> Iterator[tuple[str, pd.DataFrame]]:
    """For each protocol and CLIP a title, and mean ± standard deviation over seeds, in percent.

    Few-shot: the metric, with a column for each dataset, and the average over datasets where none is missing.
    """
    for (protocol, clip), group in results.groupby(["protocol", "clip"]):
        group = group[group["metric"].isin(_printed(protocol, group, metric))]
        if group.empty:
            continue
        columns = {"few-shot": group["dataset"], "base-to-new": group["dataset"] + ": " + group["metric"]}
        by = [group["label"], group["shots"], columns.get(protocol, group["metric"]).rename(None)]
        percent = group["percent"].groupby(by, sort=False)
        mean, deviation, seeds = (column.unstack() for column in (percent.mean(), percent.std(ddof=0), percent.count()))
        # "± 0.0" of a single seed would look like certainty
        text = mean.map("{:.1f}".format) + deviation.map(" ± {:.1f}".format).where(seeds > 1, "")
        text = text.where(mean.notna(), "-").sort_index(axis=1).rename(index={ALL: "all"}, level="shots")
        if protocol == "few-shot" and mean.shape[1] > 1:
            average = mean.mean(axis=1, skipna=False)
            text["average"] = average.map("{:.1f}".format).where(average.notna(), "-")
        yield f"{protocol}, CLIP {clip}", text


def _printed(protocol: str, group: pd.DataFrame, metric: str) -> Iterable[str]:
    """The metrics that a table has.  Others, such as those of half the test images, are not mixed into it."""
    if protocol == "few-shot":
        return [metric]
    if protocol == "domains":  # a metric for each dataset: the accuracy on it
        return [name for scale in group["scale"].unique() for name in (SCALES[scale].source, *SCALES[scale].variants)]
    return METRICS_OF[protocol]


def table(results: pd.DataFrame, metric: str = "accuracy") -> str:
    """The tables as text.  Raises ValueError where there are no results."""
    texts = [f"{title}\n{frame.to_string()}" for title, frame in tables(results, metric)]
    if not texts:
        raise ValueError(f"there is no result to show for {metric!r}: run a grid first")
    return "\n\n".join(texts)


def curves(results: pd.DataFrame, metric: str = "accuracy") -> Curves:
    """Few-shot results as `plots.accuracy_panels` draws them; other protocols are left out."""
    panels: Curves = {}
    by = ["dataset", "label", "shots"]
    for (dataset, label, shots), by_seed in few_shot(results, metric).groupby(by, sort=False)["percent"]:
        panels.setdefault(dataset, {}).setdefault(label, {})[shots] = by_seed.tolist()
    return panels


def published(dataset: str, methods: Iterable[str]) -> dict[str, dict[int, list[float]]]:
    """The paper's curves (RN50) for a dataset of the paper, or for the one that a small task is modelled on.

    Methods are called "hand-written (paper)" and so on; those that the paper does not have are left out.
    """
    from coop_edu.plots.style import PAPER  # matplotlib, which a table does not need

    name = iconnet_cards().get(dataset, {}).get("models", dataset)
    name = PUBLISHED_NAMES.get(name, name)
    paper_curves = read_asset("paper_results.json")["few_shot"]
    curves_of = {}
    for method in filter(paper_curves.__contains__, methods):
        label = f"{find_method(method).label}{PAPER}"
        if method == "zero_shot" and name in paper_curves["zero_shot"]:
            curves_of[label] = {0: [paper_curves["zero_shot"][name]]}
        elif method != "zero_shot":
            points = {int(k): [row[name]] for k, row in paper_curves[method].items() if k.isdigit() and name in row}
            curves_of |= {label: points} if points else {}
    return curves_of


def average(panels: Curves) -> dict[str, dict[int, list[float]]]:
    """Mean over datasets, one number per seed, of the methods and numbers of shots that every dataset has.

    >>> average({"A": {"CoOp": {1: [50.0, 52.0], 2: [60.0, 60.0]}}, "B": {"CoOp": {1: [70.0, 70.0]}}})
    {'CoOp': {1: [60.0, 61.0]}}
    """
    if not panels:
        raise ValueError("expected at least one dataset to average over, got none")
    means: dict[str, dict[int, list[float]]] = {}
    for method, points in next(iter(panels.values())).items():
        for shots in points:
            seeds = [panel.get(method, {}).get(shots, []) for panel in panels.values()]
            if len(set(map(len, seeds))) == 1:
                means.setdefault(method, {})[shots] = [sum(values) / len(values) for values in zip(*seeds)]
    return means


def figure(results: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """The paper's eleven-panel figure from the few-shot results, the published curves (RN50) drawn beside one's own.

    The average stands first, over what all the datasets have; the published one is over the same datasets.
    Raises ValueError where there are no few-shot results.
    """
    from coop_edu.plots import accuracy_panels

    panels_here = curves(results, metric)
    if not panels_here:
        raise ValueError("there is no few-shot result to draw: run the protocol 'few-shot' first")
    methods = few_shot(results)["method"].unique() if metric == "accuracy" else []  # the paper has no other metric
    panels = {name: {**ours, **published(name, methods)} for name, ours in panels_here.items()}
    if len(panels) > 1 and (mean := average(panels)):
        panels = {f"Average of {len(panels)}": mean, **panels}
    return accuracy_panels(panels, message=f"Paper: {read_asset('paper_results.json')['source']}")
