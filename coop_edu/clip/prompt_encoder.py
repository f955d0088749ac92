"""CLIP's text encoder, exact but faster: the common beginning of all prompts is computed once, and no token after EOT.

The paper's g(.) of Eq. 3 turns K prompts into K features.  The causal mask lets a token see only itself and earlier
tokens, and the feature is read at the last token of the prompt, the EOT.  So tokens after the EOT cannot matter, and
with a unified context the tokens before the class name are equal for all classes.  Here are four prompts with M = 2.  S
is the start, v a context vector, E the EOT and 0 padding; a dash is a position that is not computed:

    the authors' code: 4 x 77 = 308 tokens        here: 3 shared + 3 + 4 + 5 + 3 = 18 tokens

    S v v cat   .     E       0 0 0 ... 0         S v v cat   .     E       - - - ... -
    S v v fire  truck .       E 0 0 ... 0         - - - fire  truck .       E - - ... -
    S v v hot   air   balloon . E 0 ... 0         - - - hot   air   balloon . E - ... -
    S v v hen   .     E       0 0 0 ... 0         - - - hen   .     E       - - - ... -

The 18 tokens stand end to end in one list, without padding.  In the last layer attention has only the EOTs as queries,
and the MLP runs only there, because nothing reads the other positions.  The code finds the shared tokens by comparing
the prompts, so a class-specific context, or a name in the middle or in front, needs no other code.

Only attention needs one row per prompt.  For it, the tokens that are not shared are copied into a grid of K rows; "x"
is an empty cell.  It holds a copy of some token, the mask hides it, and what it computes is dropped:

    cat   .     E       x x
    fire  truck .       E x
    hot   air   balloon . E
    hen   .     E       x x
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class PromptEncoder(nn.Module):
    """K prompts -> K text features, through the frozen text tower of a CLIP.

    tower: from `text_tower(model)`.  forward gets a table of vectors: slots[k, i] is the table row of token i of prompt
    k (coop/prompt_layout.py), and lengths[k] is the number of its tokens, EOT included.

    >>> slots = torch.tensor([[0, 1, 2, 5, 9, 9], [0, 1, 2, 7, 8, 9]])  # S v v, then one word and E, or two and E
    >>> PromptEncoder(nn.Identity(), slots, lengths=torch.tensor([5, 6])).tokens_computed  # 3 + 2 + 3
    8
    """

    # P: tokens of the common start.  T: all other tokens, over all prompts.  G: columns of the grid, the most own
    # tokens in one prompt.  Q: queries of a prompt, all its tokens or the EOT alone.
    rows: Tensor  # (P + T,) the list of tokens, as rows of the table
    positions: Tensor  # (P + T,) the position of each one in its prompt
    cell_of_token: Tensor  # (T,) own token -> its cell in the flattened K x G grid
    token_of_cell: Tensor  # (K x G,) grid cell -> own token; empty cells hold 0 and are masked
    eot: Tensor  # (K,) the place of each prompt's EOT in the list
    causal_mask: Tensor  # (G, G) True where an own token would see a later one
    empty_cells: Tensor  # (K, 1, G) True where a prompt is shorter than the longest

    def __init__(self, tower: Any, slots: Int[Tensor, "K L"], lengths: Int[Tensor, " K"]) -> None:
        super().__init__()
        self._tower = (tower,)  # in a tuple, so that CLIP's weights are not trained, moved or saved with this module
        self.n_classes = len(slots)
        self.tokens_reference = slots.numel()  # what the authors' code computes: K x L
        stop = int(lengths.min()) - 1  # the EOT is never shared
        is_shared = (slots[:, :stop] == slots[0, :stop]).all(dim=0)  # is this position the same in every prompt?
        # cumprod turns to 0 at the first difference and stays 0: its sum is the length of the common start.
        P = self.P = int(is_shared.long().cumprod(0).sum())
        n_own = lengths - P  # (K,) tokens that each prompt has for itself
        K, G = self.grid_shape = len(slots), int(n_own.max())
        # A grid with one row per prompt, for attention only: there, and nowhere else, short prompts are padded.
        holds_token = torch.arange(G) < n_own[:, None]  # (K, G) which cells hold a token?
        cell_of_token = holds_token.flatten().nonzero()[:, 0]
        token_of_cell = torch.zeros(K, G, dtype=torch.long)
        token_of_cell[holds_token] = torch.arange(len(cell_of_token))
        # The shared tokens once, from any prompt, then each prompt's own.
        rows = torch.cat([slots[0, :P], slots[:, P : P + G][holds_token]])
        buffers = {
            "rows": rows,
            "positions": torch.cat([torch.arange(P), P + cell_of_token % G]),  # a cell's column counts from P
            "cell_of_token": cell_of_token,
            "token_of_cell": token_of_cell.flatten(),
            "eot": P + n_own.cumsum(0) - 1,  # the last token of each prompt
            "causal_mask": ~torch.ones(G, G, dtype=torch.bool).tril(),
            "empty_cells": ~holds_token[:, None],
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def tower(self) -> Any:
        return self._tower[0]

    @property
    def tokens_computed(self) -> int:
        """Number of tokens computed here; the authors' code computes `tokens_reference` = K x L."""
        return len(self.rows)

    def forward(self, table: Float[Tensor, "... rows D"]) -> Float[Tensor, "... K E"]:
        """Context vectors and word embeddings -> text features, not normalised.

        Leading dimensions are several contexts at once: one per image in CoCoOp, one per seed in train_together.
        """
        tower = self.tower
        x = table.index_select(-2, self.rows) + tower.positional_embedding[self.positions]  # (..., P + T, D)
        # Only attention looks at other tokens.  All else works token by token, so the list needs no padding.
        *blocks, last = tower.transformer.resblocks
        for block in blocks:
            x = x + block.ls_1(self.attention(block.attn, block.ln_1(x)))
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        # Last layer: every token is a key, only the EOTs are queries, because only their output is read.
        at_eot = self.attention(last.attn, last.ln_1(x), only_eot=True)
        x = x.index_select(-2, self.eot) + last.ls_1(at_eot)  # (..., K, D)
        x = x + last.ls_2(last.mlp(last.ln_2(x)))
        return tower.ln_final(x) @ tower.text_projection

    def attention(self, attn: nn.MultiheadAttention, x: Tensor, only_eot: bool = False) -> Tensor:
        """x (..., P + T, D) -> (..., P + T, D); with only_eot, queries at the EOTs only: (..., K, D).

        An own token sees all shared tokens and the earlier tokens of its own prompt.
        """
        # nn.MultiheadAttention keeps the matrices of q, k and v as one.
        qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).unflatten(-1, (3, attn.num_heads, -1))
        qkv = qkv.movedim(-3, 0).transpose(-2, -3)  # (..., P + T, 3, heads, d) -> (3, ..., heads, P + T, d)
        (q_shared, k_shared, v_shared), qkv_own = qkv.split([self.P, len(self.cell_of_token)], dim=-2)
        # From the list into the grid, where row k is prompt k: (..., heads, K, G, d) each.
        q, k, v = qkv_own.index_select(-2, self.token_of_cell).unflatten(-2, self.grid_shape)
        mask = self.causal_mask  # empty cells come after a prompt's tokens, so the causal mask hides them too
        if only_eot:  # one query per prompt, (..., heads, K, 1, d); the EOT comes last, so only empty cells are masked
            q, mask = qkv[0].index_select(-2, self.eot).unsqueeze(-2), self.empty_cells
        q = q * q.shape[-1] ** -0.5
        # All prompts attend to the same shared keys: one product for all K x Q queries, without copying the keys.
        to_shared = (q.flatten(-3, -2) @ k_shared.mT).unflatten(-2, q.shape[-3:-1])  # (..., heads, K, Q, P)
        to_own = (q @ k.mT).masked_fill(mask, -torch.inf)  # (..., heads, K, Q, G)
        # One softmax over both, or the shared and the own part would each sum to 1.
        weights = torch.cat([to_shared, to_own], dim=-1).softmax(dim=-1)
        on_shared, on_own = weights.split([self.P, k.shape[-2]], dim=-1)
        out = on_shared.flatten(-3, -2) @ v_shared + (on_own @ v).flatten(-3, -2)  # (..., heads, K x Q, d)
        if not only_eot:
            # The shared tokens see only each other: ordinary causal attention.
            shared = F.scaled_dot_product_attention(q_shared, k_shared, v_shared, is_causal=True)
            # Back from the grid onto the list, without the empty cells: (..., heads, P + T, d).
            out = torch.cat([shared, out.index_select(-2, self.cell_of_token)], dim=-2)
        return attn.out_proj(out.transpose(-2, -3).flatten(-2))
