"""From prompts to text features with any text tower: the fast encoder where it is exact, else the tower's own code."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from coop_edu.clip.parts import Model
from coop_edu.clip.prompt_encoder import PromptEncoder
from coop_edu.clip.text_towers import encode_by_hook, end_token, pooling, supported, text_tower

if TYPE_CHECKING:
    from coop_edu.clip.models import Clip


class SlowEncoder(nn.Module):
    """The same interface for any other text tower: its own code, all positions, exact and slow."""

    slots: Tensor  # (K, L) which row of the table stands at each position
    ids: Tensor  # (K, L)

    def __init__(self, model: Model, slots: Int[Tensor, "K L"], lengths: Int[Tensor, " K"]) -> None:
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


def text_encoder(model: Model, slots: Int[Tensor, "K L"], lengths: Int[Tensor, " K"]) -> PromptEncoder | SlowEncoder:
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
