"""KgCoOp: a learned prompt that stays near the hand-written one (Yao et al., CVPR 2023).

CoOp overfits its training classes: accuracy on them rises, accuracy on other classes falls.  KgCoOp adds to the loss
how far the learned text features have moved from those of a hand-written prompt,

    loss = cross entropy + weight * mean over classes of (1 - cos(g(t_i), w_i)).

weight = 0 is CoOp, a very large one the hand-written prompt.  The paper: M = 4 from words, weight = 8, 100 epochs,
batches of 128.

Everything else is CoOp's (prompt_learner.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.clip.models import Clip
from coop_edu.clip.probability import normalize
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.coop.prompt_learner import PromptLearner


class KgCoOp(PromptLearner):
    """A PromptLearner with the pull of a hand-written `template`; options are the PromptLearner's.

    learner = KgCoOp(clip, iconnet.classnames, template="an icon of a {}.", init="an icon of a")
    Trainer(learner, recipe).fit(shots)
    """

    hand_written: Float[Tensor, "K E"]  # w

    def __init__(
        self, clip: Clip, classnames: Sequence[str], *, template: str, weight: float = 8.0, **options: Any
    ) -> None:
        super().__init__(clip, classnames, **options)
        self.template, self.weight = template, weight  # by these names they are saved with the prompt
        written = ZeroShot(clip, classnames, template).text_features  # w: (K, E)
        # A buffer moves to the GPU with the learner; it is made anew, not saved.
        self.register_buffer("hand_written", written, persistent=False)

    def objective(
        self,
        image_features: Float[Tensor, "B E"],
        text_features: Float[Tensor, "K E"],
        labels: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B K"]]:
        """Cross entropy and the pull, and the logits."""
        loss, logits = super().objective(image_features, text_features, labels)
        # hand_written is normalised already, so the sum is the cosine.
        cosine = (normalize(text_features) * self.hand_written).sum(dim=-1)  # (K,)
        return loss + self.weight * (1 - cosine.mean()), logits
