"""Checkers of the loss, one step and the training loop (Section 3.2): against the library's, and the usual mistakes."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import torch
from torch.nn.functional import cross_entropy

from coop_edu.clip.probability import normalize
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.teaching.checks.building import CLOSE, NAMES, clip_of_checks
from coop_edu.teaching.verdicts import (
    Wrong,
    answer_of,
    checker,
    compare,
    compare_gradients,
    random_numbers,
    relative_difference,
)

Batches = list[list[torch.Tensor]]


@checker
def check_loss(solution: Callable) -> str:
    """Cross entropy of Eq. 3: `solution(w (K, E), f (B, E), y (B,), logit_scale) -> ()`, w and f not normalised."""
    f, y, scale = 3 * random_numbers(1, 5, 8), torch.tensor([0, 2, 1, 1, 0]), 20.0
    w = 2 * random_numbers(2, 3, 8)
    unit_f, unit_w = normalize(f), normalize(w)
    logits = scale * unit_f @ unit_w.T
    p, right = logits.softmax(dim=1), cross_entropy(logits, y)
    every = -p[:, y].log().mean()
    free = w.clone().requires_grad_()
    given = answer_of(solution, free, f.clone(), y.clone(), scale)
    if not isinstance(given, torch.Tensor) or not given.requires_grad:
        raise Wrong("no gradient can flow back to w: give the loss as a tensor, without .item() or .detach()")
    mistakes = {
        "w and f are not normalised": cross_entropy(scale * f @ w.T, y),
        "f is not normalised": cross_entropy(scale * f @ unit_w.T, y),
        "w is not normalised": cross_entropy(scale * unit_f @ w.T, y),
        "the logit scale is missing": cross_entropy(unit_f @ unit_w.T, y),
        "the cosines are divided by the logit scale; it is 1 / τ, so multiply": cross_entropy(logits / scale**2, y),
        "it adds up the images; take their mean": right * len(y),
        "it gives one loss for each image; take their mean": cross_entropy(logits, y, reduction="none"),
        "the softmax runs over the images; the classes compete": -logits.softmax(dim=0)[range(5), y].log().mean(),
        "the logarithm is that of the mean; take the mean of the logarithms": -p[range(5), y].mean().log(),
        "the logit scale is 1 / τ already; do not take its exp": cross_entropy(logits / scale * exp(scale), y),
        "the logarithm is missing": -p[range(5), y].mean(),
        "the sign is missing: the loss is *minus* the logarithm": -right,
        "cross_entropy takes logits, and does the softmax itself": cross_entropy(p, y),
        "it takes all classes; only the probability of the image's own class counts": -p.log().mean(),
        "p[:, y] takes all images' classes from every image; p[torch.arange(len(y)), y] takes each image's own": every,
        "w and f are normalised along the wrong axis; each row should have length one": cross_entropy(
            scale * normalize(f.T).T @ normalize(w.T), y
        ),
    }
    compare(given, right, mistakes)
    compare_gradients(given, cross_entropy(scale * unit_f @ normalize(free).T, y), {"w": free})
    return "the cross entropy of Eq. 3."


@checker
def check_kg_loss(solution: Callable) -> str:
    """KgCoOp (Yao et al. 2023): `solution(loss, g (K, E), w (K, E), weight) -> ()`, g and w of any length."""
    loss, weight = torch.tensor(0.7, requires_grad=True), 8.0
    g, w = 3 * random_numbers(1, 4, 6), 2 * random_numbers(2, 4, 6)
    cosines = (normalize(g) * normalize(w)).sum(dim=1)
    free = g.clone().requires_grad_()
    given = answer_of(solution, loss, free, w.clone(), weight)
    if not isinstance(given, torch.Tensor) or not given.requires_grad:
        raise Wrong("no gradient can flow back to g: give the loss as a tensor, without .item() or .detach()")
    mistakes = {
        "the features are not normalised": loss + weight * (1 - (g * w).sum(dim=1).mean()),
        "CoOp's loss is missing": weight * (1 - cosines.mean()),
        "the weight is missing": loss + 1 - cosines.mean(),
        "the sign of the cosine: near features should cost nothing": loss + weight * (1 + cosines.mean()),
        "it adds the cosine; the distance is one minus the cosine": loss + weight * cosines.mean(),
        "it adds up the classes; take their mean": loss + weight * (1 - cosines).sum(),
        "each class is compared with all others; compare it with its own hand-written feature": loss
        + weight * (1 - (normalize(g) @ normalize(w).T).mean()),
        "the width is averaged; add it up, and take the mean over the classes": loss
        + weight * (1 - cosines.mean() / 6),
        "the weight multiplies CoOp's loss; it belongs to the distance": weight * loss + 1 - cosines.mean(),
        "the distance is taken away; far features should cost something": loss - weight * (1 - cosines.mean()),
        "the features are normalised along the wrong axis; each class is a row, so use dim=1": loss
        + weight * (1 - (normalize(g.T).T * normalize(w.T).T).sum(dim=1).mean()),
    }
    compare(given, loss + weight * (1 - cosines.mean()), mistakes)
    right = loss + weight * (1 - (normalize(free) * normalize(w)).sum(dim=1).mean())
    compare_gradients(given, right, {"g": free, "CoOp's loss": loss})
    if not torch.equal(answer_of(solution, loss, g.clone().requires_grad_(), w.clone(), 0.0), loss):
        raise Wrong("with weight 0 it should be CoOp's loss")
    return "CoOp's loss, and a pull towards what was written."


@checker
def check_step(solution: Callable) -> str:
    """One step: `solution(learner, image_features, labels, rate) -> loss`; the context moves against its gradient.

    Two steps with two rates are compared with the right ones: the losses before each, and the context after each.
    """
    mine, right = _learner(), _learner()
    features, labels = random_numbers(1, 9, right().shape[1]), torch.arange(9) % 3
    gradients, kept = [], mine.ctx
    for number, rate in enumerate((0.002, 0.001)):
        before, (loss, gradient) = right.ctx.detach().clone(), _gradient(right, features, labels)
        gradients.append(gradient)
        with torch.no_grad():
            right.ctx.sub_(rate * gradient)
        given = answer_of(solution, mine, features, labels, rate)
        if mine.ctx is not kept:
            raise Wrong("learner.ctx was replaced by another tensor; change it in place, with -=")
        mistakes = {
            "the context has not moved": before,
            "the context moved along its gradient; the loss falls *against* it": before + rate * gradient,
            "the learning rate is missing": before - gradient,
            "the gradients of two steps add up: clear the old one": before - rate * sum(gradients),
            "the second step uses the learning rate of the first": before - 0.002 * gradient,
            "the gradient was scaled to length one": before - rate * gradient / gradient.norm(),
        }
        if relative_difference(mine.ctx - before, right.ctx - before) > 0.01:
            for mistake, wrong in mistakes.items():
                if relative_difference(mine.ctx, wrong) < 1e-6:
                    raise Wrong(mistake)
            raise Wrong(f"after step {number + 1} the context is not where v - rate * gradient is")
        after = _gradient(right, features, labels)[0]
        compare(given, loss, {"it returns the loss after the step; return the one before": after})
    return "the context moves against its gradient."


def _gradient(learner: PromptLearner, features: torch.Tensor, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
    loss = learner.loss(features, labels)
    return loss.item(), torch.autograd.grad(loss, learner.ctx)[0]


@checker
def check_training_loop(solution: Callable) -> str:
    """The training: `solution(learner, image_features, labels, batches, rates) -> losses`, one for each step.

    `batches`: for each epoch a list of tensors, the positions of the images in each batch; `rates`: the learning rate
    of each epoch.  SGD with momentum 0.9 and weight decay 5e-4, as in the paper.  Compared with the library's steps:
    the losses, and the context after the last one.
    """
    generator = torch.Generator().manual_seed(0)
    batches = [[torch.randperm(9, generator=generator)[:4] for _ in range(3)] for _ in range(4)]
    rates = [0.002, 0.002, 0.001, 0.0003]
    library, mine = _learner(), _learner()
    features, labels = random_numbers(1, 9, library().shape[1]), torch.arange(9) % 3
    right = _train(library, features, labels, batches, rates)
    given = answer_of(solution, mine, features, labels, [list(epoch) for epoch in batches], list(rates))
    if isinstance(given, list | tuple) and any(isinstance(one, torch.Tensor) and one.requires_grad for one in given):
        raise Wrong("the losses still hold their graphs, and so the memory of every step; loss.item() gives numbers")
    try:
        losses = [float(loss) for loss in given]
    except TypeError:
        what = "a list of lists" if isinstance(given, list) else type(given).__name__
        raise Wrong(f"a list of numbers was expected, a loss for each step, and it returned {what}") from None
    first = [[batch] for epoch in batches for batch in epoch][: len(rates)]
    by_step = _train(_learner(), features, labels, first, rates)
    if len(losses) == len(batches) and _near(losses, by_step):
        raise Wrong("the rates belong to epochs, and each was taken for one step: two loops, one inside the other")
    if len(losses) == len(batches):
        raise Wrong("there is one loss for each epoch; give one for each step")
    if len(losses) != len(right):
        raise Wrong(f"{len(right)} losses were expected, one for each step, and there are {len(losses)}")
    if torch.equal(mine.ctx, _learner().ctx) and _near(losses, right):
        raise Wrong("the losses are right, but another learner was trained, a copy; train the one that is given")
    if torch.equal(mine.ctx, _learner().ctx):
        raise Wrong("the context has not moved: the order is zero_grad(), backward(), step()")
    if not _near(losses, right):
        for mistake, wrong in _mistakes(features, labels, batches, rates).items():
            if _near(losses, wrong):
                raise Wrong(mistake)
        step = next(i for i, (a, b) in enumerate(zip(losses, right)) if not _near([a], [b]))
        raise Wrong(f"at step {step + 1} the loss should be {right[step]:.5f} and is {losses[step]:.5f}")
    off = relative_difference(mine.ctx, library.ctx)
    if off > CLOSE:
        raise Wrong("the losses are right, but the context at the end is not the one after the last step")
    for decay, how in {0.0: "is missing, or much too small", 1e-3: "counts twice, or is much too large"}.items():
        other = _learner()
        _train(other, features, labels, batches, rates, decay=decay)
        if relative_difference(mine.ctx, other.ctx) < off:  # it changes so little that no loss shows it
            raise Wrong(f"the weight decay of 5e-4 {how}")
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
    clear: bool | str = True,
    momentum: float = 0.9,
    decay: float = 5e-4,
    anew: bool = False,
    late: bool = False,
) -> list[float]:
    """The loop; each option makes one of the usual mistakes."""
    optimizer = torch.optim.SGD(learner.parameters(), lr=rates[0], momentum=momentum, weight_decay=decay)
    losses = []
    for rate, epoch in zip(rates, batches, strict=True):
        if anew:
            optimizer = torch.optim.SGD(learner.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for number, batch in enumerate(epoch):
            loss = learner.loss(features[batch], labels[batch])
            if clear is True or (clear == "epoch" and not number):
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append((learner.loss(features[batch], labels[batch]) if late else loss).item())
    return losses


def _mistakes(
    features: torch.Tensor, labels: torch.Tensor, batches: Batches, rates: list[float]
) -> dict[str, list[float]]:
    """{mistake: the losses that it gives}."""

    def losses(batches: Batches = batches, rates: list[float] = rates, **options: bool | float | str) -> list[float]:
        return _train(_learner(), features, labels, batches, rates, **options)  # type: ignore[arg-type]

    steps, n = [[batch] for epoch in batches for batch in epoch], len(rates)
    by_step = [rates[min(step, n - 1)] for step in range(len(steps))]
    everything = [[torch.arange(len(labels)) for _ in epoch] for epoch in batches]
    return {
        "the gradients of all steps add up: clear them with zero_grad() before each backward()": losses(clear=False),
        "the momentum of 0.9 is missing or forgotten; make the optimizer once, before both loops": losses(momentum=0.0),
        "the loss is computed after the step; give the one that the step was made from": losses(late=True),
        "each step takes all images; it should take those of its batch": losses(everything),
        "the gradients of an epoch add up: clear them before each backward()": losses(clear="epoch"),
        "a new optimizer in every epoch forgets the momentum; make one before the loop": losses(anew=True),
        "the learning rate is set after the epoch; set it before": losses(rates=[rates[0], *rates[:-1]]),
        "the learning rate stays that of the first epoch (setting optimizer.lr changes nothing)":
            losses(rates=[rates[0]] * n),
        "the learning rate is the last epoch's throughout": losses(rates=[rates[-1]] * n),
        "the learning rate changes with every step; it belongs to the epoch": losses(steps, by_step),
        "the rates go along with the batches of an epoch; all batches of an epoch share one rate":
            losses(steps, [rates[number] for epoch in batches for number, _ in enumerate(epoch)]),
        "every epoch uses the batches of the first": losses([batches[0]] * n),
    }  # fmt: skip


def _near(a: list[float], b: list[float]) -> bool:
    return all(abs(x - y) <= CLOSE * max(1.0, abs(y)) for x, y in zip(a, b, strict=True))
