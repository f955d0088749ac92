"""One experiment: what is trained, on which pictures, and which figures come out (Sections 4.1 and 4.2).

Cells that differ in their seed only are computed together.  Pictures are encoded once for all cells of a process, and
kept in the cache folder for the next one.

Leaves out: which cells there are and where their results go (experiments.py).
"""

from __future__ import annotations

import json
import platform
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from coop_edu.clip_models import Clip, load_clip
from coop_edu.datasets import Dataset, Example, load_dataset
from coop_edu.evaluation import Classifier, accuracy, domain_generalisation
from coop_edu.features import FeatureBank, Features, extract_features
from coop_edu.few_shot import draw_train_val, too_few
from coop_edu.files import cache_folder
from coop_edu.linear_probe import LinearProbe
from coop_edu.parallel import train_together
from coop_edu.prompt_learner import PromptLearner
from coop_edu.recipe import Recipe
from coop_edu.results import HALVES, Cell
from coop_edu.scales import SCALES
from coop_edu.templates import ZeroShot
from coop_edu.trainer import Trainer

WITHOUT_TRAINING = ("zero_shot", "ensemble_7", "ensemble_80")
LEARNED = re.compile(
    r"(?:M(\d+)|(init))_(end|mid|front)(_CSC)?"
)  # M16_end, M4_mid_CSC; init: the scale's words
WHOLE = 20_000  # of a list of training pictures up to this long, all are encoded once; of a longer one, what is drawn
POSITIONS = {"end": "end", "mid": "middle", "front": "front"}


def run_cell(cell: Cell, root: str | Path | None = None, epochs: int | None = None) -> dict:
    """The line of one cell: {"cell": ..., "figures": {name: percent}, "recipe": ..., "versions": ..., "too few": ...}.

    "too few" names the classes that had fewer examples than were asked for, and gave all: {"validation": {"bone": 3}}.
    """
    return run_cells([cell], root, epochs)[0]


def run_cells(cells: Sequence[Cell], root: str | Path | None = None, epochs: int | None = None) -> list[dict]:
    """The lines of cells that differ in their seed only."""
    dataset = _dataset(cells[0].dataset, root)
    half = _base(len(dataset.classnames)) if cells[0].protocol == "base-to-new" else len(dataset.classnames)
    classifiers = _classifiers(cells, dataset, root, half, epochs)
    return [
        {
            "cell": asdict(cell),
            "figures": {name: round(percent, 4) for name, percent in figures.items()},
            "recipe": as_json(recipe_of(cell, epochs)),
            "versions": versions(),
            "too few": _too_few(dataset, cell.shots),
        }
        for cell, classifier in zip(cells, classifiers)
        for figures in [_figures(cell, classifier, dataset, root, half)]
    ]


def _figures(
    cell: Cell, classifier: Classifier, dataset: Dataset, root: str | Path | None, half: int
) -> dict[str, float]:
    if cell.protocol == "domains":
        variants = [_dataset(name, root) for name in SCALES[cell.scale].variants]
        return domain_generalisation(classifier, dataset, variants, cache=_cache(), progress=False)
    test = _features(cell, root, "test", relabel(dataset.test, 0, half))
    if cell.protocol == "few-shot":
        figures = {"accuracy": accuracy(classifier, test)}
        for first, name in enumerate(HALVES[: len(test)]):
            half = replace(test, images=test.images[first::2], labels=test.labels[first::2])
            figures[name] = accuracy(classifier, half)
        return figures
    base = accuracy(classifier, test)
    rest = _features(cell, root, "test", relabel(dataset.test, half))
    new = accuracy(classifier.with_classnames(dataset.classnames[half:]), rest)
    return {"base": base, "new": new, "H": 2 * base * new / max(base + new, 1e-9)}  # H: harmonic mean


def _classifiers(
    cells: Sequence[Cell], dataset: Dataset, root: str | Path | None, half: int, epochs: int | None
) -> Sequence[Classifier]:
    """Classifiers of the first `half` classes, which are all of them unless the rest is to be new."""
    first, clip, names = cells[0], _clip(cells[0].clip), dataset.classnames[:half]
    if first.variant in WITHOUT_TRAINING:
        return [ZeroShot(clip, names, _templates(first.variant, dataset))]
    drawn = [
        [relabel(part, 0, half) for part in draw_train_val(dataset, cell.shots, cell.seed)] for cell in cells
    ]
    if first.variant == "linear_probe":
        return [
            LinearProbe(
                clip, names, _features(first, root, "train", shots), _features(first, root, "val", val)
            )
            for shots, val in drawn
        ]
    n_ctx, init, position, specific = LEARNED.fullmatch(first.variant).groups()
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
    trainers = [
        Trainer(learner, recipe_of(cell, epochs), progress=False) for learner, cell in zip(learners, cells)
    ]
    plain = trainers[0].recipe.views is None
    train_together(trainers, [_features(first, root, "train", some) if plain else some for some, _ in drawn])
    return learners


def _too_few(dataset: Dataset, shots: int) -> dict[str, dict[str, int]]:
    parts = {"training": too_few(dataset.train, shots), "validation": too_few(dataset.val, min(shots, 4))}
    return {part: classes for part, classes in parts.items() if classes}


def _templates(variant: str, dataset: Dataset) -> list[str]:
    """Hand-written prompts: the data set's own; the seven of the paper's ensemble and that; CLIP's eighty."""
    from coop_edu import templates

    if variant == "ensemble_80":
        return templates.OPENAI_TEMPLATES_80
    own = [dataset.template]
    if variant == "zero_shot":
        return own
    return templates.IMAGENET_TEMPLATES_7 + (own if dataset.name != "ImageNet" else [])


def recipe_of(cell: Cell, epochs: int | None = None) -> Recipe | None:
    """The recipe of the cell's scale, shots and data set, with the cell's seed; None where no prompt is trained."""
    if not LEARNED.fullmatch(cell.variant):
        return None
    recipe = replace(SCALES[cell.scale].recipe(cell.shots, cell.dataset), seed=cell.seed)
    return recipe if epochs is None else replace(recipe, epochs=epochs)


def relabel(examples: Iterable[Example], first: int, end: int | None = None) -> list[Example]:
    """The examples of the classes first, ..., end - 1, with labels from 0: half of a data set for base-to-new."""
    return [
        replace(example, label=example.label - first)
        for example in examples
        if example.label >= first and (end is None or example.label < end)
    ]


def _base(classes: int) -> int:
    return -(-classes // 2)  # the first half of the classes, the larger one


# ------------------------------------------------------------------- what is loaded or encoded once, for all cells
_loading = threading.RLock()  # of two threads that need the same, the second waits for what the first loads


def _clip(name: str) -> Clip:
    with _loading:
        return _load_clip(name)


def _dataset(name: str, root: str | Path | None) -> Dataset:
    with _loading:
        return _load_dataset(name, root)


def _features(cell: Cell, root: str | Path | None, part: str, examples: Sequence[Example]) -> Features:
    """Features of some plain pictures of a data set's train, val or test list, with the labels that they have here."""
    if len(getattr(_dataset(cell.dataset, root), part)) > WHOLE and part != "test":
        return extract_features(_clip(cell.clip), examples, progress=False)
    with _loading:
        return _bank(cell.clip, cell.dataset, root, part)(examples)


@lru_cache(maxsize=1)
def _load_clip(name: str) -> Clip:
    return load_clip(name)


@lru_cache(maxsize=16)
def _load_dataset(name: str, root: str | Path | None) -> Dataset:
    return load_dataset(name, root)


@lru_cache(maxsize=48)
def _bank(clip: str, dataset: str, root: str | Path | None, part: str) -> FeatureBank:
    examples = getattr(_dataset(dataset, root), part)
    return FeatureBank(_clip(clip), examples, cache=_cache(), progress=False)


def _cache() -> Path:
    return cache_folder() / "features"


def versions() -> dict[str, str]:
    """What figures may depend on."""
    packages = {name: metadata.version(name) for name in ("torch", "open_clip_torch", "scikit-learn")}
    from coop_edu import __version__

    return {"coop_edu": __version__, "python": platform.python_version(), **packages}


def as_json(recipe: Recipe | None) -> dict | None:
    return None if recipe is None else json.loads(json.dumps(asdict(recipe)))
