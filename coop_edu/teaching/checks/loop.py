"""Checker of notebook 04's training loop (Section 3.2): every loss against the library's, and the usual mistakes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.teaching.checks.building import CLOSE, NAMES, clip_of_checks
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, random_numbers, relative_difference

Batches = list[list[torch.Tensor]]


@checker
def check_training_loop(solution: Callable) -> str:
    """The training: `solution(learner, image_features, labels, batches, rates) -> losses`, one for each step.

    `batches`: for each epoch a list of tensors, the positions of the images in each batch; `rates`: the learning rate
    of each epoch.  SGD with momentum 0.9 and weight decay 5e-4, as in the paper.  Compared with the library's steps:
    the losses, and the context after the last one.
    """
    generator = torch.Generator().manual_seed(0)
    batches = [[torch.randperm(9, generator=generator)[:4] for _ in range(2)] for _ in range(4)]
    rates = [0.002, 0.002, 0.001, 0.0003]
    library, mine = _learner(), _learner()
    features, labels = random_numbers(1, 9, library().shape[1]), torch.arange(9) % 3
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
    if torch.equal(mine.ctx, _learner().ctx):
        raise Wrong("the context has not moved: call optimizer.step() after each backward()")
    if not _near(losses, right):
        for mistake, wrong in _mistakes(features, labels, batches, rates).items():
            if _near(losses, wrong):
                raise Wrong(mistake)
        step = next(i for i, (a, b) in enumerate(zip(losses, right)) if not _near([a], [b]))
        raise Wrong(f"at step {step + 1} the loss should be {right[step]:.5f} and is {losses[step]:.5f}")
    off = relative_difference(mine.ctx, library.ctx)
    if off > CLOSE:
        raise Wrong("the losses are right, but the context at the end is not the one after the last step")
    light = _learner()
    _train(light, features, labels, batches, rates, decay=0.0)
    if relative_difference(mine.ctx, light.ctx) < off:  # it changes so little that no loss shows it
        raise Wrong("the weight decay of 5e-4 is missing")
    return "step for step the library's losses, and the same context at the end."


def _learner() -> PromptLearner:
    return PromptLearner(clip_of_checks(), NAMES[3], n_ctx=2, seed=1)


def _train(
    learner: PromptLearner,
    features: torch.Tensor,
    labels: torch.Tensor,
    batches: Batches,
    rates: list[float],
    *,
    clear: bool = True,
    momentum: float = 0.9,
    decay: float = 5e-4,
    anew: bool = False,
) -> list[float]:
    """The loop; each option makes one of the usual mistakes."""
    optimizer = torch.optim.SGD(learner.parameters(), lr=rates[0], momentum=momentum, weight_decay=decay)
    losses = []
    for rate, epoch in zip(rates, batches, strict=True):
        if anew:
            optimizer = torch.optim.SGD(learner.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
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


def _mistakes(
    features: torch.Tensor, labels: torch.Tensor, batches: Batches, rates: list[float]
) -> dict[str, list[float]]:
    """{mistake: the losses that it gives}."""

    def losses(batches: Batches = batches, rates: list[float] = rates, **options: bool | float) -> list[float]:
        return _train(_learner(), features, labels, batches, rates, **options)  # type: ignore[arg-type]

    steps, n = [[batch] for epoch in batches for batch in epoch], len(rates)
    by_step = [rates[min(step, n - 1)] for step in range(len(steps))]
    return {
        "the gradients of all steps add up: clear them with zero_grad() before each backward()": losses(clear=False),
        "the momentum of 0.9 is missing": losses(momentum=0.0),
        "a new optimizer in every epoch forgets the momentum; make one before the loop": losses(anew=True),
        "the learning rate is set after the epoch; set it before": losses(rates=[rates[0], *rates[:-1]]),
        "the learning rate stays that of the first epoch": losses(rates=[rates[0]] * n),
        "the learning rate is the last epoch's throughout": losses(rates=[rates[-1]] * n),
        "the learning rate changes with every step; it belongs to the epoch": losses(steps, by_step),
        "every epoch uses the batches of the first": losses([batches[0]] * n),
    }


def _near(a: list[float], b: list[float]) -> bool:
    return all(abs(x - y) <= CLOSE * max(1.0, abs(y)) for x, y in zip(a, b, strict=True))
