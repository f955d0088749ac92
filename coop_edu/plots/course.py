"""The map of the notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
PARTS = {  # the number of a part's first notebook: the part
    "00": "**I. Build it**",
    "05": "**II. The paper's questions**",
    "08": "**III. Choose, in any order**",
}


def map_of_notebooks(here: str = "") -> Markdown:
    """The notebooks by parts, each a link with its question; the one whose file starts with `here` is marked.

    >>> print(map_of_notebooks("00").data.splitlines()[3])
    | **▸ 00 · Start here** (you are here) | Does wording change what CLIP answers? |
    """
    from IPython.display import Markdown

    marked = [file for file, _, _ in NOTEBOOKS if here and file.startswith(here)]
    lines = ["| Notebook | The question it answers |", "|:---|:---|"]
    for file, title, question in NOTEBOOKS:
        if file[:2] in PARTS:
            lines.append(f"| {PARTS[file[:2]]} | |")
        name = f"{file[:2]} · {title}"
        cell = f"**▸ {name}** (you are here)" if file in marked else f"[{name}]({file}.ipynb)"
        lines.append(f"| {cell} | {question} |")
    return Markdown("\n".join(lines))
