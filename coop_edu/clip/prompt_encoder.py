"""CLIP's text encoder, exactly: each token is computed once, and only the tokens that something depends on.

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

The 18 stand end to end in one list, without padding.  In the last block only the E's are asked, because nothing reads
the other answers.  Which tokens are shared is read off the prompts, so a class-specific context, or a name in the
middle or in front, needs no other code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from coop_edu.clip.parts import TextTower


class PromptEncoder(nn.Module):
    """K prompts -> K text features, through the frozen text tower of a CLIP.

    tower: as `text_tower(model)` gives it; slots: which row of the table stands at each position; lengths: positions up
    to the EOT, included.  The table is given to forward: rows of width D.

    >>> slots = torch.tensor([[0, 1, 2, 5, 9, 9], [0, 1, 2, 7, 8, 9]])  # S v v, then one word and E, or two and E
    >>> PromptEncoder(nn.Identity(), slots, lengths=torch.tensor([5, 6])).tokens_computed  # 3 + 2 + 3
    8
    """

    # P: tokens at the start that all prompts share; T: own tokens of all prompts together; S: own tokens of the longest
    rows: Tensor  # (P + T,) the list of tokens: which row of the table each one is
    positions: Tensor  # (P + T,) where in its prompt each one stands
    cell_of_token: Tensor  # (T,) own token -> its place in a K x S grid, flattened
    token_of_cell: Tensor  # (K x S,) the way back; empty cells lead to token 0, and are masked
    eot: Tensor  # (K,) where each prompt's E is in the list
    causal_mask: Tensor  # (S, S) True where an own token would look at a later one
    empty_cells: Tensor  # (K, 1, S) True where a prompt is shorter than the longest

    def __init__(self, tower: TextTower, slots: Int[Tensor, "K L"], lengths: Int[Tensor, " K"]) -> None:
        super().__init__()
        self._shared = (tower,)  # in a tuple, so that CLIP's weights are not trained, moved or saved with this module
        self.n_classes = len(slots)
        self.tokens_reference = slots.numel()  # what the authors' code computes: K x 77
        stop = int(lengths.min()) - 1  # the EOT is never shared
        same = (slots[:, :stop] == slots[0, :stop]).all(dim=0)  # is this position the same in every prompt?
        # cumprod turns to 0 at the first difference and stays 0: its sum is the length of the common start.
        P = self.P = int(same.long().cumprod(0).sum())
        own = lengths - P  # (K,) tokens that each prompt has for itself
        K, S = self.grid_shape = len(slots), int(own.max())
        # A grid with one row per prompt, for attention only: there, and nowhere else, short prompts are padded.
        inside = torch.arange(S) < own[:, None]  # (K, S) which cells hold a token?
        cell = inside.flatten().nonzero()[:, 0]
        token = torch.zeros(K, S, dtype=torch.long)
        token[inside] = torch.arange(len(cell))
        # The shared tokens once, from any prompt, then each prompt's own.
        rows = torch.cat([slots[0, :P], slots[:, P : P + S][inside]])
        buffers = {
            "rows": rows,
            "positions": torch.cat([torch.arange(P), P + cell % S]),  # a cell's column counts from the common start
            "cell_of_token": cell,
            "token_of_cell": token.flatten(),
            "eot": P + own.cumsum(0) - 1,  # the last token of each prompt
            "causal_mask": ~torch.ones(S, S, dtype=torch.bool).tril(),
            "empty_cells": ~inside[:, None],
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def tower(self) -> TextTower:
        return self._shared[0]

    @property
    def tokens_computed(self) -> int:
        """Length of the list: what stands for `tokens_reference` = K x 77 tokens of the authors' code."""
        return len(self.rows)

    def forward(self, table: Float[Tensor, "... rows D"]) -> Float[Tensor, "... K E"]:
        """Context vectors and word embeddings -> text features, not normalised.

        Leading dimensions are several contexts at once, each with its own rows.
        """
        tower = self.tower
        x = table.index_select(-2, self.rows) + tower.positional_embedding[self.positions]  # (..., P + T, D)
        # Only attention looks at other tokens.  All else works token by token, so the list needs no padding.
        *blocks, last = tower.transformer.resblocks
        for block in blocks:
            x = x + block.ls_1(self.attention(block.attn, block.ln_1(x)))
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        # The last block: all tokens are looked at, only the E's look.  The answer is read there.
        at_eot = self.attention(last.attn, last.ln_1(x), only_eot=True)
        x = x.index_select(-2, self.eot) + last.ls_1(at_eot)  # (..., K, D)
        x = x + last.ls_2(last.mlp(last.ln_2(x)))
        return tower.ln_final(x) @ tower.text_projection

    def attention(self, attn: nn.MultiheadAttention, x: Tensor, only_eot: bool = False) -> Tensor:
        """x (..., P + T, D) -> (..., P + T, D), or (..., K, D) if only the EOTs ask.

        An own token looks at all shared tokens and at the earlier ones of its own prompt.
        """
        # nn.MultiheadAttention keeps the matrices of q, k and v as one.
        qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).unflatten(-1, (3, attn.num_heads, -1))
        qkv = qkv.movedim(-3, 0).transpose(-2, -3)  # (3, ..., heads, P + T, d)
        (q_shared, k_shared, v_shared), own = qkv.split([self.P, len(self.cell_of_token)], dim=-2)
        # From the list into the grid, where row k is prompt k: (..., heads, K, S, d) each.
        q, k, v = own.index_select(-2, self.token_of_cell).unflatten(-2, self.grid_shape)
        mask = self.causal_mask
        if only_eot:  # one question a prompt, (..., heads, K, 1, d); no own token comes after the E, so none is hidden
            q, mask = qkv[0].index_select(-2, self.eot).unsqueeze(-2), self.empty_cells
        q = q * q.shape[-1] ** -0.5
        # All prompts look at the same shared keys: K x q questions in one product, and no copy of the keys.
        to_shared = (q.flatten(-3, -2) @ k_shared.mT).unflatten(-2, q.shape[-3:-1])  # (..., heads, K, q, P)
        to_own = (q @ k.mT).masked_fill(mask, -torch.inf)  # (..., heads, K, q, S)
        # One softmax over both, or the shared and the own part would each sum to 1.
        weights = torch.cat([to_shared, to_own], dim=-1).softmax(dim=-1)
        on_shared, on_own = weights.split([self.P, k.shape[-2]], dim=-1)
        out = on_shared.flatten(-3, -2) @ v_shared + (on_own @ v).flatten(-3, -2)  # (..., heads, K x q, d)
        if not only_eot:
            # The shared tokens see only each other, whatever follows: ordinary causal attention.
            shared = F.scaled_dot_product_attention(q_shared, k_shared, v_shared, is_causal=True)
            # Back from the grid onto the list, without the empty cells: (..., heads, P + T, d).
            out = torch.cat([shared, out.index_select(-2, self.cell_of_token)], dim=-2)
        return attn.out_proj(out.transpose(-2, -3).flatten(-2))
