"""What cannot work is refused before anything is computed, allocated or lost; what is empty is said to be."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from coop_edu import History, PromptLearner, Recipe, Trainer, check_environment, load_prompt, plots, save_prompt
from coop_edu.coop.authors_files import export_authors, import_authors
from coop_edu.coop.prompt_file import FORMAT_OF_METHODS, read_prompt
from coop_edu.data.features import Features, extract_features
from coop_edu.data.few_shot import sample_few_shot, sample_train_val
from coop_edu.evaluate.accuracy import accuracy, per_class_accuracy
from coop_edu.files import atomically, cache_folder
from coop_edu.grid.frame import as_frame
from coop_edu.grid.report import average, figure, table
from coop_edu.grid.results import append, read_results_file
from coop_edu.grid.run import make_grid
from coop_edu.records import decode

from tiny_clip import tiny_clip
from tiny_images import make_dataset, make_examples

NAMES = ("cat", "dog")


@pytest.fixture(autouse=True)
def little_memory():
    """A gigabyte more than now, so that a check that fails cannot harm the machine that tests."""
    if not Path("/proc/self/statm").is_file():
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def features(n=4, **changes):
    made = {"image_features": torch.randn(n, 16), "labels": torch.arange(n) % 2, "classnames": NAMES}
    return Features(**{**made, **changes})


# -------------------------------------------------------------------------------- sizes, compared with what is possible
@pytest.mark.parametrize("n_ctx", [78, 1_000_000, 10**15])
def test_a_context_longer_than_the_text_encoder(clip, n_ctx):
    for class_specific in (False, True):
        with pytest.raises(ValueError, match="more than the 77 positions"):
            PromptLearner(clip, NAMES, n_ctx=n_ctx, class_specific=class_specific)


# ------------------------------------------------------------------------------------------- lines and headers of files
DEEP = "[" * 100_000


def changed_header(path, **changes):
    """The prompt file with another header, as from before there was a checksum."""
    header, tensors = read_prompt(path)
    text = changes.pop("text", None) or json.dumps({**header, **changes})
    save_file(tensors, path, {"coop_edu": text})


@pytest.mark.parametrize(
    "changes",
    [
        {"classnames": [1, 2]},
        {"n_ctx": "2"},
        {"width": 1e300},
        {"class_specific": "yes"},
        {"position": "above"},
        {"facts": []},
        {"format": {"a": 1}},
        {"more": 1},
        {"text": "[]"},
        {"text": DEEP},
        {"text": '{"format": 1, "format": 2}'},
    ],
)
def test_a_header_of_another_type_names_the_file(clip, tmp_path, changes):
    path = tmp_path / "p.safetensors"
    save_prompt(PromptLearner(clip, NAMES, n_ctx=2), path)
    changed_header(path, **changes)
    with pytest.raises(ValueError, match=r"p\.safetensors (is not a whole prompt file|does not make)"):
        load_prompt(path, clip)


def test_deep_facts_and_options_that_there_are_not(clip, tmp_path):
    path = tmp_path / "p.safetensors"
    save_prompt(PromptLearner(clip, NAMES, n_ctx=2), path)
    deep = json.loads("[" * 400 + "]" * 400)
    changed_header(path, facts={"deep": deep})
    assert read_prompt(path)[0]["facts"] == {"deep": deep}
    changed_header(path, format=FORMAT_OF_METHODS, method="PromptLearner", options={"colour": "red"})
    with pytest.raises(ValueError, match=r"p\.safetensors does not make a PromptLearner"):
        load_prompt(path, clip)
    save_prompt(PromptLearner(clip, NAMES, n_ctx=2), path)
    changed_header(path, classnames=["cat", "Cat"])
    with pytest.raises(ValueError, match=r"p\.safetensors does not make a PromptLearner(.|\n)*more than once"):
        load_prompt(path, clip)


@pytest.mark.parametrize(
    "header", ["text", 5, {}, {"format": 1}, {"position": "above"}, {"classnames": "cat"}, {"weights": None}]
)
def test_our_header_in_an_authors_file_of_another_type(clip, tmp_path, header):
    learner = PromptLearner(clip, NAMES, n_ctx=2)
    path = export_authors(learner, tmp_path, 5)
    content = torch.load(path, weights_only=True)
    content["coop_edu"] = {**content["coop_edu"], **header} if header and isinstance(header, dict) else header
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"model\.pth\.tar-5"):
        import_authors(path, clip, NAMES)
    with pytest.raises(ValueError, match="epoch"):
        export_authors(learner, tmp_path, "last")


LINE = {"cell": {"scale": "mini", "clip": "mini", "protocol": "few-shot", "dataset": "Zoo", "variant": "zero_shot"},
        "figures": {"accuracy": 50.0}, "recipe": None, "versions": {}, "too few": {}}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([1]),
        json.dumps({**LINE, "cell": []}),
        json.dumps({**LINE, "figures": [1]}),
        json.dumps({**LINE, "figures": {"accuracy": "81"}}),
        json.dumps({**LINE, "figures": {}}),
        json.dumps({**LINE, "figures": {"even": 1.0}}),  # the table would end in KeyError
        json.dumps({**LINE, "figures": {"accuracy": float("nan")}}),
        json.dumps({**LINE, "figures": {"accuracy": True}}),
        json.dumps({**LINE, "too few": {"training": ["cat"]}}),
        json.dumps({**LINE, "recipe": "paper"}),
        json.dumps({**LINE, "cell": {**LINE["cell"], "shots": 1.5}}),
        json.dumps({**LINE, "cell": {**LINE["cell"], "colour": "red"}}),
        json.dumps({**LINE, "cell": {**LINE["cell"], "protocol": "base-to-new"}}),
        json.dumps(LINE).replace("50.0", "5000.0"),  # no percentage
        json.dumps(LINE).replace("50.0", "9" * 400),
        json.dumps(LINE).replace("null", DEEP),
    ],
)
def test_a_line_that_is_no_result_names_file_and_line(tmp_path, text):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + text + "\n")
    with pytest.raises(ValueError, match=r"line 2 of .*results\.jsonl is not a result") as caught:
        read_results_file(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", [b"\xff", b"", b"{", b'{"a": Infinity}', DEEP])
def test_what_is_no_json_names_its_place(text):
    with pytest.raises(ValueError, match=r"^line 3: "):
        decode(text, "line 3")


# ---------------------------------------------------------------------------------------- what cannot work, before work
@pytest.mark.parametrize(
    "change",
    [
        {"lr": math.nan}, {"lr": -1}, {"lr": "0.1"}, {"lr": math.inf}, {"lr": None}, {"lr": True},
        {"warmup_epochs": -3}, {"warmup_epochs": 0.5}, {"warmup_lr": -1e-5}, {"epochs": 2.5}, {"epochs": "10"},
        {"batch_size": 0}, {"batch_size": 1.5}, {"momentum": -0.1}, {"weight_decay": math.nan}, {"seed": 1.5},
        {"epochs": True}, {"epochs": 0}, {"seed": None}, {"min_steps": -1}, {"precision": "half"},
        {"views": 0}, {"views": 1.5}, {"views": True}, {"views": "sometimes"}, {"momentum": 1.5},
    ],
)  # fmt: skip
def test_a_recipe_of_what_is_no_number(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Recipe(**change)


def test_whole_numbers_of_every_library_are_whole_numbers(tmp_path, clip):
    whole = {"epochs": np.int64(3), "seed": np.int32(2), "views": np.int64(1), "batch_size": torch.tensor(4)}
    recipe = Recipe(**whole, lr=np.float32(0.5))
    assert recipe == Recipe(epochs=3, seed=2, views=1, lr=0.5, batch_size=4)
    json.dumps(dataclasses.asdict(recipe))
    dataset = make_dataset(tmp_path)
    assert sample_few_shot(dataset.train, np.int64(2), np.int64(1)) == sample_few_shot(dataset.train, 2, 1)
    assert sample_train_val(dataset, np.int64(2), np.int64(1)) == sample_train_val(dataset, 2, 1)
    numbers = {"shots": np.array([1, 2]), "seeds": np.arange(1, 3)}
    cells = make_grid(datasets=["IconFood"], **numbers)
    assert cells == make_grid(datasets=["IconFood"], shots=[1, 2], seeds=[1, 2])
    json.dumps([dataclasses.asdict(cell) for cell in cells])
    assert PromptLearner(clip, NAMES, n_ctx=np.int64(2), seed=np.int64(1)).n_ctx == 2


@pytest.mark.parametrize(
    "options, error",
    [
        ({"checkpoint": ""}, IsADirectoryError),
        ({"checkpoint": "."}, IsADirectoryError),
        ({"checkpoint_every": 0}, ValueError),
        ({"checkpoint_every": 1.5}, ValueError),
        ({"callback": "print"}, TypeError),
        ({"workers": -1}, ValueError),
        ({"workers": None}, ValueError),
    ],
)
def test_a_trainer_that_could_not_end_well(clip, options, error):
    with pytest.raises(error, match=r"check|callback|workers|path|folder"):
        Trainer(PromptLearner(clip, NAMES, n_ctx=2), **options)


def test_a_checkpoint_that_is_read_only(clip, tmp_path):
    path = tmp_path / "c.safetensors"
    path.touch(0o444)
    with pytest.raises(PermissionError, match=r"c\.safetensors"):
        Trainer(PromptLearner(clip, NAMES, n_ctx=2), checkpoint=path)


# --------------------------------------------------------------------------------------------------- features, believed
@pytest.mark.parametrize(
    "changes, why",
    [
        ({"image_features": torch.full((4, 16), math.nan)}, "NaN or infinite"),
        ({"image_features": torch.full((4, 16), math.inf)}, "NaN or infinite"),
        ({"labels": torch.zeros(4, 1, dtype=torch.long)}, r"with \(4, 1\)"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, r"with \(3,\)"),
        ({"labels": torch.tensor([0, 1, -1, 0])}, "got -1 to 1"),
        ({"labels": torch.tensor([0, 1, -100, 0])}, "got -100 to 1"),
        ({"labels": torch.tensor([0, 1, 2, 0])}, "from 0 to 1"),
        ({"image_features": torch.ones(16)}, r"\(N, E\)"),
        ({"image_features": torch.ones(2, 5, 16)}, r"got \(2, 5, 16\)"),
        ({"classnames": ()}, "0 class names"),
    ],
)
def test_features_that_are_none(changes, why):
    with pytest.raises(ValueError, match=why):
        features(**changes)


def test_features_changed_afterwards_are_checked_again(clip):
    made = features()
    with pytest.raises(ValueError, match=r"got \(2, 16\)"):
        dataclasses.replace(made, image_features=made.image_features[:2])
    assert len(dataclasses.replace(made, image_features=torch.ones(3, 4, 16))) == 4
    learner = PromptLearner(clip, NAMES, n_ctx=2)
    assert 0 <= accuracy(learner, made) <= 100 and set(per_class_accuracy(learner, made)) == set(NAMES)


def test_weights_that_make_nan_are_noticed_where_features_are_made(tmp_path):
    damaged = tiny_clip(seed=1)
    next(damaged.model.visual.parameters()).data.fill_(math.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        extract_features(damaged, make_examples(tmp_path), progress=False)


# ----------------------------------------------------------------------------------- no home, no space, nothing to show
def test_the_check_reports_a_missing_home(monkeypatch):
    for variable in ("COOP_EDU_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)

    def nobody(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(FileNotFoundError, match="COOP_EDU_CACHE"):
        cache_folder()
    assert "COOP_EDU_CACHE" in str(check_environment())
    monkeypatch.setenv("COOP_EDU_CACHE", "~nobody-of-this-name/x")
    assert "FAIL" in str(check_environment())


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become somebody else")
def test_the_check_runs_for_a_user_without_an_entry(tmp_path):
    """As in a container started with -u 1234."""
    code = "import os, runpy; os.setuid(1234); runpy.run_module('coop_edu', run_name='__main__')"
    own = ("HOME", "COOP_EDU_CACHE", "XDG_CACHE_HOME", "USER", "LOGNAME")
    variables = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=300)
    if "Permission denied" in done.stderr or "No module named" in done.stderr:
        pytest.skip("that user may not read the installation")
    assert "Traceback" not in done.stderr and "[FAIL] cache folder" in done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the limit of a file's size is Unix's")
def test_a_full_disk_names_the_file(clip, tmp_path):
    import resource

    def by_hand():
        with atomically(tmp_path / "by_hand") as scratch:
            scratch.write_bytes(bytes(5000))

    learner = PromptLearner(clip, NAMES, n_ctx=16)
    acts = {
        "by_hand": by_hand,
        "prompt": lambda: save_prompt(learner, tmp_path / "prompt"),
        "prompt_learner": lambda: export_authors(learner, tmp_path, 5),
        "results": lambda: append(tmp_path / "results", {"x": "y" * 5000}),
    }
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, act in acts.items():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(OSError) as caught:
                act()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert str(tmp_path / name) in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "results"]


IMAGE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.accuracy_curves({}),
        lambda: plots.accuracy_curves({"CoOp": {1: []}}),
        lambda: plots.accuracy_panels({}),
        lambda: plots.accuracy_panels({"Zoo": {}}),
        lambda: plots.training_curve(History()),
        lambda: plots.training_curve([]),
        lambda: plots.text_table(as_frame({})),
        lambda: plots.ranked_dots({}),
        lambda: plots.intervals({}),
        lambda: plots.grouped_intervals({}),
        lambda: plots.compare_answers([], {}, []),
        lambda: plots.show_images([]),
        lambda: plots.show_probabilities(IMAGE, {}),
        lambda: plots.compare_wordings(IMAGE, {}),
        lambda: plots.paired_dots({}),
        lambda: plots.slopes({}),
        lambda: table(as_frame({})),
        lambda: figure(as_frame({})),
        lambda: average({}),
    ],
)
def test_nothing_to_show_is_a_clear_error(draw):
    with pytest.raises(ValueError, match=r"expected at least one|no .*result"):
        draw()


def test_what_is_written_in_one_step_keeps_its_own_errors(tmp_path):
    with pytest.raises(OSError, match="my own words"), atomically(tmp_path / "x"):
        raise OSError("my own words")
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomically(tmp_path / "x"):
        (tmp_path / "elsewhere").read_text()
    with pytest.raises(IsADirectoryError, match="results"):
        (tmp_path / "results").mkdir()
        append(tmp_path / "results", {})
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
