"""The data of a training, examples or features computed before, and the order of its batches.

The random numbers of an epoch come from (seed, epoch) alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.clip.fingerprint import tensor_digest
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.data.batches import seeded
from coop_edu.data.contents import images_digest
from coop_edu.data.dataset import Example
from coop_edu.data.features import Features
from coop_edu.data.labels import check_same_classes, label_names

TrainingData = Sequence[Example] | Features
Batches = Iterator[tuple[Tensor, Tensor]]  # image features (B, E), labels (B,)
Plan = Sequence[Sequence[tuple[int, int]]]  # for each batch, (position in the examples, view)


def labels_of(data: TrainingData) -> Int[Tensor, " N"]:
    return data.labels if isinstance(data, Features) else torch.tensor([example.label for example in data])


def digest_of(data: TrainingData) -> str:
    """A hash of the features, bit for bit, or of the contents of the image files, in any folder."""
    if isinstance(data, Features):
        return tensor_digest(data.image_features)
    return images_digest(data)


def check_data(data: TrainingData, learner: PromptLearner, recipe: Recipe) -> None:
    """ValueError where the data do not go with the learner or the recipe."""
    if not len(data):
        raise ValueError("no training images: is this the empty training list of a test-only dataset?")
    # Labels are numbers: those of another dataset would train without an error.
    names = data.classnames if isinstance(data, Features) else label_names(data)
    if isinstance(data, Features):
        data.check_clip(learner.clip)
    check_same_classes(names, learner.classnames)
    labels_with_images = set(labels_of(data).tolist())
    if unseen := [name for label, name in enumerate(learner.classnames) if label not in labels_with_images]:
        warnings.warn(
            f"{len(unseen)} of {len(learner.classnames)} classes have no training image ({', '.join(unseen[:5])}): add "
            "images or remove the classes. A class-specific context of such a class never sees an image of it.",
            stacklevel=4,
        )
    if isinstance(data, Features):
        views = len(data.image_features) if data.image_features.ndim == 3 else None
        if views != recipe.views:
            raise ValueError(
                f"the recipe wants views={recipe.views!r}, and the features have views={views!r}: "
                f"take dataclasses.replace(recipe, views={views!r}), or give fit() the examples "
                "themselves"
            )


def order_of(epoch: int, n: int, recipe: Recipe) -> Int[Tensor, " n"]:
    """The images of one epoch in random order, without the remainder that fills no batch."""
    # Streams 0 and 1, for the order and the views: the number of views does not change the order.
    order = torch.randperm(n, generator=seeded(recipe.seed, epoch, 0))
    return order[: recipe.steps_per_epoch(n) * recipe.batch_size]


def batches_of_crops(
    labels: Int[Tensor, " N"], recipe: Recipe, epochs: range, encode: Callable[[Plan], Iterator[Tensor]]
) -> Batches:
    """New random crops in every epoch: the number of the epoch is the number of the view."""
    # The whole plan is known beforehand, so that other processes can read ahead.
    plan = []
    for epoch in epochs:
        for part in order_of(epoch, len(labels), recipe).split(recipe.batch_size):
            plan.append([(position, epoch) for position in part.tolist()])
    for features, batch in zip(encode(plan), plan, strict=True):
        yield features, labels[[position for position, _ in batch]]


def batches_of_features(
    image_features: Float[Tensor, "... N E"], labels: Int[Tensor, " N"], recipe: Recipe, epochs: range
) -> Batches:
    """Features computed before, (N, E), or (V, N, E): then each image has one of its V views in an epoch."""
    for epoch in epochs:
        order = order_of(epoch, len(labels), recipe)  # on the CPU, where a seed means the same on every machine
        at = order.to(image_features.device)
        if image_features.ndim == 3:
            # Each image draws one of its views, as a new crop in every epoch would.
            view = torch.randint(len(image_features), order.shape, generator=seeded(recipe.seed, epoch, 1))
            shuffled = image_features[view.to(image_features.device), at]  # (steps * B, E)
        else:
            shuffled = image_features[at]
        yield from zip(shuffled.split(recipe.batch_size), labels[at].split(recipe.batch_size), strict=True)
