"""ImageNet and its four variants, from tiny trees in the authors' folder tree."""

import warnings

import pytest

from coop_edu import load_dataset, sample_few_shot
from coop_edu.data.imagenet import read_classnames

# sorted: tench, goldfish, great white shark, tiger shark
WNIDS = ("n01440764", "n01443537", "n01484850", "n01491361")
LIST = "n01440764 tench\nn01443537 goldfish\nn01484850 great white shark\nn01491361 tiger shark\n"


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv("COOP_EDU_DATA", raising=False)
    images = tmp_path / "imagenet" / "images"
    for wnid in reversed(WNIDS):
        touch(images / "train" / wnid, *(f"{wnid}_{i}.JPEG" for i in (10, 9, 2, 1)), "notes.txt")
        touch(images / "val" / wnid, f"ILSVRC2012_val_0000000{WNIDS.index(wnid)}.JPEG")
    touch(images / "train", "README.txt")
    (tmp_path / "imagenet" / "classnames.txt").write_text(LIST)
    return tmp_path


def test_labels_are_ranks_of_sorted_folders_and_val_is_test(root, capsys):
    loaded = load_dataset("ImageNet", root)
    assert loaded.classnames == ("tench", "goldfish", "great white shark", "tiger shark")
    assert loaded.val == loaded.test and [example.label for example in loaded.test] == [0, 1, 2, 3]
    names = [example.image.name for example in loaded.train]
    assert len(names) == 16 and names == sorted(names)
    assert all(example.image.parent.name == WNIDS[example.label] for example in loaded.train)
    assert sample_few_shot(loaded.train, 2, seed=1) == sample_few_shot(load_dataset("ImageNet", root).train, 2, seed=1)
    loaded.describe()
    printed = capsys.readouterr().out
    assert "cannot be reproduced" in printed and "non-commercial" in printed and "1,281,167" in printed


def test_the_root_may_come_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("COOP_EDU_DATA", str(root))
    assert load_dataset("ImageNet").classnames[0] == "tench"


def test_without_training_images_it_can_still_be_tested_on(root):
    (root / "imagenet" / "images" / "train").rename(root / "elsewhere")
    loaded = load_dataset("ImageNet", root)
    assert loaded.train == () and len(loaded.test) == 4


def test_names_come_from_clip_where_there_is_no_list(root):
    (root / "imagenet" / "classnames.txt").unlink()
    assert load_dataset("ImageNet", root).classnames == ("tench", "goldfish", "great white shark", "tiger shark")
    everything = read_classnames(root / "imagenet", root)
    assert len(everything) == 1000 and list(everything) == sorted(everything)
    assert everything["n02281787"] == "gossamer-winged butterfly" and everything["n15075141"] == "toilet paper"
    assert len(set(everything.values())) == 998  # templates.IMAGENET_TWINS


# ---------------------------------------------------------------------------------------- the variants
@pytest.mark.parametrize(
    "name, folder",
    [
        ("ImageNet-Sketch", "imagenet-sketch/images"),
        ("ImageNet-A", "imagenet-adversarial/imagenet-a"),
        ("ImageNet-R", "imagenet-rendition/imagenet-r"),
    ],
)
def test_a_variant_has_its_own_classes_relabelled_from_0(root, name, folder):
    for wnid in (WNIDS[3], WNIDS[1]):
        touch(root / folder / wnid, "b.jpg", "a.png")
    touch(root / folder, "README.txt")
    loaded = load_dataset(name, root)
    assert loaded.classnames == ("goldfish", "tiger shark") and not loaded.train and not loaded.val
    found = [(e.label, e.image.name) for e in loaded.test]
    assert found == [(0, "a.png"), (0, "b.jpg"), (1, "a.png"), (1, "b.jpg")]


def test_v2_folders_are_labels(root):
    images = root / "imagenetv2" / "imagenetv2-matched-frequency-format-val"
    lines = LIST.splitlines()
    (root / "imagenetv2").mkdir()
    for order in (lines, lines[::-1]):  # a list that is not sorted must not shift the labels
        (root / "imagenetv2" / "classnames.txt").write_text("\n".join(order))
        for label in range(4):
            touch(images / str(label), f"{label}.jpeg")
        loaded = load_dataset("ImageNetV2", root)
        assert loaded.classnames == ("tench", "goldfish", "great white shark", "tiger shark")
        third = loaded.test[2]
        assert (third.image.name, third.label, third.classname) == ("2.jpeg", 2, "great white shark")
    (images / "3").rename(images / "7")
    with pytest.raises(ValueError, match=r"folders 0 to 3(.|\n)*2 are missing or too many: \[3, 7\]"):
        load_dataset("ImageNetV2", root)


# ---------------------------------------------------------------------------------------- what is wrong
def test_v2_folders_may_be_codes_as_imagenets_are(root):
    names = dict(zip(WNIDS, ("tench", "goldfish", "shark")))
    images = root / "imagenetv2" / "imagenetv2-matched-frequency-format-val"
    for wnid in names:
        touch(images / wnid, "b.jpeg", "a.jpeg")
    (root / "imagenetv2" / "classnames.txt").write_text("\n".join(f"{wnid} {name}" for wnid, name in names.items()))
    with pytest.warns(UserWarning, match="differ from CLIP's list"):
        found = load_dataset("ImageNetV2", root)
    assert [(e.label, e.classname) for e in found.test[::2]] == [(0, "tench"), (1, "goldfish"), (2, "shark")]


def test_a_flat_val_folder_is_recognised_and_explained(root):
    val = root / "imagenet" / "images" / "val"
    for wnid in WNIDS:
        for image in (val / wnid).iterdir():
            image.rename(val / image.name)
        (val / wnid).rmdir()
    with pytest.raises(ValueError, match=r"val has no class folders, but 4 images(.|\n)*valprep\.sh"):
        load_dataset("ImageNet", root)
    for image in val.iterdir():
        image.unlink()
    with pytest.raises(ValueError, match=r"val has no class folders, but 0 images"):
        load_dataset("ImageNet", root)


def test_folders_that_would_shift_the_labels(root):
    images = root / "imagenet" / "images"
    touch(images / "val" / "n00000000", "a.JPEG")
    touch(images / "val" / "lost+found")
    with pytest.raises(ValueError, match=r"not a class of ImageNet: \['lost\+found', 'n00000000'\]"):
        load_dataset("ImageNet", root)
    (images / "val" / "n00000000" / "a.JPEG").unlink()
    (images / "val" / "n00000000").rmdir()
    (images / "val" / "lost+found").rmdir()
    (images / "val" / WNIDS[2] / "ILSVRC2012_val_00000002.JPEG").unlink()
    with pytest.raises(ValueError, match=rf"empty class folders: \['{WNIDS[2]}'\]"):
        load_dataset("ImageNet", root)
    (images / "val" / WNIDS[2]).rmdir()
    with pytest.raises(ValueError, match=rf"different classes: 1 are(.|\n)*{WNIDS[2]}"):
        load_dataset("ImageNet", root)


DEVKIT = "n01440764 1 tench\nn01443537 2 goldfish\nn01484850 3 great_white_shark\nn01491361 4 tiger_shark\n"
KAGGLE = "n01440764 tench, Tinca tinca\nn01443537 goldfish\nn01484850 great white shark\nn01491361 tiger shark\n"


@pytest.mark.parametrize("text", ["", "tench\n", "n01440764\n", "n01440764 tench\nn01440764 goldfish\n"])
def test_a_list_of_names_that_is_wrong(root, text):
    (root / "imagenet" / "classnames.txt").write_text(text)
    with pytest.raises(ValueError, match=r"classnames\.txt should have one line for each class"):
        load_dataset("ImageNet", root)
    for numbered in (DEVKIT, DEVKIT.replace(" ", "\t", 2), "n01440764 1\nn01443537 2\n"):
        (root / "imagenet" / "classnames.txt").write_text(numbered)
        with pytest.raises(ValueError, match="a column of numbers before the names"):
            load_dataset("ImageNet", root)


def test_names_that_are_not_clips_are_told(root):
    file = root / "imagenet" / "classnames.txt"
    file.write_text(KAGGLE)
    with pytest.warns(UserWarning, match=r"1 names in .*'tench, Tinca tinca' \(CLIP: 'tench'\)"):
        assert load_dataset("ImageNet", root).classnames[0] == "tench, Tinca tinca"
    for text in (LIST, LIST.replace(" ", "\t", 1), "\ufeff" + LIST, LIST.replace("\n", "\r\n")):
        file.write_bytes(text.encode())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_dataset("ImageNet", root).classnames[0] == "tench"
    file.write_bytes("n01440764 caf\u00e9".encode("latin-1"))
    with pytest.raises(ValueError, match=r"classnames\.txt is not a text in UTF-8"):
        load_dataset("ImageNet", root)


def test_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("COOP_EDU_DATA", raising=False)
    tree = r"imagenet/\n +images/ +MISSING\n +images/val/ +MISSING(.|\n)*image-net"
    with pytest.raises(FileNotFoundError, match=tree):
        load_dataset("ImageNet", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"imagenet-r/ +MISSING(.|\n)*No root"):
        load_dataset("ImageNet-R")
