"""Choices side by side: dots, one line per seed, paired dots, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coop_edu.evaluate.seeds import mean_and_interval
from coop_edu.plots.style import (
    BAR,
    BLACK,
    BLUE,
    GREY,
    caption,
    check_not_empty,
    new_figure,
    shown_name,
    style_of,
    tidy,
)


def ranked_dots(
    accuracies: Mapping[str, float | Sequence[float]],
    *,
    highlight: str = "",
    learned: bool = False,
    label: str = "accuracy, %",
    message: str = "",
) -> Figure:
    """Accuracy of hand-written prompts, or of anything else with a name, the best on top, written at the right.

    `accuracies`: name -> percent, or a list of percents, one per seed, drawn with its 95 % interval. `highlight` is
    marked: in CoOp's colour if it is `learned`, otherwise in black.  The axis does not start at zero.
    """
    ordered = dict(sorted(accuracies.items(), key=lambda item: -mean_and_interval(item[1])[0]))
    figure, axis = _rows({f"▸ {name}" if name == highlight else name: value for name, value in ordered.items()}, label)
    for row, (name, value) in enumerate(ordered.items()):
        mean, half = mean_and_interval(value)
        colour = BAR if name != highlight else BLUE if learned else BLACK
        axis.errorbar(
            mean, row, xerr=half if half > 0 else None, fmt="o", color=colour, markersize=8, linewidth=1.5, capsize=3
        )
        _write_at_the_right(axis, row, f"{mean:.1f}", bold=name == highlight)
        if name == highlight:
            axis.get_yticklabels()[row].set_color(colour)
    axis.margins(x=0.08)
    return caption(figure, message)


def slopes(columns: Mapping[str, Sequence[float]], *, label: str = "accuracy, %", message: str = "") -> Figure:
    """The same seeds under several choices: a thin line for each seed, over a broad one for their mean, written above.

    `columns`: choice -> accuracies, one per seed, in the same order.
    """
    check_not_empty(columns, "choice")
    values = np.array(list(columns.values()), dtype=float)  # (choices, seeds)
    figure, axis = new_figure(2.0 + 1.4 * len(columns), 3.0)
    axis.plot(values, color=BLACK, linewidth=1, marker="o", markersize=3, zorder=3)
    axis.plot(values.mean(axis=1), color="#bbbbbb", linewidth=7, zorder=2)  # below, so that it hides no seed
    for place, mean in enumerate(values.mean(axis=1)):  # above the axes: beside its point the lines would cross it
        axis.annotate(f"mean {mean:.1f}", (place, 1.02), xycoords=axis.get_xaxis_transform(),
                      ha="center", va="bottom")  # fmt: skip
    axis.set_xticks(range(len(columns)), columns)
    axis.set(ylabel=label, xlim=(-0.4, len(columns) - 0.4))
    tidy(axis, grid="y")
    return caption(figure, message)


def paired_dots(
    rows: Mapping[str, Mapping[str, float | Sequence[float]]], *, label: str = "accuracy, %", message: str = ""
) -> Figure:
    """A line per task with a dot for each method on it: how far the methods are apart, task by task.

    `rows`: task -> {method: percent, or percents over seeds, drawn with their 95 % interval}.
    """
    figure, axis = _rows(rows, label)
    for row, points in enumerate(rows.values()):
        found = {method: mean_and_interval(value) for method, value in points.items()}
        means = [mean for mean, _ in found.values()]
        axis.plot([min(means), max(means)], [row, row], color="#bbbbbb", linewidth=2, zorder=1)
        for method, (mean, half) in found.items():
            colour, marker = style_of(method)
            axis.errorbar(mean, row, xerr=half if half > 0 else None, color=colour, linewidth=1, capsize=2, zorder=2)
            axis.plot(mean, row, marker, color=colour, markersize=11 if marker == "*" else 7,
                      label="" if row else shown_name(method))  # fmt: skip
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return caption(figure, message)


def intervals(
    differences: Mapping[str, tuple[float, float]], *, label: str = "difference, points", message: str = ""
) -> Figure:
    """Differences with their intervals, and both in numbers at the right.

    Filled and black: the interval does not reach zero. Hollow and grey: it does, so the difference may be none.
    `differences`: name -> (mean, half the width of its interval).
    """
    figure, axis = _rows(differences, label)
    axis.axvline(0, color=BLACK, linewidth=1, zorder=1)
    for row, (mean, half) in enumerate(differences.values()):
        _draw_interval(axis, row, mean, half, "o", BLACK if abs(mean) > half else GREY, across=True)
        _write_at_the_right(axis, row, f"{mean:+.1f}", f"± {half:.1f}")
    axis.locator_params(axis="x", nbins=7)  # long names leave little room for numbers
    return caption(figure, message)


def grouped_intervals(
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    zero: str = "",
    label: str = "difference, points",
    message: str = "",
) -> Figure:
    """Upright intervals: a group for each place, and in it each method with its marker, hollow where it reaches zero.

    `groups`: method -> {place: (mean, half the width of its interval)}, the places in order. `zero`: what the methods
    are compared with; the line at zero has this name.
    """
    check_not_empty(groups, "method")
    places = list(next(iter(groups.values())))
    apart = min(0.36, 0.8 / len(groups))  # a group keeps to its place
    figure, axis = new_figure(min(9.3, max(7.0, 0.93 * len(places))), 3.4)
    axis.axhline(0, color=BLACK, linewidth=1, zorder=1)
    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9.5}
    axis.annotate(zero, (1, 0), xytext=(6, 0), xycoords=axis.get_yaxis_transform(), va="center", **look)
    for number, (method, points) in enumerate(groups.items()):
        colour, marker = style_of(method)
        axis.plot([], [], marker, color=colour, label=shown_name(method))
        for place, name in enumerate(places):
            x, (mean, half) = place + apart * (number - (len(groups) - 1) / 2), points[name]
            _draw_interval(axis, x, mean, half, marker, colour)
            up = mean >= 0  # the number stands at the end that is not at the line
            free = 4 if half else 8  # without an interval, clear of the marker
            end, side = (mean + half, (0, free)) if up else (mean - half, (0, -free))
            text = _signed(f"{mean:+.1f}")
            axis.annotate(text, (x, end), xytext=side, ha="center", va="bottom" if up else "top", **look)
    axis.set_xticks(range(len(places)), places)
    axis.set(ylabel=label, xlim=(-0.5, len(places) - 0.5))
    axis.margins(y=0.14)
    tidy(axis, grid="y")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return caption(figure, message)


def _draw_interval(
    axis: Axes, place: float, mean: float, half: float, marker: str, colour: str, *, across: bool = False
) -> None:
    """A mean with its interval, upright or across; hollow if the interval reaches zero, a cross if there is none."""
    look: dict[str, Any] = {"color": colour, "linewidth": 2, "capsize": 4, "markersize": 7, "markeredgewidth": 1.8}
    look["markerfacecolor"] = colour if abs(mean) > half else "white"
    look["xerr" if across else "yerr"] = half
    axis.errorbar(*((mean, place) if across else (place, mean)), fmt=marker if half else "x", zorder=2, **look)


def _rows(rows: Mapping[str, Any], label: str) -> tuple[Figure, Axes]:
    """Axes with a named line for each row, the first on top; names with a ▸ are bold."""
    check_not_empty(rows, "row")
    figure, axis = new_figure(7.0, 0.3 * len(rows) + 1.2)
    axis.set_yticks(range(len(rows)), map(shown_name, rows))
    for name in axis.get_yticklabels():
        name.set_fontweight("bold" if name.get_text().startswith("▸") else "normal")
    axis.set(xlabel=label, ylim=(len(rows) - 0.4, -0.7))
    axis.margins(x=0.05)
    tidy(axis)
    return figure, axis


def _write_at_the_right(axis: Axes, row: int, *columns: str, bold: bool = False) -> None:
    """The numbers of a row in columns outside the axes, where no line crosses them."""
    for number, text in enumerate(columns):
        axis.annotate(
            _signed(text), (1, row), xytext=(36 + 38 * number, 0), xycoords=axis.get_yaxis_transform(), fontsize=9.5,
            textcoords="offset points", ha="right", va="center", fontweight="bold" if bold else "normal",
        )  # fmt: skip


def _signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")  # as wide as a plus, and as in the labels of the axes
