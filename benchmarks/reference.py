"""The authors' way, written plainly: all 77 positions of every prompt, at every step, through CLIP's own code.

"X X ... X name." is tokenised and embedded once; at every step the context vectors are put over the X's and the whole
goes through the model's own encode_text.  What the benchmarks compare with, after checking that it gives the same.

Leaves out: the image encoder, which the authors run at every step too (measure.py).
"""

import torch

from coop_edu.clip.templates import clean_classnames
from coop_edu.clip.text_encoding import encode_by_hook, text_tower
from coop_edu.coop.prompt_learner import PromptLearner


class Reference:
    """The prompts of a learner's first `classes` classes, and a copy of its context with a gradient of its own."""

    def __init__(self, learner: PromptLearner, classes: int) -> None:
        clip, M = learner.clip, learner.n_ctx
        names = clean_classnames(learner.classnames)[:classes]
        self.model, self.position = clip.model, learner.position
        ctx = learner.ctx.detach().clone()
        self.ctx = (ctx[:classes] if learner.class_specific else ctx).requires_grad_()  # (M, D) or (K, M, D)
        self.ids = clip.tokenize([" ".join(["X"] * M) + f" {name}." for name in names]).to(clip.device)  # (K, 77)
        self.words = text_tower(clip.model).token_embedding(self.ids)  # (K, 77, D)
        self.name_lengths = [len(clip.tokenizer.encode(name)) for name in names]

    def features(self, first: int, last: int) -> torch.Tensor:
        """Text features of the classes first, ..., last - 1: (K, E), not normalised, with their graph."""
        prompts = torch.stack([self._prompt(k) for k in range(first, last)])  # (K, 77, D)
        return encode_by_hook(self.model, self.ids[first:last], prompts)

    def _prompt(self, k: int) -> torch.Tensor:
        words, v = self.words[k], self.ctx if self.ctx.ndim == 2 else self.ctx[k]
        M, n = len(v), self.name_lengths[k]
        start, name, rest = words[:1], words[1 + M : 1 + M + n], words[1 + M + n :]
        before = {"end": M, "middle": M // 2, "front": 0}[self.position]
        return torch.cat([start, v[:before], name, v[before:], rest])  # (77, D)
