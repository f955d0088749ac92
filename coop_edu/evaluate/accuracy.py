"""How good is a classifier?  Top-1 accuracy, per class, and the answer to one image (Section 4.1).

A classifier is anything with `.clip`, `.classnames`, `.logits(image_features)` and `.with_classnames(names)`:
ZeroShot, PromptLearner and LinearProbe.  The text features are computed once for all images.

Leaves out: other domains (domains.py), means over seeds (seeds.py), figures (plots/).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.clip.models import Clip
from coop_edu.data.dataset import Example
from coop_edu.data.features import Features, extract_features
from coop_edu.data.images import ImageLike, load_image
from coop_edu.data.labels import check_same_classes, distinct_names


@runtime_checkable
class Classifier(Protocol):
    """What can be evaluated; softmax(logits) is Eq. 1."""

    clip: Clip
    classnames: tuple[str, ...]

    def logits(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """Of features normalised or not."""

    def with_classnames(self, classnames: Sequence[str]) -> Classifier:
        """The same classifier for other names, or for some of its own."""


def accuracy(
    classifier: Classifier,
    data: Sequence[Example] | Features,
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> float:
    """Top-1 accuracy in percent: the share of images whose most probable class is the right one.

    data: examples (their features are computed, or taken from the folder `cache`), or features of plain images.
    Raises ValueError if data and classifier disagree on the classes, or if the features are of augmented views.
    """
    answers, labels = _answers(classifier, data, cache, progress)
    return 100 * (answers == labels).double().mean().item()


def macro_f1(
    classifier: Classifier,
    data: Sequence[Example] | Features,
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), in percent, as the authors' tool prints beside accuracy.

    Over the classes that have images.  Takes and raises what `accuracy` does.
    """
    answers, labels = _answers(classifier, data, cache, progress)
    K = len(classifier.classnames)
    right = torch.bincount(labels[answers == labels], minlength=K)  # TP, (K,)
    both = torch.bincount(labels, minlength=K) + torch.bincount(answers, minlength=K)  # 2 TP + FP + FN
    present = torch.bincount(labels, minlength=K) > 0
    return 100 * (2 * right / both)[present].double().mean().item()


def per_class_accuracy(
    classifier: Classifier,
    data: Sequence[Example] | Features,
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> dict[str, float]:
    """Accuracy in percent of each class that has images: {class name: percent}, in the order of the classes.

    Classes of one name are told apart by their labels: "crane (class 134)" and "crane (class 517)".
    """
    answers, labels = _answers(classifier, data, cache, progress)
    correct = answers == labels
    K = len(classifier.classnames)
    # (K,) each
    right, total = (torch.bincount(labels[correct], minlength=K), torch.bincount(labels, minlength=K))
    return {
        name: 100 * r / n
        for name, r, n in zip(distinct_names(classifier.classnames), right.tolist(), total.tolist())
        if n
    }


@torch.no_grad()
def predict(classifier: Classifier, image: ImageLike) -> dict[str, float]:
    """p(y | x) of one image, Eq. 1: {class name: probability}, the most probable first.

    Classes of one name are told apart by their labels: "crane (class 134)" and "crane (class 517)".
    image: a path, the bytes of a file, a PIL image or an array.  Raises ValueError, naming it, if it cannot be
    read.
    """
    clip = classifier.clip
    pixels = clip.preprocess(load_image(image))[None]  # (1, 3, H, W)
    probabilities = classifier.logits(clip.encode_image(pixels.to(clip.device))).softmax(dim=1)[0]  # (K,)
    order = probabilities.argsort(descending=True, stable=True).tolist()
    names = distinct_names(classifier.classnames)
    return {names[i]: probabilities[i].item() for i in order}


# The metrics that a grid computes for each classifier of protocol few-shot, by their names in its results.
METRICS = {"accuracy": accuracy}


@torch.no_grad()
def _answers(
    classifier: Classifier, data: Sequence[Example] | Features, cache: str | Path | None, progress: bool
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """The most probable class of each image, and its label."""
    features = (
        data if isinstance(data, Features) else extract_features(classifier.clip, data, cache=cache, progress=progress)
    )
    check_same_classes(features.classnames, classifier.classnames)
    if features.image_features.ndim != 2:
        raise ValueError(
            f"expected features (N, E) of plain images, got {tuple(features.image_features.shape)}: augmented "
            "views are for training; evaluate on extract_features(clip, examples, views=None)"
        )
    logits = classifier.logits(features.image_features.to(classifier.clip.device))  # (N, K)
    return logits.argmax(dim=1).cpu(), features.labels
