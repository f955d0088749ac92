"""Pictures and what CLIP makes of them: probabilities as bars (Eq. 1), grids, the similarity matrix of a batch.

Leaves out: the probabilities themselves (probability.py, evaluation.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from coop_edu.plots.style import BLUE, SKY, as_array, caption, draw_bars, draw_picture, new_figure


def show_probabilities(
    image: Any, probabilities: Mapping[str, float], *, truth: str = "", top: int = 5, message: str = ""
) -> Figure:
    """One picture, and the `top` most probable classes as bars (Eq. 1).

    `image`: path, PIL image, array or bytes; `probabilities`: class name -> p(y|x), as `predict` returns them.
    The class `truth`, if named, is marked.
    """
    best = sorted(probabilities.items(), key=lambda item: -item[1])[:top]
    figure, (left, right) = new_figure(7.0, max(2.2, 0.5 * len(best) + 0.7), 1, 2, width_ratios=(1, 2))
    draw_picture(left, image)
    names = [f"{name} (true)" if name == truth else name for name, _ in best]
    values = [100 * p for _, p in best]
    colours = [BLUE if name == truth or not truth else SKY for name, _ in best]
    draw_bars(right, names, values, colours, limit=100)
    right.set_xlabel("probability, %")
    return caption(figure, message)


def compare_wordings(
    image: Any, answers: Mapping[str, Mapping[str, float]], *, truth: str = "", top: int = 4, message: str = ""
) -> Figure:
    """One picture, and beside it what each wording makes CLIP answer: the `top` classes of each, as bars (Eq. 1).

    `answers`: template -> {class name: p(y|x)}, as `predict` returns them. The class `truth`, if named, is marked.
    """
    figure, axes = new_figure(2.1 + 3.2 * len(answers), 0.42 * top + 1.2, 1, 1 + len(answers), width_ratios=(
        1.4, *[2] * len(answers)))  # fmt: skip
    draw_picture(axes[0], image)
    for axis, (template, probabilities) in zip(axes[1:], answers.items(), strict=True):
        best = sorted(probabilities.items(), key=lambda item: -item[1])[:top]
        names = [f"{name} (true)" if name == truth else name for name, _ in best]
        colours = [BLUE if name == truth or not truth else SKY for name, _ in best]
        draw_bars(axis, names, [100 * p for _, p in best], colours, limit=100)
        axis.set_xticks([0, 50, 100])
        axis.set_title(f"“{template}”", fontsize=11)
        axis.set_xlabel("probability, %")
    return caption(figure, message)


def show_images(
    images: Sequence[Any], titles: Sequence[str] | None = None, *, columns: int = 8, message: str = ""
) -> Figure:
    """Pictures in a grid, each under its title. A picture may be an Example, a path, a PIL image, an array or bytes."""
    if not len(images):
        raise ValueError(
            "expected at least one picture to show, got none: is this split of the data set empty?"
        )
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"expected one title a picture, {len(images)}; got {len(titles)}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure, axes = new_figure(max(4.0, 1.25 * columns), (1.45 if titles else 1.2) * rows + 0.4, rows, columns)
    for axis in (cells := np.atleast_1d(axes).ravel()):
        axis.axis("off")
    for number, (axis, image) in enumerate(zip(cells, images, strict=False)):
        draw_picture(axis, image, textwrap.fill(titles[number], 16) if titles else "")
    return caption(figure, message)


def similarity_matrix(
    similarity: Any,
    images: Sequence[Any] = (),
    captions: Sequence[str] = (),
    *,
    title: str = "",
    message: str = "",
) -> Figure:
    """A heat map of picture-caption similarities: (B, C), pictures down the side, captions along the top.

    Up to 12 x 12 the values stand in the cells; after contrastive training the diagonal is the brightest.
    """
    values = np.asarray(as_array(similarity), dtype=float)
    if values.ndim != 2:
        raise ValueError(f"expected a similarity matrix of shape (B, C), got shape {values.shape}")
    _same_count("pictures", images, values.shape[0], "rows")
    _same_count("captions", captions, values.shape[1], "columns")
    rows, columns = values.shape
    size = 0.62
    figure, axis = new_figure(min(10.0, columns * size + 2.6), min(10.0, rows * size + 1.9))
    picture = axis.imshow(values, cmap="cividis", aspect="equal")
    figure.colorbar(picture, ax=axis, shrink=0.8, label="cosine similarity")
    short = [textwrap.shorten(text, 28, placeholder="…") for text in captions]
    axis.set_xticks(range(len(short)), short, rotation=40, ha="left")
    axis.xaxis.tick_top()
    axis.set_yticks([])
    for row, image in enumerate(images):
        inset = axis.inset_axes((-1.5, row - 0.48, 0.96, 0.96), transform=axis.transData)
        draw_picture(inset, image)
    if max(rows, columns) <= 12:
        middle = (values.min() + values.max()) / 2
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if value < middle else "black"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    if title:
        axis.set_title(title, fontsize=12, pad=12)
    return caption(figure, message)


def _same_count(what: str, given: Sequence[Any], expected: int, axis: str) -> None:
    if len(given) and len(given) != expected:
        raise ValueError(f"expected as many {what} as the matrix has {axis}, {expected}; got {len(given)}")
