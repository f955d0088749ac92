"""How good is a classifier?  Top-1 accuracy, per class, on other domains, over seeds (sections 4.1 and 4.2).

A classifier is anything with `.clip`, `.classnames`, `.logits(image_features)` and `.with_classnames(names)`:
ZeroShot, PromptLearner and LinearProbe.  The text features are computed once for all pictures.

Leaves out: curves and tables as figures (see plots.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from coop_edu.clip_models import Clip
from coop_edu.datasets import Dataset, Example, distinct_names
from coop_edu.features import Features, check_same_classes, extract_features, load_image
from coop_edu.pictures import Picture


class Classifier(Protocol):
    """What can be evaluated; softmax(logits) is Eq. 1."""

    clip: Clip
    classnames: tuple[str, ...]

    def logits(self, image_features: torch.Tensor) -> torch.Tensor:
        """(B, E), unnormalised or not -> (B, K)."""

    def with_classnames(self, classnames: Sequence[str]) -> Classifier:
        """The same classifier for other names, or for some of its own."""


def accuracy(
    classifier: Classifier,
    data: Sequence[Example] | Features,
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> float:
    """Top-1 accuracy in percent: the share of pictures whose most probable class is the right one.

    data: examples (their features are computed, or taken from the folder `cache`), or features of plain pictures.
    Raises ValueError if data and classifier disagree on the classes, or if the features are of augmented views.
    """
    return 100 * _correct(classifier, data, cache, progress)[0].double().mean().item()


def per_class_accuracy(
    classifier: Classifier,
    data: Sequence[Example] | Features,
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> dict[str, float]:
    """Accuracy in percent of each class that has pictures: {class name: percent}, in the order of the classes.

    Classes of one name are told apart by their labels: "crane (class 134)" and "crane (class 517)".
    """
    correct, labels = _correct(classifier, data, cache, progress)
    K = len(classifier.classnames)
    right, total = (
        torch.bincount(labels[correct], minlength=K),
        torch.bincount(labels, minlength=K),
    )  # (K,) each
    return {
        name: 100 * r / n
        for name, r, n in zip(distinct_names(classifier.classnames), right.tolist(), total.tolist())
        if n
    }


@torch.no_grad()
def predict(classifier: Classifier, picture: Picture) -> dict[str, float]:
    """p(y | x) of one picture, Eq. 1: {class name: probability}, the most probable first.

    Classes of one name are told apart by their labels: "crane (class 134)" and "crane (class 517)".
    picture: a path, the bytes of a file, a PIL image or an array.  Raises ValueError, naming it, if it cannot be
    read.
    """
    clip = classifier.clip
    image = clip.preprocess(load_image(picture))[None]  # (1, 3, H, W)
    probabilities = classifier.logits(clip.encode_image(image.to(clip.device))).softmax(dim=1)[0]  # (K,)
    order = probabilities.argsort(descending=True, stable=True).tolist()
    names = distinct_names(classifier.classnames)
    return {names[i]: probabilities[i].item() for i in order}


def domain_generalisation(
    classifier: Classifier,
    source: Dataset,
    variants: Iterable[Dataset],
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> dict[str, float]:
    """Accuracy in percent on the source's test data and on each variant's: a row of the table in section 4.2.

    Nothing is learned on the variants.  Each is scored over its own classes only (200 of 1000 in ImageNet-A and -R).
    Raises ValueError if the classifier has no answer for a variant's class (a class-specific prompt, a linear probe),
    and if two different data sets have one name.

        domain_generalisation(learner, load_dataset("IconNet"), [load_dataset("IconNet-Sketch")])
    """
    datasets, result = {}, {}
    for dataset in [source, *variants]:
        if datasets.setdefault(dataset.name, dataset) is not dataset:
            raise ValueError(
                f"two data sets are called {dataset.name!r}, and the row has one place for that name: give one of them "
                "another, with dataclasses.replace(dataset, name=...)"
            )
    for dataset in datasets.values():
        same = tuple(dataset.classnames) == tuple(classifier.classnames)
        own = classifier if same else classifier.with_classnames(dataset.classnames)
        result[dataset.name] = accuracy(own, dataset.test, cache=cache, progress=progress)
    return result


def mean_and_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n, not n - 1) over seeds, as the authors' tables have it.

    >>> mean_and_std([60, 62, 64])
    (62.0, 1.632993161855452)
    """
    values = np.asarray(list(values), dtype=float)
    if not len(values):
        raise ValueError("expected at least one value, got none: did every seed fail?")
    return float(values.mean()), float(values.std())


@torch.no_grad()
def _correct(
    classifier: Classifier, data: Sequence[Example] | Features, cache: str | Path | None, progress: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each picture, whether the most probable class is the right one (N,), and its label (N,)."""
    features = (
        data
        if isinstance(data, Features)
        else extract_features(classifier.clip, data, cache=cache, progress=progress)
    )
    check_same_classes(features.classnames, classifier.classnames)
    if features.images.ndim != 2:
        raise ValueError(
            f"expected features (N, E) of plain pictures, got {tuple(features.images.shape)}: augmented "
            "views are for training; evaluate on extract_features(clip, examples, views=None)"
        )
    logits = classifier.logits(features.images.to(classifier.clip.device))  # (N, K)
    return logits.argmax(dim=1).cpu() == features.labels, features.labels
