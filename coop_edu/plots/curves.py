"""Accuracy against the number of shots, and tables as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coop_edu.data.few_shot import ALL
from coop_edu.evaluate.seeds import mean_and_interval
from coop_edu.plots.style import (
    DASHED,
    PAPER,
    caption,
    check_not_empty,
    new_figure,
    shown_name,
    style_of,
    tidy,
)


def accuracy_curves(
    curves: Mapping[str, Mapping[int, float | Sequence[float]]], *, title: str = "", message: str = ""
) -> Figure:
    """Accuracy against the number of shots, a line per method (Fig. 3 of the paper): means over seeds, with intervals.

    `curves`: method -> {shots: accuracies in percent, one per seed, or a single number}. Zero shots (`{0: 58.8}`) is
    drawn as a star with a dashed line.  A bar is a 95 % interval; the methods stand a little apart, to keep bars apart.

    >>> figure = accuracy_curves({"hand-written": {0: 60.0}, "CoOp": {1: [55.0, 57.0], 2: [62.0, 61.0]}})
    >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
    ['0', '1', '2']
    """
    figure, axis = new_figure(7.0, 4.1)
    _draw_curves(axis, curves, apart=0.07)
    _legend_above(figure, max(1, min(4, int(7.0 / _widest_entry(curves)))))
    axis.set(title=title, xlabel="labelled images per class (shots)", ylabel="accuracy, %")
    return caption(figure, message)


def accuracy_panels(
    tasks: Mapping[str, Mapping[str, Mapping[int, float | Sequence[float]]]], *, columns: int = 4, message: str = ""
) -> Figure:
    """`accuracy_curves` for several datasets side by side, as in the paper's eleven-panel figure.

    The panels share the accuracy axis and one legend.  They are small, so the intervals are bands.
    """
    check_not_empty(tasks, "dataset")
    columns = min(columns, len(tasks))
    rows = -(-len(tasks) // columns)
    methods = {method for curves in tasks.values() for method in curves}
    entry = _widest_entry(methods)
    width = max(min(9.3, 2.9 * columns), entry + 0.2)
    across = max(1, min(4, int(width / entry)))
    height = 2.1 * rows + 0.6 + 0.22 * -(-len(methods) // across)
    figure, axes = new_figure(width, height, rows, columns, squeeze=False, sharey=True)
    for axis in axes.flat[len(tasks) :]:
        axis.axis("off")
    for axis, (name, curves) in zip(axes.flat, tasks.items(), strict=False):
        _draw_curves(axis, curves)
        axis.set_title(name, fontsize=10)
    figure.supxlabel("labelled images per class (shots)", fontsize=10)
    figure.supylabel("accuracy, %", fontsize=10)
    _legend_above(figure, across)
    return caption(figure, message)


def text_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The same numbers as aligned text, to print: one row per method (by its `shown_name`), one column per dataset.

    >>> print(text_table({"hand-written": {"A": 61.25, "B": 40.0}, "CoOp": {"A": 70.0, "B": 9.5}}))
                     A     B
    hand-written  61.2  40.0
    CoOp, M=16    70.0   9.5
    """
    check_not_empty(rows, "row")
    columns = list(next(iter(rows.values())))
    first = max(len(shown_name(name)) for name in rows)
    widths = [max(len(column), 5) for column in columns]
    lines = [" " * first + "".join(f" {name:>{w}}" for name, w in zip(columns, widths, strict=True))]
    for name, row in rows.items():
        cells = (f" {row[column]:>{w}.1f}" for column, w in zip(columns, widths, strict=True))
        lines.append(f"{shown_name(name):<{first}}" + "".join(cells))
    return "\n".join(lines)


def _widest_entry(methods: Iterable[str]) -> float:
    """About the width of a legend's longest entry, in inches."""
    return 0.5 + 0.085 * max((len(shown_name(method)) for method in methods), default=0)


def _legend_above(figure: Figure, columns: int) -> None:
    entries = {label: line for axis in figure.axes for line, label in zip(*axis.get_legend_handles_labels())}
    rows = -(-len(entries) // columns)
    even = -(-len(entries) // rows)  # four entries in two rows, where three would fit: two and two
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=even, frameon=False)


def _draw_curves(axis: Axes, curves: Mapping[str, Mapping[int, Any]], *, apart: float = 0.0) -> None:
    check_not_empty(curves, "method")
    shots = sorted({k for points in curves.values() for k in points})
    place = {k: i for i, k in enumerate(shots)}
    for number, (method, points) in enumerate(curves.items()):
        colour, marker = style_of(method)
        look: dict[str, Any] = {"linestyle": "--"} if method.endswith(DASHED) else {}
        if method.endswith(PAPER):
            look["markerfacecolor"] = "white"
        xs = [place[k] + apart * (number - (len(curves) - 1) / 2) * (k > 0) for k in sorted(points)]
        mean, half = np.array([mean_and_interval(points[k]) for k in sorted(points)]).T
        size = 11 if marker == "*" else 6
        axis.plot(xs, mean, color=colour, marker=marker, markersize=size, label=shown_name(method), **look)
        if apart:
            axis.errorbar(xs, mean, half, fmt="none", ecolor=colour, elinewidth=1.5)
        else:
            axis.fill_between(xs, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
        if list(points) == [0]:
            axis.plot([0, len(shots) - 1], [mean[0]] * 2, color=colour, linestyle="--", linewidth=1)
    axis.set_xticks(range(len(shots)), ["all" if k == ALL else str(k) for k in shots])
    tidy(axis)
