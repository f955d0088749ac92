"""How likely is each class, given an image?  Cosine similarity, temperature, softmax.

The paper's Eq. 1, on which everything else in the package stands:

    p(y = i | x) = exp(cos(w_i, f) / tau) / sum_j exp(cos(w_j, f) / tau)

f is the image's feature, w_i the feature of class i's text, and tau the temperature CLIP learned in its own
training.  CLIP stores 1 / tau and calls it the logit scale (about 100 in OpenAI's models).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def normalize(x: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
    """Scale each row to length one, so that a dot product becomes a cosine.

    A row of zeros has no direction and stays zero.

    >>> normalize(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    return torch.nn.functional.normalize(x, dim=-1)


def class_logits(
    image_features: Float[Tensor, "B E"],
    text_features: Float[Tensor, "... K E"],
    logit_scale: Float[Tensor, ""] | float,
) -> Float[Tensor, "B K"]:
    """The exponents of Eq. 1: cosine similarities, divided by the temperature.

    Features may be normalised or not; text features are (K, E), or (B, K, E) where each image has texts of its own.
    logit_scale is 1 / tau, one positive number.
    Raises ValueError for features of another number of dimensions, and for a logit scale that is not positive;
    RuntimeError if the widths differ, as those of two CLIPs may.

    >>> class_logits(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]]), logit_scale=10.0)
    tensor([[10.,  0.]])
    """
    by_image = text_features.ndim == 3 and len(text_features) == len(image_features)
    if image_features.ndim != 2 or text_features.ndim != 2 + by_image:  # (E,) would be taken for one number per class
        raise ValueError(
            "expected image features (B, E) and text features (K, E) or (B, K, E), got "
            f"{tuple(image_features.shape)} and {tuple(text_features.shape)}"
        )
    # A number on a GPU is not read: that would wait for the GPU.
    on_cpu = not isinstance(logit_scale, Tensor) or logit_scale.device.type == "cpu"
    if on_cpu and not float(logit_scale) > 0:
        raise ValueError(
            f"expected a positive logit scale (1 / temperature), got {float(logit_scale)}: "
            "CLIP stores its logarithm, take clip.logit_scale or model.logit_scale.exp()"
        )
    f = normalize(image_features)  # f: (B, E)
    w = normalize(text_features)  # w: (K, E), or (B, K, E)
    if by_image:
        return (logit_scale * f[:, None] @ w.mT)[:, 0]  # (B, 1, E) by (B, E, K)
    return logit_scale * f @ w.T  # cos(w_i, f) / tau: (B, K)


def class_probabilities(
    image_features: Float[Tensor, "B E"],
    text_features: Float[Tensor, "... K E"],
    logit_scale: Float[Tensor, ""] | float,
) -> Float[Tensor, "B K"]:
    """p(y = i | x), Eq. 1, for each image and class.

    Takes and checks what `class_logits` does; each row adds up to one.

    >>> p = class_probabilities(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]]), logit_scale=1.0)
    >>> [round(x, 3) for x in p[0].tolist()]     # e^1 and e^0, divided by their sum
    [0.731, 0.269]
    """
    return class_logits(image_features, text_features, logit_scale).softmax(dim=-1)
