"""From prompts to text features with any CLIP: the fast encoder where it is exact, else the text tower's own code.

open_clip's text towers differ in where their parts are and in which token is the EOT.  They have no types of their own,
so `model` and `tower` are Any here.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from coop_edu.clip.prompt_encoder import PromptEncoder

if TYPE_CHECKING:
    from coop_edu.clip.models import Clip


def text_tower(model: Any) -> Any:
    """The module that holds the text encoder's parts: an open_clip.CLIP itself, or the .text of a CustomTextCLIP."""
    return getattr(model, "text", model)


def supported(tower: Any) -> bool:
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


_hook_lock = threading.Lock()


def encode_by_hook(model: Any, ids: Int[Tensor, "K L"], embeddings: Float[Tensor, "K L D"]) -> Float[Tensor, "K E"]:
    """Run the model's own encode_text on ids, with embeddings in place of its word embeddings.

    The reference that PromptEncoder is tested against.  One thread at a time: the hook is on the shared model.
    """
    words = text_tower(model).token_embedding
    with _hook_lock:
        handle = words.register_forward_hook(lambda module, args, output: embeddings.to(output.dtype))
        try:
            return model.encode_text(ids)
        finally:
            handle.remove()


def end_token(tower: Any) -> int:
    """The EOT's token number: the tower's own `eos_id` if it pools at "eos", otherwise the highest number."""
    if pooling(tower) == "eos":
        return getattr(tower, "text_eos_id", None) or tower.eos_id
    return tower.vocab_size - 1


def pooling(tower: Any) -> str | None:
    return getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))


class SlowEncoder(nn.Module):
    """The same interface for any other text tower: its own code, all positions, exact and slow."""

    slots: Tensor  # (K, L) which row of the table stands at each position
    ids: Tensor  # (K, L)

    def __init__(self, model: Any, slots: Int[Tensor, "K L"], lengths: Int[Tensor, " K"]) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple, as in PromptEncoder
        self.n_classes = len(slots)
        self.tokens_reference = self.tokens_computed = slots.numel()
        position = torch.arange(slots.shape[1])
        # The tower uses token numbers to find the EOT, and the padding, which is 0.
        ids = (position < lengths[:, None]).long()
        ids[position == lengths[:, None] - 1] = end_token(text_tower(model))
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("ids", ids, persistent=False)

    def forward(self, table: Float[Tensor, "... rows D"]) -> Float[Tensor, "... K E"]:
        """Text features, not normalised."""
        embeddings = table[..., self.slots, :]  # (..., K, L, D)
        ids = self.ids.expand(embeddings.shape[:-1]).flatten(0, -2)
        features = encode_by_hook(self._model[0], ids, embeddings.flatten(0, -3))
        return features.unflatten(0, embeddings.shape[:-2])


def text_encoder(model: Any, slots: Int[Tensor, "K L"], lengths: Int[Tensor, " K"]) -> PromptEncoder | SlowEncoder:
    """PromptEncoder if it is exact for this tower, otherwise SlowEncoder with a UserWarning."""
    tower = text_tower(model)
    if supported(tower):
        return PromptEncoder(tower, slots, lengths)
    warnings.warn(
        f"PromptEncoder does not support the text tower {type(tower).__name__}, so it is encoded by its own code: "
        "exact, but about ten times slower.",
        stacklevel=2,
    )
    return SlowEncoder(model, slots, lengths)


@torch.no_grad()
def encode_texts(clip: Clip, texts: Sequence[str]) -> Float[Tensor, "K E"]:
    """What clip.encode_text gives, not normalised, about ten times faster for one template's prompts.

    Hand-written prompts have no learned rows: the table is CLIP's token embedding.
    """
    tower, ids = text_tower(clip.model), clip.tokenize(texts)  # (K, L)
    if not supported(tower):
        return clip.encode_text(texts)
    at_end = ids if pooling(tower) == "argmax" else ids == end_token(tower)
    encoder = PromptEncoder(tower, ids, lengths=at_end.int().argmax(dim=1) + 1)
    return encoder.to(clip.device)(tower.token_embedding.weight)


def classes_that_fit(encoder: PromptEncoder | SlowEncoder, model: Any, contexts: int = 1) -> int | None:
    """How many classes fit into memory in one forward and backward pass; None if all fit or free memory is unknown.

    contexts: how many are encoded at once, where each image has its own.  Half of the free memory may be used.
    We count 30 numbers per token, layer and unit of width; autograd was measured to keep 14 to 21.
    """
    tower = text_tower(model)
    weight = tower.token_embedding.weight  # (vocabulary, D)
    layers = len(getattr(tower.transformer, "resblocks", ())) or 12
    need = contexts * 30 * encoder.tokens_computed * layers * weight.shape[1] * weight.element_size()
    free = free_memory(weight.device)
    if free is None or need <= free / 2:
        return None
    return max(1, int(encoder.n_classes * free / 2 / need))


def free_memory(device: torch.device) -> int | None:
    """Free bytes on a CUDA device, or of a Linux machine; None where torch and the system do not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu" and Path("/proc/meminfo").is_file():
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None
