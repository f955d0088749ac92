"""One experiment: which figures of a classifier come out (Sections 4.1 and 4.2), and the line that records them.

Cells that differ in their seed only are computed together.

Leaves out: how the classifier is made (methods.py), which cells there are and where their results go (run.py).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

from coop_edu.coop.recipe import Recipe
from coop_edu.data.dataset import Dataset
from coop_edu.data.few_shot import too_few
from coop_edu.evaluate.accuracy import Classifier, accuracy
from coop_edu.evaluate.domains import domain_generalisation
from coop_edu.grid import workspace
from coop_edu.grid.methods import make_classifiers, recipe_of, relabel
from coop_edu.grid.results import HALVES, Cell
from coop_edu.scales import SCALES


def run_cell(cell: Cell, root: str | Path | None = None, epochs: int | None = None) -> dict:
    """The line of one cell: {"cell": ..., "figures": {name: percent}, "recipe": ..., "versions": ..., "too few": ...}.

    "too few" names the classes that had fewer examples than were asked for, and gave all: {"validation": {"bone": 3}}.
    """
    return run_cells([cell], root, epochs)[0]


def run_cells(cells: Sequence[Cell], root: str | Path | None = None, epochs: int | None = None) -> list[dict]:
    """The lines of cells that differ in their seed only."""
    dataset = workspace.get_dataset(cells[0].dataset, root)
    half = _base(len(dataset.classnames)) if cells[0].protocol == "base-to-new" else len(dataset.classnames)
    classifiers = make_classifiers(cells, dataset, root, half, epochs)
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
        variants = [workspace.get_dataset(name, root) for name in SCALES[cell.scale].variants]
        return domain_generalisation(classifier, dataset, variants, cache=workspace.features_folder(), progress=False)
    test = workspace.get_features(cell, root, "test", relabel(dataset.test, 0, half))
    if cell.protocol == "few-shot":
        figures = {"accuracy": accuracy(classifier, test)}
        for first, name in enumerate(HALVES[: len(test)]):
            half = replace(test, image_features=test.image_features[first::2], labels=test.labels[first::2])
            figures[name] = accuracy(classifier, half)
        return figures
    base = accuracy(classifier, test)
    rest = workspace.get_features(cell, root, "test", relabel(dataset.test, half))
    new = accuracy(classifier.with_classnames(dataset.classnames[half:]), rest)
    return {"base": base, "new": new, "H": 2 * base * new / max(base + new, 1e-9)}  # H: harmonic mean


def _too_few(dataset: Dataset, shots: int) -> dict[str, dict[str, int]]:
    parts = {"training": too_few(dataset.train, shots), "validation": too_few(dataset.val, min(shots, 4))}
    return {part: classes for part, classes in parts.items() if classes}


def _base(classes: int) -> int:
    return -(-classes // 2)  # the first half of the classes, the larger one


def versions() -> dict[str, str]:
    """What figures may depend on."""
    packages = {name: metadata.version(name) for name in ("torch", "open_clip_torch", "scikit-learn")}
    from coop_edu import __version__

    return {"coop_edu": __version__, "python": platform.python_version(), **packages}


def as_json(recipe: Recipe | None) -> dict | None:
    return None if recipe is None else json.loads(json.dumps(asdict(recipe)))
