"""Training in two processes that Accelerate starts: the result of one process, and one process's files.

As a script, this file is what each of the processes runs.
"""

import importlib.util
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coop_edu import CoCoOp, KgCoOp
from coop_edu.coop.checkpoints import load_prompt
from coop_edu.coop.history import StopTraining
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.coop.trainer import Trainer
from coop_edu.data.batches import seeded
from coop_edu.data.features import Features

from tiny_clip import tiny_clip
from tiny_images import make_examples

needs_accelerate = pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="Hugging Face Accelerate is not installed"
)
TESTS = Path(__file__).parent
NAMES = ("cat", "dog", "eel", "fox", "hot_air_balloon")


class Decayed(PromptLearner):
    """An objective that looks at a parameter itself."""

    def objective(self, image_features, text_features, labels):
        loss, logits = super().objective(image_features, text_features, labels)
        return loss + 30 * self.ctx.square().sum(), logits


CASES = {  # name: (options of the learner, of the recipe)
    "unified": ({}, {}),
    "class-specific, several views": ({"class_specific": True, "position": "middle"}, {"views": 2}),
    "fresh images": ({"position": "front"}, {"views": "fresh", "batch_size": 5}),  # shares of 2 and 3
    "classes in groups": ({"max_classes_at_once": 1}, {}),
    "bfloat16": ({}, {"precision": "bfloat16"}),
    "KgCoOp": ({"method": KgCoOp, "template": "a photo of a {}."}, {}),
    "CoCoOp": ({"method": CoCoOp}, {}),
    "CoCoOp, classes in groups": ({"method": CoCoOp, "max_classes_at_once": 1}, {}),
    "looks at ctx itself": ({"method": Decayed}, {}),
}


def make(case, folder):
    """A learner that nobody trained, a recipe, and data; the same in every process."""
    options, recipe = CASES[case]
    recipe = Recipe(**{"epochs": 3, "batch_size": 4, "lr": 0.02, "views": None, **recipe})
    options = {"method": PromptLearner, **options}
    learner = options.pop("method")(tiny_clip(), NAMES, n_ctx=3, seed=1, **options)
    if recipe.views == "fresh":
        return learner, recipe, make_examples(folder / "images", NAMES, each=3)
    shape = (13, 16) if recipe.views is None else (recipe.views, 13, 16)
    return learner, recipe, Features(torch.randn(shape, generator=seeded(0)), torch.arange(13) % 5, NAMES)


def learned(learner):
    return torch.cat([parameter.detach().flatten() for parameter in learner.parameters()])


def train(folder):
    """What each process does: every case; one goes on from a checkpoint; one cannot be shared."""
    from coop_edu.coop.distributed import DistributedTrainer

    results = {}
    for case in CASES:
        learner, recipe, data = make(case, folder)
        calls, file = [], folder / f"{case}.safetensors"
        trainer = DistributedTrainer(learner, recipe, checkpoint=file, callback=calls.append, progress=False)
        history = trainer.fit(data, resume=case == "unified")
        results[case] = {
            "ctx": learner.ctx.detach(), "learned": learned(learner),
            "loss": history.loss, "accuracy": history.accuracy, "calls": len(calls)
        }  # fmt: skip
    learner, recipe, data = make("KgCoOp", folder)
    results["ended"] = DistributedTrainer(learner, recipe, callback=end_after_one_epoch, progress=False).fit(data).loss
    alone = PromptLearner(tiny_clip(), NAMES[:1], n_ctx=3)
    try:
        DistributedTrainer(alone, recipe).fit(Features(torch.ones(4, 16), torch.zeros(4).long(), NAMES[:1]))
    except ValueError as error:
        results["refused"] = str(error)
    assert trainer.accelerator.num_processes == 2
    torch.save(results, folder / f"process {trainer.accelerator.process_index}.pt")


class Stopped(Exception):
    pass


def stop_after_one_epoch(state):
    if state.epoch == 1:
        raise Stopped


def end_after_one_epoch(state):
    if state.epoch == 1:
        raise StopTraining


def commands(launcher, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    if launcher == "accelerate launch":
        options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
        options += ["--dynamo_backend", "no", "--main_process_port", port]
        return [sys.executable, "-m", "accelerate.commands.launch", *options, __file__, str(folder)]
    code = "import sys, pathlib, accelerate, test_distributed as t; "
    code += "accelerate.notebook_launcher(t.train, (pathlib.Path(sys.argv[1]),), 2, use_port=sys.argv[2])"
    return [sys.executable, "-c", code, str(folder), port]


@pytest.fixture(scope="module", params=["accelerate launch", "notebook_launcher"])
def two(request, tmp_path_factory):
    """The folder of a run in two processes, and what each of them was left with."""
    folder = tmp_path_factory.mktemp("two")
    learner, recipe, data = make("unified", folder)
    with pytest.raises(Stopped):  # one process starts this one, two go on with it
        Trainer(learner, recipe, checkpoint=folder / "unified.safetensors", callback=stop_after_one_epoch).fit(data)
    make("fresh images", folder)
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),  # this copy of the library
    }
    run = subprocess.run(commands(request.param, folder), env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder, [torch.load(folder / f"process {rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """What one process learns in each case."""
    folder, found = tmp_path_factory.mktemp("one"), {}
    for case in CASES:
        learner, recipe, data = make(case, folder)
        found[case] = learner, recipe, Trainer(learner, recipe, progress=False).fit(data)
    return found


@needs_accelerate
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_learns(two, one_process, case):
    zero, one = two[1]
    learner, recipe, history = one_process[case]
    close = {"rtol": 0.05, "atol": 0.02} if recipe.precision == "bfloat16" else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(zero[case]["learned"], learned(learner), **close)
    assert zero[case]["loss"] == pytest.approx(history.loss, rel=close["rtol"])
    if recipe.precision == "float32":
        assert zero[case]["accuracy"] == history.accuracy
    for part in ("loss", "accuracy"):
        assert zero[case][part] == one[case][part]
    assert torch.equal(zero[case]["learned"], one[case]["learned"]), "the processes have drifted apart"


@needs_accelerate
@pytest.mark.slow
def test_process_0_alone_calls_back_and_writes(two):
    folder, (zero, one) = two
    assert {case: zero[case]["calls"] for case in CASES} == {case: 2 if case == "unified" else 3 for case in CASES}
    assert all(one[case]["calls"] == 0 for case in CASES)
    for case in CASES:
        method = CASES[case][0].get("method", PromptLearner)
        saved = load_prompt(folder / f"{case}.safetensors", tiny_clip(), method=method)
        assert torch.equal(saved.ctx, zero[case]["ctx"])
    assert not [file for file in folder.iterdir() if file.suffix not in (".pt", ".safetensors", "")]


@needs_accelerate
@pytest.mark.slow
def test_the_callback_of_process_0_ends_the_training_in_all(two):
    zero, one = two[1]
    assert zero["ended"] == one["ended"] == zero["KgCoOp"]["loss"][:1]


@needs_accelerate
@pytest.mark.slow
def test_more_processes_than_classes(two):
    for result in two[1]:
        assert "2 processes cannot share 1 classes" in result["refused"]


@needs_accelerate
def test_one_process_is_the_trainer(tmp_path, monkeypatch):
    from coop_edu.coop.distributed import DistributedTrainer

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    learner, recipe, data = make("unified", tmp_path)
    other = PromptLearner(learner.clip, NAMES, n_ctx=3, seed=1)
    Trainer(learner, recipe, progress=False).fit(data)
    DistributedTrainer(other, replace(recipe), progress=False).fit(data)
    torch.testing.assert_close(other.ctx, learner.ctx, rtol=1e-6, atol=1e-7)


def test_accelerate_is_imported_only_when_asked_for(monkeypatch):
    code = "import sys, coop_edu.coop.distributed; sys.exit('accelerate' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    from coop_edu.coop.distributed import DistributedTrainer

    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"pip install 'coop_edu\[distributed\]'"):
        DistributedTrainer(PromptLearner(tiny_clip(), NAMES))


if __name__ == "__main__":
    train(Path(sys.argv[1]))
