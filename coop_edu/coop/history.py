"""The history of a training, the state that callbacks get, and the exception that stops it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.coop.prompt_learner import PromptLearner


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
        self.loss.append(epoch.loss.item() / epoch.steps)
        self.accuracy.append(100 * epoch.correct.item() / epoch.n_images)
        self.lr.append(lr)
        self.seconds.append(time.perf_counter() - epoch.start)


class EpochSums:
    """Loss and right answers, summed over the steps of an epoch, on the device: so that a GPU need not wait."""

    def __init__(self, device: torch.device) -> None:
        self.start, self.steps, self.n_images = time.perf_counter(), 0, 0
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.long)

    def add(self, loss: Float[Tensor, ""], logits: Float[Tensor, "B K"], labels: Int[Tensor, " B"]) -> None:
        """One step; loss and logits are detached."""
        self.loss += loss
        self.correct += (logits.argmax(dim=1) == labels).sum()
        self.n_images += len(labels)
        self.steps += 1


@dataclass(frozen=True)
class TrainerState:
    """What a callback is given after each epoch: epochs done, epochs in all, history so far, the learner, and of how
    many steps an epoch is made."""

    epoch: int
    epochs: int
    history: History
    learner: PromptLearner
    steps_per_epoch: int


class StopTraining(Exception):
    """Raised by a callback to end the training after this epoch: `Trainer.fit` then returns the history so far."""
