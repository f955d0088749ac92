"""Split files, folders of one's own images, and what is wrong with them."""

import gzip
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coop_edu import Dataset, Example, PromptLearner, Recipe, Trainer, load_clip, load_dataset, load_image
from coop_edu.coop.authors_files import export_authors, import_authors
from coop_edu.coop.checkpoints import load_prompt, save_prompt
from coop_edu.data.features import FeatureBank, extract_features
from coop_edu.data.own import from_folder, from_split_file
from coop_edu.data.paper import data_root
from coop_edu.data.split_file import SplitFileError, classnames_of, read_split, write_split
from coop_edu.files import cache_folder
from coop_edu.grid.results import read_results_file

from tiny_images import draw, make_dataset

SPLITS = Path(__file__).parent / "data" / "splits"


def write_rows(path, train=(), val=(), test=()):
    path.write_text(json.dumps({"train": train, "val": val, "test": test}))
    return path


# ------------------------------------------------------------------------------------------------ split files
@pytest.mark.parametrize("packed", sorted(SPLITS.glob("*.gz")), ids=lambda path: path.name)
def test_the_authors_files_pass_every_check_and_survive_a_round_trip(packed, tmp_path, monkeypatch):
    text = gzip.decompress(packed.read_bytes()).decode()
    (tmp_path / "split.json").write_text(text)
    monkeypatch.setattr(Path, "is_file", lambda self: True)  # the images are not here
    splits = read_split(tmp_path / "split.json", tmp_path / "images")
    write_split(tmp_path / "again.json", splits, tmp_path / "images")
    assert (tmp_path / "again.json").read_text() == text.rstrip("\n")


def test_read_what_was_written(tmp_path):
    made = make_dataset(tmp_path, classnames=("hot_air_balloon", "dog"))
    splits = read_split(tmp_path / "Zoo" / "split_zhou_Zoo.json", tmp_path / "Zoo" / "images")
    assert splits == made.splits
    assert classnames_of(splits) == ("hot_air_balloon", "dog")


@pytest.mark.parametrize("bad", ["../a.png", "a/../../a.png", "/etc/a.png", "C:\\a.png", "..\\a.png", "\\a.png"])
def test_a_path_out_of_the_image_folder(tmp_path, bad):
    path = write_rows(tmp_path / "split.json", train=[[bad, 0, "cat"]])
    with pytest.raises(SplitFileError, match="leads out of"):
        read_split(path, tmp_path / "images")


def test_all_malformed_entries_are_listed_at_once(tmp_path):
    rows = [["../a", 0, "cat"], ["a", "0", "cat"], ["a", 0], ["a", True, "cat"], ["a", -1, "cat"], ["", 0, "cat"]]
    with pytest.raises(SplitFileError) as caught:
        read_split(write_rows(tmp_path / "split.json", test=rows), tmp_path)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [f"test[{i}]" for i in range(6)]


def test_labels_that_contradict_class_names_are_all_listed(tmp_path):
    rows = [["a", 0, "cat"], ["b", 0, "dog"], ["c", 1, "eel"], ["d", 4, "eel"]]
    with pytest.raises(SplitFileError) as caught:
        read_split(write_rows(tmp_path / "split.json", train=rows[:2], test=rows[2:]), tmp_path)
    assert caught.value.problems == (
        "label 0 has several class names: ['cat', 'dog']",
        "class name 'eel' has several labels: [1, 4]",
        "labels must be 0 to K-1 without gaps, but 3 labels go up to 4",
    )


def test_all_missing_images_are_listed(tmp_path):
    made = make_dataset(tmp_path, train=40)
    gone = [example.image for example in made.train[::2]]
    for image in gone:
        image.unlink()
    with pytest.raises(SplitFileError, match=r"40 problem(.|\n)*and 10 more") as caught:
        read_split(tmp_path / "Zoo" / "split_zhou_Zoo.json", tmp_path / "Zoo" / "images")
    assert caught.value.problems == tuple(f"missing image {image}" for image in gone)


@pytest.mark.parametrize("text", ['{"train": [["a.png", 0, "ca', "\xff\xfe", "[1, 2]", '{"train": []}'])
def test_a_damaged_split_file(tmp_path, text):
    path = tmp_path / "split.json"
    with pytest.raises(FileNotFoundError, match=r"split\.json"):
        read_split(path, tmp_path)
    path.write_text(text, encoding="latin-1")
    with pytest.raises(SplitFileError, match=r"split\.json"):
        read_split(path, tmp_path)
    with pytest.raises(SplitFileError, match="no images at all"):
        read_split(write_rows(path), tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    (tmp_path / "split.json").write_text("old")
    stranger = Example(Path("/elsewhere/1.png"), 0, "cat")
    with pytest.raises(ValueError):
        write_split(tmp_path / "split.json", {"train": [stranger]}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]
    assert (tmp_path / "split.json").read_text() == "old"


# ----------------------------------------------------------------------------------------- one's own images
def test_from_folder_is_deterministic_complete_and_without_overlap(tmp_path):
    for name, n in (("dog", 10), ("cat", 3), ("hot_air_balloon", 20)):
        for i in range(n):
            draw(tmp_path / "mine" / name / f"{i}.{'PNG' if i % 2 else 'jpg'}", i)
    (tmp_path / "mine" / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "mine" / ".git").mkdir()
    mine = from_folder(tmp_path / "mine")
    assert mine == from_folder(tmp_path / "mine")
    assert mine.name == "mine" and mine.classnames == ("cat", "dog", "hot_air_balloon")
    images = [example.image for split in mine.splits.values() for example in split]
    assert len(images) == len(set(images)) == 33
    counts = {s: [sum(e.label == y for e in part) for y in range(3)] for s, part in mine.splits.items()}
    assert counts == {"train": [1, 5, 10], "val": [1, 2, 4], "test": [1, 3, 6]}
    assert all(e.classname == mine.classnames[e.label] == e.image.parent.name for e in mine.train)
    assert from_folder(tmp_path / "mine", seed=2).train != mine.train


def test_a_new_class_leaves_the_others_split_alone(tmp_path):
    for i in range(10):
        draw(tmp_path / "mine" / "cat" / f"{i}.png", i)
    before = [example.image for example in from_folder(tmp_path / "mine").test]
    shutil.copytree(tmp_path / "mine" / "cat", tmp_path / "mine" / "ant")
    after = [example.image for example in from_folder(tmp_path / "mine").test if example.classname == "cat"]
    assert after == before


def test_from_folder_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        from_folder(tmp_path / "nowhere")
    draw(tmp_path / "1.png", 1)
    with pytest.raises(ValueError, match="no class folders"):
        from_folder(tmp_path)
    for name in ("cat", "dog"):
        draw(tmp_path / name / "1.png", 1)
    with pytest.raises(ValueError, match=r"cat \(1\), dog \(1\)"):
        from_folder(tmp_path)


# --------------------------------------------------------------------------------------------------- the rest
def test_describe_prints_the_card(tmp_path, capsys):
    made = make_dataset(tmp_path, train=6, val=2, test=3)
    Dataset(made.name, made.classnames, **made.splits, card={"licence": "CC0"}).describe()
    printed = capsys.readouterr().out
    expected = "Zoo: 2 classes (cat, dog)", "12 train, 4 val, 6 test", "a photo of a {}.", "licence    CC0"
    assert all(part in printed for part in expected)


def test_unknown_data_set_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"Did you mean 'IconNet-Sketch'\? Known: IconNet, IconNetV2, IconNet-Sketch"):
        load_dataset("IconNet_Sketch")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("COOP_EDU_CACHE")
    assert cache_folder().name == "coop_edu"  # where this platform keeps caches


# ------------------------------------------------------------------------------------------------- as people have them
def fill(folder, **counts):
    """folder/<class>/<number>.png"""
    for number, (name, count) in enumerate(counts.items()):
        for i in range(count):
            draw(folder / name / f"{i}.png", 100 * number + i)
    return folder


def test_ready_splits_stay_as_they_are(tmp_path):
    mine = tmp_path / "mine"
    for split, count in (("train", 4), ("valid", 2), ("test", 3)):
        fill(mine / split, cat=count, dog=count)
    loaded = from_folder(mine)
    assert loaded.classnames == ("cat", "dog") and [len(part) for part in loaded.splits.values()] == [8, 4, 6]
    assert {example.image.parent.parent.name for example in loaded.val} == {"valid"}
    shutil.rmtree(mine / "valid")
    held_out = from_folder(mine)  # a fifth of the training images, of each class
    assert [len(part) for part in held_out.splits.values()] == [6, 2, 6] and held_out == from_folder(mine)
    assert not {e.image for e in held_out.val} & {e.image for e in held_out.train}
    fill(mine / "test", eel=1)
    with pytest.raises(ValueError, match=r"test has classes that train/ does not have: eel"):
        from_folder(mine)
    shutil.rmtree(mine / "test")
    with pytest.raises(ValueError, match=r"expected train/, test/ and perhaps val/"):
        from_folder(mine)
    for i in range(3):
        draw(mine / "test" / f"{i}.png", i)
    with pytest.raises(ValueError, match=r"no class folders in .*test"):
        from_folder(mine)


def test_names_for_folders(tmp_path):
    mine = fill(tmp_path / "mine", n02121808=3, dog=3)
    loaded = from_folder(mine, names={"n02121808": "domestic cat"})
    assert loaded.classnames == ("dog", "domestic cat")
    assert {(e.label, e.classname) for e in loaded.test} == {(0, "dog"), (1, "domestic cat")}
    with pytest.raises(ValueError, match=r"names has folders that are not in .*: n1"):
        from_folder(mine, names={"n1": "x"})
    with pytest.raises(ValueError, match="more than once"):
        from_folder(mine, names={"n02121808": "Dog"})


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".ppm", ".pgm", ".avif", ".jp2", ".tga", ".qoi", ".webp"])
def test_every_kind_of_image_is_taken(tmp_path, suffix):
    mine = fill(tmp_path / "mine", cat=3)
    more = (mine / "cat" / "more").with_suffix(suffix)
    try:
        Image.new("RGB", (8, 8)).save(more)
    except (OSError, ValueError, KeyError):
        pytest.skip(f"this Pillow does not write {suffix}")
    loaded = from_folder(mine)
    assert sum(map(len, loaded.splits.values())) == 4 and load_image(more).size == (8, 8)


def test_what_is_left_out_is_counted_and_hidden_files_are_not_images(tmp_path):
    mine = fill(tmp_path / "mine", cat=3)
    for hidden in ("._1.jpg", ".DS_Store", ".hidden.png"):
        (mine / "cat" / hidden).write_bytes(b"\0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(map(len, from_folder(mine).splits.values())) == 3
    for other in ("notes.txt", "raw.cr2"):
        (mine / "cat" / other).touch()
    (mine / "cat" / "more").mkdir()
    with pytest.warns(UserWarning, match=r"3 files or folders .* such as 'more', and are left out") as said:
        from_folder(mine)
    assert said[0].filename == __file__


def test_examples_may_hold_images(clip, tmp_path):
    arrays = [np.full((32, 32, 3), 60 * i, np.uint8) for i in range(4)]
    files = []
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{i}.png")
        files.append(Example(tmp_path / f"{i}.png", i % 2, ("cat", "dog")[i % 2]))
    for kind in (lambda a: a, Image.fromarray, lambda a: (tmp_path / f"{a[0, 0, 0] // 60}.png").read_bytes()):
        held = [Example(kind(array), i % 2, ("cat", "dog")[i % 2]) for i, array in enumerate(arrays)]
        expected = extract_features(clip, files, progress=False)
        for options in ({}, {"workers": 2}, {"cache": tmp_path / "cache"}, {"cache": tmp_path / "cache"}):
            found = extract_features(clip, held, progress=False, **options)
            assert torch.equal(found.image_features, expected.image_features)
        bank = FeatureBank(clip, held, progress=False)
        assert torch.equal(bank(held[2:]).image_features, expected.image_features[2:])
        recipe = Recipe(epochs=1, views="fresh", batch_size=2)
        learner = PromptLearner(clip, ("cat", "dog"), n_ctx=2)
        Trainer(learner, recipe, checkpoint=tmp_path / "c", progress=False).fit(held)
        Trainer(learner, recipe, checkpoint=tmp_path / "c", progress=False).fit(held, resume=True)
    with pytest.raises(ValueError, match=r"1 image\(s\) cannot be read"):
        extract_features(clip, [Example(b"no image", 0, "cat")], progress=False)


# ------------------------------------------------------------------------------------------- split files of one's own
def test_a_split_file_from_windows(tmp_path):
    made = make_dataset(tmp_path)
    images, file = tmp_path / "Zoo" / "images", tmp_path / "Zoo" / "split_zhou_Zoo.json"
    rows = json.loads(file.read_text())

    def again(change, encoding="utf-8"):
        changed = {split: [[change(path), *rest] for path, *rest in part] for split, part in rows.items()}
        file.write_text(json.dumps(changed), encoding=encoding)
        return read_split(file, images)

    assert again(lambda path: path.replace("/", "\\")) == made.splits
    assert again(lambda path: path, "utf-8-sig") == made.splits
    assert again(lambda path: str(images / path)) == made.splits
    assert again(lambda path: f"./{path}") == made.splits
    with pytest.raises(SplitFileError, match="leads out of"):
        again(lambda path: f"{tmp_path}/elsewhere/{path}")
    with pytest.raises(SplitFileError, match="leads out of"):
        again(lambda path: f"{images}/../../{path}")


def test_a_split_of_ones_own_by_a_public_call(tmp_path):
    made = make_dataset(tmp_path)
    images, file = tmp_path / "Zoo" / "images", tmp_path / "Zoo" / "split_zhou_Zoo.json"
    loaded = from_split_file(file, images, template="a drawing of a {}.")
    assert loaded.splits == made.splits and loaded.classnames == made.classnames
    assert loaded.template == "a drawing of a {}."
    rows = [(e.image.relative_to(images), e.classname, split) for split, part in made.splits.items() for e in part]
    table = ["image,class,split", *(f'{image},"{name}",{split}' for image, name, split in rows)]
    for text in ("\n".join(table), "\ufeff" + "\r\n".join([*table, ""])):
        (images / "mine.csv").write_bytes(text.encode())
        assert from_split_file(images / "mine.csv").splits == made.splits
    for text, why in (
        ("a,b\n1,2", "expected the columns"),
        ("image,class,split\ncat/1.png,cat", "row 1"),
        ("image,class,split\ncat/1.png,cat,training", "row 1"),
        ("image,class,split\ncat/9999.png,cat,train", "missing"),
        ("image,class,split\n../1.png,cat,train", "leads out of"),
        ("", "expected the columns"),
    ):
        (images / "mine.csv").write_text(text)
        with pytest.raises(SplitFileError, match=why):
            from_split_file(images / "mine.csv")
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        from_split_file(images / "none.csv")


# ------------------------------------------------------------------------------------------------------ the home folder
def test_a_tilde_is_the_home_folder_everywhere(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    made = make_dataset(tmp_path)
    names = ("cat", "dog")
    images = tmp_path / "Zoo" / "images"
    assert from_folder("~/Zoo/images").splits == from_folder(images).splits
    assert read_split("~/Zoo/split_zhou_Zoo.json", "~/Zoo/images") == made.splits
    write_split("~/again.json", made.splits, "~/Zoo/images")
    assert load_image("~/Zoo/images/cat/0.png").size == (64, 64)
    extract_features(clip, made.test, cache="~/cache", progress=False)
    learner = PromptLearner(clip, names, n_ctx=2)
    save_prompt(learner, "~/p.safetensors")
    assert torch.equal(load_prompt("~/p.safetensors", clip).ctx, learner.ctx)
    export_authors(learner, "~/theirs", 1)
    import_authors("~/theirs/prompt_learner/model.pth.tar-1", clip, names)
    features = extract_features(clip, made.train, progress=False)
    Trainer(learner, Recipe(epochs=1, views=None), checkpoint="~/c.safetensors", progress=False).fit(features)
    (tmp_path / "results.jsonl").write_text("")
    assert read_results_file("~/results.jsonl") == {} and data_root("~/data") == tmp_path / "data"
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "weights.pt")):
        load_clip("mini", pretrained="~/weights.pt")
    made_here = {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "~").exists()
    assert made_here >= {"again.json", "cache", "p.safetensors", "theirs", "c.safetensors"}
