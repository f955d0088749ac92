"""What happens in a training: its history, the state that callbacks get, and errors where numbers are not finite."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe


@dataclass
class History:
    """One entry per epoch: mean loss (nats), accuracy on the training batches (percent), learning rate, seconds."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def add(self, epoch: EpochSums, lr: float) -> None:
        """Close an epoch."""
        self.loss.append(epoch.loss.item() / epoch.steps)  # all batches of an epoch have one size
        self.accuracy.append(100 * epoch.correct.item() / epoch.n_images)
        self.lr.append(lr)
        self.seconds.append(time.perf_counter() - epoch.start)


class EpochSums:
    """Loss and right answers, summed over the steps of an epoch; kept on the device: no step waits for a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.start, self.steps, self.n_images = time.perf_counter(), 0, 0
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.long)

    def add(self, loss: Float[Tensor, ""], logits: Float[Tensor, "B K"], labels: Int[Tensor, " B"]) -> None:
        """One step; loss and logits are detached."""
        self.loss += loss  # no item(), which would wait for the GPU at every step
        self.correct += (logits.argmax(dim=1) == labels).sum()
        self.n_images += len(labels)
        self.steps += 1


@dataclass(frozen=True)
class TrainerState:
    """What a callback gets after each epoch: epochs done and in all, history so far, the learner, steps per epoch."""

    epoch: int
    epochs: int
    history: History
    learner: PromptLearner
    steps_per_epoch: int


class StopTraining(Exception):
    """Raised by a callback to end the training after this epoch: `Trainer.fit` then returns the history so far."""


def check_finite(sums: EpochSums, epoch: int, learned: Mapping[str, Tensor], recipe: Recipe) -> None:
    """Raise if the loss or a parameter is NaN or infinite."""
    # One NaN makes the sum NaN, so the sum stands for all steps of the epoch so far.
    if not math.isfinite(sums.loss.item()):
        _diverged("the loss is", f"epoch {epoch + 1}, by step {sums.steps}", recipe)
    for name, parameter in learned.items():
        if not parameter.isfinite().all():
            what = "the context vectors are" if name == "ctx" else f"{name} is"
            _diverged(what, f"epoch {epoch + 1}, after step {sums.steps}", recipe)


@torch.no_grad()
def check_usable(learner: PromptLearner, image_features: Float[Tensor, "B E"], epoch: int, recipe: Recipe) -> None:
    """Raise if the text features are not finite: a finite context can be too large for the encoder.

    One image is enough, also if the context depends on it.
    """
    if not learner(learner.context(image_features[:1])).isfinite().all():
        _diverged("the text features are", f"after epoch {epoch + 1}", recipe)


def _diverged(what: str, when: str, recipe: Recipe) -> NoReturn:
    raise FloatingPointError(
        f"{what} not finite ({when}), so the prompt is unusable. Lower lr ({recipe.lr}; the paper's is 0.002), or use "
        f"precision='float32' (now {recipe.precision!r})."
    )
