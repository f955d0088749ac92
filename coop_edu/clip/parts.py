"""Types of the attributes of open_clip's models that this package uses; open_clip has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class Model(Protocol):
    """A CLIP: two encoders, and the logarithm of 1 / tau."""

    logit_scale: torch.Tensor
    visual: Any

    def encode_image(self, image: torch.Tensor) -> torch.Tensor: ...

    def encode_text(self, text: torch.Tensor) -> torch.Tensor: ...

    def to(self, device: str | torch.device) -> Any: ...

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # whatever else a torch module has


@runtime_checkable
class Block(Protocol):
    """A layer of the text transformer."""

    attn: nn.MultiheadAttention
    ln_1: nn.Module
    ln_2: nn.Module
    ls_1: nn.Module
    ls_2: nn.Module
    mlp: nn.Module


@runtime_checkable
class Transformer(Protocol):
    resblocks: Sequence[Block]


@runtime_checkable
class TextTower(Protocol):
    """A text encoder."""

    token_embedding: nn.Embedding
    positional_embedding: torch.Tensor
    transformer: Transformer
    ln_final: nn.Module
    text_projection: torch.Tensor
    vocab_size: int
