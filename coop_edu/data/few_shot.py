"""The k-shot sampler: the same images, in the same order, as the authors' code draws (Section 4.1 of the paper).

Classes are taken in the order in which they first appear, and `random.sample` draws k images of each.  One stream of
random numbers draws the training images first, then min(k, 4) validation images per class.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING

from coop_edu.data.labels import distinct_names

if TYPE_CHECKING:
    from coop_edu.data.dataset import Dataset, Example

ALL = 1_000_000  # as a number of shots: every training image


def sample_few_shot(examples: Sequence[Example], k: int, seed: int) -> list[Example]:
    """k examples of every class: "k-shot" training data, identical to the authors' for the same list, k and seed.

    k=ALL takes every example.

    A class with fewer than k examples gives all it has, with a `UserWarning` that names it.
    Raises ValueError if k < 1 or the list is empty.

    >>> from coop_edu.data.dataset import Example
    >>> pets = [Example(f"{name}{i}.png", label, name) for label, name in enumerate(["cat", "dog"]) for i in range(9)]
    >>> [shot.image for shot in sample_few_shot(pets, k=2, seed=1)]
    ['cat2.png', 'cat1.png', 'dog4.png', 'dog1.png']
    """
    examples = list(examples)  # it may be a generator
    shots = _draw(examples, k, random.Random(index(seed)), "training")
    _warn_if_few(examples, k, "training")
    return shots


def sample_train_val(dataset: Dataset, k: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Few-shot training and validation data: k and min(k, 4) examples per class, drawn one after the other.

    The training half equals `sample_few_shot(dataset.train, k, seed)`.  Raises ValueError as that does.

    >>> from coop_edu.data.dataset import Dataset, Example
    >>> cats = tuple(Example(f"{i}.png", 0, "cat") for i in range(20))
    >>> train, val = sample_train_val(Dataset("Cats", ("cat",), cats, cats, ()), k=8, seed=1)
    >>> len(train), len(val)
    (8, 4)
    """
    drawn = draw_train_val(dataset, k, seed)
    _warn_if_few(dataset.train, k, "training", dataset.classnames)
    _warn_if_few(dataset.val, min(k, 4), "validation", dataset.classnames)
    return drawn


def draw_train_val(dataset: Dataset, k: int, seed: int) -> tuple[list[Example], list[Example]]:
    """`sample_train_val` without its warnings, for a grid that reports `too_few` once."""
    generator = random.Random(index(seed))
    train = _draw(dataset.train, k, generator, "training")
    return train, _draw(dataset.val, min(k, 4), generator, "validation")


def too_few(examples: Sequence[Example], k: int, classnames: Sequence[str] = ()) -> dict[str, int]:
    """The classes with fewer than k examples, and how many they have.  Classes of one name are told apart by label.

    classnames: those of the dataset.  Without them, a class that no example has is not known.

    >>> from coop_edu.data.dataset import Example
    >>> cats_and_dog = [Example("a.png", 0, "cat"), Example("b.png", 1, "dog"), Example("c.png", 0, "cat")]
    >>> too_few(cats_and_dog, k=2), too_few(cats_and_dog, k=2, classnames=["cat", "dog", "eel"])
    ({'dog': 1}, {'dog': 1, 'eel': 0})
    """
    counts = Counter(example.label for example in examples)
    names = {example.label: example.classname for example in examples} | dict(enumerate(classnames))
    distinct = distinct_names([names.get(label, "") for label in range(max(names, default=-1) + 1)])
    return {distinct[label]: counts[label] for label in sorted(names) if counts[label] < (1 if k == ALL else k)}


def _warn_if_few(examples: Sequence[Example], k: int, purpose: str, classnames: Sequence[str] = ()) -> None:
    if short := too_few(examples, k, classnames):
        listed = ", ".join(f"{name} ({count})" for name, count in short.items())
        warnings.warn(
            f"asked for {k} {purpose} examples per class, but these classes have fewer and give all: {listed}",
            stacklevel=3,
        )


def _draw(examples: Sequence[Example], k: int, generator: random.Random, purpose: str) -> list[Example]:
    if index(k) < 1:
        raise ValueError(
            f"expected at least one shot, got k={k}. For no training at all, use ZeroShot(clip, classnames, template)."
        )
    if not examples:
        raise ValueError(
            f"no {purpose} examples to draw from. A test-only dataset such as IconNet-Sketch cannot be trained on: "
            "sample from its source, IconNet."
        )
    by_class: dict[int, list[Example]] = {}  # a dict keeps the order of first appearance
    for example in examples:
        by_class.setdefault(example.label, []).append(example)
    shots: list[Example] = []
    for items in by_class.values():
        shots += generator.sample(items, k) if len(items) >= k else items
    return shots
