"""The paper's ten data sets beside ImageNet: found, named and split as the authors do, or an error says why not."""

import gzip
import json
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from coop_edu.data import paper
from coop_edu.data.datasets import DATASETS, load_dataset
from coop_edu.data.paper_places import IMAGENET, PAPER_DATASETS
from coop_edu.data.paper_splits import build_rows, hold_out
from coop_edu.data.split_file import SplitFileError, read_split
from coop_edu.scales import PAPER_TASKS, SCALES

REAL = Path(__file__).parent / "data" / "splits"


@pytest.fixture(autouse=True)
def no_root_from_outside(monkeypatch):
    monkeypatch.delenv("COOP_EDU_DATA", raising=False)


def real_split(name):
    """The authors' own split file: {"train": [[path, label, name], ...], ...}."""
    return json.loads(gzip.decompress((REAL / f"split_zhou_{name}.json.gz").read_bytes()))


def touch(folder, *paths):
    """Empty files: nobody opens an image here."""
    for parent in {os.path.dirname(f"{folder}/{path}") for path in paths}:
        os.makedirs(parent, exist_ok=True)
    for path in paths:
        os.close(os.open(f"{folder}/{path}", os.O_CREAT))


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def files_in(folder):
    return sorted(os.path.relpath(f"{where}/{name}", folder) for where, _, names in os.walk(folder) for name in names)


def paths(rows):
    return {row[0] for row in rows}


# -------------------------------------------------------------------------------------------------- the table
def test_the_table_has_the_papers_data_sets_with_the_papers_prompts():
    assert {"ImageNet", *PAPER_DATASETS} == set(PAPER_TASKS)
    assert {"ImageNet", *SCALES["paper"].variants} == set(IMAGENET)
    assert {*PAPER_DATASETS, *IMAGENET} <= set(DATASETS)
    for place in {**PAPER_DATASETS, **IMAGENET}.values():
        assert place.template.count("{}") == 1 and place.source.startswith("https://")


def counted(rows):
    """The sizes of a split file, as the table words them."""
    classes = {row[1] for split in rows.values() for row in split}
    return f"{len(classes)} classes: " + ", ".join(f"{len(rows[s]):,} {s}" for s in ("train", "val", "test"))


@pytest.mark.parametrize("name", ["Caltech101", "DescribableTextures", "EuroSAT", "OxfordPets"])
def test_sizes_are_those_of_the_authors_files(name):
    assert PAPER_DATASETS[name].published == counted(real_split(name))


# -------------------------------------------------------------------------- with the authors' own split files
@pytest.mark.parametrize("name", ["Caltech101", "DescribableTextures"])
def test_an_authors_split_file_and_the_rule_it_was_made_by(tmp_path, name):
    place, rows = PAPER_DATASETS[name], real_split(name)
    folder = tmp_path / place.folder
    touch(folder / place.images, *(row[0] for split in rows.values() for row in split))
    write(folder / f"split_zhou_{name}.json", json.dumps(rows))
    before = files_in(tmp_path)
    loaded = load_dataset(name, tmp_path)
    assert files_in(tmp_path) == before  # nothing is written into a data set's folder
    for split, examples in loaded.splits.items():
        assert [
            [e.image.relative_to(folder / place.images).as_posix(), e.label, e.classname] for e in examples
        ] == rows[split]

    built = build_rows(name, folder, seed=1)  # other images, but the same names, labels and numbers of each class
    for split in rows:
        assert Counter((label, cls) for _, label, cls in built[split]) == Counter((y, c) for _, y, c in rows[split])
    assert paths(built["train"]) != paths(rows["train"])
    assert set.union(*map(paths, built.values())) == set.union(*map(paths, rows.values()))


def test_eurosat_names(tmp_path):
    rows = real_split("EuroSAT")
    for folder in {row[0].split("/")[0] for row in rows["train"]}:
        touch(tmp_path / "eurosat" / "2750" / folder, *(f"{i}.jpg" for i in range(10)))
    built = build_rows("EuroSAT", tmp_path / "eurosat", seed=1)
    assert {(label, name) for _, label, name in built["train"]} == {(y, name) for _, y, name in rows["train"]}


def test_pets_from_the_official_lists(tmp_path):
    rows, folder = real_split("OxfordPets"), tmp_path / "oxford_pets" / "annotations"
    for file, some in (("trainval.txt", rows["train"] + rows["val"]), ("test.txt", rows["test"])):
        write(folder / file, "".join(f"{path[:-4]} {label + 1} 1 1\n" for path, label, _ in some))
    built = build_rows("OxfordPets", tmp_path / "oxford_pets", seed=1)
    for split in rows:
        assert Counter((y, name) for _, y, name in built[split]) == Counter((y, name) for _, y, name in rows[split])
    assert built["test"] == rows["test"]


def test_holding_out_a_fifth_gives_the_authors_numbers():
    sizes = {name: n for n, name in enumerate(["a", "b", "c", "d"], start=79)}  # 0.2 * 79 = 15.8 -> 16, ... 0.2 * 82
    rows = [[f"{name}{i}", label, name] for label, (name, n) in enumerate(sizes.items()) for i in range(n)]
    train, val = hold_out(rows, random.Random(1))
    assert Counter(row[2] for row in val) == {"a": 16, "b": 16, "c": 16, "d": 16}
    assert paths(train) | paths(val) == paths(rows) and not paths(train) & paths(val)


# --------------------------------------------------------------- class names, and splits without a split file
def make_pets(folder):
    stems = [f"{breed}_{i}" for breed in ("Abyssinian", "great_pyrenees") for i in range(10)]
    lines = [f"{stem} {1 + i // 10} 1 1" for i, stem in enumerate(stems)]
    touch(folder / "images", *(f"{stem}.jpg" for stem in stems))
    write(folder / "annotations" / "trainval.txt", "\n".join(lines[:6] + lines[10:16]))
    write(folder / "annotations" / "test.txt", "\n".join(lines[6:10] + lines[16:]))
    return ("abyssinian", "great_pyrenees"), "images/Abyssinian_0.jpg"


def make_cars(folder):
    from scipy.io import savemat

    names = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"]
    savemat(make(folder / "devkit" / "cars_meta.mat"), {"class_names": np.array(names, dtype=object)})
    lists = {"cars_train": folder / "devkit" / "cars_train_annos.mat"}
    lists["cars_test"] = folder / "cars_test_annos_withlabels.mat"
    for split, file in lists.items():
        found = np.zeros(8, dtype=[("class", object), ("fname", object)])
        for i in range(8):
            found[i] = (2 - i // 4, f"{i + 1:05d}.jpg")  # the second class comes first
        savemat(file, {"annotations": found})
        touch(folder / split, *(f"{i + 1:05d}.jpg" for i in range(8)))
    return ("2000 AM General Hummer SUV", "2012 Ram C/V Cargo Van Minivan"), "cars_train/00001.jpg"


def make_flowers(folder):
    from scipy.io import savemat

    labels = np.array([[2] * 6 + [1] * 6])
    savemat(make(folder / "imagelabels.mat"), {"labels": labels})
    write(folder / "cat_to_name.json", '{"1": "pink primrose", "2": "hard-leaved pocket orchid"}')
    touch(folder / "jpg", *(f"image_{i:05d}.jpg" for i in range(1, 13)))
    return ("pink primrose", "hard-leaved pocket orchid"), "jpg/image_00001.jpg"


def make_scenes(folder):
    images = [f"/a/{place}/sun_{i}.jpg" for place in ("abbey", "apse/indoor", "art_studio") for i in range(8)]
    write(folder / "ClassName.txt", "/a/abbey\n/a/apse/indoor\n/a/art_studio\n")
    write(folder / "Training_01.txt", "\n".join(images[::2]))
    write(folder / "Testing_01.txt", "\n".join(images[1::2]))
    touch(folder / "SUN397", *(image[1:] for image in images))
    return ("abbey", "indoor apse", "art_studio"), "SUN397/a/abbey/sun_0.jpg"


def make_actions(folder):
    lists = folder / "ucfTrainTestlist"
    clips = [f"{action}/v_{action}_g{i}.avi" for action in ("ApplyEyeMakeup", "YoYo") for i in range(8)]
    write(lists / "classInd.txt", "1 ApplyEyeMakeup\n2 YoYo\n")
    write(lists / "trainlist01.txt", "\n".join(f"{clip} {1 + clip.startswith('Y')}" for clip in clips[::2]))
    write(lists / "testlist01.txt", "\n".join(clips[1::2]))
    for clip in clips:
        frame = clip.replace("ApplyEyeMakeup/", "Apply_Eye_Makeup/").replace("YoYo/", "Yo_Yo/")[:-4] + ".jpg"
        touch(folder / "UCF-101-midframes", frame)
    return ("Apply_Eye_Makeup", "Yo_Yo"), "UCF-101-midframes/Yo_Yo/v_YoYo_g0.jpg"


def make_food(folder):
    for name in ("apple_pie", "baby_back_ribs"):
        touch(folder / "images" / name, ".DS_Store", "notes.txt", *(f"{i}.jpg" for i in range(10)))
    return ("apple_pie", "baby_back_ribs"), "images/apple_pie/0.jpg"


def make_caltech(folder):
    for name in ("accordion", "airplanes", "BACKGROUND_Google", "Faces", "Faces_easy", "Leopards", "Motorbikes"):
        touch(folder / "101_ObjectCategories" / name, *(f"{i}.jpg" for i in range(10)))
    return ("face", "leopard", "motorbike", "accordion", "airplane"), "101_ObjectCategories/accordion/0.jpg"


def make(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


MAKERS = {
    "OxfordPets": make_pets, "StanfordCars": make_cars, "OxfordFlowers": make_flowers, "SUN397": make_scenes,
    "UCF101": make_actions, "Food101": make_food, "Caltech101": make_caltech,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_class_names_and_a_split_of_ones_own(tmp_path, name, capsys):
    folder = tmp_path / PAPER_DATASETS[name].folder
    classnames, image = MAKERS[name](folder)
    before = files_in(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"split_zhou_{name}\.json +MISSING(.|\n)*split_seed=1"):
        load_dataset(name, tmp_path)
    assert files_in(tmp_path) == before  # only when it is asked for

    loaded = load_dataset(name, tmp_path, split_seed=1)
    assert loaded.classnames == classnames
    images = [e.image for split in loaded.splits.values() for e in split]
    assert folder / image in images and len(images) == len(set(images))
    assert all({e.classname for e in split} == set(classnames) for split in loaded.splits.values())
    assert sorted(set(files_in(tmp_path)) - set(before)) == [f"{PAPER_DATASETS[name].folder}/split_seed1_{name}.json"]
    loaded.describe()
    assert "NOT the authors'" in capsys.readouterr().out

    assert load_dataset(name, tmp_path, split_seed=1) == loaded
    assert load_dataset(name, tmp_path, split_seed=2).splits != loaded.splits


def test_the_authors_split_file_wins(tmp_path):
    make_food(tmp_path / "food-101")
    rows = [[f"{name}/{i}.jpg", y, name] for y, name in enumerate(["apple_pie", "baby_back_ribs"]) for i in range(3)]
    split = {"train": rows[::3], "val": [], "test": rows[1::3]}
    write(tmp_path / "food-101" / "split_zhou_Food101.json", json.dumps(split))
    loaded = load_dataset("Food101", tmp_path, split_seed=1)
    assert [e.image.name for e in loaded.train] == ["0.jpg", "0.jpg"] and "NOT" not in loaded.card["split"]
    assert not (tmp_path / "food-101" / "split_seed1_Food101.json").exists()


def make_aircraft(folder, line="0034309 707-320"):
    write(folder / "variants.txt", "707-320\nBoeing 717\n")
    for number, split in enumerate(("train", "val", "test")):
        write(folder / f"images_variant_{split}.txt", f"{line}\n100{number} Boeing 717\n")
        touch(folder / "images", "0034309.jpg", f"100{number}.jpg")


def test_aircraft_have_official_lists(tmp_path):
    make_aircraft(tmp_path / "fgvc_aircraft")
    loaded = load_dataset("FGVCAircraft", tmp_path)
    assert loaded.classnames == ("707-320", "Boeing 717") and loaded.card["split"] == "the official one"
    assert loaded.test[1].image == tmp_path / "fgvc_aircraft" / "images" / "1002.jpg"


# ------------------------------------------------------------------------------------------ what is not there
def test_nothing_found_says_where_it_looked_and_what_is_expected(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"COOP_EDU_DATA(.|\n)*eurosat/(.|\n)*2750/ +MISSING(.|\n)*No root"):
        load_dataset("EuroSAT")
    monkeypatch.setenv("COOP_EDU_DATA", str(tmp_path))
    touch(tmp_path / "eurosat" / "2750" / "Forest", "1.jpg")
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("EuroSAT")
    message = str(caught.value)
    facts = f"{tmp_path}/", PAPER_DATASETS["EuroSAT"].source, "DATASETS.md", "download=True"
    assert all(part in message for part in (*facts, "2750/ ", "found", "split_zhou_EuroSAT.json ", "MISSING"))
    with pytest.raises(FileNotFoundError, match=f"root={str(tmp_path)!r}"):
        load_dataset("EuroSAT", tmp_path / "eurosat")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_dataset("EuroSAT", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"cars_train/ +MISSING"):
        load_dataset("StanfordCars")
    assert files_in(tmp_path) == ["eurosat/2750/Forest/1.jpg"]


# ---------------------------------------------------------------------------------------------- what is wrong
def test_a_split_file_that_is_wrong(tmp_path):
    touch(tmp_path / "eurosat" / "2750", "a.jpg")
    rows = [["a.jpg", 0, "River"], ["gone.jpg", 0, "River"]]
    write(tmp_path / "eurosat" / "split_zhou_EuroSAT.json", json.dumps({"train": rows, "val": [], "test": []}))
    with pytest.raises(SplitFileError, match="missing image"):
        load_dataset("EuroSAT", tmp_path)


def test_official_lists_that_are_wrong(tmp_path):
    make_aircraft(tmp_path / "climbs" / "fgvc_aircraft", line="../../secret 707-320")
    with pytest.raises(SplitFileError, match="leads out of"):
        load_dataset("FGVCAircraft", tmp_path / "climbs")
    make_aircraft(tmp_path / "unknown" / "fgvc_aircraft", line="0034309 Concorde")
    with pytest.raises(ValueError, match=r"images_variant_train\.txt has a line(.|\n)*Concorde"):
        load_dataset("FGVCAircraft", tmp_path / "unknown")
    make_pets(tmp_path / "oxford_pets")
    write(tmp_path / "oxford_pets" / "annotations" / "test.txt", "Abyssinian_0\n")
    with pytest.raises(ValueError, match=r"test\.txt has a line(.|\n)*'Abyssinian_0'"):
        load_dataset("OxfordPets", tmp_path, split_seed=1)
    make_flowers(tmp_path / "oxford_flowers")
    write(tmp_path / "oxford_flowers" / "imagelabels.mat", "cut")
    with pytest.raises(ValueError, match=r"imagelabels\.mat"):
        load_dataset("OxfordFlowers", tmp_path, split_seed=1)


def test_a_class_too_small_and_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    make_food(tmp_path / "food-101")
    touch(tmp_path / "food-101" / "images" / "churros", "1.jpg", "2.jpg")
    with pytest.raises(ValueError, match=r"'churros' has 2 image\(s\)"):
        load_dataset("Food101", tmp_path, split_seed=1)
    touch(tmp_path / "food-101" / "images" / "churros", "3.jpg", "4.jpg")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paper, "write_split", full)
    with pytest.raises(OSError, match="No space"):
        load_dataset("Food101", tmp_path, split_seed=1)
    assert not list(tmp_path.rglob("split_*"))


# ------------------------------------------------------------------------------------------------ downloading
class FakeDownload:
    """Writes what torchvision.datasets.DTD leaves behind."""

    calls = 0

    def __init__(self, root, download):
        FakeDownload.calls += 1
        for name in ("banded", "dotted"):
            touch(root / "dtd" / "dtd" / "images" / name, *(f"{i}.jpg" for i in range(10)))
        touch(root / "dtd" / "dtd" / "imdb", "imdb.mat")
        touch(root / "dtd" / "dtd" / "labels", "train1.txt")


def test_download_goes_into_the_authors_folder_tree_once(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setattr(torchvision.datasets, "DTD", FakeDownload)
    monkeypatch.setattr(FakeDownload, "calls", 0)
    with pytest.raises(FileNotFoundError, match=r"images/ +found(.|\n)*split_zhou_DescribableTextures.json +MISSING"):
        load_dataset("DescribableTextures", tmp_path, download=True)
    loaded = load_dataset("DescribableTextures", tmp_path, download=True, split_seed=3)
    assert FakeDownload.calls == 1 and loaded.classnames == ("banded", "dotted")
    assert [path.name for path in tmp_path.iterdir()] == ["dtd"]
    made = {path.name for path in (tmp_path / "dtd").iterdir()}
    assert made == {"images", "imdb", "labels", "split_seed3_DescribableTextures.json"}
    split = tmp_path / "dtd" / "split_seed3_DescribableTextures.json"
    assert read_split(split, tmp_path / "dtd" / "images") == loaded.splits


def test_a_download_that_fails_and_one_that_is_not_possible(tmp_path, monkeypatch):
    import torchvision

    def fails(root, download):
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(torchvision.datasets, "EuroSAT", fails)
    with pytest.raises(OSError, match=r"EuroSAT could not be downloaded(.|\n)*corrupted(.|\n)*by hand: https://"):
        load_dataset("EuroSAT", tmp_path, download=True)
    with pytest.raises(FileNotFoundError, match=r"by hand(.|\n)*cars_test/ +MISSING"):
        load_dataset("StanfordCars", tmp_path, download=True)


def test_torchvision_has_what_the_table_names():
    import torchvision

    for place in PAPER_DATASETS.values():
        if place.torchvision:
            assert hasattr(torchvision.datasets, place.torchvision) and place.images in place.moves.values()
