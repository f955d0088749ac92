"""Two diagrams: CLIP's two encoders, and the path of CoOp's gradient from the loss back to the context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

from coop_edu.plots.style import BLACK, FORMULA, GREY, LEARNED, ORANGE, SKY, caption, draw_image, new_figure


def two_towers(images: Sequence[Any], texts: Sequence[str], *, message: str = "") -> Figure:
    """CLIP (Radford et al. 2021, Fig. 1): one encoder for images, one for texts, and a matrix of their similarities.

    `images` and `texts` are pairs, so that the diagonal of the matrix holds them; three or four are enough.
    Raises ValueError for different numbers of images and texts.
    """
    n = len(images)
    figure, axis = new_figure(8.6, 3.9)
    for row, (image, text) in enumerate(zip(images, texts, strict=True)):
        height = n - 1 - row
        draw_image(axis.inset_axes((0.1, height + 0.1, 0.8, 0.8), transform=axis.transData), image)
        axis.text(4.1 + 1.15 * row + 0.5, n + 2.05, text, ha="center", va="bottom", fontsize=9, rotation=18)
        _arrow(axis, (0.98, height + 0.5), (1.28, height + 0.5))
        _arrow(axis, (3.0, height + 0.5), (3.3, height + 0.5))
        _formula(axis, 3.62, height + 0.5, rf"$\mathbf{{f}}_{row + 1}$", 12)
        _arrow(axis, (4.6 + 1.15 * row, n + 1.95), (4.6 + 1.15 * row, n + 1.65))
        _arrow(axis, (4.6 + 1.15 * row, n + 0.78), (4.6 + 1.15 * row, n + 0.52))
        _formula(axis, 4.6 + 1.15 * row, n + 0.27, rf"$\mathbf{{w}}_{row + 1}$", 12)
        for column in range(n):
            pair = row == column
            _box(axis, 4.1 + 1.15 * column, height + 0.08, 1.0, 0.84, SKY if pair else "#f2f2f2", bold=pair)
            product = rf"$\mathbf{{f}}_{row + 1}\!\cdot\mathbf{{w}}_{column + 1}$"
            _formula(axis, 4.6 + 1.15 * column, height + 0.5, product, 10)
    _box(axis, 1.3, 0.1, 1.7, n - 0.2, ORANGE)
    _write(axis, 2.15, n / 2, "image\nencoder", 11)
    _write(axis, 1.7, n + 1.2, "Each product says how well\nan image and a sentence fit.", 10, GREY)
    _box(axis, 4.1, n + 0.8, 1.15 * n - 0.15, 0.84, ORANGE)
    _write(axis, 4.1 + (1.15 * n - 0.15) / 2, n + 1.22, "text encoder", 11)
    axis.set(xlim=(0, 4.3 + 1.15 * n), ylim=(0, n + 3.3))
    axis.axis("off")
    return caption(figure, message)


def gradient_path(classname: str = "cat", *, message: str = "") -> Figure:
    """A training step of CoOp: forward along the grey arrows, and the gradient back along the purple ones."""
    figure, axis = new_figure(8.6, 2.9)
    context = [r"$\mathbf{v}_1$", r"$\mathbf{v}_2$", r"$\cdots$", r"$\mathbf{v}_M$"]
    tokens = ["SOS", *context, classname, ".", "EOT"]
    for place, token in enumerate(tokens):
        x, learned = 0.62 * place, token in context
        _box(axis, x, 1.5, 0.56, 0.6, "white", bold=learned, edge=LEARNED if learned else GREY)
        if learned:
            _formula(axis, x + 0.28, 1.8, token, 11)
            _arrow(axis, (x + 0.28, 1.02), (x + 0.28, 1.48), LEARNED)
        else:
            _write(axis, x + 0.28, 1.8, token, max(6, min(9, round(34 / len(token)))))
    end = 0.62 * len(tokens)
    for y, height, what in ((1.3, 1.0, "text"), (0.0, 0.7, "image")):
        _box(axis, end + 0.35, y, 1.45, height, ORANGE)
        _write(axis, end + 1.07, y + height / 2, f"{what} encoder\n(frozen)", 9)
    _write(axis, end - 0.42, 0.35, "image", 9.5)
    _formula(axis, end + 2.35, 1.8, r"$\mathbf{w}_i$", 13)
    _formula(axis, end + 2.35, 0.35, r"$\mathbf{f}$", 13)
    _box(axis, end + 2.9, 0.75, 1.0, 0.7, SKY)
    _formula(axis, end + 3.4, 1.1, r"$p(y\mid\mathbf{x})$", 10)
    _box(axis, end + 4.25, 0.75, 0.75, 0.7, SKY)
    _write(axis, end + 4.62, 1.1, "loss", 10)
    forward = (
        (0, 1.9, 0.33, 1.9), (1.82, 1.9, 2.13, 1.9), (-0.1, 0.35, 0.33, 0.35), (1.82, 0.35, 2.15, 0.35),
        (2.5, 0.45, 2.88, 0.85), (2.57, 1.75, 2.88, 1.4), (3.92, 1.17, 4.23, 1.17),
    )  # fmt: skip
    backward = (4.23, 0.98, 3.92, 0.98), (2.82, 1.23, 2.5, 1.58), (2.13, 1.65, 1.82, 1.65)
    for arrows, colour in ((forward, GREY), (backward, LEARNED)):
        for x, y, to_x, to_y in arrows:
            _arrow(axis, (end + x, y), (end + to_x, to_y), colour)
    axis.plot([end + 1.07, end + 1.07, 0.9], [1.28, 1.02, 1.02], color=LEARNED, linewidth=2)
    _write(axis, 0.62 * 3, 0.72, "the gradient arrives here: only these change", 9, LEARNED)
    axis.set(xlim=(-0.1, end + 5.1), ylim=(-0.1, 2.5))
    axis.axis("off")
    return caption(figure, message)


def _box(
    axis: Axes, x: float, y: float, width: float, height: float, colour: str, *, bold: bool = False, edge: str = ""
) -> None:
    look: dict[str, Any] = {"edgecolor": edge or (BLACK if bold else "#aaaaaa"), "linewidth": 2.0 if bold else 0.8}
    round_corners = "round,pad=0,rounding_size=0.07"
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=round_corners, facecolor=colour, **look))


def _write(axis: Axes, x: float, y: float, text: str, size: float, colour: str = BLACK) -> Text:
    return axis.text(x, y, text, ha="center", va="center", fontsize=size, color=colour)


def _formula(axis: Axes, x: float, y: float, text: str, size: float) -> None:
    _write(axis, x, y, text, size).set_gid(FORMULA)


def _arrow(axis: Axes, start: tuple[float, float], stop: tuple[float, float], colour: str = GREY) -> None:
    arrow = {"arrowstyle": "->", "color": colour, "linewidth": 2.0 if colour == LEARNED else 1.3}
    axis.annotate("", stop, start, arrowprops=arrow)
