"""The paper's training recipe, as numbers (Section 4.1 and the authors' configuration files)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coop_edu.records import real_number, whole_number

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Recipe:
    """How to train a prompt; the defaults are the paper's for 8 and 16 shots.

    min_steps: epochs are added until there are this many steps (`for_images`); views: "fresh", n or
    None, as data/features.py explains; precision: of the matrix products (ctx stays float32). Raises ValueError for a
    setting that means nothing.

    >>> Recipe(epochs=50).learning_rate(0), Recipe(epochs=50).learning_rate(1)
    (1e-05, 0.002)
    """

    epochs: int = 200  # T
    min_steps: int = 0
    lr: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 5e-4  # on the context vectors, as in the authors' code
    batch_size: int = 32
    warmup_epochs: int = 1
    warmup_lr: float = 1e-5
    views: str | int | None = "fresh"
    precision: str = "float32"
    seed: int = 1

    def __post_init__(self) -> None:
        at_least = {"epochs": 1, "min_steps": 0, "batch_size": 1, "warmup_epochs": 0, "seed": None}
        checked: dict[str, float] = {
            name: whole_number(getattr(self, name), name, at_least=low) for name, low in at_least.items()
        }
        for name in ("lr", "momentum", "weight_decay", "warmup_lr"):
            checked[name] = real_number(getattr(self, name), name, at_least=0)
        if checked["momentum"] >= 1:  # the velocity would grow without end
            raise ValueError(f"expected a momentum below 1, got {self.momentum}")
        for name, value in checked.items():  # plain numbers, which JSON can hold; the dataclass is frozen
            object.__setattr__(self, name, value)
        if self.precision not in PRECISIONS:
            raise ValueError(f"expected precision {' or '.join(map(repr, PRECISIONS))}, got {self.precision!r}")
        if not (self.views is None or self.views == "fresh"):
            otherwise = "'fresh' (a new crop at every step, as in the paper), or None (the plain image)"
            object.__setattr__(self, "views", whole_number(self.views, "views", at_least=1, otherwise=otherwise))

    @classmethod
    def paper(cls, shots: int, dataset: str | None = None) -> Recipe:
        """50 epochs for 1 shot, 100 for 2 and 4, 200 for 8 and 16; always 50 on ImageNet.

        >>> [Recipe.paper(shots).epochs for shots in (1, 2, 4, 8, 16)], Recipe.paper(16, "ImageNet").epochs
        ([50, 100, 100, 200, 200], 50)
        """
        return cls(epochs=50 if shots == 1 or str(dataset).lower() == "imagenet" else 100 if shots <= 4 else 200)

    @classmethod
    def mini(cls, shots: int = 16) -> Recipe:
        """For a laptop: the paper's settings with fewer epochs, on the plain images, which are encoded once.

        Counted in steps, because an epoch of one shot of twenty classes is a single step: 50 steps per shot, at most
        300, and at least 10 epochs.  The numbers were chosen on validation images (assets/MINICLIP.md).

        >>> [Recipe.mini(shots).for_images(20 * shots).epochs for shots in (1, 2, 4, 8, 16)]
        [50, 100, 100, 60, 30]
        """
        return cls(epochs=10, min_steps=min(50 * shots, 300), views=None)

    def for_images(self, n: int) -> Recipe:
        """The recipe with enough epochs for n training images: at least `epochs`, and at least `min_steps` steps.

        >>> Recipe.mini(shots=16).for_images(16 * 77).epochs
        10
        """
        # Ceiling division.
        enough = -(-self.min_steps // self.steps_per_epoch(n))
        return replace(self, epochs=max(self.epochs, enough), min_steps=0)

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.SGD:
        """SGD with momentum and weight decay, on what is learned: the context vectors, in CoOp."""
        from torch.optim import SGD

        return SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0: constant in warm-up, then a cosine that ends above 0.

        >>> round(Recipe(epochs=50).learning_rate(49), 9)
        7.885e-06
        """
        if epoch < self.warmup_epochs:
            return self.warmup_lr  # the paper: against exploding gradients in the first steps
        # As the authors' code: the cosine runs over all T epochs, though it starts after the warm-up.
        return self.lr * (1 + math.cos(math.pi * (epoch - self.warmup_epochs) / self.epochs)) / 2

    def steps_per_epoch(self, n: int) -> int:
        """Full batches only, unless n images do not fill a single one: then one step with all of them.

        >>> Recipe().steps_per_epoch(1600), Recipe().steps_per_epoch(20)
        (50, 1)
        """
        return max(1, n // self.batch_size)  # the authors' loader drops the last batch
