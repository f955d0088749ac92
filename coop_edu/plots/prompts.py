"""Three diagrams of what is learned and what it is used for: contexts of CoOp, base-to-new, CoCoOp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from coop_edu.plots.boxes import (
    BEHIND,
    CELL,
    FRONT,
    GAP,
    INDICES,
    INK,
    LENGTH,
    NAME,
    PALE,
    around,
    arrow,
    box,
    canvas,
    context,
    formula,
    thumbnail,
    token,
    write,
)
from coop_edu.plots.style import GREY, LEARNED, ORANGE, SKY, caption

SHADES = (PALE, "#e2b4cf", "#c78cb0")  # of contexts that differ
DOTS = r"$\vdots$"


def contexts(classnames: Sequence[str], *, message: str = "") -> Figure:
    """A unified and a class-specific context, around the same (up to three) class names."""
    high, pitch, right = 0.42, 0.54, LENGTH + 0.9
    figure, axis = canvas(right + LENGTH + 0.03, 1.04 + pitch * len(classnames))
    rows = [0.74 + pitch * (len(classnames) - 1 - row) for row in range(len(classnames))]
    sides = (
        (0.0, "unified: every class has the same vectors", r"$M \times D$", r"\mathbf{v}_@"),
        (right, "class-specific: each class has its own", r"$K \times M \times D$", r"\mathbf{v}^{\,#}_@"),
    )
    for x, title, count, symbol in sides:
        write(axis, x + LENGTH / 2, rows[0] + high + 0.22, title, 10.5)
        around(axis, x, rows, high, classnames)
        for row, y in enumerate(rows):
            fill = SHADES[row % len(SHADES)] if x else PALE
            context(axis, x + FRONT, y, high, fill=fill, symbol=symbol.replace("#", str(row + 1)), size=12)
        middle = x + FRONT + len(INDICES) * CELL / 2
        formula(axis, middle, 0.56, DOTS, 12)
        formula(axis, x + BEHIND + 0.49, 0.56, DOTS, 12)
        formula(axis, x + LENGTH / 2, 0.16, f"{count} parameters are learned", 11, INK)
    return caption(figure, message)


def base_to_new(
    base: Sequence[str], new: Sequence[str], images: Sequence[Sequence[Any]], *, shots: int = 16, message: str = ""
) -> Figure:
    """The test of the CoCoOp paper: learned on the base classes, measured on each half among its own classes.

    `base`, `new`: a few class names of each half; `images`: a few training images of each of the base classes.
    """
    high, pitch, small = 0.36, 0.42, 0.36
    block = pitch * max(len(base), len(new))
    learned, tests, results, end = 3.42, 5.05, 7.62, 8.12
    figure, axis = canvas(9.1, 2 * block + 1.36)
    tops = {"base": 2 * block + 1.06, "new": block + 0.24}
    for half, names in (("base", base), ("new", new)):
        top = tops[half]
        middle = top - block / 2
        write(axis, 0.5, top + 0.2, f"{half} classes", 10.5).set_fontweight("bold")
        for row, name in enumerate(names):
            token(axis, 0, top - high - pitch * row, 1.0, high, name)
        formula(axis, 0.5, top - block - 0.06, DOTS, 12)
        box(axis, tests, middle - 0.42, 2.05, 0.84, SKY)
        write(axis, tests + 1.02, middle, f"test images of {half} classes,\neach named among\nthe {half} classes", 9)
        arrow(axis, (tests + 2.07, middle), (results - 0.33, middle))
        write(axis, results, middle, f"{half}\naccuracy", 9)
        arrow(axis, (results + 0.33, middle), (end - 0.02, (tops["base"] + tops["new"] - block) / 2))
    base_middle, new_middle = (top - block / 2 for top in tops.values())
    write(axis, 2.14, tops["base"] + 0.2, f"{shots} labelled images of each", 9.5)
    for row, some in enumerate(images):
        y = tops["base"] - high - pitch * row
        for place, image in enumerate(some):
            thumbnail(axis, 1.18 + place * (small + GAP), y, small, image)
        formula(axis, 1.2 + len(some) * (small + GAP) + 0.08, y + small / 2, r"$\cdots$", 12)
    context(axis, learned, tops["base"] - block + 0.06, block - 0.06, cell=0.34, size=10)
    write(axis, learned + 0.66, tops["base"] + 0.2, "learned context", 9.5, INK)
    right = learned + 4 * 0.34
    arrow(axis, (learned - 0.26, base_middle), (learned - 0.04, base_middle))
    arrow(axis, (right, base_middle), (tests - 0.02, base_middle))
    axis.plot([learned + 0.66] * 2, [tops["base"] - block + 0.02, new_middle + 0.12], color=GREY, linewidth=1.3)
    arrow(axis, (learned + 0.66, new_middle + 0.12), (tests - 0.02, new_middle + 0.12))
    arrow(axis, (1.04, new_middle - 0.12), (tests - 0.02, new_middle - 0.12))
    write(axis, 2.1, new_middle + 0.06, "only the names, no image", 9.5)
    box(axis, end, (base_middle + new_middle) / 2 - 0.42, 0.9, 0.84, "white", bold=True)
    formula(axis, end + 0.45, (base_middle + new_middle) / 2 + 0.16, "$H$", 13)
    write(axis, end + 0.45, (base_middle + new_middle) / 2 - 0.16, "harmonic\nmean", 9)
    return caption(figure, message)


def cocoop(images: Sequence[Any], classnames: Sequence[str], *, message: str = "") -> Figure:
    """CoOp's prompts, the same for all images, and CoCoOp's, which a meta-net shifts for each image."""
    pitch, cell, high, ctx = 0.29, 0.6, 0.25, 4.6
    block = pitch * len(classnames) - (pitch - high)
    names, band = ctx + len(INDICES) * cell, block + 0.24
    bottoms = [band * (len(images) - 1 - row) + 0.44 for row in range(len(images))]
    line = bottoms[0] + block + 0.42
    figure, axis = canvas(8.9, line + block + 0.26)

    def prompts(bottom: float, fill: str, symbol: str) -> None:
        context(axis, ctx, bottom, block, fill=fill, symbol=symbol, cell=cell, size=10)
        for row, name in enumerate(classnames):
            token(axis, names, bottom + block - high - pitch * row, NAME, high, name)
        formula(axis, names + NAME + 0.5, bottom + block / 2, "$K$ prompts", 10)

    for title, y in (("CoOp", line + 0.14 + block / 2), ("CoCoOp", line - 0.2)):
        write(axis, 0, y, title, 12, side="left").set_fontweight("bold")
    prompts(line + 0.14, PALE, r"\mathbf{v}_@")
    write(axis, ctx - 0.2, line + 0.14 + block / 2, "every image has the same prompts", 10, side="right")
    axis.plot([0, 8.9], [line] * 2, color="#cccccc", linewidth=1)
    formula(axis, 4.4, line - 0.22, r"one shift, added to every $\mathbf{v}$", 10, INK)
    tall = bottoms[0] + block - bottoms[-1]
    box(axis, 1.16, bottoms[-1], 0.9, tall, ORANGE)
    write(axis, 1.61, bottoms[-1] + tall / 2, "image\nencoder\n(frozen)", 9)
    box(axis, 2.72, bottoms[-1], 0.74, tall, PALE, bold=True, edge=LEARNED)
    formula(axis, 3.09, bottoms[-1] + tall / 2 - 0.14, "$h$", 12)
    write(axis, 3.09, bottoms[-1] + tall / 2 + 0.1, "meta-net", 9)
    for row, (bottom, image) in enumerate(zip(bottoms, images, strict=True)):
        middle, fill = bottom + block / 2, SHADES[1 + row % 2]
        thumbnail(axis, 0.02, middle - 0.4, 0.8, image)
        formula(axis, 2.39, middle, rf"$\mathbf{{f}}_{row + 1}$", 12)
        box(axis, 3.76, middle - 0.2, 0.4, 0.4, fill)
        formula(axis, 3.96, middle, rf"$\mathbf{{h}}_{row + 1}$", 11)
        for start, stop in ((0.86, 1.13), (2.08, 2.26), (2.53, 2.7), (3.49, 3.73), (4.19, ctx - 0.04)):
            arrow(axis, (start, middle), (stop, middle))
        prompts(bottom, fill, rf"\mathbf{{v}}_@\!+\!\mathbf{{h}}_{row + 1}")
    formula(axis, names + NAME / 2, 0.16, r"together $B \times K$ prompts for $B$ images", 10)
    return caption(figure, message)
