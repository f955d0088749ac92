"""Methods other than CoOp, on every way of training: honoured, or refused before anything is computed."""

import json

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from coop_edu import CoCoOp, Features, KgCoOp, PromptConfig, PromptLearner, Recipe, Trainer, ZeroShot, train_together
from coop_edu.clip.probability import class_logits, normalize
from coop_edu.coop.checkpoints import copy_parameters, load_prompt, save_prompt
from coop_edu.coop.history import EpochSums, check_finite, check_usable
from coop_edu.evaluate.accuracy import accuracy, predict

NAMES = ("cat", "dog", "umbrella stand", "hot_air_balloon")
RECIPE = Recipe(epochs=3, batch_size=4, lr=0.1, views=None)


class Decayed(PromptLearner):
    """An objective that looks at a parameter itself."""

    def objective(self, image_features, text_features, labels):
        loss, logits = super().objective(image_features, text_features, labels)
        return loss + 30 * self.ctx.square().sum(), logits


def kgcoop(clip, **options):
    return KgCoOp(clip, NAMES, template="a photo of a {}.", n_ctx=2, **options)


def cocoop(clip, **options):
    return CoCoOp(clip, NAMES, n_ctx=2, **options)


def decayed(clip, **options):
    return Decayed(clip, NAMES, n_ctx=2, **options)


def features(seed=0, n=12):
    images = torch.randn(n, 16, generator=torch.Generator().manual_seed(seed))
    return Features(images, torch.arange(n) % 4, NAMES)


def learned(learner):
    return torch.cat([parameter.detach().flatten() for parameter in learner.parameters()])


def fit(learner, data=None, recipe=RECIPE, **options):
    return Trainer(learner, recipe, progress=False, **options).fit(data or features())


METHODS = pytest.mark.parametrize("make", [kgcoop, cocoop, decayed])


def test_kgcoop_is_the_formula_of_its_paper(clip):
    learner, data = kgcoop(clip, weight=3.0), features()
    written = ZeroShot(clip, NAMES, "a photo of a {}.").text_features
    plain = PromptLearner(clip, NAMES, n_ctx=2)
    pull = 1 - F.cosine_similarity(plain(), written).mean()
    expected = plain.loss(data.image_features, data.labels) + 3 * pull
    torch.testing.assert_close(learner.loss(data.image_features, data.labels), expected)


def test_without_its_pull_kgcoop_is_coop_and_with_all_of_it_the_hand_written_prompt(clip):
    plain, none, much = PromptLearner(clip, NAMES, n_ctx=2), kgcoop(clip, weight=0.0), kgcoop(clip, weight=1e3)
    for learner in (plain, none):
        fit(learner)
    assert torch.equal(plain.ctx, none.ctx)
    before = (normalize(much()) * much.hand_written).sum(dim=1).mean()
    fit(much, recipe=Recipe(epochs=30, batch_size=4, lr=1e-4, views=None))
    assert (normalize(much()) * much.hand_written).sum(dim=1).mean() > before + 0.01


def test_cocoop_is_coop_on_the_shifted_context_of_each_image(clip):
    learner, data = cocoop(clip), features(n=3)
    logits = learner.logits(data.image_features)
    first, _, second = learner.meta_net
    assert (first.in_features, first.out_features, second.out_features) == (16, 1, 32)
    plain = PromptLearner(clip, NAMES, n_ctx=2)
    for image, row in zip(data.image_features, logits):
        f = image / image.norm()
        shift = second.weight @ (first.weight @ f + first.bias).relu() + second.bias
        text_features = plain(learner.ctx + shift)
        torch.testing.assert_close(row, class_logits(image[None], text_features, clip.logit_scale)[0])
    assert (logits.softmax(dim=1) - plain.logits(data.image_features).softmax(dim=1)).abs().max() > 1e-3


def test_the_meta_net_starts_from_the_seed_and_from_nothing_else(clip):
    state = torch.get_rng_state()
    assert torch.equal(learned(cocoop(clip, seed=1)), learned(cocoop(clip, seed=1)))
    assert not torch.equal(learned(cocoop(clip, seed=1))[-40:], learned(cocoop(clip, seed=2))[-40:])
    assert torch.equal(state, torch.get_rng_state())


def test_cocoop_refuses_what_makes_no_sense(clip):
    with pytest.raises(ValueError, match="class_specific=False"):
        cocoop(clip, class_specific=True)
    with pytest.raises(TypeError, match="differ by image"):
        cocoop(clip).text_features()


@METHODS
def test_all_that_is_learned_moves(clip, make):
    learner = make(clip)
    before = {name: parameter.detach().clone() for name, parameter in learner.named_parameters()}
    fit(learner)
    for name, parameter in learner.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@METHODS
@pytest.mark.parametrize("at_once", [1, 3])
def test_in_groups_of_classes(clip, make, at_once):
    whole, groups, plain = make(clip), make(clip, max_classes_at_once=at_once), PromptLearner(clip, NAMES, n_ctx=2)
    start = learned(whole)
    expected, history = fit(whole), fit(groups)
    assert history.loss == pytest.approx(expected.loss, rel=1e-4)
    moved = (learned(whole) - start).abs().max()
    assert (learned(groups) - learned(whole)).abs().max() < 1e-3 * moved
    fit(plain)
    assert (groups.ctx - plain.ctx).abs().max() > 0.01 * moved, "trained plain CoOp"


@METHODS
def test_several_in_one_pass(clip, make):
    alone, together = ([make(clip, seed=seed) for seed in (1, 2)] for _ in range(2))
    data = [features(1), features(2)]
    expected = [fit(learner, some) for learner, some in zip(alone, data)]
    trainers = [Trainer(learner, RECIPE, progress=False) for learner in together]
    together[0].loss(data[0].image_features, data[0].labels).backward()  # a gradient left behind counts for nothing
    for one, other in zip(expected, train_together(trainers, data)):
        assert other.loss == pytest.approx(one.loss, rel=1e-4)
    for one, other in zip(alone, together):
        torch.testing.assert_close(learned(other), learned(one), rtol=1e-3, atol=1e-5)


def test_different_methods_do_not_go_into_one_pass(clip):
    trainers = [Trainer(make(clip), RECIPE) for make in (kgcoop, decayed)]
    with pytest.raises(ValueError, match="differ in method"):
        train_together(trainers, [features(), features()])


class Scaled(PromptLearner):
    """A hyperparameter, and nothing else that a subclass must remember."""

    def __init__(self, clip, classnames, *, strength=0.1, **options):
        super().__init__(clip, classnames, **options)
        self.strength = strength


class Forgetful(PromptLearner):
    def __init__(self, clip, classnames, strength=0.1, **options):
        super().__init__(clip, classnames, **options)
        self._strength = strength


class Deeper(Scaled):
    def __init__(self, clip, classnames, *, depth, **options):
        super().__init__(clip, classnames, **options)
        self.depth = depth


class Fixed(PromptLearner):
    """One that has another default for an option of CoOp, and hands it on."""

    def __init__(self, clip, classnames, *, n_ctx=3, seed=7, **options):
        super().__init__(clip, classnames, n_ctx=n_ctx, seed=seed, **options)


def test_a_subclass_with_other_defaults_keeps_what_it_was_given(clip, tmp_path):
    learner = Fixed(clip, NAMES, n_ctx=2, position="front")
    save_prompt(learner, tmp_path / "p")
    for other in (load_prompt(tmp_path / "p", clip, method=Fixed), learner.with_classnames(NAMES)):
        assert torch.equal(other.ctx, learner.ctx) and other.prompts() == learner.prompts()
    with pytest.raises(TypeError, match="either config or its fields"):
        PromptLearner(clip, NAMES, PromptConfig(n_ctx=2), position="front")


def test_a_hyperparameter_comes_back_or_saving_says_why_not(clip, tmp_path):
    learner = Deeper(clip, NAMES, n_ctx=2, strength=0.5, depth=3)
    learner.depth = 4  # the value of now counts
    save_prompt(learner, tmp_path / "p")
    back = load_prompt(tmp_path / "p", clip, method=Deeper)
    assert (back.strength, back.depth) == (0.5, 4) and back.with_classnames(["eel"]).strength == 0.5
    forgetful = Forgetful(clip, NAMES, 0.5, n_ctx=2)
    for use in (lambda: save_prompt(forgetful, tmp_path / "f"), lambda: forgetful.with_classnames(["eel"])):
        with pytest.raises(TypeError, match=r"write self\.strength = strength"):
            use()
    assert not (tmp_path / "f").exists()


class OwnForward(PromptLearner):
    def forward(self, ctx=None):
        return super().forward(ctx) * torch.tensor([1.0, 2.0]).repeat(8)


def test_a_forward_of_ones_own_is_honoured_or_refused(clip):
    data = features()
    alone, other = OwnForward(clip, NAMES, n_ctx=2), OwnForward(clip, NAMES, n_ctx=2)
    fit(alone, data)
    train_together([Trainer(other, RECIPE, progress=False)], [data])
    assert torch.equal(alone.ctx, other.ctx), "one by one, as a pass over stacked contexts would not call it"
    groups = OwnForward(clip, NAMES, n_ctx=2, max_classes_at_once=2)
    start = groups.ctx.detach().clone()
    with pytest.raises(TypeError, match="OwnForward overrides forward"):
        fit(groups, data)
    with pytest.raises(TypeError, match="OwnForward overrides forward"):
        groups.backward_in_chunks(data.image_features, data.labels)
    assert torch.equal(groups.ctx, start)


def test_an_override_that_no_training_calls_is_an_error(clip):
    class OwnLoss(PromptLearner):
        def loss(self, image_features, labels):
            return super().loss(image_features, labels) * 2

    class OwnTrainer(Trainer):
        def loss(self, images, text_features, labels):
            return None

    with pytest.raises(TypeError, match=r"OwnLoss overrides loss.*Override objective"):
        Trainer(OwnLoss(clip, NAMES, n_ctx=2))
    with pytest.raises(TypeError, match=r"OwnTrainer\.loss would never be called.*PromptLearner\.objective"):
        OwnTrainer(PromptLearner(clip, NAMES, n_ctx=2))


@METHODS
def test_evaluation_and_new_classes(clip, make):
    learner, data = make(clip), features(n=20)
    fit(learner, data)
    assert 0 <= accuracy(learner, data) <= 100
    p = predict(learner, torch.zeros(64, 64, 3, dtype=torch.uint8).numpy())
    assert set(p) == set(NAMES) and sum(p.values()) == pytest.approx(1)
    new = learner.with_classnames(("eel", "dog"))
    assert type(new) is type(learner) and torch.equal(learned(new), learned(learner))
    torch.testing.assert_close(new.logits(data.image_features)[:, 1], learner.logits(data.image_features)[:, 1])


@METHODS
def test_what_was_learned_is_saved_and_loaded(clip, make, tmp_path):
    learner, data = make(clip), features()
    fit(learner, data)
    save_prompt(learner, tmp_path / "prompt.safetensors", seed=1)
    back = load_prompt(tmp_path / "prompt.safetensors", clip, method=type(learner))
    assert type(back) is type(learner) and back.options() == learner.options()
    assert torch.equal(back.logits(data.image_features), learner.logits(data.image_features))
    name = type(learner).__name__
    with pytest.raises(ValueError, match=rf"learned by {name}, not by PromptLearner: .*method={name}"):
        load_prompt(tmp_path / "prompt.safetensors", clip)


@METHODS
def test_a_training_is_resumed_as_if_nothing_had_happened(clip, make, tmp_path):
    path = tmp_path / "prompt.safetensors"
    whole, stopped, other = make(clip), make(clip), make(clip)

    def stop(state):
        if state.epoch == 2:
            raise InterruptedError

    fit(whole)
    with pytest.raises(InterruptedError):
        fit(stopped, checkpoint=path, callback=stop)
    Trainer(other, RECIPE, progress=False, checkpoint=path).fit(features(), resume=True)
    assert torch.equal(learned(other), learned(whole))
    plain = PromptLearner(clip, NAMES, n_ctx=2)
    with pytest.raises(ValueError, match="method: "):
        Trainer(plain, RECIPE, progress=False, checkpoint=path).fit(features(), resume=True)


def test_what_is_checked_of_a_context_is_checked_of_a_meta_net_too(clip, tmp_path):
    path, data = tmp_path / "prompt.safetensors", features()
    learner = cocoop(clip, init="a photo of a")
    fit(learner, data, checkpoint=path)
    other = cocoop(clip, init="a photo of a", seed=1)  # the same context, another meta-net
    with pytest.raises(ValueError, match="start: "):
        Trainer(other, RECIPE, progress=False, checkpoint=path).fit(data, resume=True)
    back = load_prompt(path, clip, method=CoCoOp)
    Trainer(back, RECIPE, progress=False, checkpoint=path).fit(data, resume=True)
    assert torch.equal(learned(back), learned(learner))

    whole, trainer = path.read_bytes(), Trainer(learner, RECIPE, progress=False)
    bias = learner.meta_net[2].bias.data
    bias.fill_(1e30)
    with pytest.raises(FloatingPointError, match="text features are not finite"):
        check_usable(learner, data.image_features, 0, trainer.recipe)
    bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"meta_net\.2\.bias is not finite"):
        check_finite(EpochSums(trainer.device), 0, dict(learner.named_parameters()), trainer.recipe)
    with pytest.raises(ValueError, match=r"meta_net\.2\.bias is NaN or infinite"):
        save_prompt(learner, path)
    assert path.read_bytes() == whole
    before = learned(other)
    tensors = {**dict(other.named_parameters()), "meta_net.2.bias": bias}
    with pytest.raises(ValueError, match=r"finite values in meta_net\.2\.bias"):
        copy_parameters(other, tensors)
    assert torch.equal(learned(other), before)


def test_the_file_of_coop_is_what_it_was(clip, tmp_path):
    path = tmp_path / "prompt.safetensors"
    fit(PromptLearner(clip, NAMES, n_ctx=2), checkpoint=path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["coop_edu"])
        assert sorted(file.keys()) == ["ctx", "momentum"]
    assert header["format"] == "coop_edu prompt, version 1"
    expected = "format model weights classnames n_ctx width class_specific position facts checksum"
    assert list(header) == expected.split()
