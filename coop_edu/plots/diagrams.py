"""Diagrams that explain: the layout of a prompt, the path of a learned context, the map of the notebooks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from coop_edu.coop.prompt_layout import PromptConfig
from coop_edu.plots.style import (
    BLACK,
    FORMULA,
    GREY,
    MARKED,
    ORANGE,
    SKY,
    STYLES,
    as_array,
    caption,
    check_not_empty,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from IPython.display import Markdown

CONTEXT = re.compile(r"\$v(\^\{.\})?_\{\d+\}\$")  # the formula of a context vector

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


def prompt_layout(
    classnames: Sequence[str] = ("cat", "hot air balloon"),
    *,
    n_ctx: int = 4,
    position: str = "end",
    class_specific: bool = False,
    message: str = "",
) -> Figure:
    """The tokens of a prompt, and how often the text encoder computes each of them (Eqs. 2-4).

    One row per class: SOS, the context v1..vM, the words of the name, the full stop, EOT, padding. Learned vectors have
    a thick frame. Positions up to the first difference between the classes are computed once for all of them, and drawn
    as one box. Later positions are computed once per class. Positions after EOT are never computed, because they cannot
    change the feature.
    """
    check_not_empty(classnames, "class")
    rows = [_positions(name, n_ctx, position, class_specific, row) for row, name in enumerate(classnames)]
    length = max(map(len, rows)) + 2
    shared = next((i for i, column in enumerate(zip(*rows)) if len(set(column)) > 1), min(map(len, rows)))
    shared = shared if len(rows) > 1 else 0
    figure, axis = new_figure(min(9.3, 0.75 * length + 0.4), 0.55 * len(rows) + 0.5)
    fill = {"once for all classes": (SKY, ""), "once per class": (ORANGE, ""), "never": ("white", "....")}

    def draw(place: int, top: int, height: int, token: str, when: str) -> None:
        colour, hatch = fill[when]
        learned = bool(CONTEXT.fullmatch(token))
        box = FancyBboxPatch(
            (place + 0.06, -top - height + 0.6), 0.88, height - 0.2, boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colour, hatch=hatch, edgecolor=MARKED if learned else "#aaaaaa",
            linewidth=2.2 if learned else 0.8,
        )  # fmt: skip
        axis.add_patch(box)
        axis.text(place + 0.5, -top - height / 2 + 0.5, token, ha="center", va="center", fontsize=9.5,
                  gid=FORMULA if learned else None)  # fmt: skip

    for place in range(shared):  # one box for all rows, because it is computed once
        draw(place, 0, len(rows), rows[0][place], "once for all classes")
    for row, tokens in enumerate(rows):
        for place in range(shared, length):
            token = tokens[place] if place < len(tokens) else ""
            draw(place, row, 1, token, "once per class" if token else "never")
    handles = [Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor="#aaaaaa", hatch=hatch)
               for colour, hatch in fill.values()]  # fmt: skip
    handles.append(Rectangle((0, 0), 1, 1, facecolor="white", edgecolor=MARKED, linewidth=2.2))
    labels = [*(f"computed {when}" for when in fill), "learned"]
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    axis.set(xlim=(0, length), ylim=(-len(rows) + 0.4, 0.6))
    axis.axis("off")
    return caption(figure, message)


def positions_to_scale(lengths: Sequence[int], shared: int, total: int, *, message: str = "") -> Figure:
    """All positions of all prompts, a dot for each and a row per class: all of them, and those that must be computed.

    `lengths`: positions of each class up to EOT; `shared`: how many positions, from SOS on, are the same for all
    classes; `total`: the number of positions with padding.
    """
    check_not_empty(lengths, "class")
    classes = len(lengths)
    needed = np.zeros((classes, total, 3))
    needed[...] = to_rgb("#eeeeee")
    for row, length in enumerate(sorted(lengths)):
        needed[row, shared:length] = to_rgb(ORANGE)
    needed[0, :shared] = to_rgb(SKY)
    naive = np.full_like(needed, to_rgb(GREY))
    computed = shared + sum(lengths) - shared * classes
    figure, axes = new_figure(6.4, min(4.2, 3.0 * classes / total + 1.2), 1, 2)
    titles = (f"every position: {classes * total:,}", f"what is needed: {computed:,}")
    for axis, image, title in zip(axes, (naive, needed), titles, strict=True):
        axis.imshow(image, aspect="equal", interpolation="nearest")
        axis.set_xticks(np.arange(-0.5, total), minor=True)
        axis.set_yticks(np.arange(-0.5, classes), minor=True)
        axis.grid(which="minor", color="white", linewidth=0.6)
        axis.tick_params(which="both", length=0)
        axis.set(xticks=[], yticks=[], xlabel="position", ylabel="class", title=title)
        axis.spines[:].set_visible(False)
    return caption(figure, message)


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


def _positions(name: str, n_ctx: int, position: str, class_specific: bool, row: int) -> list[str]:
    owner = f"^{{{chr(97 + row)}}}" if class_specific else ""
    context = [f"$v{owner}_{{{m}}}$" for m in range(1, n_ctx + 1)]
    words = name.replace("_", " ").split()
    before, _ = PromptConfig(n_ctx, class_specific, position).before_and_after()
    return ["SOS", *context[:before], *words, *context[before:], ".", "EOT"]
