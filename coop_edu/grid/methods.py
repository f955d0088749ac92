"""The methods of a grid, as values: each carries what it learns with, and its name and label follow from that.

    zero_shot  ensemble_7  ensemble_80          hand-written prompts
    linear_probe                                a classifier on the image features
    M16_end  M4_mid_CSC  init_front ...         CoOp: the context length, or `init` for the scale's words; the position
                                                of the class name; CSC for class-specific
    KgCoOp_init_end  CoCoOp_init_end ...        the same of another method

A method of your own stands in a file of yours.  `register_method(my_method)`, or the option
`--methods my_file.py:my_method`, brings it into a grid:

    my_method = find_method("KgCoOp_init_end").with_options(weight=4)           # a hyperparameter
    my_method = Method(PromptConfig(4), trainer=ProGrad, colour="#882255")      # another training step
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from coop_edu.clip import templates
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.coop.cocoop import CoCoOp
from coop_edu.coop.kgcoop import KgCoOp
from coop_edu.coop.prompt_layout import POSITIONS, PromptConfig
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


def unchanged(recipe: Recipe) -> Recipe:
    return recipe


@dataclass(frozen=True)
class Method:
    """One way to learn a prompt.

    config: what the prompt looks like; its seed is the cell's.  from_words: the context starts from the scale's words.
    learner, trainer: the classes.  options: the learner's own arguments; a function is called with the dataset.
    recipe: a function that changes the scale's recipe.  kind: first part of the name, instead of the class names.
    colour: in figures.

    >>> method = find_method("KgCoOp_init_end").with_options(weight=4)
    >>> method.name, method.label
    ('KgCoOp_init_end_weight=4', 'KgCoOp, M=4 from words, weight=4')
    """

    config: PromptConfig = field(default_factory=PromptConfig)
    from_words: bool = False
    learner: type[PromptLearner] = PromptLearner
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    trainer: type[Trainer] = Trainer
    recipe: Callable[[Recipe], Recipe] = unchanged
    kind: str = ""
    colour: str = ""
    learned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.config.init is not None:  # its name would not tell
            raise ValueError("a method that starts from words has from_words=True, which takes those of the scale")

    @property
    def family(self) -> str:
        subclasses = [kind.__name__ for kind in (self.learner, self.trainer) if kind not in (PromptLearner, Trainer)]
        return self.kind or "_".join(subclasses) or "CoOp"

    @property
    def name(self) -> str:
        """The name in commands and results files, where "middle" is "mid"."""
        family = self.family if self.family != "CoOp" else ""
        start = "init" if self.from_words else f"M{self.config.n_ctx}"
        place = "mid" if self.config.position == "middle" else self.config.position
        parts = family, start, place, "CSC" * self.config.class_specific
        return "_".join(filter(None, [*parts, *self._hyperparameters()]))

    @property
    def label(self) -> str:
        """The name in tables; figures add M=16.  What is CoOp's own (M=16, the name at the end) is left out."""
        length = f"M={self.config.n_ctx}" + (" from words" if self.from_words else "")
        places = {"end": "", "middle": "name in the middle", "front": "name in front"}
        place = places.get(self.config.position, f"position {self.config.position}")
        parts = self.family, length if length != "M=16" else "", place, "class-specific" * self.config.class_specific
        return ", ".join(filter(None, [*parts, *self._hyperparameters()]))

    def _hyperparameters(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.options.items() if not callable(value)]

    @property
    def new_classes(self) -> bool:
        """True if it can predict classes that it has not seen."""
        return not self.config.class_specific

    def with_options(self, **options: Any) -> Method:
        """The same method with other hyperparameters."""
        return replace(self, options={**self.options, **options})

    def make(self, group: Group) -> list[Classifier]:
        """One classifier for each cell of a group."""
        options = {name: value(group.dataset) if callable(value) else value for name, value in self.options.items()}
        trainers = []
        for cell in group.cells:
            init = group.scale.init if self.from_words else None
            config = replace(self.config, init=init, seed=cell.seed)
            learner = self.learner(group.clip, group.classnames, config=config, **options)
            trainers.append(self.trainer(learner, self.recipe_of(cell, group.workspace.epochs), progress=False))
        plain = trainers[0].recipe.views is None
        train_together(trainers, [group.features("train", shots) if plain else shots for shots, _ in group.drawn()])
        return [trainer.learner for trainer in trainers]

    def recipe_of(self, cell: Cell, epochs: int | None = None) -> Recipe:
        """The recipe of the cell's scale, shots and dataset, with the cell's seed."""
        recipe = replace(self.recipe(SCALES[cell.scale].recipe(cell.shots, cell.dataset)), seed=cell.seed)
        return recipe if epochs is None else replace(recipe, epochs=epochs, min_steps=0)


@dataclass(frozen=True)
class Baseline:
    """A classifier without a learned prompt.

    make: one for each cell of a group.  learned: it uses shots and seeds.  new_classes: it can predict unseen classes.
    """

    name: str
    label: str
    make: Callable[[Group], Sequence[Classifier]]
    learned: bool = True
    new_classes: bool = True
    colour: str = ""


# ------------------------------------------------------------------------------------------ the library's own methods
def _template(dataset: Dataset) -> str:
    return dataset.template


def _seven_and_own(dataset: Dataset) -> list[str]:
    """The paper's seven templates and the dataset's own (ImageNet's is one of the seven)."""
    return templates.IMAGENET_TEMPLATES_7 + ([dataset.template] if dataset.name != "ImageNet" else [])


def _eighty(dataset: Dataset) -> list[str]:
    return templates.OPENAI_TEMPLATES_80


def _written(templates_of: Callable[[Dataset], str | list[str]], group: Group) -> list[Classifier]:
    return [ZeroShot(group.clip, group.classnames, templates_of(group.dataset))]


def _probes(group: Group) -> list[Classifier]:
    return [
        LinearProbe(group.clip, group.classnames, group.features("train", shots), group.features("val", val))
        for shots, val in group.drawn()
    ]


def _one_image_a_batch(recipe: Recipe) -> Recipe:
    """The CoCoOp authors' batches, and their ten epochs."""
    return replace(recipe, batch_size=1, epochs=10, min_steps=0)


def _kgcoops(recipe: Recipe) -> Recipe:
    """The KgCoOp authors' batches and epochs; the miniature's recipe is counted in steps, and stays."""
    return recipe if recipe.min_steps else replace(recipe, batch_size=128, epochs=100)


def _kgcoops_template(dataset: Dataset) -> str:
    """Theirs for DTD is not CoOp's, which is "{} texture."."""
    return "a photo of a {}, a type of texture." if dataset.name == "DescribableTextures" else dataset.template


BASELINES = (
    Baseline("zero_shot", "hand-written", partial(_written, _template), learned=False),
    Baseline("ensemble_7", "ensemble of 7", partial(_written, _seven_and_own), learned=False),
    Baseline("ensemble_80", "ensemble of 80", partial(_written, _eighty), learned=False),
    Baseline("linear_probe", "linear probe", _probes, new_classes=False),
)
LEARNED = (
    Method(),
    Method(learner=KgCoOp, options={"template": _kgcoops_template}, recipe=_kgcoops),
    Method(learner=CoCoOp, recipe=_one_image_a_batch),
)


def standard_methods() -> dict[str, Method | Baseline]:
    """The library's methods by name: the baselines, and each learned one with every prompt that a CLIP has room for."""
    starts = [(4, True), *((M, False) for M in range(1, 77))]  # the scales' words are four tokens
    learned = [
        replace(method, config=PromptConfig(M, specific, position), from_words=words)
        for method in LEARNED
        for M, words in starts
        for position in POSITIONS
        for specific in (False, True)
    ]
    everything: list[Method | Baseline] = [*BASELINES, *learned]
    return {method.name: method for method in everything}


METHODS = standard_methods()
OURS = frozenset(METHODS)


# ------------------------------------------------------------------------------------------------ finding, registering
def find_method(name: str) -> Method | Baseline:
    """The method of that name; ValueError, with what is known, for another.

    >>> find_method("M16_end").label, find_method("M4_mid_CSC").label
    ('CoOp', 'CoOp, M=4, name in the middle, class-specific')
    """
    if name not in METHODS:
        baselines = ", ".join(method.name for method in BASELINES)
        raise ValueError(
            f"unknown method {name!r}: expected {baselines}, or a prompt such as M16_end, M4_mid, M16_end_CSC, "
            "init_end, KgCoOp_init_end. For one of your own: register_method(method), or my_file.py:my_method."
        )
    return METHODS[name]


def register_method(method: Method | Baseline) -> Method | Baseline:
    """Make a method of your own known by its name to grids and reports, and its colour to figures; returns it.

    Raises ValueError for the name of a method of the library.
    """
    if method.name in OURS:
        raise ValueError(f"{method.name!r} is a method of the library: give yours another name, Method(..., kind=...)")
    METHODS[method.name] = method
    if method.colour:
        from coop_edu.plots.style import STYLES, style_of  # matplotlib, which a grid does not need

        STYLES[method.label] = (method.colour, style_of(method.label)[1])
    return method


def method_from(text: str) -> Method | Baseline:
    """The method that a name means, or the file and name of "my_file.py:my_method", which is then registered.

    Raises ValueError for an unknown name, and where the file has no such method; OSError for a missing file.
    """
    file, _, name = text.rpartition(":")
    if not file.endswith(".py"):
        return find_method(text)
    method = runpy.run_path(os.path.expanduser(file)).get(name)
    if not isinstance(method, Method | Baseline):
        raise ValueError(f"{file} has no method {name!r}: write {name} = Method(...) into it")
    registered = METHODS.get(method.name)
    return registered if registered == method else register_method(method)


def recipe_of(cell: Cell, epochs: int | None = None) -> Recipe | None:
    """The recipe of a cell; None where no prompt is trained."""
    method = find_method(cell.method)
    return method.recipe_of(cell, epochs) if isinstance(method, Method) else None
