"""Trainings in one pass, or one a core: the results of one after the other, and no error lost."""

from dataclasses import replace

import pytest
import torch

from coop_edu import Features, PromptLearner, Recipe, Trainer, side_by_side, train_together

NAMES = ("cat", "dog", "umbrella stand")
SEEDS = (1, 2, 3)


def features(seed, n=12, views=None):
    generator = torch.Generator().manual_seed(seed)
    shape = (n, 16) if views is None else (views, n, 16)
    return Features(torch.randn(shape, generator=generator), torch.arange(n) % 3, NAMES)


def trainers(clip, recipe=Recipe(epochs=3, batch_size=4, views=None), n_ctx=2, **options):  # noqa: B008 (frozen)
    learners = [PromptLearner(clip, NAMES, n_ctx=n_ctx, seed=seed, **options) for seed in SEEDS]
    return [Trainer(learner, replace(recipe, seed=seed), progress=False) for learner, seed in zip(learners, SEEDS)]


@pytest.mark.parametrize("options", [{}, {"class_specific": True}, {"position": "middle"}, {"position": "front"}])
@pytest.mark.parametrize("views", [None, 2])
def test_in_one_pass_each_learns_what_it_learns_alone(clip, options, views):
    recipe = Recipe(epochs=3, batch_size=4, views=views, lr=0.1)
    data = [features(seed, views=views) for seed in SEEDS]
    start, alone, together = (trainers(clip, recipe, **options) for _ in range(3))
    expected = [trainer.fit(some) for trainer, some in zip(alone, data)]
    histories = train_together(together, data)
    for before, a, b, one, other in zip(start, alone, together, expected, histories):
        moved = (a.learner.ctx - before.learner.ctx).abs().max()
        assert moved > 1e-3
        assert (b.learner.ctx - a.learner.ctx).abs().max() < 1e-4 * moved
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert (other.accuracy, other.lr, len(other.seconds)) == (one.accuracy, one.lr, 3)


@pytest.mark.parametrize(
    "recipe, options",
    [
        (Recipe(epochs=1, views="fresh"), {}),
        (Recipe(epochs=1, views=None), {"max_classes_at_once": 2}),
    ],
)
def test_what_is_too_big_for_one_pass_is_fitted_one_by_one(clip, monkeypatch, recipe, options):
    fitted = []
    monkeypatch.setattr(Trainer, "fit", lambda self, data: fitted.append((self.recipe.seed, data)))
    monkeypatch.setattr(Trainer, "check", lambda self, data: None)
    train_together(trainers(clip, recipe, **options), ["a", "b", "c"])
    assert fitted == [(1, "a"), (2, "b"), (3, "c")]


def test_what_cannot_share_a_pass_is_named(clip):
    three = trainers(clip)
    data = [features(seed) for seed in SEEDS]
    three[1] = trainers(clip, n_ctx=3)[1]
    with pytest.raises(ValueError, match="differ in n_ctx, class_specific or position: train them one by one"):
        train_together(three, data)
    with pytest.raises(ValueError, match="differ in recipe"):
        train_together([*trainers(clip)[:2], trainers(clip, Recipe(epochs=4, views=None))[2]], data)
    with pytest.raises(ValueError, match="differ in number of images"):
        train_together(trainers(clip), [*data[:2], features(3, n=9)])


def test_a_loss_that_is_not_finite_is_not_hidden_by_the_others(clip):
    data = [features(seed) for seed in SEEDS]
    data[2].image_features[0] = torch.inf
    with pytest.raises(FloatingPointError, match="epoch 1"):
        train_together(trainers(clip), data)


def test_side_by_side_the_results_are_those_of_one_after_the_other(clip):
    def train(trainer):
        trainer.fit(features(1))
        return trainer.learner.ctx.detach()

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [train(trainer) for trainer in trainers(clip)]
        torch.set_num_threads(2)
        together = side_by_side(train, trainers(clip))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_an_error_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda n: 1 / n, [1, 0])
