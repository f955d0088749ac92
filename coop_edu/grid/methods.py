"""The methods of a grid by name: how each makes its classifier for one data set, number of shots and seed.

    zero_shot  ensemble_7  ensemble_80          hand-written prompts
    linear_probe                                a classifier on the image features
    M16_end  M4_mid_CSC  init_front ...         CoOp: the length of the context or `init` (it starts from words), the place
                                                of the class token, CSC for class-specific

Leaves out: which figures are computed (cells.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from coop_edu.clip import templates
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.coop.together import train_together
from coop_edu.coop.trainer import Trainer
from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.few_shot import draw_train_val
from coop_edu.evaluate.accuracy import Classifier
from coop_edu.evaluate.linear_probe import LinearProbe
from coop_edu.grid import workspace
from coop_edu.grid.results import Cell
from coop_edu.scales import SCALES

WITHOUT_TRAINING = ("zero_shot", "ensemble_7", "ensemble_80")
LEARNED = re.compile(r"(?:M(\d+)|(init))_(end|mid|front)(_CSC)?")  # M16_end, M4_mid_CSC; init: the scale's words
POSITIONS = {"end": "end", "mid": "middle", "front": "front"}


def make_classifiers(
    cells: Sequence[Cell], dataset: Dataset, root: str | Path | None, half: int, epochs: int | None
) -> Sequence[Classifier]:
    """Classifiers of the first `half` classes, which are all of them unless the rest is to be new."""
    first, clip, names = cells[0], workspace.get_clip(cells[0].clip), dataset.classnames[:half]
    if first.method in WITHOUT_TRAINING:
        return [ZeroShot(clip, names, _templates(first.method, dataset))]
    drawn = [[relabel(part, 0, half) for part in draw_train_val(dataset, cell.shots, cell.seed)] for cell in cells]
    if first.method == "linear_probe":
        return [
            LinearProbe(
                clip,
                names,
                workspace.get_features(first, root, "train", shots),
                workspace.get_features(first, root, "val", val),
            )
            for shots, val in drawn
        ]
    n_ctx, init, position, specific = LEARNED.fullmatch(first.method).groups()
    learners = [
        PromptLearner(
            clip,
            names,
            n_ctx=int(n_ctx or 4),
            class_specific=bool(specific),
            position=POSITIONS[position],
            init=SCALES[first.scale].init if init else None,
            seed=cell.seed,
        )
        for cell in cells
    ]
    trainers = [Trainer(learner, recipe_of(cell, epochs), progress=False) for learner, cell in zip(learners, cells)]
    plain = trainers[0].recipe.views is None
    train_together(
        trainers, [workspace.get_features(first, root, "train", some) if plain else some for some, _ in drawn]
    )
    return learners


def _templates(method: str, dataset: Dataset) -> list[str]:
    """Hand-written prompts: the data set's own; the seven of the paper's ensemble and that; CLIP's eighty."""
    if method == "ensemble_80":
        return templates.OPENAI_TEMPLATES_80
    own = [dataset.template]
    if method == "zero_shot":
        return own
    return templates.IMAGENET_TEMPLATES_7 + (own if dataset.name != "ImageNet" else [])


def recipe_of(cell: Cell, epochs: int | None = None) -> Recipe | None:
    """The recipe of the cell's scale, shots and data set, with the cell's seed; None where no prompt is trained."""
    if not LEARNED.fullmatch(cell.method):
        return None
    recipe = replace(SCALES[cell.scale].recipe(cell.shots, cell.dataset), seed=cell.seed)
    return recipe if epochs is None else replace(recipe, epochs=epochs, min_steps=0)


def relabel(examples: Iterable[Example], first: int, end: int | None = None) -> list[Example]:
    """The examples of the classes first, ..., end - 1, with labels from 0: half of a data set for base-to-new."""
    return [
        replace(example, label=example.label - first)
        for example in examples
        if example.label >= first and (end is None or example.label < end)
    ]
