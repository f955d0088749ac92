"""Metrics of a classifier: accuracy (top-k, per class), macro F1, and the prediction for one image (Section 4.1).

A classifier is anything with `.clip`, `.classnames`, `.logits(image_features)` and `.with_classnames(names)`:
ZeroShot, PromptLearner and LinearProbe.
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
from coop_edu.records import whole_number

Data = Sequence[Example] | Features


@runtime_checkable
class Classifier(Protocol):
    """What can be evaluated; softmax(logits) is Eq. 1."""

    clip: Clip
    classnames: tuple[str, ...]

    def logits(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """For ZeroShot and PromptLearner, scaled cosine similarities, whatever the lengths of the features."""

    def with_classnames(self, classnames: Sequence[str]) -> Classifier:
        """The same classifier for other names, or for some of its own."""


def accuracy(
    classifier: Classifier, data: Data, *, top: int = 1, cache: str | Path | None = None, progress: bool = True
) -> float:
    """Accuracy in percent: the share of images whose class is among the `top` most probable ones.

    data: features of plain images, or examples, whose features are computed or read from the folder `cache`.
    Raises ValueError if data and classifier disagree on the classes, or if the features are of augmented views.
    """
    top = whole_number(top, "top", at_least=1)
    logits, labels = logits_and_labels(classifier, data, cache, progress)
    best = logits.argmax(dim=1, keepdim=True) if top == 1 else logits.topk(top, dim=1).indices  # (N, top)
    return 100 * (best == labels[:, None]).any(dim=1).double().mean().item()


def macro_f1(classifier: Classifier, data: Data, *, cache: str | Path | None = None, progress: bool = True) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), in percent, which the authors' tool prints too.

    Only classes that have images count.  Arguments and errors are those of `accuracy`.
    """
    logits, labels = logits_and_labels(classifier, data, cache, progress)
    answers = logits.argmax(dim=1)
    K = len(classifier.classnames)
    right = torch.bincount(labels[answers == labels], minlength=K)  # TP, (K,)
    denominator = torch.bincount(labels, minlength=K) + torch.bincount(answers, minlength=K)  # 2 TP + FP + FN
    present = torch.bincount(labels, minlength=K) > 0
    return 100 * (2 * right / denominator)[present].double().mean().item()


def per_class_accuracy(
    classifier: Classifier, data: Data, *, cache: str | Path | None = None, progress: bool = True
) -> dict[str, float]:
    """Accuracy in percent of each class that has images: {class name: percent}, in the order of the classes.

    Classes of one name are told apart by their labels: "missile (class 657)" and "missile (class 744)".
    """
    logits, labels = logits_and_labels(classifier, data, cache, progress)
    answers = logits.argmax(dim=1)
    correct = answers == labels
    K = len(classifier.classnames)
    right, total = torch.bincount(labels[correct], minlength=K), torch.bincount(labels, minlength=K)  # (K,) each
    names = distinct_names(classifier.classnames)
    return {name: 100 * r / n for name, r, n in zip(names, right.tolist(), total.tolist()) if n}


@torch.no_grad()
def predict(classifier: Classifier, image: ImageLike) -> dict[str, float]:
    """p(y | x) of one image, Eq. 1: {class name: probability}, the most probable first.

    Classes of one name are told apart by their labels: "missile (class 657)" and "missile (class 744)".
    image: a path, the bytes of a file, a PIL image or an array.  Raises ValueError, which names it, if it is damaged.
    """
    clip = classifier.clip
    pixels = clip.preprocess(load_image(image))[None]  # (1, 3, H, W)
    p = classifier.logits(clip.encode_image(pixels.to(clip.device))).softmax(dim=1)[0]  # (K,)
    return by_probability(classifier.classnames, p)


def by_probability(classnames: Sequence[str], p: Float[Tensor, " K"]) -> dict[str, float]:
    """{class name: probability}, the most probable first.

    >>> by_probability(["cat", "dog"], torch.tensor([0.25, 0.75]))
    {'dog': 0.75, 'cat': 0.25}
    """
    return dict(sorted(zip(distinct_names(classnames), p.tolist(), strict=True), key=lambda item: -item[1]))


# The metrics that a grid computes for each classifier of protocol few-shot.  The keys are the names in its results.
METRICS = {"accuracy": accuracy}


@torch.no_grad()
def logits_and_labels(
    classifier: Classifier, data: Data, cache: str | Path | None = None, progress: bool = True
) -> tuple[Float[Tensor, "N K"], Int[Tensor, " N"]]:
    """The logits of each image, and its label."""
    features = data
    if not isinstance(features, Features):
        features = extract_features(classifier.clip, features, cache=cache, progress=progress)
    features.check_clip(classifier.clip)
    check_same_classes(features.classnames, classifier.classnames)
    if features.image_features.ndim != 2:
        raise ValueError(
            f"expected features (N, E) of plain images, got {tuple(features.image_features.shape)}. Augmented views "
            "are for training: evaluate on extract_features(clip, examples, views=None)."
        )
    if not len(features):
        raise ValueError("there are no images to evaluate on")
    logits = classifier.logits(features.image_features.to(classifier.clip.device))  # (N, K)
    if not logits.isfinite().all():  # argmax of NaN is class 0
        raise ValueError("some logits are NaN or infinite: the prompt or the weights are unusable")
    return logits.cpu(), features.labels
