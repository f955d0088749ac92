"""What the diagrams are drawn with: boxes, words, formulas, arrows and prompts, all measured in inches."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

from coop_edu.plots.style import BLACK, FORMULA, GREY, LEARNED, draw_image, new_figure

PALE = "#f6e7f0"  # learned, behind a symbol
INK = "#8a3a68"  # learned, as words: as dark as text must be
INDICES = ("1", "2", "", "M")  # of the context vectors that are drawn, with dots for the third
WIDE, NARROW, NAME, CELL = 0.44, 0.22, 0.98, 0.4  # SOS and EOT, full stop, class name, context vector
GAP = 0.05
FRONT = WIDE + GAP  # inches from the beginning of a prompt to its context
BEHIND = FRONT + len(INDICES) * CELL + GAP  # ... and to its name
LENGTH = BEHIND + NAME + NARROW + WIDE + 2 * GAP


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure, and an axis without a frame whose units are inches."""
    figure, axis = new_figure(width, height)
    axis.set(xlim=(-0.03, width), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def box(
    axis: Axes, x: float, y: float, width: float, height: float, colour: str, *, bold: bool = False, edge: str = ""
) -> None:
    look: dict[str, Any] = {"edgecolor": edge or (BLACK if bold else "#aaaaaa"), "linewidth": 2.0 if bold else 0.8}
    round_corners = "round,pad=0,rounding_size=0.07"
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=round_corners, facecolor=colour, **look))


def write(axis: Axes, x: float, y: float, text: str, size: float, colour: str = BLACK, side: str = "center") -> Text:
    return axis.text(x, y, text, ha=side, va="center", fontsize=size, color=colour)


def formula(axis: Axes, x: float, y: float, text: str, size: float, colour: str = BLACK) -> None:
    write(axis, x, y, text, size, colour).set_gid(FORMULA)


def arrow(axis: Axes, start: tuple[float, float], stop: tuple[float, float], colour: str = GREY) -> None:
    look = {"arrowstyle": "->", "color": colour, "linewidth": 2.0 if colour == LEARNED else 1.3}
    axis.annotate("", stop, start, arrowprops=look | {"shrinkA": 0, "shrinkB": 0})


def thumbnail(axis: Axes, x: float, y: float, size: float, image: Any) -> None:
    draw_image(axis.inset_axes((x, y, size, size), transform=axis.transData), image)


def token(axis: Axes, x: float, y: float, width: float, height: float, text: str) -> None:
    """A token that is not learned. A long class name takes two lines."""
    box(axis, x, y, width, height, "white", edge=GREY)
    lines = textwrap.wrap(text, 13) if len(text) > 13 else [text]
    write(axis, x + width / 2, y + height / 2, "\n".join(lines[:2]), 9 if len(lines) == 1 else 7.5)


def context(
    axis: Axes, x: float, y: float, height: float, *, fill: str = PALE, symbol: str = r"\mathbf{v}_@",
    cell: float = CELL, size: float = 11,
) -> None:  # fmt: skip
    """The vectors v_1 ... v_M. The @ of `symbol` stands for 1, 2 and M."""
    for place, index in enumerate(INDICES):
        box(axis, x + place * cell, y, cell - GAP, height, fill, bold=True, edge=LEARNED)
        text = symbol.replace("@", index) if index else r"\cdots"
        formula(axis, x + (place + 0.5) * cell - GAP / 2, y + height / 2, f"${text}$", size)


def around(axis: Axes, x: float, rows: Sequence[float], height: float, names: Sequence[str]) -> None:
    """What stands around the context in the prompts: SOS, and each class name, full stop and EOT."""
    for y, name in zip(rows, names, strict=True):
        token(axis, x, y, WIDE, height, "SOS")
        token(axis, x + BEHIND, y, NAME, height, name)
        token(axis, x + BEHIND + NAME + GAP, y, NARROW, height, ".")
        token(axis, x + BEHIND + NAME + NARROW + 2 * GAP, y, WIDE, height, "EOT")
