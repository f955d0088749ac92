"""One name, the scale, chooses the CLIP, the datasets and the recipe of a notebook.

`mini` runs on a laptop's CPU without network; `paper` is the setting of the paper's Section 4 (RN50, ImageNet and
ten more datasets, the four ImageNet variants).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coop_edu.data.iconnet import iconnet_cards
from coop_edu.data.paper_places import PAPER_DATASETS

if TYPE_CHECKING:
    from coop_edu.coop.recipe import Recipe

VARIABLE = "COOP_EDU_SCALE"

PAPER_TASKS = ("ImageNet", *PAPER_DATASETS)


@dataclass(frozen=True)
class Scale:
    """One scale's choices: the CLIP for load_clip, the datasets for load_dataset, M, and the recipe."""

    name: str
    clip: str
    source: str  # where prompts are learned for domain generalisation
    variants: tuple[str, str, str, str]  # V2, Sketch, A, R: where they are tested
    template: str  # the hand-written prompt of the source
    init: str  # words to start a context from, instead of random vectors
    n_ctx: int = 16  # M of the eleven-panel figure

    @property
    def tasks(self) -> tuple[str, ...]:
        """The datasets of the eleven-panel figure (paper's Fig. 3), the source first."""
        return PAPER_TASKS if self.name == "paper" else (self.source, *_mini_tasks())

    def recipe(self, shots: int, dataset: str | None = None) -> Recipe:
        """The training recipe of this scale for `shots` images per class (paper's Section 4.1)."""
        from coop_edu.coop.recipe import Recipe

        return Recipe.paper(shots, dataset) if self.name == "paper" else Recipe.mini(shots)


SCALES = {
    "mini": Scale(
        name="mini",
        clip="mini",
        source="IconNet",
        variants=("IconNetV2", "IconNet-Sketch", "IconNet-A", "IconNet-R"),
        template="an icon of a {}.",
        init="an icon of a",
    ),
    "paper": Scale(
        name="paper",
        clip="RN50",
        source="ImageNet",
        variants=("ImageNetV2", "ImageNet-Sketch", "ImageNet-A", "ImageNet-R"),
        template="a photo of a {}.",
        init="a photo of a",
    ),
}


def choose_scale(name: str | None = None) -> Scale:
    """Return the scale `name`, and print it.

    The environment variable COOP_EDU_SCALE, where it is set, wins over the name typed in a notebook, so that a whole
    course can be run at another scale without editing it.

    Raises ValueError for an unknown scale.

    >>> scale = choose_scale("mini")
    scale: mini (CLIP: mini; prompts are learned on IconNet)
    """
    argument, from_environment = name, os.environ.get(VARIABLE)
    chosen = from_environment or argument or "mini"
    if chosen not in SCALES:
        origin = f"from the environment variable {VARIABLE}" if from_environment else "as the argument"
        raise ValueError(f"expected a scale, one of {' or '.join(map(repr, SCALES))}; got {chosen!r} {origin}")
    scale = SCALES[chosen]
    because = f", because {VARIABLE} says so" if from_environment and from_environment != (argument or "mini") else ""
    print(f"scale: {scale.name} (CLIP: {scale.clip}; prompts are learned on {scale.source}){because}")
    return scale


def _mini_tasks() -> tuple[str, ...]:
    """The ten small tasks, in the order of the shipped catalogue."""
    return tuple(name for name, facts in iconnet_cards().items() if facts.get("role") == "task")
