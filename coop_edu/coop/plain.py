"""CoOp as the paper writes it (Section 3.2): this file is for reading, prompt_learner.py for use.

    t_i = [v_1] ... [v_M] [CLASS_i] .                                    Eq. 2
    w_i = g(t_i),    p(y = i | x) = softmax_i(cos(w_i, f(x)) / tau)      Eq. 3

Both learners give the same logits and gradients.  The other one computes g faster, and checks what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coop_edu.clip.models import Clip
from coop_edu.clip.probability import class_logits
from coop_edu.clip.templates import clean_classnames
from coop_edu.clip.text_encoding import encode_by_hook, text_tower
from coop_edu.coop.prompt_layout import POSITIONS


class PlainPromptLearner(nn.Module):
    """A learned context v before, around or after each of K class names; options as PromptLearner's.

    learner = PlainPromptLearner(load_clip("mini"), ["cat", "rocket"], n_ctx=4)
    nn.functional.cross_entropy(learner.logits(image_features), labels).backward()     # learner.ctx.grad
    """

    def __init__(
        self,
        clip: Clip,
        classnames: Sequence[str],
        *,
        n_ctx: int = 16,
        class_specific: bool = False,
        position: str = "end",
        init: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.clip, self.classnames, self.tokenizer = clip, tuple(classnames), clip.tokenizer
        if not init:
            D = text_tower(clip.model).token_embedding.weight.shape[1]
            start = 0.02 * torch.randn(len(classnames), n_ctx, D, generator=torch.Generator().manual_seed(seed))
        else:
            start = self.embed(self.tokenizer.encode(init.replace("_", " "))).repeat(len(classnames), 1, 1)
        self.ctx = nn.Parameter((start if class_specific else start[0]).to(self.embed([0])))  # v: all that is learned
        M = self.ctx.shape[-2]
        self.before = POSITIONS[position](M)  # context vectors before the name: M, M // 2 or 0

    def embed(self, tokens: Sequence[int]) -> Float[Tensor, "n D"]:
        embedding = text_tower(self.clip.model).token_embedding
        return embedding(torch.tensor(tokens, dtype=torch.long, device=self.clip.device))

    def prompt(self, name: str, v: Float[Tensor, "M D"]) -> Float[Tensor, "L D"]:
        """t_i, one vector for each token: Eq. 2, or Eq. 4 if the name stands in the middle."""
        # Name and full stop are encoded together, because BPE may merge ")" and ".".
        tokens, n = self.tokenizer.encode(name + "."), len(self.tokenizer.encode(name))
        sot, eot = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        start, words, stop, end = (self.embed(part) for part in ([sot], tokens[:n], tokens[n:], [eot]))
        return torch.cat([start, v[: self.before], words, v[self.before :], stop, end])

    def forward(self) -> Float[Tensor, "K E"]:
        """w_i = g(t_i), by CLIP's own text encoder; not normalised."""
        K, L = len(self.classnames), self.tokenizer.context_length
        ids = torch.zeros(K, L, dtype=torch.long, device=self.clip.device)  # only tell the encoder where a prompt ends
        vectors = self.embed([0]).repeat(K, L, 1)  # any padding will do: the causal mask hides what follows the EOT
        for k, (name, v) in enumerate(zip(clean_classnames(self.classnames), self.ctx.expand(K, -1, -1))):
            t = self.prompt(name, v)
            ids[k, len(t) - 1] = self.tokenizer.eot_token_id
            vectors[k, : len(t)] = t
        return encode_by_hook(self.clip.model, ids, vectors)

    def logits(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """cos(w_i, f) / tau; their softmax is Eq. 3."""
        return class_logits(image_features, self(), self.clip.logit_scale)
