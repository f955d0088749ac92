"""A training, epoch by epoch: afterwards, and while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from coop_edu.plots.style import BLACK, BLUE, GREY, caption, check_not_empty, new_figure, tidy


def training_curve(history: Any, *, title: str = "", unit: str = "epoch", message: str = "") -> Figure:
    """Loss, training accuracy and learning rate by epoch. `history`: a History, or a list of losses, one per unit."""
    check_not_empty(getattr(history, "loss", history), unit)
    panels = [("cross entropy", getattr(history, "loss", history))]
    for field, label in (("accuracy", "training accuracy, %"), ("lr", "learning rate")):
        if len(values := getattr(history, field, ())):
            panels.append((label, values))
    figure, axes = new_figure(max(4.6, 3.1 * len(panels)), 2.6, 1, len(panels), squeeze=False)
    for axis, (label, values) in zip(axes.flat, panels, strict=True):
        axis.plot(range(1, len(values) + 1), values, color=BLUE, marker="." if len(values) <= 60 else "")
        axis.set(xlabel=unit, ylabel=label)
        axis.locator_params(axis="x", integer=True)
        tidy(axis)
    if title:
        figure.suptitle(title)
    return caption(figure, message)


def training_progress(
    history: Any,
    measured: Mapping[int, float],
    *,
    epochs: int,
    beat: float,
    chance: float,
    title: str = "",
    message: str = "",
) -> Figure:
    """A running training, on axes that do not change: accuracy, with a line to beat, and loss.

    `history`: a History, empty before the first epoch; `measured`: {epoch: accuracy in percent on validation images};
    `beat`: the accuracy of the hand-written prompt, in percent; `chance`: the loss of a random guess, log K.
    """
    figure, (left, right) = new_figure(7.2, 2.9, 1, 2)
    done = range(1, len(history.loss) + 1)
    left.plot(done, history.accuracy, ":", color=BLUE, label="training images")
    look: dict[str, Any] = {"marker": "o", "markersize": 4, "clip_on": False}  # the last is at the edge of the axes
    left.plot(list(measured), list(measured.values()), color=BLUE, label="validation images", **look)
    left.axhline(beat, color=BLACK, linestyle="--", linewidth=1, label=f"hand-written, {beat:.0f} %")
    left.set(xlabel="epoch", ylabel="accuracy, %", ylim=(0, 103))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    right.plot(done, history.loss, color=BLUE)
    right.axhline(chance, color=GREY, linewidth=1)
    right.annotate("a guess", (epochs, chance), ha="right", va="bottom", fontsize=9)
    right.set(xlabel="epoch", ylabel="cross entropy", ylim=(0, max(1.2 * chance, *history.loss, 0)))
    for axis in (left, right):
        axis.set_xlim(0, epochs)
        axis.locator_params(axis="x", integer=True)
        tidy(axis)
    if title:
        figure.suptitle(title)
    return caption(figure, message)
