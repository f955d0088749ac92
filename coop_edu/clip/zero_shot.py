"""Prompts written by hand: one template, or several averaged, make a classifier without any training.

"Zero-shot" in the paper (Section 3.1, Tables 1 and 2): the class names are put into a sentence such as
"a photo of a {}.", CLIP's text encoder turns the sentences into the w_i of Eq. 1, and nothing is learned.  Prompt
ensembling averages the w_i of several sentences.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from coop_edu.clip.models import Clip
from coop_edu.clip.probability import class_logits, normalize
from coop_edu.clip.templates import fill, several_names
from coop_edu.clip.text_encoding import encode_texts


class ZeroShot:
    """A classifier from hand-written prompts; nothing in it is trained.

    clip: from load_clip; classnames: K names; templates: one template, or several, whose features are averaged.
    text_features (K, E) are normalised.

        classifier = ZeroShot(clip, ["cat", "rocket"], "an icon of a {}.")
        p = classifier.logits(clip.encode_image(images)).softmax(dim=-1)        # Eq. 1, (B, 2)
    """

    def __init__(self, clip: Clip, classnames: Sequence[str], templates: str | Sequence[str]) -> None:
        self.clip = clip
        self.classnames = several_names(classnames)
        self.templates = (templates,) if isinstance(templates, str) else tuple(templates)
        if not self.templates:
            raise ValueError('expected at least one template, such as "a photo of a {}."')
        features = [normalize(encode_texts(clip, fill(template, classnames))) for template in self.templates]
        self.text_features = normalize(torch.stack(features).mean(dim=0))  # w: (K, E)

    def logits(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """Logits whose softmax is Eq. 1."""
        return class_logits(image_features, self.text_features, self.clip.logit_scale)

    def with_classnames(self, classnames: Sequence[str]) -> ZeroShot:
        """The same templates with other class names."""
        return ZeroShot(self.clip, classnames, self.templates)
