"""One experiment: which metrics of a classifier are computed (Sections 4.1 and 4.2), and the line that records them.

Cells that differ in their seed only are computed together.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import metadata
from typing import Any

from coop_edu.clip.fingerprint import clip_fingerprint
from coop_edu.coop.recipe import Recipe
from coop_edu.data.dataset import Dataset
from coop_edu.data.few_shot import too_few
from coop_edu.evaluate.accuracy import METRICS, Classifier, accuracy
from coop_edu.evaluate.domains import domain_generalisation
from coop_edu.grid.group import Group, group_of, relabel
from coop_edu.grid.methods import find_method, recipe_of
from coop_edu.grid.results import HALVES, Cell
from coop_edu.grid.workspace import Workspace
from coop_edu.scales import SCALES


def run_cells(cells: Sequence[Cell], workspace: Workspace) -> list[dict[str, Any]]:
    """The lines of cells that differ in their seed only.

    {"cell": ..., "figures": {metric: percent}, "recipe": ..., "versions": ..., "too few": ..., "made of": ...}

    "too few" names classes that had fewer examples than were asked for, and gave all: {"validation": {"bone": 3}}.
    """
    group = group_of(cells, workspace)
    lines = []
    for cell, classifier in zip(cells, find_method(cells[0].method).make(group)):
        metrics = _metrics(cell, classifier, group)
        lines.append(
            {
                "cell": cell.as_json(),
                "figures": {name: round(percent, 4) for name, percent in metrics.items()},
                "recipe": recipe_as_dict(recipe_of(cell, workspace.epochs)),
                "versions": versions(),
                "too few": _too_few(group.dataset, cell.shots),
                "made of": made_of(cell, group),
            }
        )
    return lines


def _metrics(cell: Cell, classifier: Classifier, group: Group) -> dict[str, float]:
    dataset, base = group.dataset, group.n_classes
    if cell.protocol == "domains":
        variants = [group.workspace.dataset(name) for name in SCALES[cell.scale].variants]
        return domain_generalisation(classifier, dataset, variants, cache=group.workspace.cache, progress=False)
    test = group.features("test", relabel(dataset.test, 0, base))
    if cell.protocol == "few-shot":
        percent = {name: metric(classifier, test) for name, metric in METRICS.items()}
        for first, name in enumerate(HALVES[: len(test)]):
            part = replace(test, image_features=test.image_features[first::2], labels=test.labels[first::2])
            percent[name] = accuracy(classifier, part)
        return percent
    rest = group.features("test", relabel(dataset.test, base))
    old, new = accuracy(classifier, test), accuracy(classifier.with_classnames(dataset.classnames[base:]), rest)
    return {"base": old, "new": new, "H": 2 * old * new / max(old + new, 1e-9)}  # H: harmonic mean


def made_of(cell: Cell, group: Group) -> dict[str, str]:
    """Hashes of what a cell depends on: the CLIP, the classes and test images, and the images that were drawn.

    The hand-written template is recorded for methods that use it.
    """
    names = SCALES[cell.scale].variants if cell.protocol == "domains" else ()
    tests = [group.workspace.digest(name) for name in (cell.dataset, *names)]
    hashes = {"CLIP": clip_fingerprint(group.clip), "dataset": " ".join(tests)}
    if cell.shots:
        hashes["shots"] = group.workspace.digest(cell.dataset, cell.shots, cell.seed)
    method = find_method(cell.method)
    if not method.learned or getattr(method, "options", None):
        hashes["template"] = group.dataset.template
    return hashes


def _too_few(dataset: Dataset, shots: int) -> dict[str, dict[str, int]]:
    names = dataset.classnames
    parts = {"training": too_few(dataset.train, shots, names), "validation": too_few(dataset.val, min(shots, 4), names)}
    return {part: classes for part, classes in parts.items() if classes}


def versions() -> dict[str, str]:
    """What results may depend on."""
    packages = {name: metadata.version(name) for name in ("torch", "open_clip_torch", "scikit-learn")}
    from coop_edu import __version__

    return {"coop_edu": __version__, "python": platform.python_version(), **packages}


def recipe_as_dict(recipe: Recipe | None) -> dict[str, Any] | None:
    return None if recipe is None else asdict(recipe)
