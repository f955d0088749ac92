"""Checker of notebook 04's training loop (Section 3.2): every loss against the library's, and the usual mistakes.

Leaves out: the prompt learner that is trained (building.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.teaching.checks.building import CLOSE, NAMES, clip_of_checks
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, relative_difference


@checker
def check_training_loop(solution: Callable) -> str:
    """The training: `solution(learner, image_features, labels, batches, rates) -> losses`, one for each step.

    `batches`: for each epoch a list of tensors, the positions of the images in each batch; `rates`: the learning rate
    of each epoch.  SGD with momentum 0.9 and weight decay 5e-4, as in the paper.  Compared with the same steps here:
    the losses, and the context after the last one.
    """
    generator = torch.Generator().manual_seed(0)
    batches = [[torch.randperm(9, generator=generator)[:4] for _ in range(2)] for _ in range(4)]
    rates = [0.002, 0.002, 0.001, 0.0003]
    library, mine = (PromptLearner(clip_of_checks(), NAMES[3], n_ctx=2, seed=1) for _ in range(2))
    features = torch.randn(9, library().shape[1], generator=generator)
    labels = torch.arange(9) % 3
    right = _train(library, features, labels, batches, rates)
    given = answer_of(solution, mine, features, labels, [list(epoch) for epoch in batches], list(rates))
    try:
        losses = [float(loss) for loss in given]
    except TypeError:
        raise Wrong(f"a list of losses was expected, and it returned {type(given).__name__}") from None
    if len(losses) == len(batches):
        raise Wrong("there is one loss for each epoch; give one for each step")
    if len(losses) != len(right):
        raise Wrong(f"{len(right)} losses were expected, one for each step, and there are {len(losses)}")
    if torch.equal(mine.ctx, _start()):
        raise Wrong("the context has not moved: is there a step of the optimizer behind each backward()?")
    for mistake, changed in MISTAKES.items():
        if _near(losses, _mistaken(features, labels, batches, rates, **changed)) and not _near(losses, right):
            raise Wrong(mistake)
    if not _near(losses, right):
        step = next(
            i for i, (a, b) in enumerate(zip(losses, right, strict=True)) if abs(a - b) > CLOSE * max(1, abs(b))
        )
        raise Wrong(f"at step {step + 1} the loss should be {right[step]:.5f} and is {losses[step]:.5f}")
    if relative_difference(mine.ctx, library.ctx) > CLOSE:
        raise Wrong("the losses are right, and the context at the end is not the one after the last step")
    return "step for step the library's losses, and the same context at the end."


def _train(
    learner: PromptLearner,
    features: torch.Tensor,
    labels: torch.Tensor,
    batches: list[list[torch.Tensor]],
    rates: list[float],
    *,
    clear: bool = True,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> list[float]:
    """The loop, and with other options the usual mistakes in it."""
    optimizer = torch.optim.SGD(learner.parameters(), lr=rates[0], momentum=momentum, weight_decay=weight_decay)
    losses = []
    for rate, epoch in zip(rates, batches, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for batch in epoch:
            loss = learner.loss(features[batch], labels[batch])
            if clear:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


MISTAKES: dict[str, dict[str, Any]] = {
    "the gradients of all steps add up: clear them with zero_grad() before each backward()": {"clear": False},
    "the momentum of 0.9 is missing": {"momentum": 0.0},
    "the learning rate stays that of the first epoch": {"constant": 0},
    "the learning rate is the last epoch's throughout": {"constant": -1},
    "the learning rate changes with every step; it belongs to the epoch": {"by_step": True},
    "every epoch uses the batches of the first": {"first_batches": True},
}


def _mistaken(
    features: torch.Tensor,
    labels: torch.Tensor,
    batches: list[list[torch.Tensor]],
    rates: list[float],
    *,
    constant: int | None = None,
    by_step: bool = False,
    first_batches: bool = False,
    **options: Any,
) -> list[float]:
    """The losses that a learner with one mistake gets."""
    if constant is not None:
        rates = [rates[constant]] * len(rates)
    if first_batches:
        batches = [batches[0]] * len(batches)
    if by_step:
        batches = [[batch] for epoch in batches for batch in epoch]
        rates = [rates[min(step, len(rates) - 1)] for step in range(len(batches))]
    return _train(
        PromptLearner(clip_of_checks(), NAMES[3], n_ctx=2, seed=1), features, labels, batches, rates, **options
    )


def _near(a: list[float], b: list[float]) -> bool:
    return all(abs(x - y) <= CLOSE * max(1.0, abs(y)) for x, y in zip(a, b, strict=True))


def _start() -> torch.Tensor:
    return PromptLearner(clip_of_checks(), NAMES[3], n_ctx=2, seed=1).ctx
