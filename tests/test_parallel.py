"""Trainings side by side give what they give one after the other."""

import pytest
import torch

from coop_edu import Features, PromptLearner, Recipe, Trainer, side_by_side

from tiny_clip import tiny_clip


def test_the_results_are_those_of_one_after_the_other():
    clip, names = tiny_clip(), ("cat", "dog", "eel")
    images = torch.randn(30, clip.model.text_projection.shape[1], generator=torch.Generator().manual_seed(0))
    data = Features(images, torch.arange(30) % 3, names)

    def train(seed: int) -> torch.Tensor:
        learner = PromptLearner(clip, names, n_ctx=2, seed=seed)
        Trainer(learner, Recipe(epochs=3, views=None, seed=seed), progress=False).fit(data)
        return learner.ctx.detach()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one_by_one = [train(seed) for seed in (1, 2, 3, 4)]
    torch.set_num_threads(threads)
    together = side_by_side(train, (1, 2, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one_by_one, together, strict=True))
    assert not torch.equal(together[0], together[1])
    assert torch.get_num_threads() == threads


def test_an_error_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda n: 1 / n, [1, 0])
