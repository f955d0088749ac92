"""CoCoOp: a context that depends on the image (Zhou et al., Conditional Prompt Learning, CVPR 2022).

The meta-net h, a small network, maps each image's feature to one vector, which is added to every context vector:

    v_m(x) = v_m + h(f(x)),     h: E -> E / 16 -> D

So each image has K prompts of its own, and text features are (B, K, E).  The authors: M = 4 from "a photo of a",
batches of one image, 10 epochs, ViT-B/16.  The work and the memory of a step grow with B times K.

Everything else is CoOp's (prompt_learner.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coop_edu.clip.models import Clip
from coop_edu.clip.probability import normalize
from coop_edu.coop.prompt_learner import PromptLearner


class CoCoOp(PromptLearner):
    """A PromptLearner whose context the meta-net shifts for each image; options are the PromptLearner's.

    Learned: ctx (M, D) and `meta_net`, which starts at random from `seed`.  Raises ValueError for a class-specific
    context; TypeError for text_features(), which differ by image: take logits(image_features).

        learner = CoCoOp(clip, iconnet.classnames, init="a photo of a")
        Trainer(learner, Recipe(epochs=10, batch_size=1, views=None)).fit(shots)
    """

    images_at_once = 8

    def __init__(self, clip: Clip, classnames: Sequence[str], **options: Any) -> None:
        super().__init__(clip, classnames, **options)
        if self.class_specific:
            raise ValueError(
                "the context of CoCoOp differs by image and is shared by the classes: class_specific=False"
            )
        E, D = clip.model.visual.output_dim, self.ctx.shape[-1]
        width = max(1, E // 16)  # the authors' bottleneck
        # skip_init: torch would draw the first values from its global generator.
        first, second = (nn.utils.skip_init(nn.Linear, *size) for size in ((E, width), (width, D)))
        generator = torch.Generator().manual_seed(self.config.seed)
        for layer in (first, second):  # as torch starts a layer, but from our own generator
            bound = layer.in_features**-0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.meta_net = nn.Sequential(first, nn.ReLU(), second).to(self.ctx)  # h
        self.mark_start()

    def context(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B M D"]:
        """A context for each image."""
        shift = self.meta_net(normalize(image_features.to(self.ctx)))  # h(f): (B, D)
        return self.ctx + shift[:, None]  # (M, D) + (B, 1, D): one shift for all M vectors of an image

    def text_features(self) -> NoReturn:
        raise TypeError("the text features of CoCoOp differ by image: take logits(image_features)")
