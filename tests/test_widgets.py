"""Widgets are driven in code: what a hand would do must compute, show and, on nonsense, explain."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from coop_edu.clip.probability import class_probabilities
from coop_edu.clip.templates import fill
from coop_edu.teaching.widgets import LiveTraining, PromptExplorer, TemperatureExplorer, bars_html

from tiny_clip import tiny_clip

NAMES = ("cat", "hot_air_balloon", "rocket")


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


@pytest.fixture
def explorer(clip):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    images = {"first": noise, "second": np.zeros_like(noise)}
    return PromptExplorer(clip, images, NAMES)


def test_explorer_computes_equation_1(clip, explorer):
    image = explorer.images["second"]
    f = clip.encode_image(clip.preprocess(image)[None])
    w = clip.encode_text(fill("a {}.", NAMES))
    expected = class_probabilities(f, w, 1 / 0.5)[0]
    got = explorer.compute("a {}.", 0.5, "second")
    torch.testing.assert_close(torch.tensor([got[name] for name in NAMES]), expected)
    assert list(got.values()) == sorted(got.values(), reverse=True)


def test_explorer_shows_both_classes_of_one_name(clip):
    names = ("missile", *(f"thing {n}" for n in range(198)), "missile")
    explorer = PromptExplorer(clip, {"black": np.zeros((64, 64, 3), dtype=np.uint8)}, names, "{}")
    assert len(explorer.result) == 200 and sum(explorer.result.values()) == pytest.approx(1, abs=1e-5)
    assert "missile" not in explorer.result and "missile (class 199)" in explorer.result
    explorer.compute = lambda *_: {"missile (class 199)": 1.0}  # where it wins, the sentence has the name alone
    explorer.refresh()
    assert "“missile”" in explorer.bars.value


def test_explorer_does_not_take_a_text_for_its_letters(clip):
    with pytest.raises(ValueError, match="got 'cat'"):
        PromptExplorer(clip, {"black": np.zeros((64, 64, 3), dtype=np.uint8)}, "cat")


def test_explorer_starts_at_clips_own_temperature(clip, explorer):
    assert explorer.temperature.value == pytest.approx(1 / float(clip.logit_scale), rel=0.05)


@pytest.mark.parametrize("start", [0.0389, 0.01, 1.0, 7.7])
def test_a_browser_need_not_round_the_first_temperature(start):
    slider = TemperatureExplorer({"cat": 0.3}, temperature=start).temperature
    steps = (math.log10(start) - slider.min) / slider.step
    assert abs(steps - round(steps)) < 1e-6
    assert 10**slider.min <= 0.001 and 10**slider.max >= 10.0


def test_every_control_changes_what_is_shown(explorer):
    for control, value in (
        (explorer.template, "{}"),
        (explorer.image, "second"),
        (explorer.temperature, 5.0),
    ):
        before = dict(explorer.result), explorer.bars.value
        control.value = value
        assert explorer.result != before[0]
        assert explorer.bars.value != before[1]
    assert all(name in explorer.bars.value for name in NAMES)


def test_heat_flattens_and_cold_sharpens(explorer):
    explorer.temperature.value = 10.0
    warm = max(explorer.result.values())
    explorer.temperature.value = 0.001
    assert max(explorer.result.values()) > warm
    assert warm < 0.5


@pytest.mark.parametrize("template", ["no place for the name", "{} or {}", ""])
def test_a_template_in_the_making_is_explained(explorer, template):
    explorer.template.value = template
    assert explorer.result == {}
    assert "{}" in explorer.bars.value
    explorer.template.value = "an icon of a {}."
    assert sum(explorer.result.values()) == pytest.approx(1, abs=1e-5)


def test_other_errors_are_not_swallowed(explorer, monkeypatch):
    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(explorer, "compute", broken)
    with pytest.raises(RuntimeError, match="broken"):
        explorer.temperature.value = 1.0


def test_explorer_has_a_still_figure(explorer):
    assert explorer.figure("what it says").message == "what it says"


def test_explorer_says_in_words_which_sentence_fits_best(explorer):
    explorer.template.value = "a <b>bold</b> {}"
    best = next(iter(explorer.result))
    assert f"“a &lt;b&gt;bold&lt;/b&gt; {best}”" in explorer.bars.value


def test_explorer_without_images_is_refused(clip):
    with pytest.raises(ValueError, match="at least one image"):
        PromptExplorer(clip, {}, NAMES)


def test_names_are_escaped():
    shown = bars_html({"<script>": 1.0})
    assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_temperature_keeps_the_order():
    explorer = TemperatureExplorer({"cat": 0.3, "dog": 0.28, "rocket": 0.1})
    orders = []
    for tau in (0.001, 0.01, 1.0, 10.0):
        explorer.temperature.value = tau
        orders.append(list(explorer.result))
        assert sum(explorer.result.values()) == pytest.approx(1)
    assert all(order == ["cat", "dog", "rocket"] for order in orders)


def state(epoch, epochs=10):
    history = SimpleNamespace(loss=[1.0] * epoch, accuracy=[50.0] * epoch, lr=[0.002] * epoch)
    return SimpleNamespace(epoch=epoch, epochs=epochs, history=history, learner="the learner")


def test_live_training_draws_at_most_twice_a_second_and_at_the_end():
    now = [0.0]
    live = LiveTraining(clock=lambda: now[0])
    for epoch in range(1, 11):  # an epoch takes 0.2 s
        live(state(epoch))
        now[0] += 0.2
    assert live.drawn == 4  # epochs 1, 4, 7, and 10, the last
    assert "epoch 10 of 10" in live.status.value
    assert bytes(live.image.value).startswith(b"\x89PNG")


def test_live_training_measures_when_it_draws():
    live = LiveTraining(pause=0, measure=lambda learner: len(learner))
    live(state(1))
    live(state(2))
    assert live.measured == [(1, 11), (2, 11)]
