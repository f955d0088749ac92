"""Diagrams that explain: the layout of a prompt, the path of a learned context, the map of the notebooks.

Leaves out: how a prompt is really assembled (prompt_learner.py) and what the encoder skips (prompt_encoder.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from coop_edu.plots.style import (
    BLACK,
    BLUE,
    GREY,
    SKY,
    VERMILION,
    YELLOW,
    as_array,
    caption,
    new_figure,
    tidy,
)

NOTEBOOKS = (  # file, title, the question it answers
    ("00_start_here", "Start here", "Does wording change what CLIP sees?"),
    ("01_clip_probability", "The CLIP probability", "How does CLIP turn words into a classifier?"),
    ("02_prompt_engineering", "Prompt engineering", "How far do hand-written prompts get?"),
    ("03_prompt_learner", "The prompt learner", "Can the words be learned instead?"),
    ("04_few_shot_training", "Few-shot training", "How many pictures does that take?"),
    ("05_class_specific_context", "Class-specific context", "One context for all, or one for each class?"),
    ("06_domain_generalisation", "Domain generalisation", "Does it hold where the pictures change?"),
)


def prompt_layout(
    classnames: Sequence[str] = ("cat", "hot air balloon"),
    *,
    n_ctx: int = 4,
    position: str = "end",
    class_specific: bool = False,
    message: str = "",
) -> Figure:
    """What stands at each position of a prompt, and how often the text encoder has to compute it (Eqs. 2-4).

    One row a class: SOS, the context v1..vM, the words of the name, the full stop, EOT, padding. Learned vectors have a
    thick frame. A position is computed once for all classes while everything up to it is the same; once a class from
    there on; and never after EOT, because nothing behind it can change the feature.
    """
    rows = [_positions(name, n_ctx, position, class_specific, row) for row, name in enumerate(classnames)]
    length = max(map(len, rows)) + 2
    shared = next((i for i, column in enumerate(zip(*rows)) if len(set(column)) > 1), min(map(len, rows)))
    figure, axis = new_figure(min(13.0, 0.82 * length + 0.6), 0.75 * len(rows) + 1.3)
    fill = {"once for all classes": (SKY, ""), "once a class": (YELLOW, "//"), "never": ("white", "..")}
    for row, tokens in enumerate(rows):
        for place in range(length):
            token = tokens[place] if place < len(tokens) else ""
            if place >= len(tokens):
                when = "never"
            elif place < shared and len(rows) > 1:
                when = "once for all classes"
            else:
                when = "once a class"
            colour, hatch = fill[when]
            learned = token.startswith("$v")
            style = {"edgecolor": BLACK if learned else "#bbbbbb", "linewidth": 2.2 if learned else 0.8}
            box = FancyBboxPatch(
                (place + 0.06, -row - 0.4), 0.88, 0.8, boxstyle="round,pad=0,rounding_size=0.08"
            )
            box.set(facecolor=colour, **style)
            if when == "never":
                box.set(hatch=hatch)
            axis.add_patch(box)
            axis.text(place + 0.5, -row, token, ha="center", va="center", fontsize=9)
    handles = [Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor="#bbbbbb", hatch=hatch if when == "never" else "")
               for when, (colour, hatch) in fill.items()]  # fmt: skip
    labels = [f"computed {when}" for when in fill]
    handles.append(Rectangle((0, 0), 1, 1, facecolor="white", edgecolor=BLACK, linewidth=2.2))
    figure.legend(
        handles, [*labels, "learned"], loc="outside upper center", ncols=4, frameon=False, fontsize=9
    )
    axis.set(xlim=(0, length), ylim=(-len(rows) + 0.4, 0.6))
    axis.axis("off")
    return caption(figure, message)


def context_path(path: Any, landmarks: Mapping[str, Any], *, message: str = "") -> Figure:
    """The context on its way through training, in the plane of the two directions that vary most (PCA).

    `path`: the context after each epoch, (T, M, D) or a list of (M, D); `landmarks`: name -> the token embeddings of a
    hand-written prompt of as many tokens, (M, D). The axes say how much of the variance the plane shows.
    """
    steps = np.stack([np.ravel(as_array(step)) for step in path])
    fixed = {name: np.ravel(as_array(value)) for name, value in landmarks.items()}
    for name, value in fixed.items():
        if value.size != steps.shape[1]:
            raise ValueError(
                f"expected landmark {name!r} to have {steps.shape[1]} numbers like the context, got {value.size}: "
                "a hand-written prompt must have as many tokens as the context (n_ctx)"
            )
    points = np.stack([*steps, *fixed.values()])
    centred = points - points.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ directions[:2].T  # (T + landmarks, 2)
    share = 100 * spread[:2] ** 2 / max(float((spread**2).sum()), 1e-12)
    figure, axis = new_figure(6.4, 4.6)
    walked = plane[: len(steps)]
    axis.plot(*walked.T, color=GREY, linewidth=1, zorder=1)
    picture = axis.scatter(*walked.T, c=range(len(steps)), cmap="cividis", s=22, zorder=2)
    figure.colorbar(picture, ax=axis, label="epoch")
    for text, point in (("start", walked[0]), ("end", walked[-1])):
        axis.annotate(text, point, xytext=(6, 6), textcoords="offset points", fontweight="bold")
    for name, point in zip(fixed, plane[len(steps) :], strict=True):
        axis.plot(*point, marker="D", color=VERMILION, linestyle="none")
        axis.annotate(name, point, xytext=(6, -11), textcoords="offset points", fontsize=9)
    axis.margins(0.15)
    axis.set(
        xlabel=f"1st direction ({share[0]:.0f} % of the variance)", ylabel=f"2nd direction ({share[1]:.0f} %)"
    )
    tidy(axis)
    return caption(figure, message)


def map_of_notebooks(here: str = "") -> Figure:
    """The notebooks in order, each with the question it answers; the one that starts with `here` is marked."""
    marked = [file for file, _, _ in NOTEBOOKS if here and file.startswith(here)]
    if here and not marked:
        raise ValueError(
            f"no notebook starts with {here!r}; there are {', '.join(f for f, _, _ in NOTEBOOKS)}"
        )
    figure, axis = new_figure(7.4, 0.52 * len(NOTEBOOKS) + 0.3)
    for row, (file, title, question) in enumerate(NOTEBOOKS):
        current = file in marked
        box = FancyBboxPatch((0.02, -row - 0.36), 3.0, 0.72, boxstyle="round,pad=0,rounding_size=0.12")
        box.set(
            facecolor=YELLOW if current else "#eef4fa", edgecolor=BLACK if current else BLUE, linewidth=1.2
        )
        axis.add_patch(box)
        axis.text(0.16, -row, f"{file[:2]}  {title}", va="center", fontsize=10.5, fontweight="bold")
        axis.text(3.2, -row, question + ("   << you are here" if current else ""), va="center", fontsize=10)
        if row:
            axis.annotate(
                "", (1.5, -row + 0.36), (1.5, -row + 0.64), arrowprops={"arrowstyle": "-|>", "color": BLUE}
            )
    axis.set(xlim=(0, 7.4), ylim=(-len(NOTEBOOKS) + 0.5, 0.5))
    axis.axis("off")
    return figure


def _positions(name: str, n_ctx: int, position: str, class_specific: bool, row: int) -> list[str]:
    owner = f"^{{{chr(97 + row)}}}" if class_specific else ""
    context = [f"$v{owner}_{{{m}}}$" for m in range(1, n_ctx + 1)]
    words = name.replace("_", " ").split()
    half = n_ctx // 2
    layouts = {
        "end": [*context, *words],
        "middle": [*context[:half], *words, *context[half:]],
        "front": [*words, *context],
    }
    if position not in layouts:
        raise ValueError(f"expected position 'end', 'middle' or 'front', got {position!r}")
    return ["SOS", *layouts[position], ".", "EOT"]
