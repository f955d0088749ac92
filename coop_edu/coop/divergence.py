"""Stops a training as soon as the loss, a parameter or the text features are NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from coop_edu.coop.history import EpochSums
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe


def check_finite(sums: EpochSums, epoch: int, learned: Mapping[str, Tensor], recipe: Recipe) -> None:
    """Raise if the loss or a parameter is NaN or infinite."""
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
