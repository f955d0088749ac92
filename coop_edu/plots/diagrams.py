"""Two overviews: the path of a learned context, and the map of the notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from coop_edu.plots.style import (
    BLACK,
    GREY,
    STYLES,
    as_array,
    caption,
    check_not_empty,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from IPython.display import Markdown

NOTEBOOKS = (  # file, title, the question it answers
    ("00_start_here", "Start here", "Does wording change what CLIP answers?"),
    ("01_clip_probability", "The CLIP probability", "How does CLIP turn words into a classifier?"),
    ("02_prompt_engineering", "Prompt engineering", "How far do hand-written prompts get?"),
    ("03_prompt_learner", "The prompt learner", "Can the words be learned instead?"),
    ("04_few_shot_training", "Few-shot training", "How many images does that take?"),
    ("05_class_specific_context", "Class-specific context", "One context for all, or one for each class?"),
    ("06_domain_generalisation", "Domain generalisation", "Does it hold where the images change?"),
    ("07_eleven_tasks", "Eleven tasks", "Does one recipe work for eleven subjects?"),
    ("08_miniature_to_real", "From the miniature to the real thing", "What does the paper's own scale take?"),
    ("09_ablations", "Ablations", "Which choice is worth how much?"),
    ("10_what_was_learned", "What did the prompt learn?", "What do the learned numbers do?"),
    ("11_what_came_after", "What came after", "Does it hold for classes that were never seen?"),
    ("12_your_own_images", "Your own images", "Does it work for mine?"),
)


def context_path(path: Any, landmarks: Mapping[str, Any], *, message: str = "") -> Figure:
    """The context during training, in the plane of the two directions that vary most (PCA).

    `path`: the context after each epoch, (T, M, D) or a list of (M, D); `landmarks`: name -> the token embeddings of a
    hand-written prompt of M tokens, (M, D). The axes say how much of the variance they show. ValueError for a prompt of
    another number of tokens.
    """
    check_not_empty(path, "context")
    steps = np.stack([np.ravel(as_array(step)) for step in path])
    fixed = {name: np.ravel(as_array(value)) for name, value in landmarks.items()}
    points = np.stack([*steps, *fixed.values()])
    centred = points - points.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ directions[:2].T  # (T + landmarks, 2)
    share = 100 * spread[:2] ** 2 / max(float((spread**2).sum()), 1e-12)
    figure, axis = new_figure(6.4, 4.6)
    walked = plane[: len(steps)]
    axis.plot(*walked.T, color=GREY, linewidth=1, zorder=1)
    points = axis.scatter(*walked.T, c=range(len(steps)), cmap="cividis", s=22, zorder=2)
    figure.colorbar(points, ax=axis, label="epoch")
    for text, point in (("start", walked[0]), ("end", walked[-1])):
        axis.annotate(text, point, xytext=(6, 6), textcoords="offset points", fontweight="bold")
    for name, point in zip(fixed, plane[len(steps) :], strict=True):
        axis.plot(*point, marker=STYLES["zero-shot"][1], markersize=11, color=BLACK, linestyle="none")
        axis.annotate(name, point, xytext=(6, -11), textcoords="offset points", fontsize=9)
    axis.margins(0.15)
    axis.set(xlabel=f"1st direction ({share[0]:.0f} % of the variance)", ylabel=f"2nd direction ({share[1]:.0f} %)")
    tidy(axis)
    return caption(figure, message)


def map_of_notebooks(here: str = "") -> Markdown:
    """The notebooks in order, each a link with its question; the one whose file starts with `here` is marked.

    >>> print(map_of_notebooks("00").data.splitlines()[2])
    | **▸ 00 · Start here** (you are here) | Does wording change what CLIP answers? |
    """
    from IPython.display import Markdown

    marked = [file for file, _, _ in NOTEBOOKS if here and file.startswith(here)]
    lines = ["| Notebook | The question it answers |", "|:---|:---|"]
    for file, title, question in NOTEBOOKS:
        name = f"{file[:2]} · {title}"
        cell = f"**▸ {name}** (you are here)" if file in marked else f"[{name}]({file}.ipynb)"
        lines.append(f"| {cell} | {question} |")
    return Markdown("\n".join(lines))
