"""CLIP's text encoder, exactly, without computing any position twice or in vain.

The paper's g(.) of Eq. 3 turns K prompts into K features.  Its transformer is causal, a token sees only itself and
those before it, and the answer is read at the last token of the prompt, the EOT.  From this follows, exactly:
what stands after the EOT cannot matter, and what stands before the class name is the same for all classes.
Four prompts with M = 2; every token that is computed is written out, S for the start, v for a context vector, E for the
EOT, 0 for padding, and a dash is a position that is not computed:

    the authors' code: 4 x 77 = 308 tokens        here: 3 shared + 3 + 4 + 5 + 3 = 18 tokens

    S v v cat   .     E       0 0 0 ... 0         S v v cat   .     E       - - - ... -
    S v v fire  truck .       E 0 0 ... 0         - - - fire  truck .       E - - ... -
    S v v hot   air   balloon . E 0 ... 0         - - - hot   air   balloon . E - ... -
    S v v hen   .     E       0 0 0 ... 0         - - - hen   .     E       - - - ... -

The 18 stand end to end in one list, without padding.  In the last block only the E's are asked, as nobody reads the
other answers.  Which tokens are shared is read off the prompts, so a class-specific context, or a name in the middle
or in front, needs no other code.

Leaves out: where prompts come from, and memory that does not grow with K (both in prompt_learner.py).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from coop_edu.clip_models import Clip


class PromptEncoder(nn.Module):
    """K prompts -> K text features, through the frozen text tower of a CLIP.

    tower: as `text_tower(model)` gives it; slots (K, L) long: which row of the table stands at each position;
    lengths (K,) long: positions up to the EOT, included.  The table is given to forward: rows of width D.

    >>> slots = torch.tensor([[0, 1, 2, 5, 9, 9], [0, 1, 2, 7, 8, 9]])  # S v v, then one word and E, or two and E
    >>> PromptEncoder(nn.Identity(), slots, lengths=torch.tensor([5, 6])).tokens_computed  # 3 + 2 + 3
    8
    """

    def __init__(self, tower: nn.Module, slots: torch.Tensor, lengths: torch.Tensor) -> None:
        super().__init__()
        self.__dict__["tower"] = tower  # used, not owned: CLIP's weights are not trained or saved with this
        self.n_classes = len(slots)
        self.tokens_reference = slots.numel()  # what the authors' code computes: K x 77
        stop = int(lengths.min()) - 1  # the EOT is never shared
        same = (slots[:, :stop] == slots[0, :stop]).all(dim=0)  # is this position the same in every prompt?
        P = self.P = int(same.long().cumprod(0).sum())  # length of the shared prefix
        own = lengths - P  # (K,) tokens that each prompt has for itself
        K, S = self.grid_shape = len(slots), int(own.max())
        inside = torch.arange(S) < own[:, None]  # (K, S) a grid, one row a prompt: which cells hold a token?
        cell = inside.flatten().nonzero()[:, 0]  # (T,) own token -> its cell
        token = torch.zeros(K, S, dtype=torch.long)  # (K, S) cell -> own token; empty cells: any, never read
        token[inside] = torch.arange(len(cell))
        for name, value in {
            "slots": torch.cat([slots[0, :P], slots[:, P : P + S][inside]]),  # (P + T,) the list of tokens
            "positions": torch.cat([torch.arange(P), P + cell % S]),  # (P + T,)
            "token": token.flatten(),
            "cell": cell,
            "eot": P + own.cumsum(0) - 1,  # (K,) where each prompt's E is in the list
            "hidden": ~torch.ones(S, S, dtype=torch.bool).tril(),  # (S, S) the future
            "hidden_from_eot": ~inside[:, None],  # (K, 1, S) empty cells
        }.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def tokens_computed(self) -> int:
        """Length of the list: what stands for `tokens_reference` = K x 77 tokens of the authors' code."""
        return len(self.slots)

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        """table (..., rows, D), context vectors and word embeddings -> text features (..., K, E), not normalised.

        Leading dimensions are several contexts at once, each with its own rows.
        """
        tower = self.tower
        x = table.index_select(-2, self.slots) + tower.positional_embedding[self.positions]  # (..., P + T, D)
        *blocks, last = tower.transformer.resblocks
        for block in blocks:
            x = x + block.ls_1(self.attention(block.attn, block.ln_1(x)))
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        at_eot = self.attention(last.attn, last.ln_1(x), only_eot=True)
        x = x.index_select(-2, self.eot) + last.ls_1(at_eot)  # (..., K, D)
        x = x + last.ls_2(last.mlp(last.ln_2(x)))
        return tower.ln_final(x) @ tower.text_projection

    def attention(self, attn: nn.MultiheadAttention, x: torch.Tensor, only_eot: bool = False) -> torch.Tensor:
        """x (..., P + T, D) -> (..., P + T, D), or (..., K, D) if only the EOTs ask.

        An own token looks at all shared tokens and at the earlier ones of its own prompt.  This is the only step where
        tokens meet; layer norms, projections and the MLP work token by token.
        """
        qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).unflatten(-1, (3, attn.num_heads, -1))
        qkv = qkv.movedim(-3, 0).transpose(-2, -3)  # (3, ..., heads, P + T, d)
        (q_shared, k_shared, v_shared), own = qkv.split([self.P, len(self.cell)], dim=-2)
        q, k, v = own.index_select(-2, self.token).unflatten(
            -2, self.grid_shape
        )  # (..., heads, K, S, d) each
        hidden = self.hidden
        if only_eot:  # one question a prompt: (..., heads, K, 1, d)
            q, hidden = qkv[0].index_select(-2, self.eot).unsqueeze(-2), self.hidden_from_eot
        q = q * q.shape[-1] ** -0.5
        to_shared = (q.flatten(-3, -2) @ k_shared.mT).unflatten(-2, q.shape[-3:-1])  # (..., heads, K, q, P)
        to_own = (q @ k.mT).masked_fill(hidden, -torch.inf)  # (..., heads, K, q, S)
        weights = torch.cat([to_shared, to_own], dim=-1).softmax(dim=-1)  # one softmax over both
        on_shared, on_own = weights.split([self.P, k.shape[-2]], dim=-1)
        out = on_shared.flatten(-3, -2) @ v_shared + (on_own @ v).flatten(-3, -2)  # (..., heads, K x q, d)
        if not only_eot:  # back onto the list; the shared tokens have ordinary attention among themselves
            shared = F.scaled_dot_product_attention(q_shared, k_shared, v_shared, is_causal=True)
            out = torch.cat([shared, out.index_select(-2, self.cell)], dim=-2)  # (..., heads, P + T, d)
        return attn.out_proj(out.transpose(-2, -3).flatten(-2))


class SlowEncoder(nn.Module):
    """The same interface for any other text tower: its own code, all positions, exact and slow."""

    def __init__(self, model: nn.Module, slots: torch.Tensor, lengths: torch.Tensor) -> None:
        super().__init__()
        self.__dict__["model"] = model
        self.n_classes = len(slots)
        self.tokens_reference = self.tokens_computed = slots.numel()
        position = torch.arange(slots.shape[1])
        ids = (
            position < lengths[:, None]
        ).long()  # the tower uses token numbers to find the EOT and the padding, 0
        ids[position == lengths[:, None] - 1] = end_token(text_tower(model))
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("ids", ids, persistent=False)

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        """table (..., rows, D) -> text features (..., K, E), not normalised."""
        embeddings = table[..., self.slots, :]  # (..., K, L, D)
        ids = self.ids.expand(embeddings.shape[:-1]).flatten(0, -2)
        features = encode_by_hook(self.model, ids, embeddings.flatten(0, -3))
        return features.unflatten(0, embeddings.shape[:-2])


def text_encoder(model: nn.Module, slots: torch.Tensor, lengths: torch.Tensor) -> PromptEncoder | SlowEncoder:
    """The fast encoder where it is exact, the slow one, with a UserWarning, where it is not."""
    tower = text_tower(model)
    if supported(tower):
        return PromptEncoder(tower, slots, lengths)
    warnings.warn(
        f"the text tower {type(tower).__name__} is not a plain causal one read at the EOT: it is encoded by its own "
        "code, all positions of every prompt. The results are exact; it is about ten times slower.",
        stacklevel=2,
    )
    return SlowEncoder(model, slots, lengths)


def classes_that_fit(encoder: PromptEncoder | SlowEncoder, model: nn.Module) -> int | None:
    """How many of the encoder's classes can go forward and backward at once: None if all, or if nobody knows.

    Half of the free memory is taken.  A token costs about 30 numbers per layer and unit of width (measured: 14 to 21
    that autograd keeps, the rest passes by).
    """
    tower = text_tower(model)
    weight = tower.token_embedding.weight  # (vocabulary, D)
    layers = len(getattr(tower.transformer, "resblocks", ())) or 12
    need = 30 * encoder.tokens_computed * layers * weight.shape[1] * weight.element_size()
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


@torch.no_grad()
def encode_texts(clip: Clip, texts: Sequence[str]) -> torch.Tensor:
    """What clip.encode_text gives, K texts -> (K, E) not normalised, about ten times faster for one template's prompts.

    A hand-written prompt is one without learned rows: its table is CLIP's vocabulary.
    """
    tower, ids = text_tower(clip.model), clip.tokenize(texts)  # (K, L)
    if not supported(tower):
        return clip.encode_text(texts)
    at_end = ids if _pooling(tower) == "argmax" else ids == end_token(tower)
    encoder = PromptEncoder(tower, ids, lengths=at_end.int().argmax(dim=1) + 1)
    return encoder.to(clip.device)(tower.token_embedding.weight)


def text_tower(model: nn.Module) -> nn.Module:
    """Where the parts of the text encoder are: open_clip.CLIP holds them itself, CustomTextCLIP in .text."""
    return getattr(model, "text", model)


def supported(tower: nn.Module) -> bool:
    """Is PromptEncoder exact on this tower?  Causal, read at the EOT, blocks without extras."""
    mask = getattr(tower, "attn_mask", None)
    if (
        mask is None
        or _pooling(tower) not in ("argmax", "eos")
        or getattr(tower, "cls_emb", None) is not None
    ):
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


def encode_by_hook(model: nn.Module, ids: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """Run the model's own encode_text on ids (K, L), with embeddings (K, L, D) in place of its word embeddings.

    The reference that PromptEncoder is tested against.  One thread at a time: the hook is on the shared model.
    """
    words = text_tower(model).token_embedding
    with _hooking:
        handle = words.register_forward_hook(lambda module, args, output: embeddings.to(output.dtype))
        try:
            return model.encode_text(ids)
        finally:
            handle.remove()


def end_token(tower: nn.Module) -> int:
    """The token number by which this tower finds the EOT: the highest one, or one that it names."""
    if _pooling(tower) == "eos":
        return getattr(tower, "text_eos_id", None) or tower.eos_id
    return tower.vocab_size - 1


def _pooling(tower: nn.Module) -> str | None:
    return getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
