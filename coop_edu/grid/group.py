"""Cells that differ in their seed only, with what their method learns from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from coop_edu.clip.models import Clip
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.features import Features
from coop_edu.data.few_shot import draw_train_val
from coop_edu.evaluate.accuracy import accuracy
from coop_edu.grid.results import Cell
from coop_edu.grid.workspace import Workspace
from coop_edu.scales import SCALES, Scale


@dataclass(frozen=True)
class Group:
    """Cells that differ in their seed only, on the first n_classes classes: the base half in base-to-new, else all."""

    cells: Sequence[Cell]
    workspace: Workspace
    n_classes: int

    @property
    def dataset(self) -> Dataset:
        dataset = self.workspace.dataset(self.cells[0].dataset)
        return replace(dataset, template=self.template) if self.workspace.templates else dataset

    @cached_property
    def template(self) -> str:
        """The best of several hand-written templates on the validation images of these classes."""
        templates = self.workspace.templates
        if len(templates) == 1:
            return templates[0]
        dataset = self.workspace.dataset(self.cells[0].dataset)
        if dataset.val is dataset.test:
            raise ValueError(f"the validation images of {dataset.name} are its test images: give one template")
        val, names = self.features("val", relabel(dataset.val, 0, self.n_classes)), dataset.classnames[: self.n_classes]
        return max(templates, key=lambda text: accuracy(ZeroShot(self.clip, names, text), val))

    @property
    def clip(self) -> Clip:
        return self.workspace.clip(self.cells[0].clip)

    @property
    def scale(self) -> Scale:
        return SCALES[self.cells[0].scale]

    @property
    def classnames(self) -> tuple[str, ...]:
        return self.dataset.classnames[: self.n_classes]

    def drawn(self) -> list[tuple[list[Example], list[Example]]]:
        """For each cell, its training and its validation examples."""
        train_and_val = [draw_train_val(self.dataset, cell.shots, cell.seed) for cell in self.cells]
        return [(relabel(train, 0, self.n_classes), relabel(val, 0, self.n_classes)) for train, val in train_and_val]

    def features(self, part: str, examples: Sequence[Example]) -> Features:
        """Features of some images of the dataset's train, val or test list."""
        return self.workspace.features(self.cells[0], part, examples)


def relabel(examples: Iterable[Example], first: int, end: int | None = None) -> list[Example]:
    """The examples of the classes first, ..., end - 1, with labels from 0: half of a dataset for base-to-new."""
    return [
        replace(example, label=example.label - first)
        for example in examples
        if example.label >= first and (end is None or example.label < end)
    ]


def group_of(cells: Sequence[Cell], workspace: Workspace) -> Group:
    """The group of cells that differ in their seed only."""
    classes = len(workspace.dataset(cells[0].dataset).classnames)
    base = -(-classes // 2) if cells[0].protocol == "base-to-new" else classes  # the first half, the larger one
    return Group(cells, workspace, base)
