"""Checkers of the exercises that build CoOp: the prompt learner (Eqs. 2-4) and its training loop (Section 3.2).

Leaves out: the smaller exercises (the files beside this one).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from coop_edu.clip.models import Clip, load_clip
from coop_edu.clip.probability import normalize
from coop_edu.clip.text_towers import text_tower
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, relative_difference

NAMES = {2: ["cat", "hot air balloon"], 3: ["key", "tree", "alarm clock"]}  # two shapes: nothing can be typed in
CLOSE = 1e-4


@checker
def check_prompt_learner(solution: Callable) -> str:
    """A prompt learner: `solution(clip, classnames, ctx)` is an nn.Module; called, it gives text features (K, E).

    `ctx` (M, D) is where its one parameter starts.  Looked at: the parameter, the text features against the library's
    for two numbers of classes and two context lengths, the gradient at the context, and that none arrives at CLIP.
    """
    clip = clip_of_checks()
    for names, M in ((NAMES[3], 4), (NAMES[2], 2)):
        start = PromptLearner(clip, names, n_ctx=M, seed=M)
        mine = answer_of(solution, clip, list(names), start.ctx.detach().clone())
        if not isinstance(mine, nn.Module):
            raise Wrong(f"an nn.Module was expected, and it returned {type(mine).__name__}")
        learned = _own_parameters(mine, clip)
        if not learned:
            raise Wrong("nothing can be learned: the context must be an nn.Parameter, set in __init__")
        if sum(p.numel() for p in learned) != start.ctx.numel():
            raise Wrong(
                f"{sum(p.numel() for p in learned):,} numbers are learned; {M} vectors have {start.ctx.numel():,}"
            )
        features = answer_of(mine)
        if not isinstance(features, torch.Tensor) or features.shape != start().shape:
            shape = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
            raise Wrong(f"called, it should give text features of shape {tuple(start().shape)}, and gives {shape}")
        if relative_difference(features, start()) > CLOSE:
            raise Wrong(_which_prompt(features, names, start))
        weights = _weights_of(clip)
        for weight in weights:
            weight.grad = None
        if not features.requires_grad:
            raise Wrong(
                "no gradient can flow back: somewhere the context was detached, copied, or used under no_grad()"
            )
        features.sum().backward()
        if any(p.grad is None or not p.grad.any() for p in learned):
            raise Wrong("the context receives no gradient: it was detached or copied on its way into the prompt")
        if any(weight.grad is not None for weight in weights):
            raise Wrong("CLIP's own weights receive a gradient; they have to stay frozen")
    return "the prompt goes through the frozen encoder, and the gradient comes back to the context."


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


def _which_prompt(features: torch.Tensor, names: list[str], start: PromptLearner) -> str:
    """Which of the usual wrong prompts gives these text features."""
    with torch.no_grad():
        others = {
            "the full stop behind the class name is missing": _assembled(names, start.ctx, stop=""),
            "the class name stands in front of the context; it belongs behind it": _assembled(
                names, start.ctx, front=True
            ),
            "the context is left out": _assembled(names, start.ctx[:0]),
            "the vectors of the context are in the wrong order": _assembled(names, start.ctx.flip(0)),
            "the feature is read at the wrong position; it stands at EOT, the last": _assembled(
                names, start.ctx, read=-2
            ),
            "the positions are not told: add the positional embedding": _assembled(names, start.ctx, positions=False),
            "the causal mask is missing": _assembled(names, start.ctx, mask=False),
            "the features are normalised already; give them as the text encoder does": normalize(start()),
        }
    for mistake, wrong in others.items():
        if relative_difference(features, wrong) < CLOSE:
            return mistake
    return f"the text features differ from the library's by {relative_difference(features, start()):.1e} of their size"


def _assembled(
    names: list[str],
    ctx: torch.Tensor,
    *,
    stop: str = ".",
    front: bool = False,
    read: int = -1,
    positions: bool = True,
    mask: bool = True,
) -> torch.Tensor:
    """Text features as the exercise wants them, one prompt after the other; with other options, the usual mistakes."""
    clip = clip_of_checks()
    text: Any = text_tower(clip.model)
    table = text.token_embedding.weight
    sot, eot = table[[clip.tokenizer.sot_token_id]], table[[clip.tokenizer.eot_token_id]]
    rows = []
    for name in names:
        words = table[clip.tokenizer.encode(name + stop)]
        parts = [sot, words, ctx, eot] if front else [sot, ctx, words, eot]
        x = torch.cat(parts)
        x = x + text.positional_embedding[: len(x)] if positions else x
        x = text.transformer(x[None], attn_mask=text.attn_mask[: len(x), : len(x)] if mask else None)[0]
        rows.append(text.ln_final(x)[read] @ text.text_projection)
    return torch.stack(rows)


def _weights_of(clip: Clip) -> list[nn.Parameter]:
    model: Any = clip.model
    return list(model.parameters())


def _own_parameters(module: nn.Module, clip: Clip) -> list[nn.Parameter]:
    """What the module learns: its parameters that are not CLIP's, and that want a gradient."""
    frozen = {id(weight) for weight in _weights_of(clip)}
    return [p for p in module.parameters() if id(p) not in frozen and p.requires_grad]


@cache
def clip_of_checks() -> Clip:
    return load_clip("mini")
