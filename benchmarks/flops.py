"""Floating-point operations of a step, from shapes alone (tests/test_benchmarks.py counts them in another way).

A product (n, a) x (a, b) is 2 n a b operations.  In a block of width D, a token costs 2 D x (3 D + D + 4 D + 4 D) = 24
D^2 in the four linear layers, and each pair (query, key) costs 2 D for its score and 2 D for its share of the value.
Backward, a frozen linear layer costs the same once more: only the gradient of its input is wanted, not of its weights.
A product of two activations, as in attention, costs twice: both have a gradient.

Leaves out: layer norms, softmax, activations, the logits; a few per cent.
"""

import torch

from coop_edu.clip.prompt_encoder import PromptEncoder
from coop_edu.coop.prompt_learner import PromptLearner


def reference_step(tower: torch.nn.Module, classes: int) -> int:
    """Forward and backward of CLIP's own text encoder on all positions of `classes` prompts."""
    D, E = tower.text_projection.shape
    layers, L = len(tower.transformer.resblocks), tower.context_length
    linear = layers * 24 * D**2 * classes * L + 2 * D * E * classes
    attention = layers * 4 * D * classes * L**2  # causal, but computed in full and masked
    return 2 * linear + 3 * attention


def learner_step(learner: PromptLearner) -> int:
    """Forward and backward of a PromptLearner; in groups of classes there is one more forward."""
    total = 0
    for encoder in learner.encoders:
        linear, attention = _forward(encoder)
        again = 1 if learner.max_classes_at_once is not None else 0
        total += (2 + again) * linear + (3 + again) * attention
    return total


def _forward(encoder: PromptEncoder) -> tuple[int, int]:
    """The linear layers and the attention of one encoder.  In the last block only the K ends of text ask."""
    D, E = encoder.tower.text_projection.shape
    layers, T, P, (K, S) = (
        len(encoder.tower.transformer.resblocks),
        encoder.tokens_computed,
        encoder.P,
        encoder.grid_shape,
    )
    linear = (layers - 1) * 24 * D**2 * T + (6 * T + 18 * K) * D**2 + 2 * D * E * K
    pairs = (layers - 1) * (K * S * (P + S) + P * P) + K * (P + S)  # own tokens on a grid, and the shared ones
    return linear, 4 * D * pairs
