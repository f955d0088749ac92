"""Other load on the machine, Ctrl-C in a notebook, a restart, a notebook that is only opened."""

import builtins
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from coop_edu import CoCoOp, Features, History, PromptLearner, Recipe, Trainer, plots, train_together
from coop_edu.clip.text_encoding import classes_that_fit
from coop_edu.grid import progress, workspace
from coop_edu.grid.results import Cell
from coop_edu.plots.style import FORMULA
from coop_edu.scales import SCALES
from coop_edu.teaching.widgets import DrawingExplorer, PromptExplorer

from tiny_clip import tiny_clip

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("cat", "dog")


def features(n=8):
    return Features(torch.randn(n, 16, generator=torch.Generator().manual_seed(1)), torch.arange(n) % 2, NAMES)


# ------------------------------------------------------------------------------------------- threads that wait asleep
def wait_policy(code, **variables):
    """What torch's threads were told, in the words of their own library."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    variables = {**clean, "OMP_DISPLAY_ENV": "true", **variables}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=True, cwd=ROOT)
    return re.findall(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", done.stderr)


@pytest.mark.slow
def test_threads_wait_asleep_unless_somebody_chose_otherwise():
    """Whichever name of the package comes first: in a notebook, on the command line, a module of it."""
    told = wait_policy("from coop_edu import choose_scale\nimport torch")
    if not told:
        pytest.skip("this torch has other threads than GNU's")
    assert told == ["PASSIVE"]
    assert wait_policy("import coop_edu.__main__, torch", OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE"]
    code = "import os, coop_edu.records; print(os.environ['OMP_WAIT_POLICY'])"
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    assert subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True).stdout == "PASSIVE\n"


def test_the_benchmark_measures_both_ways_under_one_policy(monkeypatch):
    from benchmarks import __main__ as benchmark

    given = []
    monkeypatch.setattr(subprocess, "run", lambda *a, env=None, **k: given.append(env) or SimpleNamespace(stdout="{}"))
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    benchmark.in_a_process("measure")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    benchmark.in_a_process("measure")
    assert [env["OMP_WAIT_POLICY"] for env in given] == ["PASSIVE", "ACTIVE"]


def test_cocoop_counts_the_contexts_of_several_images(clip, monkeypatch):
    from coop_edu.clip import text_encoding

    learner = PromptLearner(clip, [f"class {i}" for i in range(40)], n_ctx=4)
    (encoder,) = learner.encoders
    need = 30 * encoder.tokens_computed * 2 * 32 * 4
    monkeypatch.setattr(text_encoding, "free_memory", lambda device: 4 * need)
    assert classes_that_fit(encoder, clip.model) is None and classes_that_fit(encoder, clip.model, 8) == 10
    made = CoCoOp(clip, learner.classnames, n_ctx=4)
    assert made.max_classes_at_once is not None and CoCoOp.images_at_once == 8


# ------------------------------------------------------------------------------------------------------------ Ctrl-C
def interrupt(after):
    def callback(state):
        if state.epoch == after:
            raise KeyboardInterrupt

    return callback


def test_a_training_interrupted_in_a_notebook_returns_what_there_is_and_can_be_resumed(
    clip, tmp_path, monkeypatch, capsys
):
    recipe, options = Recipe(epochs=5, views=None), {"progress": False, "checkpoint": tmp_path / "c.safetensors"}
    whole, stopped, learner, again = (PromptLearner(clip, NAMES, n_ctx=2) for _ in range(4))
    Trainer(whole, recipe, progress=False).fit(features())
    with pytest.raises(KeyboardInterrupt):  # a script must not go on with half a training
        Trainer(stopped, recipe, callback=interrupt(2), progress=False).fit(features())
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    history = Trainer(learner, recipe, callback=interrupt(2), **options).fit(features())
    assert len(history) == 2 and torch.equal(learner.ctx, stopped.ctx)
    assert capsys.readouterr().out.startswith("interrupted: 2 of 5 epochs are done")
    assert len(Trainer(again, recipe, **options).fit(features(), resume=True)) == 5
    assert torch.equal(again.ctx, whole.ctx)


def test_several_trainings_do_not_go_on_after_one_was_interrupted(clip, monkeypatch):
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    learners = [PromptLearner(clip, NAMES, n_ctx=2, max_classes_at_once=1, seed=seed) for seed in (1, 2)]
    recipe = Recipe(epochs=3, views=None)
    trainers = [Trainer(own, recipe, callback=interrupt(1), progress=False) for own in learners]
    with pytest.raises(KeyboardInterrupt):
        train_together(trainers, [features(), features()])


# ----------------------------------------------------------------------------------------------- what is left of a grid
def of_classes(K):
    return SimpleNamespace(classnames=range(K), train=range(1000 * K))


def test_the_time_left_is_that_of_the_work_and_not_of_the_number_of_groups():
    """Whatever the order: the share of work after each group is near the share of the products it has."""

    def work(method, shots=16, K=20):
        return progress.work_of([Cell("mini", "mini", "few-shot", "IconFood", method, shots, 1)], of_classes(K))

    assert work("zero_shot", 0) < work("M16_end") / 100 and work("linear_probe") < work("M16_end") / 10
    assert 2 < work("M16_end_CSC") / work("M16_end") < 6  # 20 tokens a class in place of 4
    assert work("M16_front", 1) > work("M16_mid", 1) > work("M16_end", 1)
    cells = [Cell("paper", "RN50", "few-shot", "EuroSAT", "M16_end", shots, 1) for shots in (1, 16)]
    few, many = (progress.work_of([cell], of_classes(10)) for cell in cells)
    assert many / few > 10


def test_the_bar_says_how_many_cells_are_done(capsys):
    group = [Cell("mini", "mini", "few-shot", "IconFood", "M16_end", 1, seed) for seed in (1, 2)]
    room = SimpleNamespace(dataset=lambda name: of_classes(20))
    list(progress.with_progress_bar([group], [(group, [], 1.0)], room, True))
    said = capsys.readouterr().err
    assert "0 of 2 cells:   0%" in said and "2 of 2 cells: 100%" in said


def test_the_bar_is_drawn_while_a_group_is_computed():
    drawn = []

    class Bar:
        disable = False

        def refresh(self):
            drawn.append(time.monotonic())

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    before = threading.active_count()
    with progress.ticking(Bar()):
        deadline = time.monotonic() + 60
        while not drawn and time.monotonic() < deadline:
            time.sleep(0.05)
    assert drawn
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_results_of_a_notebook_outlive_it_and_are_of_their_weights(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path))
    monkeypatch.setattr(workspace, "load_clip", lambda name: clip)
    first = workspace.results_file("eleven_tasks", SCALES["mini"])
    assert first.parent == tmp_path / "runs" and first == workspace.results_file("eleven_tasks", SCALES["mini"])
    monkeypatch.setattr(workspace, "load_clip", lambda name: tiny_clip(seed=1))
    assert workspace.results_file("eleven_tasks", SCALES["mini"]) != first


# ----------------------------------------------------------------------------------------------- a notebook, reopened
def test_lab_opens_the_first_notebook_with_the_clone_as_its_root():
    recipe = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "jupyter lab " in line)
    assert "--ServerApp.root_dir=." in recipe
    opened = re.search(r"default_url=/lab/tree/(\S+)", recipe)[1]
    assert (ROOT / opened).is_file() and recipe.rstrip().endswith("$(LAB_FLAGS)")


def test_a_widget_without_a_kernel_says_what_it_was(clip, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: shown.append(data))
    explorer = DrawingExplorer(clip, ["cat", "dog"])
    explorer._ipython_display_()
    assert "VBox" not in shown[0]["text/plain"] and "run this cell" in shown[0]["text/plain"]
    assert shown[0]["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.view.model_id
    assert isinstance(explorer.view, ipywidgets.Widget)


# ------------------------------------------------------------------------------------------- text with $, and errors
DOLLARS = ("a $5 bill and a $10 bill", "$x^2$", "a_b$")
IMAGE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    "draw",
    [
        lambda a, b, c: plots.show_probabilities(IMAGE, {a: 0.5, b: 0.3, c: 0.2}, truth=a, message=b),
        lambda a, b, c: plots.compare_wordings(IMAGE, {f"{a} {{}}": {a: 0.5, b: 0.5}, c: {b: 1.0}}, truth=b),
        lambda a, b, c: plots.show_images([IMAGE, IMAGE, IMAGE], [a, b, c], rows=[b]),
        lambda a, b, c: plots.similarity_matrix(np.eye(3), captions=[a, b, c]),
        lambda a, b, c: plots.ranked_dots({a: 1.0, b: 2.0, c: 3.0}, highlight=b, label=b),
        lambda a, b, c: plots.grouped_intervals({a: {b: (1.0, 2.0), c: (2.0, 1.0)}}, zero=c),
        lambda a, b, c: plots.compare_answers([IMAGE, IMAGE], {a: [b, c]}, [b, a]),
        lambda a, b, c: plots.intervals({a: (1.0, 2.0), b: (-2.0, 1.0)}, label=c),
        lambda a, b, c: plots.paired_dots({a: {b: 1.0, c: 3.0}}, label=a),
        lambda a, b, c: plots.slopes({a: [1.0, 2.0], b: [2.0, 3.0]}, label=c),
        lambda a, b, c: plots.accuracy_curves({a: {0: 1.0}, b: {1: 2.0, 2: 3.0}}, title=c),
        lambda a, b, c: plots.accuracy_panels({a: {b: {1: [2.0]}}, b: {c: {1: [2.0]}}}),
        lambda a, b, c: plots.training_curve([1.0, 0.5], title=b),
        lambda a, b, c: plots.training_progress(History(), {}, epochs=2, beat=50.0, chance=1.0, title=b),
    ],
)
def test_a_dollar_is_a_dollar(draw):
    """The third: a formula that matplotlib would refuse, in the midst of drawing."""
    for names in (DOLLARS, ("$\\frac{$", "100 $ and 200 $", "$_$")):
        figure = draw(*names)
        assert plots.style.png(figure, dpi=40)[:4] == b"\x89PNG"
        texts = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert texts and all(text.get_parse_math() == (text.get_gid() == FORMULA) for text in texts)
        assert all(re.fullmatch(r"\$v.*\$", text.get_text()) for text in texts if text.get_gid() == FORMULA)


@pytest.mark.parametrize(
    "template", ["a photo", "", "a {} and a {}", "{" * 5, "a {} " + "x" * 5000, "a {} <end_of_text>"]
)
def test_a_template_in_the_making_is_explained_to_a_learner(clip, template):
    explorer = PromptExplorer(clip, {"cat": IMAGE}, ["cat", "dog $5"])
    box = explorer.bars.value.split(">")[0]
    explorer.template.value = template
    assert explorer.result == {} and explorer.problem
    assert "height:" in box and explorer.bars.value.startswith(box)  # as high as before: nothing below it moves
    assert "expected" not in explorer.problem and "ValueError" not in explorer.problem
    with pytest.raises(ValueError, match="no answer to draw"):
        explorer.figure()
    explorer.template.value = "a photo of a {}."
    assert set(explorer.result) == {"cat", "dog $5"} and explorer.problem == "" and explorer.figure()
