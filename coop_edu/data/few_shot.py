"""The k-shot sampler: the same images, in the same order, as the authors' code draws (paper's Section 4.1).

Classes are taken in the order in which they first appear in the list, and `random.sample` draws k images of each.
Training and validation share one stream of random numbers: training first, then min(k, 4) images per class.

Leaves out: where the lists come from (see data/), the linear probe's own sampling in the authors' `lpclip`.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coop_edu.data.labels import check_labels, distinct_names
from coop_edu.records import whole_number

if TYPE_CHECKING:
    from coop_edu.data.dataset import Dataset, Example


def sample_few_shot(examples: Sequence[Example], k: int, seed: int) -> list[Example]:
    """k examples of every class: "k-shot" training data, identical to the authors' for the same list, k and seed.

    A class with fewer than k examples gives all it has, with a `UserWarning` that names it.
    Raises ValueError if k < 1 or there is nothing to draw from.

    >>> from coop_edu.data.dataset import Example
    >>> pets = [Example(f"{name}{i}.png", label, name) for label, name in enumerate(["cat", "dog"]) for i in range(9)]
    >>> [shot.image for shot in sample_few_shot(pets, k=2, seed=1)]
    ['cat2.png', 'cat1.png', 'dog4.png', 'dog1.png']
    """
    shots = _draw(examples, k, random.Random(whole_number(seed, "seed")), "training")
    _warn({"training": (k, too_few(examples, k))})
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
    _warn(
        {
            "training": (k, too_few(dataset.train, k)),
            "validation": (min(k, 4), too_few(dataset.val, min(k, 4))),
        }
    )
    return drawn


def draw_train_val(dataset: Dataset, k: int, seed: int) -> tuple[list[Example], list[Example]]:
    """The same without a warning, for a grid that says once what is `too_few`."""
    generator = random.Random(whole_number(seed, "seed"))
    train = _draw(dataset.train, k, generator, "training")
    return train, _draw(dataset.val, min(k, 4), generator, "validation")


def too_few(examples: Sequence[Example], k: int) -> dict[str, int]:
    """The classes with fewer than k examples, and how many they have; classes of one name with their labels.

    >>> from coop_edu.data.dataset import Example
    >>> too_few([Example("a.png", 0, "cat"), Example("b.png", 1, "dog"), Example("c.png", 0, "cat")], k=2)
    {'dog': 1}
    """
    check_labels(example.label for example in examples)
    counts = Counter(example.label for example in examples)
    known = {example.label: example.classname for example in examples}
    names = distinct_names([known.get(label, "") for label in range(max(known, default=-1) + 1)])
    return {names[label]: count for label, count in counts.items() if count < k}


def _warn(short: dict[str, tuple[int, dict[str, int]]]) -> None:
    for purpose, (k, classes) in short.items():
        if classes:
            warnings.warn(
                f"asked for {k} {purpose} examples per class, but these classes have fewer, and give all they "
                f"have: {', '.join(f'{name} ({count})' for name, count in classes.items())}",
                stacklevel=3,
            )


def _draw(examples: Sequence[Example], k: int, generator: random.Random, purpose: str) -> list[Example]:
    try:
        k = whole_number(k, "shots k", at_least=1)
    except ValueError as error:
        raise ValueError(
            f"{error}: the paper uses 1, 2, 4, 8 and 16. For no training at all, use the hand-written prompt: "
            "ZeroShot(clip, classnames, template)."
        ) from None
    if not examples:
        raise ValueError(
            f"no {purpose} examples to draw {k} a class from: test-only data sets (the variants such as "
            "IconNet-Sketch) cannot be trained on; sample from their source, e.g. IconNet."
        )
    check_labels(example.label for example in examples)
    by_class: dict[int, list[Example]] = {}  # a dict keeps the order of first appearance
    for example in examples:
        by_class.setdefault(example.label, []).append(example)
    shots: list[Example] = []
    for items in by_class.values():
        shots += generator.sample(items, k) if len(items) >= k else items
    return shots
