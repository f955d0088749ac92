"""The authors' recipe, exactly; and a training that is stopped loses nothing."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from coop_edu import PromptLearner, Recipe, StopTraining, Trainer, load_image, train_together
from coop_edu.coop.checkpoints import load_prompt, save_prompt
from coop_edu.coop.prompt_file import read_prompt, write_prompt_file
from coop_edu.coop.training_data import order_of
from coop_edu.data.batches import seeded
from coop_edu.data.features import Features, extract_features

from tiny_clip import tiny_clip
from tiny_images import make_examples

NAMES = ("cat", "dog", "eel")


def make_learner(clip, **options):
    return PromptLearner(clip, NAMES, **{"n_ctx": 2, **options})


def make_features(n=10, views=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (n, 16) if views is None else (views, n, 16)
    return Features(torch.randn(shape, generator=generator), torch.arange(n) % 3, NAMES)


def make_recipe(**options):
    return Recipe(**{"epochs": 5, "batch_size": 4, "views": None, **options})


def fit(learner, data=None, *, recipe=None, resume=False, **options):
    """The history of a training on ten images, in five epochs of two steps."""
    trainer = Trainer(learner, recipe or make_recipe(), progress=False, **options)
    return trainer.fit(make_features() if data is None else data, resume=resume)


class Recorder(Trainer):
    """Remembers the batches it trained on."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seen = []

    def step(self, image_features, labels):
        self.seen.append((image_features, labels))
        return super().step(image_features, labels)


# ------------------------------------------------------------------------------------------------- the recipe
@pytest.mark.parametrize("T", [50, 100, 200])
def test_learning_rate_is_the_closed_form_and_the_authors_scheduler(T):
    recipe = Recipe(epochs=T)
    found = [recipe.learning_rate(epoch) for epoch in range(T)]
    closed = [1e-5] + [0.002 * (1 + math.cos(math.pi * (e - 1) / T)) / 2 for e in range(1, T)]
    assert found == closed and min(found[1:]) > 0
    assert T != 50 or found[49] == pytest.approx(7.885e-6, rel=1e-4)  # as the authors' log prints it
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.002)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T)
    after_warm_up = [0.002]
    for _ in range(T - 2):
        optimizer.step()
        cosine.step()
        after_warm_up.append(optimizer.param_groups[0]["lr"])
    assert found[1:] == pytest.approx(after_warm_up, rel=1e-9, abs=1e-15)


def test_the_papers_settings():
    recipe = Recipe.paper(16)
    assert asdict(recipe) == {
        "epochs": 200, "min_steps": 0, "lr": 0.002, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 32,
        "warmup_epochs": 1, "warmup_lr": 1e-5, "views": "fresh", "precision": "float32", "seed": 1,
    }  # fmt: skip
    assert [Recipe.paper(k).epochs for k in (1, 2, 4, 8, 16)] == [50, 100, 100, 200, 200]
    assert {Recipe.paper(k, "ImageNet").epochs for k in (1, 2, 4, 8, 16)} == {50}
    assert Recipe.paper(16, "Caltech101").epochs == 200


def test_steps_per_epoch_of_the_papers_data_sets_at_16_shots():
    classes = {1000: 500, 397: 198, 196: 98, 102: 51, 100: 50, 101: 50, 47: 23, 37: 18, 10: 5}
    assert {K: Recipe().steps_per_epoch(16 * K) for K in classes} == classes
    assert [Recipe().steps_per_epoch(n) for n in (1, 10, 20, 31, 32, 33, 63, 64)] == [1, 1, 1, 1, 1, 1, 1, 2]


# ----------------------------------------------------------------------------------------------- the training
@pytest.mark.parametrize("class_specific", [False, True])
def test_equals_a_plain_loop_with_sgd_written_out(clip, class_specific):
    recipe, data = make_recipe(lr=0.05), make_features(10)
    learner, plain = (make_learner(clip, class_specific=class_specific) for _ in range(2))
    history = fit(learner, data, recipe=recipe)
    velocity, losses = torch.zeros_like(plain.ctx), []
    for epoch in range(5):
        order = order_of(epoch, 10, recipe)
        losses.append([])
        for rows in (order[:4], order[4:8]):  # 8, 9: the remainder is dropped
            image_features = F.normalize(data.image_features[rows], dim=1)
            logits = clip.logit_scale * image_features @ F.normalize(plain(), dim=1).T
            loss = -logits.log_softmax(dim=1)[range(4), data.labels[rows]].mean()
            (gradient,) = torch.autograd.grad(loss, plain.ctx)
            with torch.no_grad():
                velocity = 0.9 * velocity + gradient + 5e-4 * plain.ctx  # weight decay on ctx
                plain.ctx -= recipe.learning_rate(epoch) * velocity
            losses[-1].append(loss.item())
    torch.testing.assert_close(learner.ctx, plain.ctx, rtol=1e-4, atol=1e-6)
    assert history.loss == pytest.approx([np.mean(epoch) for epoch in losses], rel=1e-4)
    assert history.lr == [recipe.learning_rate(epoch) for epoch in range(5)]
    assert len(history.seconds) == len(history.accuracy) == len(history) == 5


def test_weight_decay_reaches_ctx_even_without_a_gradient_from_the_data(clip):
    learner = PromptLearner(clip, ("cat",), n_ctx=2)  # one class: the loss is 0 whatever the context
    before = learner.ctx.detach().clone()
    data = Features(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(4).long(), ("cat",))
    fit(learner, data, recipe=make_recipe(epochs=1, warmup_epochs=0, lr=0.1, weight_decay=0.5))
    torch.testing.assert_close(learner.ctx.detach(), before * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("n, sizes", [(10, [4, 4]), (8, [4, 4]), (4, [4]), (3, [3]), (1, [1])])
def test_full_batches_only_unless_there_is_none(clip, n, sizes):
    trainer = Recorder(make_learner(clip), make_recipe(epochs=2), progress=False)
    trainer.fit(make_features(n))
    assert [len(labels) for _, labels in trainer.seen] == sizes * 2
    first = torch.cat([images for images, _ in trainer.seen[: len(sizes)]])
    assert len({tuple(row.tolist()) for row in first}) == sum(sizes)  # each image at most once an epoch


def test_every_epoch_has_an_order_of_its_own_and_labels_stay_with_images(clip):
    data = make_features(8)
    trainer = Recorder(make_learner(clip), make_recipe(), progress=False)
    trainer.fit(data)
    whole = [torch.cat([trainer.seen[2 * e][0], trainer.seen[2 * e + 1][0]]) for e in range(5)]
    assert len({tuple(epoch[:, 0].tolist()) for epoch in whole}) == 5
    label_of = {tuple(x.tolist()): y for x, y in zip(data.image_features, data.labels.tolist(), strict=True)}
    pairs = [(tuple(x.tolist()), y) for xs, ys in trainer.seen for x, y in zip(xs, ys.tolist())]
    assert all(label_of[x] == y for x, y in pairs)


def test_fixed_views_one_per_image_and_epoch(clip):
    data = make_features(8, views=3)
    trainer = Recorder(make_learner(clip), make_recipe(views=3, epochs=40), progress=False)
    trainer.fit(data)
    home = {tuple(x.tolist()): (view, i) for view in range(3) for i, x in enumerate(data.image_features[view])}
    used = [[home[tuple(x.tolist())] for x in images] for images, _ in trainer.seen]
    for epoch in range(40):
        assert sorted(i for _, i in used[2 * epoch] + used[2 * epoch + 1]) == list(range(8))
    assert {pair for batch in used for pair in batch} == {(v, i) for v in range(3) for i in range(8)}


@pytest.mark.parametrize("workers", [0, 2])
def test_fresh_views_are_the_train_transform_of_each_epoch(clip, tmp_path, workers):
    examples = make_examples(tmp_path, NAMES, each=2)
    recipe = make_recipe(views="fresh", epochs=3, seed=7)
    trainer = Recorder(make_learner(clip), recipe, progress=False, workers=workers)
    trainer.fit(examples)
    assert len(trainer.seen) == 3
    for epoch, (features, labels) in enumerate(trainer.seen):
        order = order_of(epoch, 6, trainer.recipe).tolist()
        images = [clip.train_transform(load_image(examples[i].image), seeded(7, epoch, i)) for i in order]
        torch.testing.assert_close(features, clip.encode_image(torch.stack(images)))
        assert labels.tolist() == [examples[i].label for i in order]


def test_examples_and_their_features_train_alike(clip, tmp_path):
    examples = make_examples(tmp_path, NAMES, each=3)
    for views in (None, 2):
        one, two = make_learner(clip), make_learner(clip)
        fit(one, examples, recipe=make_recipe(views=views, seed=4))
        features = extract_features(clip, examples, views=views, seed=4, progress=False)
        fit(two, features, recipe=make_recipe(views=views, seed=4))
        assert torch.equal(one.ctx, two.ctx)


def test_only_ctx_moves_and_no_global_random_state(tmp_path):
    clip = tiny_clip()
    before = {name: value.clone() for name, value in clip.model.state_dict().items()}
    torch.manual_seed(0)
    state, learner = torch.get_rng_state(), make_learner(clip)
    start = learner.ctx.detach().clone()
    fit(learner, make_examples(tmp_path, NAMES, each=2), recipe=make_recipe(views="fresh"))
    assert not torch.equal(learner.ctx, start) and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in clip.model.state_dict().items())
    assert all(parameter.grad is None for parameter in clip.model.parameters()) and not clip.model.training


def test_loss_falls_and_accuracy_rises(clip):
    generator = torch.Generator().manual_seed(0)
    learner = make_learner(clip, n_ctx=4, class_specific=True)
    images = learner.text_features()[torch.arange(12) % 3].roll(1, 0) + 0.02 * torch.randn(12, 16, generator=generator)
    data = Features(images, torch.arange(12) % 3, NAMES)
    history = fit(learner, data, recipe=make_recipe(epochs=30, lr=0.5))
    assert history.loss[-1] < 0.5 * history.loss[0] and history.accuracy[-1] > history.accuracy[0]


def test_the_seed_decides(clip):
    found = []
    for seed in (1, 1, 2):
        learner = make_learner(clip)
        fit(learner, recipe=make_recipe(seed=seed))
        found.append(learner.ctx.detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("precision, tolerance", [("bfloat16", 0.1), ("float16", 0.02)])
def test_half_precision_stays_near_and_ctx_stays_float32(clip, precision, tolerance):
    exact, half = make_learner(clip), make_learner(clip)
    fit(exact)
    trainer = Trainer(half, make_recipe(precision=precision), progress=False)
    trainer.fit(make_features())
    start = make_learner(clip).ctx.detach()
    assert half.ctx.dtype == torch.float32 and trainer.scaler.is_enabled() == (precision == "float16")
    assert not torch.equal(half.ctx, exact.ctx)  # autocast was on
    assert (half.ctx - exact.ctx).norm() < tolerance * (exact.ctx - start).norm()


@pytest.mark.parametrize("class_specific", [False, True])
def test_classes_in_chunks_give_the_same_training(clip, class_specific):
    whole, chunks = (make_learner(clip, class_specific=class_specific, max_classes_at_once=n) for n in (None, 2))
    histories = [fit(learner, recipe=make_recipe(lr=0.05)) for learner in (whole, chunks)]
    torch.testing.assert_close(whole.ctx, chunks.ctx, rtol=1e-4, atol=1e-6)
    assert histories[0].loss == pytest.approx(histories[1].loss, rel=1e-5)


def test_device_and_callback(clip):
    states, learner = [], make_learner(clip)
    note = lambda state: states.append((state.epoch, state.epochs, len(state.history)))  # noqa: E731
    history = fit(learner, device="cpu", callback=note)
    assert states == [(e, 5, e) for e in range(1, 6)] and len(history) == 5
    assert Trainer(learner).device == clip.device == Trainer(learner, device="cpu").device == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_on_a_gpu_as_on_the_cpu(precision, tmp_path):
    examples = make_examples(tmp_path, NAMES, each=2)
    found = {}
    for device in ("cpu", "cuda"):
        learner = make_learner(tiny_clip())
        fit(learner, examples, recipe=make_recipe(views="fresh", precision=precision), device=device)
        assert learner.ctx.device.type == learner.clip.device.type == device
        found[device] = learner.ctx.detach().cpu()
    torch.testing.assert_close(found["cpu"], found["cuda"], rtol=0.05, atol=1e-3)


# -------------------------------------------------------------------------------------------- what goes wrong
def test_a_loss_that_is_not_finite_stops_at_once_and_the_checkpoint_is_of_the_last_good_epoch(clip, tmp_path):
    data = make_features(8)
    learner = make_learner(clip)

    def spoil(state):
        if state.epoch == 2:
            data.image_features[:] = math.nan

    trainer = Recorder(learner, make_recipe(), progress=False, checkpoint=tmp_path / "c.safetensors", callback=spoil)
    with pytest.raises(FloatingPointError, match=r"epoch 3, by step 1(.|\n)*Lower lr"):
        trainer.fit(data)
    assert len(trainer.seen) == 2 * 2 + 1
    header, tensors = read_prompt(tmp_path / "c.safetensors")
    assert len(header["facts"]["training"]["history"]["loss"]) == 2 and tensors["ctx"].isfinite().all()


class Ruined(Trainer):
    """The second step leaves a context of one value everywhere."""

    value = math.nan

    def step(self, images, labels):
        done = super().step(images, labels)
        if self.optimizer.param_groups[0]["lr"] != self.recipe.learning_rate(0):
            self.learner.ctx.data.fill_(self.value)
        return done


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("epochs", [2, 5])
def test_after_divergence_the_checkpoint_holds_the_last_good_epoch(clip, tmp_path, monkeypatch, value, epochs):
    monkeypatch.setattr(Ruined, "value", value)
    path = tmp_path / "c.safetensors"
    recipe = make_recipe(epochs=epochs, batch_size=10)  # one step an epoch
    trainer = Ruined(make_learner(clip), recipe, progress=False, checkpoint=path)
    with pytest.raises(FloatingPointError, match=r"context vectors are not finite \(epoch 2, after step 1"):
        trainer.fit(make_features())
    header, tensors = read_prompt(path)
    assert len(header["facts"]["training"]["history"]["loss"]) == 1 and tensors["ctx"].isfinite().all()
    assert load_prompt(path, clip).text_features().isfinite().all()


def test_a_context_too_large_for_the_text_encoder_is_neither_saved_nor_returned(clip, tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(FloatingPointError, match=r"epoch(.|\n)*Lower lr \(1e\+38"):
        fit(make_learner(clip), recipe=make_recipe(lr=1e38, epochs=2), checkpoint=path)
    assert load_prompt(path, clip).text_features().isfinite().all()


def test_a_last_step_that_ruins_the_context_is_no_success(clip):
    recipe = make_recipe(epochs=2, batch_size=10)
    with pytest.raises(FloatingPointError, match="epoch 2"):
        Ruined(make_learner(clip), recipe, progress=False).fit(make_features())
    recipe = replace(recipe, lr=1e38)
    with pytest.raises(FloatingPointError, match="epoch 2"):
        train_together([Trainer(make_learner(clip), recipe, progress=False) for _ in range(2)], [make_features()] * 2)


def test_data_that_do_not_fit(clip):
    for data, options, why in (
        (replace(make_features(), classnames=("cat", "dog", "fox")), {}, "'fox' in the data and 'eel'"),
        (make_features(views=3), {}, "views=None, and the features have views=3"),
        ([], {}, "test-only"),
        (make_features(), {"recipe": Recipe(epochs=1)}, "'fresh'"),
    ):
        with pytest.raises(ValueError, match=why):
            fit(make_learner(clip), data, **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_all_named_before_long(clip, tmp_path, workers):
    examples = make_examples(tmp_path, NAMES, each=4)
    for i in (1, 7):
        examples[i].image.write_text("broken")
    trainer = Recorder(make_learner(clip), make_recipe(views="fresh", epochs=500), progress=False, workers=workers)
    with pytest.raises(ValueError, match=r"2 image\(s\)") as caught:
        trainer.fit(examples)
    assert str(examples[1].image) in str(caught.value) and len(trainer.seen) <= 3


# ---------------------------------------------------------------------------------------- stopped and resumed
class Stop(Exception):
    pass


def stop_after(epoch):
    def callback(state):
        if state.epoch == epoch:
            raise Stop

    return callback


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("options", [{}, {"views": 2}, {"views": "fresh"}, {"precision": "float16"}], ids=str)
def test_resumed_is_bit_for_bit_the_undisturbed_training(clip, tmp_path, options, class_specific):
    recipe = make_recipe(lr=0.05, **options)
    examples = make_examples(tmp_path / "images", NAMES, each=3)
    undisturbed, stopped, resumed = (make_learner(clip, class_specific=class_specific) for _ in range(3))
    options = {"recipe": recipe, "checkpoint": tmp_path / "c.safetensors"}
    expected = fit(undisturbed, examples, recipe=recipe)
    with pytest.raises(Stop):
        fit(stopped, examples, callback=stop_after(2), **options)
    found = fit(resumed, examples, resume=True, **options)
    assert torch.equal(resumed.ctx, undisturbed.ctx) and not torch.equal(stopped.ctx, undisturbed.ctx)
    assert (found.loss, found.accuracy, found.lr) == (expected.loss, expected.accuracy, expected.lr)
    again = make_learner(clip, class_specific=class_specific)
    assert fit(again, examples, resume=True, **options) == found and torch.equal(again.ctx, undisturbed.ctx)
    assert torch.equal(load_prompt(options["checkpoint"], clip).ctx, undisturbed.ctx)


@pytest.mark.parametrize("options", [{}, {"views": "fresh"}], ids=str)
def test_a_callback_can_end_the_training_and_what_was_learned_is_the_same_bit_for_bit(clip, tmp_path, options):
    recipe, path = make_recipe(lr=0.05, **options), tmp_path / "c.safetensors"
    examples, walk = make_examples(tmp_path / "images", NAMES, each=3), []
    whole, ended = make_learner(clip), make_learner(clip)
    expected = fit(whole, examples, recipe=recipe, callback=lambda state: walk.append(whole.ctx.detach().clone()))

    def end(state):
        assert state.steps_per_epoch == recipe.steps_per_epoch(len(examples))
        if state.epoch == 2:
            raise StopTraining

    trainer = Trainer(ended, recipe, progress=False, checkpoint=path, checkpoint_every=3, callback=end)
    found = trainer.fit(examples)
    assert torch.equal(load_prompt(path, clip).ctx, ended.ctx)  # stopped between two checkpoints
    assert len(found) == len(found.seconds) == 2
    assert (found.loss, found.accuracy, found.lr) == (expected.loss[:2], expected.accuracy[:2], expected.lr[:2])
    assert torch.equal(ended.ctx, walk[1]) and not torch.equal(ended.ctx, whole.ctx)
    trainer.callback = None
    went_on = trainer.fit(examples, resume=True)
    assert torch.equal(ended.ctx, whole.ctx) and went_on.loss == expected.loss


def test_only_a_callback_ends_a_training(clip, monkeypatch):
    def broken(*_):
        raise StopTraining

    monkeypatch.setattr(PromptLearner, "objective", broken)
    with pytest.raises(StopTraining):
        fit(make_learner(clip))


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from test_trainer import fit, make_learner, make_recipe, tiny_clip
fit(make_learner(tiny_clip()), recipe=make_recipe(epochs=100_000, lr=0.01), checkpoint=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_training_leaves_a_whole_checkpoint(clip, tmp_path):
    path = tmp_path / "c.safetensors"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)])
    try:
        deadline = time.time() + 120
        while not path.is_file() and process.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # some epochs more, so that it dies in the midst of things
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    header, tensors = read_prompt(path)
    done = len(header["facts"]["training"]["history"]["loss"])
    assert done >= 1
    learner = make_learner(clip)
    with pytest.raises(Stop):  # the same training, undisturbed, to the same epoch
        fit(learner, recipe=make_recipe(epochs=100_000, lr=0.01), callback=stop_after(done))
    torch.testing.assert_close(tensors["ctx"], learner.ctx.detach(), rtol=1e-4, atol=1e-6)


def test_a_full_disk_leaves_the_last_checkpoint(clip, tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"

    def full_from_now_on(state):
        def full(number):  # the file is written, and not yet in its place
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match=r"No space(.|\n)*c\.safetensors"):
        fit(make_learner(clip), checkpoint=path, callback=full_from_now_on)
    assert list(tmp_path.iterdir()) == [path] and load_prompt(path, clip).classnames == NAMES


def test_checkpoint_every_n_epochs_and_after_the_last(clip, tmp_path):
    path, seen = tmp_path / "c.safetensors", []

    def look(state):
        seen.append(len(read_prompt(path)[0]["facts"]["training"]["history"]["loss"]) if path.is_file() else 0)

    fit(make_learner(clip), checkpoint=path, checkpoint_every=2, callback=look)
    assert seen == [0, 2, 2, 4, 5]


def test_resume_without_a_checkpoint_starts(clip, tmp_path):
    one, two = make_learner(clip), make_learner(clip)
    fit(one, checkpoint=tmp_path / "c.safetensors", resume=True)
    fit(two)
    assert torch.equal(one.ctx, two.ctx)


def test_resume_refuses_another_training(clip, tmp_path):
    path = tmp_path / "c.safetensors"
    fit(make_learner(clip), checkpoint=path)
    whole = path.read_bytes()
    cases = [
        (make_learner(clip), {"recipe": make_recipe(lr=0.1)}, "recipe"),
        (make_learner(clip), {"data": make_features(12)}, "labels"),
        (make_learner(clip), {"data": make_features(seed=2)}, "images"),  # labels are those of every seed
        (make_learner(clip, seed=2), {}, "start"),
        (make_learner(clip, init="a photo"), {}, "start"),
        (make_learner(clip, n_ctx=4), {}, "n_ctx"),
        (make_learner(clip, position="front"), {}, "position"),
        (make_learner(clip, class_specific=True), {}, "class_specific"),
        (make_learner(tiny_clip(seed=1)), {}, "weights"),
    ]
    for learner, options, what in cases:
        before = learner.ctx.detach().clone()
        with pytest.raises(ValueError, match=rf"a different training \((.|\n)*{what}"):
            fit(learner, checkpoint=path, resume=True, **options)
        assert torch.equal(learner.ctx, before) and path.read_bytes() == whole
    save_prompt(make_learner(clip), path)
    with pytest.raises(ValueError, match="no training to resume"):
        fit(make_learner(clip), checkpoint=path, resume=True)
    path.write_bytes(whole[:-7])
    with pytest.raises(ValueError, match="not a whole prompt file"):
        fit(make_learner(clip), checkpoint=path, resume=True)


def test_resume_refuses_another_way_of_training(clip, tmp_path):
    class Own(Trainer):
        pass

    class WithAdam(Recipe):
        def optimizer(self, parameters):
            return torch.optim.Adam(parameters)

    path = tmp_path / "c.safetensors"
    Own(make_learner(clip), make_recipe(), progress=False, checkpoint=path).fit(make_features())
    with pytest.raises(ValueError, match="trainer: 'Own' there, 'Trainer' here"):
        fit(make_learner(clip), resume=True, checkpoint=path)
    with pytest.raises(ValueError, match="keeps SGD's momentum, and this optimizer has exp_avg"):
        fit(make_learner(clip), recipe=WithAdam(epochs=2, views=None), checkpoint=tmp_path / "adam.safetensors")


def test_resume_knows_the_images_wherever_they_lie(clip, tmp_path):
    first, moved = (make_examples(tmp_path / name, NAMES, each=3) for name in ("here", "there"))
    one, two, path = make_learner(clip), make_learner(clip), tmp_path / "c.safetensors"
    fit(one, first, checkpoint=path)
    fit(two, moved, checkpoint=path, resume=True)  # the same files elsewhere
    assert torch.equal(one.ctx, two.ctx)
    Path(moved[4].image).write_bytes(Path(moved[0].image).read_bytes())
    with pytest.raises(ValueError, match=r"a different training \(images"):
        fit(make_learner(clip), moved, checkpoint=path, resume=True)


def test_resume_compares_the_images_of_a_file_of_version_0_2(clip, tmp_path):
    path = tmp_path / "c.safetensors"
    fit(make_learner(clip), checkpoint=path)
    header, tensors = read_prompt(path)
    header["facts"]["training"]["pictures"] = header["facts"]["training"].pop("images")
    write_prompt_file(path, header, tensors)
    assert len(fit(make_learner(clip), checkpoint=path, resume=True)) == 5
    with pytest.raises(ValueError, match=r"a different training \(images"):
        fit(make_learner(clip), make_features(seed=2), checkpoint=path, resume=True)


def test_resume_goes_on_from_the_prompt_of_the_file_and_from_a_learner_that_was_stopped(clip, tmp_path):
    expected, stopped = make_learner(clip, seed=5), make_learner(clip, seed=5)
    fit(expected)
    path = tmp_path / "c.safetensors"
    with pytest.raises(Stop):
        fit(stopped, checkpoint=path, callback=stop_after(2))
    whole = path.read_bytes()
    for learner in (load_prompt(path, clip), stopped, make_learner(clip, seed=5)):
        path.write_bytes(whole)
        fit(learner, checkpoint=path, resume=True)
        assert torch.equal(learner.ctx, expected.ctx)
        header = read_prompt(path)[0]["facts"]["training"]
        assert header["start"] == make_learner(clip, seed=5).start  # it is still that training


def test_a_checkpoint_from_before_the_digests_is_resumed(clip, tmp_path, monkeypatch):
    path, expected, learner, real = (
        tmp_path / "c.safetensors",
        make_learner(clip),
        make_learner(clip),
        Trainer.depends_on,
    )
    fit(expected)
    fewer = lambda self, data: {k: real(self, data)[k] for k in ("recipe", "labels")}  # noqa: E731
    monkeypatch.setattr(Trainer, "depends_on", fewer)
    with pytest.raises(Stop):
        fit(make_learner(clip), checkpoint=path, callback=stop_after(2))
    monkeypatch.undo()
    fit(learner, checkpoint=path, resume=True)
    assert torch.equal(learner.ctx, expected.ctx)


def test_a_finished_prompt_is_trained_on_as_the_refusal_says(clip, tmp_path):
    """More epochs are another schedule: resuming is refused, and names the way that works, which then starts there."""
    path, more = tmp_path / "c.safetensors", make_recipe(epochs=3)
    fit(make_learner(clip), recipe=make_recipe(epochs=2), checkpoint=path)
    with pytest.raises(ValueError, match=r"more epochs, start from it: Trainer\(load_prompt\(path, clip\)"):
        fit(make_learner(clip), recipe=more, checkpoint=path, resume=True)
    learner = load_prompt(path, clip)
    start = learner.ctx.detach().clone()
    assert len(fit(learner, recipe=more)) == 3
    assert not torch.equal(learner.ctx, start) and torch.equal(load_prompt(path, clip).ctx, start)


def test_a_recipe_counted_in_steps_takes_as_many_epochs_as_make_them(clip):
    """6 and 64 images are one step and two steps an epoch. A second fit counts its own images."""
    assert [Recipe.mini().for_images(n).epochs for n in (6, 64)] == [300, 150]
    trainer = Trainer(make_learner(clip), Recipe(epochs=1, min_steps=6, views=None), progress=False)
    for n, expected in ((6, 6), (64, 3), (6, 6)):
        assert len(trainer.fit(make_features(n))) == trainer.recipe.epochs == expected
