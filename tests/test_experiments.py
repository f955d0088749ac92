"""Grids of experiments: what a cell measures, and that a crash loses nothing and changes nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from coop_edu import Dataset, PromptLearner, Trainer, ZeroShot, __main__, accuracy, load_dataset, sample_few_shot
from coop_edu.data.split_file import classnames_of, read_split
from coop_edu.grid import report, workspace
from coop_edu.grid import run as experiments
from coop_edu.grid.cells import run_cells
from coop_edu.grid.frame import as_frame
from coop_edu.grid.group import relabel
from coop_edu.grid.methods import find_method, recipe_of
from coop_edu.grid.results import Cell, read_results_file
from coop_edu.grid.run import make_grid, run_grid
from coop_edu.grid.workspace import Workspace
from coop_edu.scales import SCALES

from tiny_clip import tiny_clip
from tiny_images import make_dataset

TESTS = Path(__file__).parent
SEEDS = (1, 2, 3)
CLASSES = ("cat", "dog", "eel", "fox", "gnu")


def use_tiny(folder, patch):
    """Let experiments find the data sets of `folder`, and a CLIP that nobody trained."""
    clip = tiny_clip()

    def load(name, root=None):
        splits = read_split(folder / name / f"split_zhou_{name}.json", folder / name / "images")
        return Dataset(name, classnames_of(splits), **splits)

    patch(workspace, "load_clip", lambda name, pretrained=None: clip)
    patch(workspace, "load_dataset", load)
    return clip


def run_cell(cell, epochs=None):
    return run_cells([cell], Workspace(epochs=epochs))[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in ("Zoo", "Farm"):
        make_dataset(folder, name, CLASSES, train=2, val=2, test=2)
    return folder


@pytest.fixture
def tiny(data, tmp_path, monkeypatch):
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "cache"))
    return use_tiny(data, monkeypatch.setattr)


@pytest.fixture
def zoo(tiny, tmp_path):
    """The finished grid of one data set: a results file of three lines."""
    run(grid(datasets=["Zoo"]), tmp_path / "results.jsonl")
    return tmp_path / "results.jsonl"


def run(cells, file, epochs=1, **options):
    return run_grid(cells, file, epochs=epochs, progress=False, **options)


def ten_lines():
    return [line_of("IconFood", "M16_end", 70.0 + seed, 16, seed)[1] for seed in range(1, 11)]


def grid(**options):
    chosen = {"datasets": ["Zoo", "Farm"], "shots": [1, 2], "seeds": [1], "methods": ["zero_shot", "M2_end"]}
    return make_grid("mini", **{**chosen, **options})


# ------------------------------------------------------------------------------------------------------------ one cell
def test_a_cell_is_what_the_library_says_by_hand(tiny, tmp_path):
    zoo = Workspace().dataset("Zoo")
    learned, hand_written = grid(datasets=["Zoo"], shots=[2], seeds=[3], methods=["zero_shot", "M2_mid_CSC"])
    assert (hand_written.shots, hand_written.seed, learned.shots, learned.seed) == (0, 0, 2, 3)
    line = run_cell(hand_written)
    by_hand = ZeroShot(tiny, CLASSES, zoo.template)
    parts = {"accuracy": zoo.test, "even": zoo.test[0::2], "odd": zoo.test[1::2]}
    assert line["figures"] == {name: round(accuracy(by_hand, part), 4) for name, part in parts.items()}
    assert line["recipe"] is None and set(line["versions"]) >= {"torch", "python", "coop_edu"}

    line = run_cell(learned, epochs=2)
    made = PromptLearner(tiny, CLASSES, n_ctx=2, class_specific=True, position="middle", seed=3)
    recipe = recipe_of(learned, epochs=2)
    assert (recipe.seed, recipe.for_images(6).epochs, recipe.views) == (3, 2, None)  # two, and not 300 steps
    Trainer(made, recipe, progress=False).fit(sample_few_shot(zoo.train, 2, 3))
    assert line["figures"] == {name: round(accuracy(made, part), 4) for name, part in parts.items()}
    assert line["recipe"]["epochs"] == 2 and json.loads(json.dumps(line)) == line


def test_seeds_together_have_the_figures_of_each_alone(tiny):
    three = grid(datasets=["Zoo"], shots=[2], seeds=SEEDS, methods=["M2_end"])
    together, alone = run_cells(three, Workspace(epochs=3)), [run_cell(cell, epochs=3) for cell in three]
    assert [line["figures"] for line in together] == [line["figures"] for line in alone]


def test_a_long_list_is_not_encoded_whole(tiny, monkeypatch):
    (cell,) = grid(datasets=["Zoo"], shots=[1], methods=["M2_end"])
    expected = run_cell(cell, epochs=2)
    monkeypatch.setattr(workspace, "WHOLE", 3)
    banks, real = [], workspace.FeatureBank
    noted = lambda clip, some, **options: banks.append(len(some)) or real(clip, some, **options)  # noqa: E731
    monkeypatch.setattr(workspace, "FeatureBank", noted)
    assert run_cell(cell, epochs=2) == expected
    assert banks == [len(Workspace().dataset("Zoo").test)]


def test_the_recipe_of_the_paper_scale():
    cell = Cell("paper", "RN50", "few-shot", "EuroSAT", "M16_end", 4, 2)
    assert (recipe_of(cell).epochs, recipe_of(cell).seed, recipe_of(cell).views) == (100, 2, "fresh")
    assert recipe_of(replace(cell, dataset="ImageNet", shots=16)).epochs == 50


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("zero_shot", "hand-written"),
        ("M16_end", "CoOp"),
        ("M16_end_CSC", "CoOp, class-specific"),
        ("M4_end", "CoOp, M=4"),
        ("M4_end_CSC", "CoOp, M=4, class-specific"),
        ("init_end", "CoOp, M=4 from words"),
        ("M16_mid", "CoOp, name in the middle"),
        ("KgCoOp_M8_front", "KgCoOp, M=8, name in front"),
        ("CoCoOp_init_end", "CoCoOp, M=4 from words"),
    ],
)
def test_a_method_has_a_name_and_a_label(name, label):
    method = find_method(name)
    assert (method.name, method.label) == (name, label)
    assert method.new_classes == (not name.endswith("CSC")) and method.learned == (name != "zero_shot")


@pytest.mark.parametrize("name", ["M16", "M_end", "16_end", "M016_end", "M4_back", "M4_end_X", "end_M4", "CoOp", ""])
def test_what_is_no_method_is_refused(name):
    with pytest.raises(ValueError, match="unknown method"):
        find_method(name)


@pytest.mark.parametrize(
    "method", ["ensemble_7", "ensemble_80", "linear_probe", "init_front", "KgCoOp_M2_end", "CoCoOp_M2_end"]
)
def test_other_methods(tiny, method):
    cell = grid(datasets=["Zoo"], shots=[1], methods=[method])[0]
    assert 0 <= run_cell(cell, epochs=1)["figures"]["accuracy"] <= 100


def test_base_to_new_trains_on_the_first_half_and_tests_on_both(tiny):
    zoo = Workspace().dataset("Zoo")
    assert {(e.label, e.classname) for e in relabel(zoo.test, 3)} == {(0, "fox"), (1, "gnu")}
    cells = grid(datasets=["Zoo"], shots=[1], protocol="base-to-new")
    by_hand = ZeroShot(tiny, CLASSES[3:], zoo.template)
    zero_shot = run_cell(cells[1])["figures"]
    assert zero_shot["new"] == round(accuracy(by_hand, relabel(zoo.test, 3)), 4)
    assert set(run_cell(cells[0], epochs=1)["figures"]) == {"base", "new", "H"}
    with pytest.raises(ValueError, match="cannot be tested on new classes"):
        make_grid("mini", methods=["M16_end_CSC"], protocol="base-to-new")


def test_domains_go_to_the_variants(tiny, monkeypatch):
    scale = replace(SCALES["mini"], source="Zoo", variants=("Farm", "Zoo", "Farm", "Farm"))
    monkeypatch.setitem(SCALES, "mini", scale)
    (cell,) = make_grid("mini", methods=["zero_shot"], protocol="domains")
    assert cell.dataset == "Zoo" and set(run_cell(cell)["figures"]) == {"Zoo", "Farm"}
    with pytest.raises(ValueError, match="variants are those of Zoo"):
        make_grid("mini", datasets=["Farm"], protocol="domains")


@pytest.mark.parametrize(
    "options, why",
    [
        ({"methods": ["M16"]}, "unknown method 'M16'"),
        ({"protocol": "few"}, "protocol of"),
        ({"shots": [0]}, "at least 1"),
        ({"seeds": [0]}, "at least 1"),
        ({"datasets": "Zoo"}, r"datasets as a list, got the text 'Zoo': for one, \['Zoo'\]"),
        ({"methods": "zero_shot"}, "methods as a list"),
    ],
)
def test_a_grid_that_cannot_be(options, why):
    with pytest.raises(ValueError, match=why):
        grid(**options)
    with pytest.raises(ValueError, match="expected a scale"):
        make_grid("huge")


# ----------------------------------------------------------------------------------------------------------- the grid
def test_finished_cells_are_skipped_and_the_file_is_sorted(tiny, tmp_path, monkeypatch):
    file, ran, real = tmp_path / "results.jsonl", [], experiments.run_cells
    first = run(grid(datasets=["Zoo"]), file)
    monkeypatch.setattr(experiments, "run_cells", lambda cells, *rest: ran.extend(cells) or real(cells, *rest))
    lines = run(grid(), file)
    assert len(lines) == 6 and {cell.dataset for cell in ran} == {"Farm"} and lines[3:] == first
    assert run(grid()[::-1], file) == lines[::-1] and len(ran) == 3
    assert list(read_results_file(file)) == sorted(read_results_file(file)) == grid()
    times = [json.loads(line) for line in (tmp_path / "results.seconds.jsonl").read_text().splitlines()]
    assert len(times) == 6 and all(time["seconds"] > 0 for time in times)
    assert "seconds" not in file.read_text()


def test_too_few_examples_are_in_the_line_and_said_once(tiny, tmp_path):
    cells = grid(shots=[2, 3], seeds=SEEDS)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        lines = run(cells, tmp_path / "results.jsonl")
    short = dict.fromkeys(CLASSES, 2)
    for cell, line in zip(cells, lines):
        assert line["too few"] == ({"training": short, "validation": short} if cell.shots == 3 else {})
    (only,) = said
    assert "Zoo training cat (2)" in str(only.message) and "Farm validation gnu (2)" in str(only.message)
    assert only.filename == __file__
    with pytest.warns(UserWarning, match=r"Zoo training cat \(2\)"):  # the table of 2 and 3 shots says it, too
        assert __main__.main(["report", str(tmp_path / "results.jsonl")]) == 0


def test_another_recipe_is_not_mixed_in(zoo):
    before = zoo.read_bytes()
    with pytest.raises(ValueError, match="recipe: "):
        run(grid(datasets=["Zoo"]), zoo, epochs=2)
    assert zoo.read_bytes() == before


def test_a_cell_that_fails_is_named_and_the_finished_ones_stay(tiny, data, tmp_path):
    file = tmp_path / "results.jsonl"
    damaged = make_dataset(data, "Damaged", CLASSES, train=2, val=2, test=2)
    damaged.test[0].image.write_text("no image")
    with pytest.raises(RuntimeError, match=r"Cell\(.*'Damaged'.*failed \(ValueError\)") as caught:
        run(grid(datasets=["Farm", "Damaged"]), file)
    assert str(caught.value).count("failed") == 3 and "Farm" not in str(caught.value)
    assert {cell.dataset for cell in read_results_file(file)} == {"Farm"} and len(read_results_file(file)) == 3


def test_a_wrong_name_is_found_before_anything_is_computed(tiny, tmp_path, monkeypatch, capsys):
    file, computed = tmp_path / "results.jsonl", []
    monkeypatch.setattr(experiments, "run_cells", lambda *a: computed.append(a))
    with pytest.raises(FileNotFoundError, match="Nowhere"):
        run(grid(datasets=["Farm", "Zoo", "Nowhere"]), file)
    with pytest.raises(ValueError, match="jobs"):
        run(grid(), file, jobs=0)
    monkeypatch.setattr(workspace, "load_dataset", load_dataset)
    options = ["--datasets", "IconFood", "IconFod", "--seeds", "1", "--shots", "1"]
    assert __main__.main(["run", "--results", str(file), *options]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: there is no folder IconFod here") and "Did you mean 'IconFood'?" in line
    assert not computed and not file.exists()


def test_missing_weights_are_one_error_at_once(tiny, tmp_path, monkeypatch, capsys):
    asked = []

    def offline(name, pretrained=None):
        asked.append(name)
        raise FileNotFoundError("no weights for 'RN50'")

    monkeypatch.setattr(workspace, "load_clip", offline)
    arguments = ["run", "--results", str(tmp_path / "r.jsonl"), "--datasets", "Zoo", "Farm", "--seeds", "1"]
    assert __main__.main(arguments) == 1
    assert capsys.readouterr().err == "error: no weights for 'RN50'\n" and len(asked) == 1


def test_a_folder_and_a_split_file_are_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "cache"))
    made = make_dataset(tmp_path, "Mine", CLASSES, train=2, val=2, test=2)
    images = tmp_path / "Mine" / "images"
    split = (tmp_path / "Mine" / "split_zhou_Mine.json").rename(images / "split.json")
    assert Workspace().dataset(str(images)).classnames == CLASSES
    assert Workspace().dataset(str(split)).splits == made.splits
    monkeypatch.setattr(workspace, "load_clip", lambda name, pretrained=None: tiny_clip())
    cells = make_grid(datasets=[str(images), str(split)], shots=[1], seeds=[1], methods=["zero_shot"])
    assert len(run(cells, tmp_path / "r.jsonl")) == 2


def test_a_file_cut_in_half_by_a_crash_is_mended_and_a_damaged_or_foreign_one_left_alone(zoo):
    whole = zoo.read_bytes()
    for cut in (1, 2, 40, 200):
        zoo.write_bytes(whole[:-cut])
        assert len(read_results_file(zoo)) == (3 if cut == 1 else 2)
        run(grid(datasets=["Zoo"]), zoo)
        assert zoo.read_bytes() == whole
    lines = whole.splitlines(keepends=True)
    for content in (b"".join([lines[0], lines[1][:50] + b"\n", lines[2]]), b'{"mine": 1}', b"notes\n"):
        zoo.write_bytes(content)
        with pytest.raises(ValueError, match=r"line \d of .* is not a result"):
            run(grid(datasets=["Zoo"]), zoo)
        assert zoo.read_bytes() == content


@pytest.mark.parametrize("joined", [b"\r", b" ", b"", b"\x0c"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_results_that_something_has_joined_are_refused_and_stay(tmp_path, joined, end):
    file = tmp_path / "results.jsonl"
    texts = [json.dumps(line).encode() for line in ten_lines()]
    content = joined.join(texts) + end
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"line 1 of .*results\.jsonl(.|\n)*line of its own"):
        run(grid(), file)
    assert file.read_bytes() == content
    file.write_bytes(b"\r\n".join(texts) + end)  # as an editor of Windows saves it
    assert list(read_results_file(file).values()) == ten_lines()


def test_a_last_line_is_left_out_only_where_it_is_the_beginning_of_one_record(tmp_path):
    file = tmp_path / "results.jsonl"
    *first, last = [json.dumps(line, sort_keys=True).encode() for line in ten_lines()]
    for cut in range(len(last) + 1):
        file.write_bytes(b"\n".join([*first, last[:cut]]))
        assert len(read_results_file(file)) == 9 + (cut == len(last))
    older = json.dumps({"cell": ten_lines()[0]["cell"], "figures": {}}).encode()  # whole, with parts missing
    for wrong in (last[:40] + last, last[:40] + b"\n", older):
        file.write_bytes(b"\n".join([*first, wrong]))
        with pytest.raises(ValueError, match=r"line 10 of .*results\.jsonl is not a result"):
            read_results_file(file)


def test_unknown_keys_are_kept(zoo):
    mine = [{**json.loads(line), "machine": "lab 2"} for line in zoo.read_text().splitlines()]
    zoo.write_text("".join(json.dumps(line) + "\n" for line in mine))
    run(grid(), zoo)
    assert [line.get("machine") for line in read_results_file(zoo).values()] == [None] * 3 + ["lab 2"] * 3


def test_lines_that_contradict_each_other_are_named(tmp_path, capsys):
    file, other = tmp_path / "results.jsonl", tmp_path / "other.jsonl"
    lines = ten_lines()
    changed = {**lines[2], "figures": {"accuracy": 1.5}}
    file.write_text("".join(json.dumps(line) + "\n" for line in [*lines, lines[1]]))  # the same twice: no harm
    assert list(read_results_file(file).values()) == lines
    other.write_text(json.dumps({**lines[2], "versions": {"torch": "9"}}) + "\n")
    assert list(read_results_file(file, other).values()) == lines  # another machine, the same figures
    other.write_text(json.dumps(changed) + "\n")
    with pytest.raises(ValueError, match=r"line 3 of .*results\.jsonl and line 1 of .*other\.jsonl(.|\n)*figures"):
        read_results_file(file, other)
    assert __main__.main(["report", str(file), str(other)]) == 1
    assert "line 3 of" in capsys.readouterr().err
    file.write_text("".join(json.dumps(line) + "\n" for line in [*lines, changed]))
    with pytest.raises(ValueError, match=r"line 3 of .* and line 11 of .*M16_end.*differ in figures"):
        read_results_file(file)


# ------------------------------------------------------------------------------------- several grids into one file
ADDER = """
import json, sys
from coop_edu.grid.results import Cell, add, rewrite_sorted
file, task, line = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
rewrite_sorted(file)
for seed in range(1, 11):
    cell = Cell("mini", "mini", "few-shot", task, "M16_end", 16, seed)
    add(file, {cell: {**line, "cell": cell.as_json()}})
rewrite_sorted(file)
"""


@pytest.mark.slow
def test_six_processes_lose_no_line_of_one_file(tmp_path):
    file, line = tmp_path / "results.jsonl", json.dumps(ten_lines()[0])
    commands = [[sys.executable, "-c", ADDER, str(file), f"Task{n}", line] for n in range(6)]
    some = [subprocess.Popen(command, cwd=TESTS.parent) for command in commands]
    assert [process.wait(timeout=300) for process in some] == [0] * 6
    found = read_results_file(file)
    assert len(found) == 60 and list(found) == sorted(found)


def meanwhile(monkeypatch, do):
    """Let something happen once before the first group of a grid is computed; on one core, so that it is the first."""
    real, todo = experiments.run_cells, [do]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)

    def run_cells(cells, *rest):
        if todo:
            todo.pop()()
        return real(cells, *rest)

    monkeypatch.setattr(experiments, "run_cells", run_cells)


@pytest.mark.parametrize("second", ["Zoo", "Farm"])
def test_two_grids_into_one_file_are_both_in_it(tiny, tmp_path, monkeypatch, second):
    file, alone = tmp_path / "results.jsonl", tmp_path / "alone.jsonl"
    run(sorted({*grid(datasets=["Zoo"]), *grid(datasets=[second])}), alone)
    meanwhile(monkeypatch, lambda: run(grid(datasets=[second]), file))
    run(grid(datasets=["Zoo"]), file)
    assert file.read_bytes() == alone.read_bytes()


def test_a_second_grid_with_another_recipe_is_noticed_though_it_came_later(tiny, tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    meanwhile(monkeypatch, lambda: run(grid(datasets=["Zoo"]), file, epochs=2))
    with pytest.raises(ValueError, match="recipe: "):
        run(grid(datasets=["Zoo"]), file)
    assert {line["recipe"]["epochs"] for line in read_results_file(file).values() if line["recipe"]} == {2}


def test_a_line_that_another_process_left_cut_is_not_joined_to_the_next(zoo, monkeypatch):
    whole = zoo.read_bytes()
    first = whole.splitlines(keepends=True)[0]
    zoo.write_bytes(first)
    meanwhile(monkeypatch, lambda: zoo.write_bytes(first + whole[len(first) :][:50]))
    run(grid(datasets=["Zoo"]), zoo)
    assert zoo.read_bytes() == whole


def test_a_file_that_was_removed_meanwhile_is_written_again(zoo, monkeypatch):
    meanwhile(monkeypatch, zoo.unlink)
    assert len(run(grid(), zoo)) == 6 == len(read_results_file(zoo))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
@pytest.mark.parametrize("kind", ["read-only", "folder", "times", "pipe", "under a file"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(
    tiny, tmp_path, monkeypatch, capsys, kind
):
    monkeypatch.setattr(experiments, "run_cells", lambda *cells: pytest.fail("computed"))
    file = tmp_path / "results.jsonl"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "under a file":
        (tmp_path / "f").write_text("")
        file = tmp_path / "f" / "results.jsonl"
    else:
        locked = file if kind == "read-only" else tmp_path / "results.seconds.jsonl"
        locked.write_text("")
        locked.chmod(0o444)
    options = ["--datasets", "Zoo", "--shots", "1", "--seeds", "1", "--methods", "zero_shot"]
    assert __main__.main(["run", "--results", str(file), *options]) == 1
    assert file.name in capsys.readouterr().err or kind == "times" or kind == "under a file"


INTERRUPTED = """
import runpy, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from test_experiments import experiments, use_tiny
use_tiny(Path({data!r}), setattr)
real = experiments.run_cells
experiments.run_cells = lambda cells, *rest: real(cells, *rest) if cells[0].shots else time.sleep(600)
sys.argv = ["coop_edu", "run", "--results", {file!r}, "--datasets", "Zoo", "--shots", "1", "2", "--seeds", "1",
            "--methods", "zero_shot", "M2_end", "--epochs", "1"]
runpy.run_module("coop_edu", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_at_once_with_one_line_and_keeps_what_is_finished(data, tmp_path):
    file = tmp_path / "results.jsonl"
    code = INTERRUPTED.format(tests=str(TESTS), data=str(data), file=str(file))
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    options = {"cwd": TESTS.parent, "env": variables, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], **options)
    try:
        while not (file.is_file() and file.read_bytes().count(b"\n") >= 2):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)  # the third cell would take 600 s
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    stopped = f"stopped: 2 of 3 cells are in {file}; the same command goes on from there"
    assert said.splitlines()[-1] == stopped and "Traceback" not in said
    assert {cell.shots for cell in read_results_file(file)} == {1, 2}


PARENT = """
import os, sys, time
from pathlib import Path
from filelock import FileLock
from joblib import Parallel, delayed
from coop_edu.grid.run import end_with

def work(lock, parent):
    end_with(parent)
    with FileLock(lock):
        Path(lock + ".held").touch()
        time.sleep(600)

Parallel(n_jobs=2)(delayed(work)(lock, os.getpid()) for lock in sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_workers_end_with_their_parent(tmp_path):
    locks = [str(tmp_path / name) for name in "ab"]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *locks], cwd=TESTS.parent)
    try:
        while not all(Path(f"{lock}.held").exists() for lock in locks):
            assert parent.poll() is None
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    for lock in locks:  # the system frees it when the worker is gone
        with FileLock(lock, timeout=60):
            pass


def test_of_seeds_that_learn_together_a_missing_one_is_learned_as_before(tiny, tmp_path):
    file, cells = tmp_path / "results.jsonl", grid(datasets=["Zoo"], shots=[1], seeds=SEEDS)
    run(cells, file)
    whole = file.read_bytes().splitlines(keepends=True)
    for lost in range(len(whole)):
        file.write_bytes(b"".join(whole[:lost] + whole[lost + 1 :]))
        run(cells, file)
        assert file.read_bytes() == b"".join(whole)


# ------------------------------------------------------------------------------------------------ commands, reports
def line_of(dataset, method, percent, shots=0, seed=0, protocol="few-shot"):
    cell = Cell("mini", "mini", protocol, dataset, method, shots, seed)
    figures = {"accuracy": percent} if protocol == "few-shot" else {"IconNet": percent, "IconNet-A": percent / 2}
    return cell, {"cell": cell.as_json(), "figures": figures, "recipe": None, "versions": {}, "too few": {}}


def some_results():
    return dict([
        line_of("IconFood", "zero_shot", 60.0),
        line_of("IconWeather", "zero_shot", 50.0),
        line_of("IconFood", "M16_end", 70.0, 16, 1),
        line_of("IconFood", "M16_end", 74.0, 16, 2),
        line_of("IconNet", "M16_end", 80.0, 16, 1, "domains"),
    ])  # fmt: skip


def test_the_table_has_means_over_seeds_and_says_what_is_missing():
    assert report.table(as_frame(some_results())).splitlines() == [
        "domains, CLIP mini",
        "            IconNet IconNet-A",
        "label shots                  ",
        "CoOp  16       80.0      40.0",
        "",
        "few-shot, CLIP mini",
        "                      IconFood IconWeather average",
        "label        shots                                ",
        "hand-written 0            60.0        50.0    55.0",
        "CoOp         16     72.0 ± 2.0           -       -",
    ]


def test_a_second_metric_is_shown_where_it_is_asked_for_and_mixed_into_nothing():
    lines = some_results()
    more = {cell: {**line, "figures": {**line["figures"], "macro_f1": 10.0}} for cell, line in lines.items()}
    before, after = as_frame(lines), as_frame(more)
    assert report.table(after) == report.table(before) and report.curves(after) == report.curves(before)
    assert "10.0 ± 0.0" in report.table(after, "macro_f1").split("few-shot")[1]
    assert report.curves(after, "macro_f1")["IconFood"] == {"hand-written": {0: [10.0]}, "CoOp": {16: [10.0, 10.0]}}
    assert not any("paper" in text.get_text() for text in report.figure(after, "macro_f1").legends[0].get_texts())
    with pytest.raises(ValueError, match="no result to show for 'macro_f2'"):
        report.table(after[after["protocol"] == "few-shot"], "macro_f2")


def test_a_scale_has_its_seeds():
    for scale, seeds in (("mini", {1, 2, 3, 4, 5}), ("paper", {1, 2, 3})):
        cells = make_grid(scale, shots=[1], methods=["M16_end"])
        assert {cell.seed for cell in cells} == seeds


def test_the_papers_curves_stand_beside_ones_own():
    own = report.curves(as_frame(some_results()))
    assert own["IconFood"] == {"hand-written": {0: [60.0]}, "CoOp": {16: [70.0, 74.0]}}
    paper = report.published("IconWeather", ["zero_shot", "M16_end", "M4_end"])  # modelled on EuroSAT
    assert paper["hand-written (paper)"] == {0: [37.56]} and paper["CoOp (paper)"][16] == [83.53] and len(paper) == 2
    assert report.published("OxfordFlowers", ["M16_end_CSC"])["CoOp, class-specific (paper)"][16] == [95.59]
    assert len(report.published("DescribableTextures", ["linear_probe"])["linear probe (paper)"]) == 5
    drawn = report.figure(as_frame(some_results()))
    assert [axis.get_title() for axis in drawn.axes] == ["Average of 2", "IconFood", "IconWeather"]
    with pytest.raises(ValueError, match="no few-shot result"):
        report.figure(as_frame({}))


def test_the_commands(tiny, tmp_path, capsys):
    file, drawn = tmp_path / "r.jsonl", tmp_path / "r.png"
    options = ["--datasets", "Zoo", "--shots", "1", "--seeds", "1", "--epochs", "1", "--methods"]
    options = ["run", "--results", str(file), *options]
    assert __main__.main([*options, "zero_shot", "M2_end"]) == 0
    assert "2 cells, 0 of them" in capsys.readouterr().out
    assert __main__.main([*options, "zero_shot", "M2_end"]) == 0
    printed = capsys.readouterr().out
    assert "2 cells, 2 of them" in printed and re.search(r"CoOp, M=2 +1 ", printed)
    assert __main__.main(["report", str(file), "--figure", str(drawn)]) == 0 and drawn.stat().st_size > 1000
    assert __main__.main(["report", str(tmp_path / "none.jsonl")]) == 1
    assert "no results file" in capsys.readouterr().err
    assert __main__.main([*options, "M2"]) == 1
    assert "unknown method" in capsys.readouterr().err
