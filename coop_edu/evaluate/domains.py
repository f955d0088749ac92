"""Domain generalisation: accuracy on images of another look, with the same classes (Section 4.2)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from coop_edu.data.dataset import Dataset
from coop_edu.evaluate.accuracy import Classifier, accuracy


def domain_generalisation(
    classifier: Classifier,
    source: Dataset,
    variants: Iterable[Dataset],
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> dict[str, float]:
    """Accuracy in percent on the test images of the source and of each variant: a row of the table in Section 4.2.

    Nothing is learned on the variants.  Each is scored over its own classes only (200 of 1000 in ImageNet-A and -R).
    Raises ValueError if the classifier cannot answer for a variant's class (a class-specific prompt, a linear probe),
    and if two different datasets have the same name.

        domain_generalisation(learner, load_dataset("IconNet"), [load_dataset("IconNet-Sketch")])
    """
    datasets: dict[str, Dataset] = {}
    result: dict[str, float] = {}
    for dataset in [source, *variants]:
        if datasets.setdefault(dataset.name, dataset) is not dataset:
            raise ValueError(
                f"two datasets have the name {dataset.name!r}: rename one, with dataclasses.replace(dataset, name=...)"
            )
    for dataset in datasets.values():
        has_its_classes = tuple(dataset.classnames) == tuple(classifier.classnames)
        narrowed = classifier if has_its_classes else classifier.with_classnames(dataset.classnames)
        result[dataset.name] = accuracy(narrowed, dataset.test, cache=cache, progress=progress)
    return result
