"""Results, prompts and features know what they were made of: a swap is seen even where every name stays the same."""

import copy
import hashlib
import io
import os
import re
import shutil
import sys
from pathlib import Path

import joblib
import pytest
import torch

from coop_edu import Dataset, PromptLearner, Trainer, ZeroShot, accuracy, from_folder, load_clip, sample_few_shot
from coop_edu.clip.fingerprint import clip_fingerprint
from coop_edu.coop import checkpoints
from coop_edu.coop.authors_files import export_authors, import_authors
from coop_edu.coop.checkpoints import load_prompt, save_prompt
from coop_edu.data import contents as contents_module
from coop_edu.data.contents import contents
from coop_edu.grid import workspace
from coop_edu.grid.commands import main
from coop_edu.grid.results import add, read_results_file
from coop_edu.grid.run import make_grid, run_grid

from tiny_clip import tiny_clip
from tiny_images import draw, make_examples

NAMES = ["cat", "dog", "eel"]


def changed(part):
    """A CLIP of the same name, with one number of one part changed."""
    clip = tiny_clip()
    with torch.no_grad():
        dict(clip.model.named_parameters())[part].view(-1)[0] += 1e-4
    return clip


PARTS = ["visual.conv1.weight", "token_embedding.weight", "text_projection", "logit_scale"]


@pytest.mark.parametrize("part", PARTS)
def test_a_prompt_is_refused_by_a_clip_of_which_any_part_differs(part, tmp_path):
    learner = PromptLearner(tiny_clip(), NAMES, n_ctx=2)
    save_prompt(learner, tmp_path / "prompt.safetensors")
    theirs = export_authors(learner, tmp_path, 1)
    other = changed(part)
    assert load_prompt(tmp_path / "prompt.safetensors", tiny_clip()).classnames == tuple(NAMES)
    with pytest.raises(ValueError, match="has other weights"):
        load_prompt(tmp_path / "prompt.safetensors", other)
    with pytest.raises(ValueError, match="does not fit"):
        import_authors(theirs, other, NAMES, position="end")


def test_the_fingerprint_sees_changes_in_place_and_nothing_else():
    clip = tiny_clip()
    before = clip_fingerprint(clip)
    assert clip_fingerprint(tiny_clip()) == clip_fingerprint(clip.to("cpu")) == before
    with torch.no_grad():
        clip.model.logit_scale += 1
    changed = clip_fingerprint(clip)
    clip.model.token_embedding.weight.data.mul_(2)  # torch does not count changes through .data
    assert len({before, changed, clip_fingerprint(clip)}) == 3
    mini = load_clip("mini")
    other = copy.copy(mini)
    object.__setattr__(other, "preprocess", lambda image: mini.preprocess(image) / 2)
    assert clip_fingerprint(other) != clip_fingerprint(mini)


def test_the_activation_and_the_heads_are_a_part_of_a_clip(tmp_path):
    """They are not among the weights: one file of weights makes four CLIPs, and none reads another's features."""
    made = [tiny_clip(heads=heads, quick_gelu=quick) for quick in (False, True) for heads in (2, 4)]
    states = [{name: value for name, value in clip.model.state_dict().items()} for clip in made]
    assert all(torch.equal(states[0][name], state[name]) for state in states[1:] for name in states[0])
    assert len({clip_fingerprint(clip) for clip in made}) == 4


def test_an_older_file_with_a_hash_of_the_word_positions_is_read(tmp_path, monkeypatch):
    def old(clip):
        positions = clip.model.positional_embedding.detach().numpy()
        return hashlib.sha256(positions.tobytes()).hexdigest()[:16]

    monkeypatch.setattr(checkpoints, "clip_fingerprint", old)
    save_prompt(PromptLearner(tiny_clip(), NAMES, n_ctx=2), tmp_path / "old.safetensors")
    monkeypatch.undo()
    assert load_prompt(tmp_path / "old.safetensors", tiny_clip()).n_ctx == 2


# ---------------------------------------------------------------------------------------------------------- a grid
@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A folder of one's own images, and a CLIP that nobody trained."""
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "cache"))
    clip = tiny_clip()
    monkeypatch.setattr(workspace, "load_clip", lambda name, pretrained=None: clip)
    make_examples(tmp_path / "shapes", NAMES, each=8)
    return tmp_path / "shapes"


def run(folder, file, methods=("zero_shot",), seeds=(1,), **options):
    cells = make_grid("mini", datasets=[str(folder)], shots=[2], seeds=list(seeds), methods=list(methods))
    return run_grid(cells, file, epochs=1, progress=False, **options)


def swap_classes(folder):
    (folder / "cat").rename(folder / "x")
    (folder / "dog").rename(folder / "cat")
    (folder / "x").rename(folder / "dog")


def add_a_class(folder):
    make_examples(folder, [*NAMES, "fox"], each=8)


def rename_a_class(folder):
    (folder / "cat").rename(folder / "cow")


def redraw_an_image(folder):
    test = from_folder(folder).test[0].image
    before = test.stat()
    draw(test, seed=99)
    os.utime(test, ns=(before.st_mtime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [swap_classes, add_a_class, rename_a_class, redraw_an_image])
def test_results_of_images_that_have_changed_are_refused(shapes, tmp_path, change):
    file = tmp_path / "results.jsonl"
    lines = run(shapes, file)
    assert run(shapes, file) == lines
    change(shapes)
    with pytest.raises(ValueError, match=r"dataset: (.|\n)*Take another results file"):
        run(shapes, file)
    (new,) = run(shapes, tmp_path / "new.jsonl")  # and the right number is the one of a new file
    assert new["made of"]["dataset"] != lines[0]["made of"]["dataset"]


def test_only_the_cells_that_an_image_was_drawn_for_depend_on_it(shapes, tmp_path):
    file = tmp_path / "results.jsonl"
    run(shapes, file, ["zero_shot", "M2_end"])
    draw(sample_few_shot(from_folder(shapes).train, 2, 1)[0].image, seed=99)
    run(shapes, file)
    with pytest.raises(ValueError, match="shots: "):
        run(shapes, file, ["M2_end"])


def test_a_folder_that_was_moved_with_its_results_is_the_same(shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = run("shapes", "results.jsonl", ["zero_shot", "M2_end"])
    shutil.copytree(shapes, tmp_path / "elsewhere" / "shapes")
    shutil.copy(tmp_path / "results.jsonl", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("shapes", "results.jsonl", ["zero_shot", "M2_end"]) == lines
    swap_classes(tmp_path / "elsewhere" / "shapes")
    with pytest.raises(ValueError, match="dataset"):
        run("shapes", "results.jsonl")


def test_results_of_two_clips_of_one_name_do_not_go_together(shapes, tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    run(shapes, file, ["M2_end"])
    other = changed("text_projection")
    monkeypatch.setattr(workspace, "load_clip", lambda name, pretrained=None: other)
    with pytest.raises(ValueError, match="CLIP: "):
        run(shapes, file, ["M2_end"])
    with pytest.raises(ValueError, match="different CLIPs of one name: keep them in two files"):
        run(shapes, file, ["M2_end"], seeds=[2])  # else a report would average over both
    assert len(read_results_file(file)) == 1
    run(shapes, tmp_path / "two.jsonl", ["M2_end"], seeds=[2])
    with pytest.raises(ValueError, match="different CLIPs"):
        read_results_file(file, tmp_path / "two.jsonl")


def test_a_grid_beside_another_with_other_weights_is_not_handed_its_results(shapes, tmp_path, monkeypatch):
    """The second grid began before the first had written: it is told when it wants to write."""
    file = tmp_path / "results.jsonl"
    run(shapes, tmp_path / "mine.jsonl", ["M2_end"], seeds=[1, 2])
    mine = read_results_file(tmp_path / "mine.jsonl")
    other = changed("text_projection")
    monkeypatch.setattr(workspace, "load_clip", lambda name, pretrained=None: other)
    theirs = run(shapes, file, ["M2_end"], seeds=[1])
    for cell in mine:
        with pytest.raises(ValueError, match=r"CLIP: |different CLIPs of one name"):
            add(file, {cell: mine[cell]})
    assert list(read_results_file(file).values()) == theirs


def test_a_lock_that_is_refused_is_known_before_anything_is_computed(shapes, tmp_path, monkeypatch):
    def refuse(self, *arguments, **options):
        raise PermissionError(13, "locks are refused here")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr("coop_edu.grid.run.run_cells", lambda *arguments: pytest.fail("computed"))
    with pytest.raises(PermissionError, match="locks are refused"):
        run(shapes, tmp_path / "results.jsonl")


def test_the_template_is_a_part_of_what_uses_it(shapes, tmp_path):
    file = tmp_path / "results.jsonl"
    run(shapes, file, ["zero_shot", "M2_end"])
    run(shapes, file, ["M2_end"], templates=["an icon of a {}."])
    with pytest.raises(ValueError, match="template: "):
        run(shapes, file, templates=["an icon of a {}."])


def test_the_command_line_takes_names_and_the_best_of_several_templates(shapes, tmp_path, monkeypatch, capsys):
    """The best on validation images: each template is asked by hand, and the chosen one is the one with the most."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (shapes / name).rename(shapes / f"00{NAMES.index(name)}.{name.title()}")
    names = {f"00{k}.{name.title()}": name for k, name in enumerate(NAMES)}
    Path("names.csv").write_text("\n".join(f"{folder},{name}" for folder, name in names.items()))
    templates = ["a photo of a {}.", "{}", "an icon of a {}."]
    command = ["run", "--names", "names.csv", "--results", "r.jsonl"]
    options = ["--methods", "zero_shot", "--template", *templates]
    for folder in ("shapes", "./shapes", "shapes/"):
        assert main([*command, *options, "--datasets", folder]) == 0
    clip, data = workspace.load_clip("mini"), from_folder("shapes", names=names)
    best = max(templates, key=lambda text: accuracy(ZeroShot(clip, NAMES, text), data.val, progress=False))
    shown = capsys.readouterr().out
    assert shown.count(f"shapes: the best template on validation images is {best!r}") == 3
    ((cell, line),) = read_results_file("r.jsonl").items()
    assert cell.dataset == "shapes" and line["made of"]["template"] == best
    assert line["figures"]["accuracy"] == round(accuracy(ZeroShot(clip, NAMES, best), data.test, progress=False), 4)
    assert main([*command, "--datasets", "shapez"]) == 1
    assert "there is no folder shapez here" in capsys.readouterr().err
    assert main([*command, "--datasets", "IconFood"]) == 1  # they would be ignored
    assert "IconFood is not a folder" in capsys.readouterr().err


def test_all_images_are_shots_too(shapes, tmp_path, monkeypatch, capsys, recwarn):
    data, used = from_folder(shapes), []
    monkeypatch.setattr(Trainer, "check", lambda self, data: used.append(len(data)))
    command = ["run", "--datasets", str(shapes), "--results", str(tmp_path / "r.jsonl"), "--methods", "M2_end"]
    assert main([*command, "--shots", "2", "all", "--seeds", "1", "--epochs", "1"]) == 0
    assert sorted(used) == [6, len(data.train)]
    assert re.search(r"CoOp, M=2 +2 .*\n +all ", capsys.readouterr().out)
    assert not [warning for warning in recwarn if " training " in str(warning.message)]


def test_a_template_is_not_chosen_on_test_images(tmp_path, monkeypatch):
    """ImageNet's validation images are its test images."""
    examples = tuple(make_examples(tmp_path / "Same", NAMES, each=4))
    same = Dataset("Same", tuple(NAMES), examples, examples, examples)
    monkeypatch.setattr(workspace, "load_clip", lambda name, pretrained=None: tiny_clip())
    monkeypatch.setattr(workspace, "load_dataset", lambda name, root=None: same)
    cells = make_grid("mini", datasets=["Same"], shots=[1], seeds=[1], methods=["zero_shot"])
    with pytest.raises(RuntimeError, match="validation images of Same are its test images: give one template"):
        run_grid(cells, tmp_path / "r.jsonl", progress=False, templates=["{}", "a {}."])
    assert run_grid(cells, tmp_path / "r.jsonl", progress=False, templates=["{}"])


def test_joblibs_configuration_decides_and_its_workers_take_templates_and_names(shapes, tmp_path, monkeypatch):
    """As Ray's and Dask's backends for joblib are chosen."""
    options = {"templates": ["{}", "an icon of a {}."], "names": {"cat": "cow"}}
    cells = make_grid("mini", datasets=[str(shapes)], shots=[2], seeds=[1], methods=["zero_shot", "M2_end"])
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    used, real = [], joblib.Parallel.__call__
    note = lambda self, jobs: used.append((type(self._backend).__name__, self.n_jobs)) or real(self, jobs)  # noqa: E731
    monkeypatch.setattr(joblib.Parallel, "__call__", note)
    with joblib.parallel_config("threading", n_jobs=2):
        run_grid(cells, two, epochs=1, progress=False, jobs=None, **options)
    assert set(used) == {("ThreadingBackend", 2)}
    assert run_grid(cells, one, epochs=1, progress=False, **options) and one.read_bytes() == two.read_bytes()


def test_a_console_without_our_letters(shapes, tmp_path, monkeypatch):
    """The table has "±"; a console of ASCII shows "?" for it, instead of a traceback."""
    run(shapes, tmp_path / "r.jsonl", ["M2_end"], seeds=[1, 2])
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    assert main(["report", str(tmp_path / "r.jsonl")]) == 0
    console.flush()
    assert b" ? " in console.buffer.getvalue()


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "cache"))
    images, read = [draw(tmp_path / f"{n}.png", n) for n in range(3)], []
    for image in images:
        os.utime(image, ns=(10**18, 10**18))
    note = lambda path: read.append(path) or f"hash of {path.read_bytes()[-20:]}"  # noqa: E731
    monkeypatch.setattr(contents_module, "sha256", note)
    first = contents(images)
    assert contents(images) == first and len(read) == 3
    images[0].rename(tmp_path / "x.png")
    images[1].rename(images[0])  # same size is not needed: another inode is another file
    (tmp_path / "x.png").rename(images[1])
    assert contents(images)[:2] == first[:2][::-1]


def test_without_a_cache_folder_files_are_hashed_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "file" / "cache"))
    image = draw(tmp_path / "1.png", 1)
    assert contents([image, tmp_path / "none.png"]) == [contents([str(image)])[0], ""]
