"""Differences between open_clip's text encoders: where their parts are, which token is the EOT, whether
PromptEncoder is exact.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from coop_edu.clip.parts import Model, TextTower


def text_tower(model: Model) -> TextTower:
    """The module that holds the text encoder's parts: an open_clip.CLIP itself, or the .text of a CustomTextCLIP."""
    tower: Any = getattr(model, "text", model)
    return tower


def supported(tower: TextTower) -> bool:
    """Is PromptEncoder exact on this tower?  Causal, read at the EOT, blocks without extras."""
    mask = getattr(tower, "attn_mask", None)
    if mask is None or pooling(tower) not in ("argmax", "eos") or getattr(tower, "cls_emb", None) is not None:
        return False
    causal = torch.equal(mask.cpu() == 0, torch.ones(mask.shape, dtype=torch.bool).tril())
    plain = all(
        type(block).__name__ == "ResidualAttentionBlock"
        and isinstance(block.attn, nn.MultiheadAttention)
        and block.attn.in_proj_weight is not None
        and block.attn.bias_k is None
        and block.attn.dropout == 0
        for block in tower.transformer.resblocks
    )
    return causal and plain and isinstance(tower.text_projection, nn.Parameter)


_hooking = threading.Lock()


def encode_by_hook(model: Model, ids: Int[Tensor, "K L"], embeddings: Float[Tensor, "K L D"]) -> Float[Tensor, "K E"]:
    """Run the model's own encode_text on ids, with embeddings in place of its word embeddings.

    The reference that PromptEncoder is tested against.  One thread at a time: the hook is on the shared model.
    """
    words = text_tower(model).token_embedding
    with _hooking:
        handle = words.register_forward_hook(lambda module, args, output: embeddings.to(output.dtype))
        try:
            return model.encode_text(ids)
        finally:
            handle.remove()


def end_token(tower: TextTower) -> int:
    """The EOT's token number: the tower's own `eos_id` if it pools at "eos", otherwise the highest number."""
    if pooling(tower) == "eos":
        return getattr(tower, "text_eos_id", None) or getattr(tower, "eos_id")  # noqa: B009 (not every tower has one)
    return tower.vocab_size - 1


def pooling(tower: TextTower) -> str | None:
    return getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
