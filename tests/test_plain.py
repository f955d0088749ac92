"""The plain learner, as the paper writes it, and the fast one are the same function."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from coop_edu import PlainPromptLearner, PromptLearner

from tiny_clip import golden_clip

NAMES = ["cat", "fire truck", "hot_air_balloon", "kite (bird of prey)"]


@pytest.mark.parametrize("init", [None, "a photo of a"])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("of_golden", [False, True])
def test_plain_and_fast_agree_in_logits_and_gradient(clip, of_golden, class_specific, position, init):
    clip = golden_clip() if of_golden else clip
    options = {"n_ctx": 5, "class_specific": class_specific, "position": position, "init": init, "seed": 3}
    plain, fast = PlainPromptLearner(clip, NAMES, **options), PromptLearner(clip, NAMES, **options)
    assert torch.equal(plain.ctx, fast.ctx) and [name for name, _ in plain.named_parameters()] == ["ctx"]
    generator = torch.Generator().manual_seed(0)
    width = clip.model.text_projection.shape[1]
    images, labels = torch.randn(6, width, generator=generator), torch.arange(6) % len(NAMES)
    with torch.no_grad():
        fast.ctx += torch.randn(fast.ctx.shape, generator=generator)  # large enough to matter
        plain.ctx.copy_(fast.ctx)
    results = []
    for learner in (plain, fast):
        logits = learner.logits(images)
        cross_entropy(logits, labels).backward()
        results.append((logits.detach(), learner.ctx.grad))
    for a, b in zip(*results):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()
        assert b.abs().max() > 0
