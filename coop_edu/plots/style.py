"""What all figures share: colours, the style of each method, the message under the picture, small drawing helpers.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never stand alone: markers, hatches or
direct labels say the same.

Leaves out: the figures (pictures.py, curves.py, diagrams.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coop_edu.pictures import load_image

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = OKABE_ITO = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#767676"
STYLES = {  # method: (colour, marker, hatch), the same in every figure
    "zero-shot": (BLACK, "*", ""),
    "linear probe": (GREY, "s", "//"),
    "CoOp": (BLUE, "o", ".."),
    "CoOp, class-specific": (VERMILION, "^", "xx"),
}


def caption(figure: Figure, message: str) -> Figure:
    """Write `message` under `figure`, wrapped to its width; an empty message leaves the figure alone.

    >>> figure, axes = new_figure(4.0, 3.0)
    >>> caption(figure, "The loss halves.").get_supxlabel()
    'The loss halves.'
    """
    if message:
        characters = int(figure.get_figwidth() * 12.5)
        figure.supxlabel(textwrap.fill(message, characters), fontsize=10.5)
    return figure


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)
    plt.close(figure)  # it stays usable; only pyplot forgets it
    return figure, axes


def draw_picture(axis: Axes, image: Any, title: str = "") -> None:
    axis.imshow(load_image(getattr(image, "image", image)))
    axis.set_xticks([])
    axis.set_yticks([])
    if title:
        axis.set_title(title, fontsize=9)


def draw_bars(
    axis: Axes, names: Sequence[str], values: Sequence[float], colours: Sequence[str], limit: float
) -> None:
    bars = axis.barh(range(len(names)), values, color=colours)
    axis.bar_label(bars, fmt="%.1f", padding=3, fontsize=9)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.13 * limit)
    axis.set_xticks(np.linspace(0, limit, 6))
    tidy(axis)


def style_of(method: str, number: int) -> tuple[str, str, str]:
    """The fixed style of a known method, or the next free one."""
    free = ((GREEN, "D", "\\\\"), (ORANGE, "v", "--"), (PURPLE, "P", "++"), (SKY, "X", "||"))
    return STYLES.get(method, free[number % len(free)])


def tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="both", color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)


def as_array(values: Any) -> np.ndarray:
    return values.detach().cpu().float().numpy() if hasattr(values, "detach") else np.asarray(values)
