"""Images and CLIP's answers: probabilities as bars (Eq. 1), grids, the similarity matrix of a batch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coop_edu.plots.style import (
    BAR,
    BLACK,
    RIGHT,
    as_array,
    caption,
    check_not_empty,
    draw_image,
    new_figure,
    shown_name,
    tidy,
    whole_percent,
)


def show_probabilities(
    image: Any, probabilities: Mapping[str, float], *, truth: str = "", top: int = 5, message: str = ""
) -> Figure:
    """One image, and the `top` most probable classes as bars (Eq. 1).

    `image`: path, PIL image, array or bytes; `probabilities`: class name -> p(y|x), as `predict` returns them;
    `truth`: the class to mark.
    """
    check_not_empty(probabilities, "class")
    figure, (left, right) = new_figure(
        7.0, max(2.2, 0.42 * min(top, len(probabilities)) + 0.6), 1, 2, width_ratios=(1, 2)
    )
    draw_image(left, image)
    _draw_answer(right, probabilities, truth, top)
    right.set_xlabel("probability, %")
    return caption(figure, message)


def compare_wordings(
    image: Any, answers: Mapping[str, Mapping[str, float]], *, truth: str = "", top: int = 4, message: str = ""
) -> Figure:
    """One image, and CLIP's answer for each wording beside it: the `top` classes of each, as bars (Eq. 1).

    `answers`: template -> {class name: p(y|x)}, as `predict` returns them. The first answer stands above the bars.
    `truth`: the class to mark; the first answers get a ✓ or ✗ by it.
    """
    check_not_empty(answers, "wording")
    figure, axes = new_figure(1.5 + 2.6 * len(answers), 0.32 * top + 1.2, 1, 1 + len(answers), width_ratios=(
        4, *[2] * len(answers)))  # fmt: skip
    draw_image(axes[0], image, textwrap.fill(truth, 20))
    highest = max((p for answer in answers.values() for p in answer.values()), default=1.0)
    limit = 50 if highest <= 0.45 else 100  # one axis for all wordings; bars that are short on it get a finer one
    for axis, (template, probabilities) in zip(axes[1:], answers.items(), strict=True):
        first = _draw_answer(axis, probabilities, truth, top, limit)
        axis.set_xticks([0, limit // 2, limit])
        axis.set_title(textwrap.fill(f"“{template}”", 24) + "\n", fontsize=10, loc="left")
        verdict = "" if not truth else "✓" if first == truth else "✗"
        colour = RIGHT if first == truth else BLACK
        look = {"xycoords": "axes fraction", "fontsize": 11, "fontweight": "bold", "color": colour}
        axis.annotate(f"{verdict} {first}", (0, 1.03), **look)
    return caption(figure, message)


def compare_answers(
    images: Sequence[Any], answers: Mapping[str, Sequence[str]], truths: Sequence[str], *, message: str = ""
) -> Figure:
    """Several images, and below each the answer of every wording or method, with ✓ or ✗.

    `answers`: a template or the label of a method -> a class name for each image; `truths`: the right ones. Templates
    stand in quotation marks. ValueError for another number of names.
    """
    check_not_empty(images, "image")
    figure, axis = new_figure(min(9.3, 1.6 + 1.3 * len(images)), 1.4 + 0.45 * len(answers))
    for column, (image, truth) in enumerate(zip(images, truths, strict=True)):
        draw_image(axis.inset_axes((column + 0.1, -0.8, 0.8, 0.8), transform=axis.transData), image, truth)
    for row, (wording, names) in enumerate(answers.items()):
        row_name = textwrap.fill(f"“{wording}”" if "{" in wording else shown_name(wording), 18)
        axis.text(-0.1, 0.24 + 0.36 * row, row_name, ha="right", va="center", fontsize=10)
        for column, (name, truth) in enumerate(zip(names, truths, strict=True)):
            look: dict[str, Any] = {"color": RIGHT, "fontweight": "bold"} if name == truth else {}
            text = textwrap.fill(f"{'✓' if name == truth else '✗'} {name}", 14)
            axis.text(column + 0.5, 0.24 + 0.36 * row, text, ha="center", va="center", fontsize=9.5, **look)
    axis.set(xlim=(0, len(images)), ylim=(0.06 + 0.36 * len(answers), -0.85))
    axis.axis("off")
    return caption(figure, message)


def show_images(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    *,
    rows: Sequence[str] = (),
    columns: int = 8,
    message: str = "",
) -> Figure:
    """Images in a grid, each under its title; `rows` may have a name for each row.

    A title may have several lines. An image may be an Example, a path, a PIL image, an array or bytes. Raises
    ValueError for too few or many titles.
    """
    check_not_empty(images, "image")
    columns = min(columns, len(images))
    lines = -(-len(images) // columns)
    height = 1.35 if titles and (all(titles) or lines == 1) else 1.15
    figure, axes = new_figure(
        max(4.0, 1.1 * columns + 1.2 * bool(rows)), height * lines + 0.25, lines, columns, squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat[: len(images)], images, titles or [""] * len(images), strict=True):
        draw_image(axis, image, "\n".join(textwrap.fill(line, 16) for line in title.split("\n")))
    for axis, name in zip(axes[:, 0], rows):
        look = {"xycoords": "axes fraction", "ha": "right", "va": "center", "fontsize": 10, "fontweight": "bold"}
        axis.annotate(name, (-0.12, 0.5), **look)
    return caption(figure, message)


def similarity_matrix(
    similarity: Any, images: Sequence[Any] = (), captions: Sequence[str] = (), *, message: str = ""
) -> Figure:
    """A heat map of image-caption similarities: (B, C), images down the side, captions along the top.

    White is zero; positive and negative values have two colours.  Several matrices, as {title: matrix}, stand side by
    side with one colour scale.  One or two matrices of up to 12 x 12 have their values written in the cells.
    """
    given = similarity if isinstance(similarity, Mapping) else {"": similarity}
    matrices = {title: np.asarray(as_array(values), dtype=float) for title, values in given.items()}
    check_not_empty(matrices, "matrix")
    (rows, columns), panels = next(iter(matrices.values())).shape, len(matrices)
    limit = max(abs(m).max() for m in matrices.values()) or 1.0
    cell = 0.6 if panels <= 2 else 0.26
    figure, axes = new_figure(
        min(9.3, cell * columns * panels + 1.8), min(9.0, cell * rows + (0.9 if len(captions) else 0.5)),
        1, panels, squeeze=False,
    )  # fmt: skip
    for axis, (title, values) in zip(axes[0], matrices.items(), strict=True):
        heat = axis.imshow(values, cmap="PuOr_r", aspect="equal", vmin=-limit, vmax=limit)
        axis.set_title(title, fontsize=11)
        short = [textwrap.shorten(text, 28, placeholder="…") for text in captions]
        axis.set_xticks(range(columns if short else 0), short, rotation=40, ha="left")
        axis.xaxis.tick_top()
        axis.set_yticks([])
        if panels <= 2 and max(rows, columns) <= 12:
            for (row, column), value in np.ndenumerate(values):
                colour = "white" if abs(value) > 0.7 * limit else "black"
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    for row, image in enumerate(images):
        draw_image(axes[0, 0].inset_axes((-1.5, row - 0.48, 0.96, 0.96), transform=axes[0, 0].transData), image)
    figure.colorbar(heat, ax=axes[0].tolist(), shrink=0.8, aspect=30 if panels <= 2 else 12, label="cosine similarity")
    return caption(figure, message)


def _draw_answer(axis: Axes, probabilities: Mapping[str, float], truth: str, top: int, limit: float = 100) -> str:
    """Draw the most probable classes as bars, the true one marked, and return the first."""
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    best = ranked[:top]
    if truth in probabilities and truth not in dict(best):  # always to be seen
        best[-1] = truth, probabilities[truth]
    names = [f"✓ {name}" if name == truth else name for name, _ in best]  # not by its colour alone
    colours = [RIGHT if name == truth else BAR for name, _ in best]
    axis.barh(range(len(best)), [100 * p for _, p in best], color=colours)
    for row, (_, p) in enumerate(best):
        look: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 9.5}
        axis.annotate(whole_percent(100 * p), (100 * p, row), **look)
    axis.set_yticks(range(len(names)), names)
    axis.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.13 * limit), xticks=np.linspace(0, limit, 6))
    axis.spines["bottom"].set_bounds(0, limit)
    tidy(axis, grid="x")
    return best[0][0]
