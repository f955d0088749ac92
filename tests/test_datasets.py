"""Split files, folders of one's own images, and what is wrong with them."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from platformdirs import macos, unix

from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.datasets import from_folder, load_dataset
from coop_edu.data.split_file import SplitFileError, classnames_of, read_split, write_split
from coop_edu.files import atomically, cache_folder

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


@pytest.mark.parametrize(
    "bad",
    [
        "../secret.png",
        "a/../../secret.png",
        "/etc/secret.png",
        "C:\\secret.png",
        "..\\secret.png",
        "\\secret.png",
    ],
)
def test_a_path_that_climbs_out(tmp_path, bad):
    draw(tmp_path / "secret.png", 0)
    path = write_rows(tmp_path / "split.json", train=[[bad, 0, "cat"]])
    with pytest.raises(SplitFileError, match="climbs out"):
        read_split(path, tmp_path / "images")


def test_all_climbing_and_malformed_entries_are_listed_at_once(tmp_path):
    rows = [
        ["../a", 0, "cat"],
        ["a", "0", "cat"],
        ["a", 0],
        ["a", True, "cat"],
        ["a", -1, "cat"],
        ["", 0, "cat"],
        ["a", 0, " "],
    ]
    with pytest.raises(SplitFileError) as caught:
        read_split(write_rows(tmp_path / "split.json", test=rows), tmp_path)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [f"test[{i}]" for i in range(7)]


def test_labels_that_contradict_class_names_are_all_listed(tmp_path):
    rows = [["a", 0, "cat"], ["b", 0, "dog"], ["c", 1, "eel"], ["d", 4, "eel"]]
    with pytest.raises(SplitFileError) as caught:
        read_split(write_rows(tmp_path / "split.json", train=rows[:2], test=rows[2:]), tmp_path)
    assert caught.value.problems == (
        "label 0 has several class names: ['cat', 'dog']",
        "class name 'eel' has several labels: [1, 4]",
        "labels must be 0 to K-1 without gaps; absent: [2, 3]",
    )


def test_all_missing_images_are_listed(tmp_path):
    made = make_dataset(tmp_path, train=40)
    gone = [example.image for example in made.train[::2]]
    for image in gone:
        image.unlink()
    with pytest.raises(SplitFileError, match=r"40 problem(.|\n)*and 10 more") as caught:
        read_split(tmp_path / "Zoo" / "split_zhou_Zoo.json", tmp_path / "Zoo" / "images")
    assert caught.value.problems == tuple(f"missing image {image}" for image in gone)


@pytest.mark.parametrize(
    "text",
    [
        '{"train": [["a.png", 0, "ca',
        "\xff\xfe",
        "[1, 2]",
        '{"train": []}',
        '{"train": 1, "val": 2, "test": 3}',
    ],
)
def test_a_damaged_split_file(tmp_path, text):
    (tmp_path / "split.json").write_text(text, encoding="latin-1")
    with pytest.raises(SplitFileError, match=r"split\.json"):
        read_split(tmp_path / "split.json", tmp_path)


def test_no_split_file_and_no_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"split_zhou_Zoo\.json"):
        read_split(tmp_path / "split_zhou_Zoo.json", tmp_path)
    with pytest.raises(SplitFileError, match="no images at all"):
        read_split(write_rows(tmp_path / "split.json"), tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    (tmp_path / "split.json").write_text("old")
    stranger = Example(Path("/elsewhere/1.png"), 0, "cat")
    with pytest.raises(ValueError):
        write_split(tmp_path / "split.json", {"train": [stranger]}, tmp_path)
    with pytest.raises(OSError), atomically(tmp_path / "split.json") as scratch:
        scratch.write_text("half")
        raise OSError("disk full")
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
    assert all(
        example.classname == mine.classnames[example.label] == example.image.parent.name for example in mine.train
    )
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
    for part in (
        "Zoo: 2 classes (cat, dog)",
        "12 train, 4 val, 6 test",
        "a photo of a {}.",
        "licence    CC0",
    ):
        assert part in printed


def test_unknown_data_set_lists_the_known_ones(monkeypatch):
    from coop_edu.data import datasets

    monkeypatch.setattr(datasets, "iconnet_cards", lambda: {"IconNet": {}, "IconNet-Sketch": {}})
    with pytest.raises(ValueError, match=r"Did you mean 'IconNet-Sketch'\? Known: IconNet, IconNet-Sketch"):
        load_dataset("IconNet_Sketch")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("COOP_EDU_CACHE")
    for platform in (macos.MacOS, unix.Unix):
        monkeypatch.setattr("platformdirs.PlatformDirs", platform)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
        assert cache_folder().name == "coop_edu" and cache_folder().parent.name.lower() == "caches"
