"""Small CLIPs for tests: real open_clip models and the real BPE tokenizer, with weights that nobody trained.

tiny_clip() has random weights from a seed; golden_clip() has the weights that the golden values were made with, every
tensor a formula (tests/data/golden/README.md).
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache

import numpy as np
import open_clip
import torch

from coop_edu.clip.models import Clip, frozen_clip


def tiny_config(
    *,
    width: int = 32,
    layers: int = 2,
    heads: int = 2,
    embed_dim: int = 16,
    context_length: int = 77,
    image_size: int = 64,
    quick_gelu: bool = False,
) -> dict:
    """An open_clip model config: a ModifiedResNet and a causal text transformer."""
    return {
        "embed_dim": embed_dim,
        "quick_gelu": quick_gelu,
        "vision_cfg": {"image_size": image_size, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
        "text_cfg": {
            "context_length": context_length,
            "vocab_size": 49408,
            "width": width,
            "heads": heads,
            "layers": layers,
        },
    }


def tiny_clip(seed: int = 0, width: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32, **config) -> Clip:
    """A CLIP with random weights: `width` and `layers` of the text tower, other sizes as in tiny_config."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**tiny_config(width=width, layers=layers, **config))
        for key, value in model.state_dict().items():  # make words, positions, biases and statistics matter
            if "embedding" in key or key.endswith("bias"):
                value.normal_(std=0.3)
            elif key.endswith("running_mean"):
                value.normal_(std=0.1)
    return frozen_clip("tiny", model.to(dtype), shared_tokenizer(model.context_length))


@lru_cache
def shared_tokenizer(context_length: int) -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer(context_length=context_length)


@lru_cache
def golden_clip() -> Clip:
    """The CLIP of the golden values."""
    model = open_clip.CLIP(
        embed_dim=32,
        quick_gelu=True,
        vision_cfg={"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
        text_cfg={"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
    )
    model.load_state_dict({name: golden_value(name, old) for name, old in model.state_dict().items()})
    return frozen_clip("golden", model, shared_tokenizer(77))


def golden_value(name: str, old: torch.Tensor) -> torch.Tensor:
    """The value of one entry of the state dict, by the table in tests/data/golden/README.md."""
    if name == "logit_scale":
        return torch.tensor(math.log(30))
    if "num_batches" in name:
        return old
    shape = tuple(old.shape)
    r = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if "running_var" in name:
        value = 1 + 0.1 * abs(r)
    elif "running_mean" in name:
        value = 0.1 * r
    elif old.ndim <= 1:
        value = 1 + 0.1 * r if name.endswith("weight") else 0.1 * r
    elif "embedding" in name:
        value = 0.3 * r
    else:
        value = r / np.float32(math.sqrt(math.prod(shape[1:])))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))
