"""Two diagrams: CLIP's two encoders, and the way of CoOp's gradient from the loss back to the context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from coop_edu.plots.boxes import (
    CELL,
    FRONT,
    GAP,
    INDICES,
    INK,
    LENGTH,
    around,
    arrow,
    box,
    canvas,
    context,
    formula,
    thumbnail,
    write,
)
from coop_edu.plots.style import GREY, LEARNED, ORANGE, SKY, caption, draw_image, new_figure


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
        arrow(axis, (0.98, height + 0.5), (1.28, height + 0.5))
        arrow(axis, (3.0, height + 0.5), (3.3, height + 0.5))
        formula(axis, 3.62, height + 0.5, rf"$\mathbf{{f}}_{row + 1}$", 12)
        arrow(axis, (4.6 + 1.15 * row, n + 1.95), (4.6 + 1.15 * row, n + 1.65))
        arrow(axis, (4.6 + 1.15 * row, n + 0.78), (4.6 + 1.15 * row, n + 0.52))
        formula(axis, 4.6 + 1.15 * row, n + 0.27, rf"$\mathbf{{w}}_{row + 1}$", 12)
        for column in range(n):
            pair = row == column
            box(axis, 4.1 + 1.15 * column, height + 0.08, 1.0, 0.84, SKY if pair else "#f2f2f2", bold=pair)
            product = rf"$\mathbf{{f}}_{row + 1}\!\cdot\mathbf{{w}}_{column + 1}$"
            formula(axis, 4.6 + 1.15 * column, height + 0.5, product, 10)
    box(axis, 1.3, 0.1, 1.7, n - 0.2, ORANGE)
    write(axis, 2.15, n / 2, "image\nencoder", 11)
    write(axis, 1.7, n + 1.2, "Each product says how well\nan image and a sentence fit.", 10, GREY)
    box(axis, 4.1, n + 0.8, 1.15 * n - 0.15, 0.84, ORANGE)
    write(axis, 4.1 + (1.15 * n - 0.15) / 2, n + 1.22, "text encoder", 11)
    axis.set(xlim=(0, 4.3 + 1.15 * n), ylim=(0, n + 3.3))
    axis.axis("off")
    return caption(figure, message)


def gradient_path(classnames: Sequence[str], image: Any, *, message: str = "") -> Figure:
    """A training step of CoOp: forward along the grey arrows, and the gradient back along the purple ones.

    Each class has its prompt, and all prompts have the same context, drawn once; `image` is of any of the classes.
    """
    n, high, pitch, encoder = len(classnames), 0.4, 0.66, 1.15
    figure, axis = canvas(8.9, 1.42 + pitch * n)
    rows = [1.27 + pitch * (n - 1 - row) for row in range(n)]
    bottom, top = rows[-1] - 0.22, rows[0] + high
    middle = (bottom + top) / 2
    ctx_end = FRONT + len(INDICES) * CELL - GAP
    around(axis, 0, rows, high, classnames)
    context(axis, FRONT, bottom, top - bottom)
    write(axis, (FRONT + ctx_end) / 2, top + 0.14, "one context for all classes", 9, INK)
    towers = LENGTH + 0.32
    fits = towers + encoder + 1.0  # where the box of the softmax begins
    for y, height, what in ((bottom, top - bottom, "text"), (0.1, 0.7, "image")):
        box(axis, towers, y, encoder, height, ORANGE)
        write(axis, towers + encoder / 2, y + height / 2, f"{what} encoder\n(frozen)", 9)
    box(axis, fits, 0.1, 0.82, top - 0.1, SKY)
    formula(axis, fits + 0.41, middle + 0.1, r"$\cos\,/\,\tau$", 11)
    write(axis, fits + 0.41, middle - 0.14, "softmax", 9.5)
    box(axis, fits + 1.86, middle - 0.3, 0.6, 0.6, SKY)
    write(axis, fits + 2.16, middle, "loss", 10)
    formula(axis, fits + 1.345, middle, r"$p(y\mid\mathbf{x})$", 11)
    thumbnail(axis, LENGTH - 0.7, 0.1, 0.7, image)
    formula(axis, towers + encoder + 0.5, 0.45, r"$\mathbf{f}$", 13)
    for x in (LENGTH + 0.04, towers + encoder + 0.04, fits - 0.36):
        arrow(axis, (x, 0.45), (x + (0.26 if x < towers else 0.32), 0.45))
    for row, y in enumerate(rows):
        there, back = y + high / 2, y - 0.1
        formula(axis, towers + encoder + 0.5, there - 0.06, rf"$\mathbf{{w}}_{row + 1}$", 13)
        arrow(axis, (LENGTH + 0.04, there), (towers - 0.02, there))
        arrow(axis, (towers - 0.02, back), (ctx_end + 0.04, back), LEARNED)
        for x in (towers + encoder + 0.02, fits - 0.34):
            arrow(axis, (x, there), (x + 0.3, there))
            arrow(axis, (x + 0.3, there - 0.16), (x, there - 0.16), LEARNED)
    for x, wide in ((fits + 0.84, 0.18), (fits + 1.67, 0.17)):
        arrow(axis, (x, middle + 0.08), (x + wide, middle + 0.08))
        arrow(axis, (x + wide, middle - 0.1), (x, middle - 0.1), LEARNED)
    where = "The gradients of all prompts\nmeet in the same vectors.\nNothing else changes."
    write(axis, (FRONT + ctx_end) / 2, 0.5, where, 9, INK)
    arrow(axis, ((FRONT + ctx_end) / 2, 0.78), ((FRONT + ctx_end) / 2, bottom - 0.04), INK)
    return caption(figure, message)
