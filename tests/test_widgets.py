"""Widgets are driven in code: what a hand would do must compute, show and, on nonsense, explain."""

import math
import re
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest
import torch

from coop_edu.clip.probability import class_probabilities
from coop_edu.clip.templates import fill
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.coop.history import History
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.coop.trainer import Trainer
from coop_edu.data.batches import seeded
from coop_edu.data.features import Features, extract_features
from coop_edu.data.images import load_image
from coop_edu.evaluate.accuracy import accuracy, predict
from coop_edu.teaching.widgets import (
    DrawingExplorer,
    LiveTraining,
    PromptExplorer,
    bars_html,
    drawing,
)
from coop_edu.teaching.widgets.drawing import READY, DrawingPad
from coop_edu.teaching.widgets.parts import temperature_slider
from coop_edu.teaching.widgets.prompt_explorer import FIXED_WORDINGS

from tiny_clip import tiny_clip
from tiny_images import make_examples

NAMES = ("cat", "hot_air_balloon", "rocket")


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    return make_examples(tmp_path_factory.mktemp("watched"), NAMES, each=3)


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
    slider = temperature_slider(start)
    steps = (math.log10(start) - slider.min) / slider.step
    assert abs(steps - round(steps)) < 1e-6
    assert 10**slider.min <= 0.001 and 10**slider.max >= 10.0


def test_every_control_changes_what_is_shown(explorer):
    for control, value in ((explorer.template, "{}"), (explorer.image, "second"), (explorer.temperature, 5.0)):
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


def test_the_winner_of_the_first_wording_stands_first_and_the_true_class_always_has_a_bar(clip):
    names = [f"thing {n}" for n in range(20)]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    explorer = PromptExplorer(clip, {"thing 7": image, "mine": image}, names)

    def rows():
        return [row.removeprefix("<b>▸ ").removesuffix(" (true)</b>") for row in
                re.findall(r"<tr><td>(.*?)</td>", explorer.bars.value)[1:]]  # fmt: skip

    for template, other, tau in (("a {}.", "{}", 1.0), ("{}, {}", "{}", 1.0), ("so {} it is", "", 0.001)):
        explorer.template.value, explorer.other.value, explorer.temperature.value = template, other, tau
        if not explorer.result:
            assert rows() == []
            continue
        best = list(explorer.result)[:7]
        assert rows() == [*(best if "thing 7" in best else [*best[:6], "thing 7"]), "<i>the other 13 together</i>"]
    last = next(reversed(explorer.result))
    explorer = PromptExplorer(clip, {last: image}, names, template="so {} it is")
    assert rows()[:7] == [*list(explorer.result)[:6], last] and f"<b>▸ {last} (true)</b>" in explorer.bars.value
    explorer = PromptExplorer(clip, {"mine": image}, names)
    assert rows()[:7] == list(explorer.result)[:7] and "(true)" not in explorer.bars.value


def test_code_can_drive_a_copy_and_leave_the_readers_widget_alone(explorer, page):
    explorer.template.value, page.strokes = "so {} it is", [[(0.1, 0.5), (0.9, 0.5)]]  # a reader's
    before, drawn = explorer.bars.value, page.bars.value
    second, sheet = explorer.copy(), page.copy()
    assert (second.template.value, second.image.value) == ("a photo of a {}.", "first") and not sheet.strokes
    second.template.value, second.image.value = "a {}.", "second"
    sheet.buttons["house"].click()
    assert second.result == explorer.compute("a {}.", second.temperature.value, "second")
    assert (explorer.template.value, explorer.bars.value) == ("so {} it is", before)
    assert len(page.strokes) == 1 and page.bars.value == drawn and sheet.result


def test_two_wordings_stand_side_by_side(explorer):
    explorer.template.value, explorer.other.value = "a {}.", "one {}"
    assert explorer.other_result == explorer.compute("one {}", explorer.temperature.value, explorer.image.value)
    heads = [
        f"“{t.replace('{}', next(iter(r)).replace('_', ' '))}”"
        for t, r in (("a {}.", explorer.result), ("one {}", explorer.other_result))
    ]
    assert all(head in explorer.bars.value for head in heads)
    percents = re.findall(r"([\d.]+) %", explorer.bars.value)
    assert len(percents) == 2 * len(NAMES)
    assert float(percents[0]) + float(percents[2]) + float(percents[4]) == pytest.approx(100, abs=0.2)
    assert len(explorer.figure().axes) == 3
    explorer.other.value = "no place"
    assert explorer.result == explorer.other_result == {} and "{}" in explorer.bars.value
    explorer.other.value = ""
    assert explorer.result and explorer.other_result == {} and len(explorer.figure().axes) == 2


def test_right_and_wrong_are_told(clip):
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    for name in NAMES:
        explorer = PromptExplorer(clip, {name: image}, NAMES, other="")
        verdict = "✓" if next(iter(explorer.result)) == name else "✗"
        assert f">{verdict} <b>“" in explorer.bars.value


def test_a_wording_is_ranked_on_validation_images(clip, watched, monkeypatch):
    explorer = PromptExplorer(clip, {"cat": watched[0]}, NAMES, validation=extract_features(clip, watched))
    assert explorer.score("a {}.") == accuracy(ZeroShot(clip, NAMES, "a {}."), watched)
    monkeypatch.setattr(
        explorer, "score", {**dict.fromkeys(FIXED_WORDINGS, 40.0), "{}": 90.0, "{}!": 63.0, "?{}": 40.0}.get
    )
    explorer.template.value = "{}!"
    assert explorer.rank == 2 and explorer.place("{}!") == (2, len(FIXED_WORDINGS) + 1)
    assert explorer.standing.value == (
        "Your wording: 63 % on 9 validation images, rank 2 of 14<br>"
        "The other wording: 90 % on 9 validation images, rank 1 of 13"
    )
    assert explorer.place("?{}") == (2, 14)  # equal ones share a rank
    explorer.template.value = "nonsense"
    assert explorer.rank is None and explorer.standing.value == "&nbsp;<br>&nbsp;"


def test_without_validation_images_there_is_no_rank(explorer):
    assert explorer.rank is None
    with pytest.raises(ValueError, match="validation="):
        explorer.score("{}")


def test_images_are_buttons_with_their_names(explorer):
    (style, buttons) = explorer.image.view.children
    assert buttons.options == ("first", "second") and isinstance(buttons, ipywidgets.ToggleButtons)
    assert style.value.count("data:image/png;base64,") == 2 and explorer.image._dom_classes[-1] in style.value


def test_explorer_without_images_is_refused(clip):
    with pytest.raises(ValueError, match="at least one image"):
        PromptExplorer(clip, {}, NAMES)


def test_names_are_escaped():
    shown = bars_html({"<script>": 1.0})
    assert "<script>" not in shown and "&lt;script&gt;" in shown


# ------------------------------------------------------------------------------------------------ LiveTraining
class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def live_training(clip, watched, **options):
    return LiveTraining(ZeroShot(clip, NAMES, "{}"), watched, epochs=10, **options)


def trained(clip, live, epochs=10, **options):
    features = Features(torch.randn(9, 16, generator=seeded(0)), torch.arange(9) % 3, NAMES)
    learner = PromptLearner(clip, NAMES, n_ctx=2)
    recipe = Recipe(epochs=epochs, batch_size=4, views=None)
    return learner, Trainer(learner, recipe, callback=live, progress=False, **options).fit(features)


def axes_of(live):
    return [(axis.get_xlim(), axis.get_ylim()) for axis in live.figure().axes]


def test_live_training_has_its_axes_and_the_line_to_beat_before_it_starts(clip, watched):
    live = live_training(clip, watched)
    before, first = axes_of(live), bytes(live.image.value)
    assert first.startswith(b"\x89PNG") and bytes(live.wall.value).startswith(b"\x89PNG")
    assert live.beat == accuracy(ZeroShot(clip, NAMES, "{}"), watched)
    (line,) = [line for line in live.figure().axes[0].lines if line.get_label().startswith("hand-written")]
    assert set(line.get_ydata()) == {live.beat}
    trained(clip, live)
    assert axes_of(live) == before == [((0, 10), (0, 103)), ((0, 10), (0, 1.2 * math.log(3)))]
    assert bytes(live.image.value) != first


def test_live_training_draws_at_most_twice_a_second_and_at_the_end(clip, watched):
    live = live_training(clip, watched, clock=Clock())

    def callback(state):
        live(state)
        live._clock.now += 0.2  # what an epoch takes

    trained(clip, callback)
    assert list(live.measured) == [1, 4, 7, 10] and live.drawn == 4
    assert live.status.value.startswith("epoch 10 of 10, step 20 of 20, finished")


def test_live_training_draws_less_often_where_drawing_is_slow(clip, watched, monkeypatch):
    live = live_training(clip, watched, clock=Clock())
    draw = live._draw

    def slow(*arguments):
        live._clock.now += 1.0
        draw(*arguments)

    monkeypatch.setattr(live, "_draw", slow)

    def callback(state):
        live(state)
        live._clock.now += 2.0

    trained(clip, callback)
    assert list(live.measured) == [1, 4, 7, 10]  # one second of drawing in six


def test_live_training_changes_nothing_and_measures_what_accuracy_measures(clip, watched):
    learner, history = trained(clip, None)
    live = live_training(clip, watched, pause=0)
    watched_learner, seen = trained(clip, live)
    assert torch.equal(learner.ctx, watched_learner.ctx) and seen.loss == history.loss
    assert live.measured[10] == accuracy(learner, watched)
    assert f"{live.measured[10]:.1f} % right" in live.status.value and f"has {live.beat:.1f} %" in live.status.value


def test_the_wall_says_which_drawings_are_right(clip, watched):
    live = live_training(clip, watched, pause=0)
    blank = bytes(live.wall.value)
    learner, _ = trained(clip, live)
    images = torch.cat([clip.encode_image(clip.preprocess(load_image(e.image))[None]) for e in watched])
    answers = learner.logits(images).argmax(dim=1).tolist()
    assert live.right == [answer == e.label for answer, e in zip(answers, watched)] and bytes(live.wall.value) != blank
    assert live.names == [e.classname for e in watched]
    assert f"{sum(live.right)} of these {len(live.right)} are right" in live.changes.value


def test_what_turned_right_is_told_by_name(clip, watched):
    live = live_training(clip, watched)
    live.right, live.measured = [True] * 4 + [False] * 5, {2: 40.0}
    live._say(SimpleNamespace(epoch=2, epochs=10, steps_per_epoch=3, history=History(seconds=[1.0, 1.0])),
              [True] * 3 + [False] * 6, over=False)  # fmt: skip
    assert live.changes.value == f"4 of these 9 are right; newly right: {live.names[3]}"
    assert "step 6 of 30, about 8 s left" in live.status.value


def test_stop_ends_the_training_after_the_epoch_under_way(clip, watched):
    live = live_training(clip, watched, pause=1000)
    _, expected = trained(clip, None)

    def callback(state):
        if state.epoch == 3:
            live.stop.click()
        live(state)

    _, history = trained(clip, callback)
    assert history.loss == expected.loss[:3] and list(live.measured) == [1, 3]
    assert "epoch 3 of 10, step 6 of 20, stopped" in live.status.value and live.stop.disabled


def test_stop_counts_before_the_first_epoch_but_not_after_the_last(clip, watched):
    live = live_training(clip, watched)
    live.stop.click()
    assert len(trained(clip, live)[1]) == 1
    live.stop.click()  # too late: that training is over
    assert len(trained(clip, live)[1]) == 10 and live.stop.disabled
    assert list(live.measured)[-1] == 10 and live.stop.description == "Stop after this epoch"


# --------------------------------------------------------------------------------------------- DrawingExplorer
@pytest.fixture
def page(clip):
    return DrawingExplorer(clip, NAMES)


def test_an_empty_page_is_no_drawing(page):
    assert page.result == {} and "Draw with the mouse" in page.bars.value
    with pytest.raises(ValueError, match="the page is empty"):
        page.figure()


def test_strokes_are_lines_where_they_were_drawn(page):
    page.strokes = [[(0.1, 0.5), (0.9, 0.5)], [(0.25, 0.25)]]
    black = np.asarray(page.image().convert("L")) < 128  # (256, 256)
    assert black[128, 26:230].all() and black[64, 64]  # the line, and the dot
    assert not black[:50].any() and not black[180:].any()
    assert black[:, 128].sum() == pytest.approx(16, abs=2)


def test_what_is_drawn_is_guessed_while_it_is_drawn(clip, page):
    page.pad.under_way = [[0.1, 0.1], [0.9, 0.9]]
    first = page.result
    assert first == predict(ZeroShot(clip, NAMES, "a drawing of a {}."), page.image())
    page.pad.under_way = [[0.1, 0.1], [0.9, 0.9], [0.1, 0.9]]
    assert page.result != first
    page.pad.under_way = []
    assert page.result == {}


def test_the_buttons_draw_undo_and_clear(page):
    for name, strokes in READY.items():
        page.buttons[name].click()
        assert len(page.strokes) == len(strokes) and page.figure("drawn").message == "drawn"
    page.buttons["undo"].click()
    assert len(page.strokes) == len(strokes) - 1 and page.result
    page.buttons["clear"].click()
    assert page.strokes == [] and page.result == {}


def test_the_wording_of_the_guess_can_be_changed_and_is_explained(page):
    page.buttons["house"].click()
    before = page.result
    page.template.value = "{}"
    assert page.result and page.result != before
    page.template.value = "a house"
    assert page.result == {} and "{}" in page.bars.value
    page.template.value = "a drawing of a {}."
    assert page.result == before


def test_page_and_kernel_draw_alike():
    script = DrawingPad._esm if isinstance(DrawingPad._esm, str) else str(DrawingPad._esm)
    assert f"SIDE = {drawing.SIDE}, PEN = {drawing.PEN}," in script


# ------------------------------------------------------------------------------------------------- all of them
def test_every_widget_shows_itself(clip, watched, page, explorer, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: shown.append(data))
    for widget in (
        page,
        explorer,
        live_training(clip, watched),
    ):
        widget._ipython_display_()
        assert shown[-1]["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.view.model_id
