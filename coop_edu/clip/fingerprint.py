"""A short hash of everything a CLIP computes with.

Prompts, features and results are only good for the CLIP that made them.  Two models may share a name and differ in one
layer, so the hash is over all layers and weights, the tokenizer and the preprocessing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image

from coop_edu.clip.models import Clip

SENTENCE = "a photo of a Sphinx of black quartz, 0123456789."  # words, capitals, digits and signs for the tokenizer
_known: WeakKeyDictionary[Clip, tuple[list, str]] = WeakKeyDictionary()


def clip_fingerprint(clip: Clip) -> str:
    """16 hexadecimal digits.  Weights are read as float32, so moving or copying a CLIP does not change them."""
    state = clip.model.state_dict()
    # Hashing a large CLIP takes seconds, summing milliseconds: hash the weights again only if a sum has changed.
    versions = [(tensor.data_ptr(), tensor.sum().item()) for tensor in state.values()]
    if clip in _known and _known[clip][0] == versions:
        return _known[clip][1]
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    # Activations (GELU or QuickGELU) and numbers of heads are not among the weights.
    layers = [[type(module).__name__, getattr(module, "num_heads", None)] for module in clip.model.modules()]
    tokens = [*clip.tokenizer.encode(SENTENCE), clip.tokenizer.context_length]
    digest.update(json.dumps([layers, tokens, transform_digest(clip.preprocess)]).encode())
    _known[clip] = versions, digest.hexdigest()[:16]
    return _known[clip][1]


def tensor_digest(tensor: torch.Tensor) -> str:
    """A hash of the shape and the values, in float32: 16 hexadecimal digits."""
    values = tensor.detach().cpu().float().contiguous()
    return hashlib.sha256(str(tuple(values.shape)).encode() + values.numpy().tobytes()).hexdigest()[:16]


def transform_digest(transform: Callable, *arguments: object) -> str:
    """A hash of a transform's text and of what it makes of a test image, because two functions may share a text."""
    image = Image.fromarray((np.arange(97 * 61 * 3) % 251).astype(np.uint8).reshape(97, 61, 3))
    made: torch.Tensor = transform(image, *arguments)
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(transform))  # a memory address differs in every process
    return hashlib.sha256(text.encode() + made.contiguous().numpy().tobytes()).hexdigest()
