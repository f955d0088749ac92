"""Copies saved parameters into a learner, after checking shapes and NaN."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from coop_edu.coop.prompt_learner import PromptLearner


def copy_parameters(learner: PromptLearner, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy values into all parameters of the learner and make them its new start.

    Raises ValueError, and changes nothing, if one is missing, has another shape, or is not finite.
    """
    if "ctx" not in tensors:
        raise ValueError("expected a context, ctx, and found none")
    others = {name: parameter for name, parameter in learner.named_parameters() if name != "ctx"}
    for name, parameter in others.items():
        if name not in tensors or tensors[name].shape != parameter.shape:
            got = tuple(tensors[name].shape) if name in tensors else "none"
            raise ValueError(f"expected {name} of shape {tuple(parameter.shape)}, got {got}: another method's?")
        _check_finite(name, tensors[name].to(parameter.dtype))
    copy_ctx(learner, tensors["ctx"])
    with torch.no_grad():
        for name, parameter in others.items():
            parameter.copy_(tensors[name])
    learner.mark_start()


def copy_ctx(learner: PromptLearner, ctx: torch.Tensor) -> None:
    """Copy values into a learner's context as its new start.  ValueError, with a guess, for another shape."""
    expected, got = tuple(learner.ctx.shape), tuple(ctx.shape)
    if expected != got:
        if len(expected) != len(got):
            why = "is one of the two class-specific (K, M, D) and the other unified (M, D)?"
        elif expected[-1] != got[-1]:
            why = f"another CLIP's word embeddings: they are {got[-1]} wide there and {expected[-1]} here"
        elif expected[-2] != got[-2]:
            why = f"was it learned with n_ctx={got[-2]}?"
        else:
            why = f"was it learned on {got[0]} classes? A class-specific context cannot serve others"
        raise ValueError(f"expected ctx of shape {expected}, got {got}: {why}")
    values = ctx.to(learner.ctx.dtype)
    _check_finite("ctx", values)
    with torch.no_grad():
        learner.ctx.copy_(values)
    learner.mark_start()


def _check_finite(name: str, values: torch.Tensor) -> None:
    if not values.isfinite().all():
        raise ValueError(
            f"expected finite values in {name}, got NaN, infinity or values too large for {values.dtype}: that "
            "training diverged"
        )


def holds(learner: PromptLearner, tensors: Mapping[str, torch.Tensor]) -> bool:
    """True if the learner's parameters equal the file's."""
    return all(
        name in tensors and torch.equal(parameter.detach().cpu().float(), tensors[name].float())
        for name, parameter in learner.named_parameters()
    )
