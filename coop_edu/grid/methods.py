"""The methods of a grid: for each its name in commands and results, its label in figures, and how it is made.

    zero_shot  ensemble_7  ensemble_80          hand-written prompts
    linear_probe                                a classifier on the image features
    M16_end  M4_mid_CSC  init_front ...         CoOp: the context length, or `init` for the scale's words; the place of
                                                the class name; CSC for class-specific
    KgCoOp_init_end  CoCoOp_init_end ...        the same of another method

Leaves out: which figures are computed (cells.py), how a method learns (coop/).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from coop_edu.clip import templates
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.coop.cocoop import CoCoOp
from coop_edu.coop.kgcoop import KgCoOp
from coop_edu.coop.prompt_config import PromptConfig
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.coop.together import train_together
from coop_edu.coop.trainer import Trainer
from coop_edu.data.dataset import Dataset
from coop_edu.evaluate.accuracy import Classifier
from coop_edu.evaluate.linear_probe import LinearProbe
from coop_edu.grid.group import Group
from coop_edu.grid.results import Cell
from coop_edu.scales import SCALES


@dataclass(frozen=True)
class Method:
    """One way to get a classifier.

    make: one classifier for each cell of a group; recipe: what it makes of a scale's recipe, None where no prompt is
    trained; learned: are there shots and seeds?  new_classes: can it be asked for classes that it has not seen?
    """

    name: str
    label: str
    make: Callable[[Group], Sequence[Classifier]]
    recipe: Callable[[Recipe], Recipe] | None = None
    learned: bool = True
    new_classes: bool = True


def hand_written(name: str, label: str, templates_of: Callable[[Dataset], list[str]]) -> Method:
    def make(group: Group) -> list[Classifier]:
        return [ZeroShot(group.clip, group.classnames, templates_of(group.dataset))]

    return Method(name, label, make, learned=False)


def seven_and_own(dataset: Dataset) -> list[str]:
    """The templates of the paper's ensemble, and the data set's own, which ImageNet's is among."""
    return templates.IMAGENET_TEMPLATES_7 + ([dataset.template] if dataset.name != "ImageNet" else [])


def _probes(group: Group) -> list[Classifier]:
    return [
        LinearProbe(group.clip, group.classnames, group.features("train", shots), group.features("val", val))
        for shots, val in group.drawn()
    ]


WITHOUT_PROMPTS = (
    hand_written("zero_shot", "zero-shot", lambda dataset: [dataset.template]),
    hand_written("ensemble_7", "ensemble of 7", seven_and_own),
    hand_written("ensemble_80", "ensemble of 80", lambda dataset: templates.OPENAI_TEMPLATES_80),
    Method("linear_probe", "linear probe", _probes, new_classes=False),
)


@dataclass(frozen=True)
class Family:
    """What is learned: the class, its options for a data set, and its recipe, where it is not the scale's."""

    learner: type[PromptLearner]
    options: Callable[[Dataset], dict[str, Any]] = lambda dataset: {}
    recipe: Callable[[Recipe], Recipe] = lambda recipe: recipe


FAMILIES = {
    "CoOp": Family(PromptLearner),
    "KgCoOp": Family(KgCoOp, lambda dataset: {"template": dataset.template}),
    # The authors': batches of one image, ten epochs.
    "CoCoOp": Family(CoCoOp, recipe=lambda recipe: replace(recipe, batch_size=1, epochs=10, min_steps=0)),
}
POSITIONS = {"end": "end", "mid": "middle", "front": "front"}


@lru_cache(maxsize=100)
def find_method(name: str) -> Method:
    """The method of that name; ValueError, with what is known, for another.

    >>> find_method("M16_end").label, find_method("M4_mid_CSC").label, find_method("KgCoOp_init_end").label
    ('CoOp', 'CoOp, M=4, name in the middle, class-specific', 'KgCoOp, M=4 from words')
    """
    for method in WITHOUT_PROMPTS:
        if method.name == name:
            return method
    words = name.split("_")
    family = words.pop(0) if words[0] in FAMILIES else "CoOp"
    class_specific = words[-1:] == ["CSC"]
    try:
        start, place = words[:-1] if class_specific else words
        n_ctx = 4 if start == "init" else int(start[1:])
        config = PromptConfig(n_ctx, class_specific, POSITIONS[place])
        if start not in ("init", f"M{n_ctx}"):
            raise ValueError(start)
    except (ValueError, KeyError) as error:
        known = ", ".join(method.name for method in WITHOUT_PROMPTS)
        raise ValueError(
            f"unknown method {name!r}: expected {known}, or a prompt such as M16_end, M4_mid, M16_end_CSC, init_end, "
            "KgCoOp_init_end"
        ) from error
    return _learned(name, family, config, from_words=start == "init")


def recipe_of(cell: Cell, epochs: int | None = None) -> Recipe | None:
    """The recipe of the cell's scale, shots and data set, with the cell's seed; None where no prompt is trained."""
    change = find_method(cell.method).recipe
    if change is None:
        return None
    recipe = change(replace(SCALES[cell.scale].recipe(cell.shots, cell.dataset), seed=cell.seed))
    return recipe if epochs is None else replace(recipe, epochs=epochs, min_steps=0)


def _learned(name: str, family: str, config: PromptConfig, *, from_words: bool) -> Method:
    made = FAMILIES[family]
    length = f", M={config.n_ctx}" if config.n_ctx != 16 else ""
    place = f", name {'in the ' if config.position == 'middle' else 'in '}{config.position}"
    label = family + length + (" from words" if from_words else "") + (place if config.position != "end" else "")

    def make(group: Group) -> list[Classifier]:
        options = made.options(group.dataset)
        trainers = []
        for cell in group.cells:
            own = replace(config, init=group.scale.init if from_words else None, seed=cell.seed)
            learner = made.learner(group.clip, group.classnames, config=own, **options)
            recipe = recipe_of(cell, group.workspace.epochs)
            assert recipe is not None
            trainers.append(Trainer(learner, recipe, progress=False))
        plain = trainers[0].recipe.views is None
        train_together(trainers, [group.features("train", some) if plain else some for some, _ in group.drawn()])
        return [trainer.learner for trainer in trainers]

    return Method(
        name,
        label + (", class-specific" if config.class_specific else ""),
        make,
        recipe=made.recipe,
        new_classes=not config.class_specific,
    )
