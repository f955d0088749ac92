"""Has a training gone astray?  FloatingPointError, with what may help, as soon as numbers are no numbers.

Leaves out: the training itself (trainer.py).
"""

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
    """Stop once the loss is not a number, or what the last step made: ctx, or another parameter."""
    if not math.isfinite(sums.loss.item()):
        _diverged("the loss is", f"epoch {epoch + 1}, by step {sums.steps}", recipe)
    for name, parameter in learned.items():
        if not parameter.isfinite().all():
            what = "the context vectors are" if name == "ctx" else f"{name} is"
            _diverged(what, f"epoch {epoch + 1}, after step {sums.steps}", recipe)


@torch.no_grad()
def check_usable(learner: PromptLearner, image_features: Float[Tensor, "B E"], epoch: int, recipe: Recipe) -> None:
    """Stop if the context is finite but too large for the text encoder: no further step would notice it.

    Of the image features one is enough, for a context that depends on the image.
    """
    if not learner(learner.context(image_features[:1])).isfinite().all():
        _diverged("the text features are", f"after epoch {epoch + 1}", recipe)


def _diverged(what: str, when: str, recipe: Recipe) -> NoReturn:
    raise FloatingPointError(
        f"{what} not finite ({when}): the context vectors are lost. "
        f"Likely causes: a learning rate that is too high (lr={recipe.lr}; the paper's is "
        f"0.002), image features that are not finite, precision={recipe.precision!r} (try "
        "'float32'). A checkpoint, if one was asked for, still holds the last good epoch that was saved."
    )
