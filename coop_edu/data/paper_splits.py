"""How each of the paper's datasets names its classes, and how a split is made if the authors' split file is missing.

The authors made their split files once, by one of two rules.  An official test split stays, and a fifth of each class's
training images is held out for validation.  Without an official split, 50 % of a class trains, 20 % validates and 30 %
tests.  The rules are repeated here from an explicit seed.  The authors shuffled with an unrecorded state, so a split
made here has other images than theirs.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

from coop_edu.data.dataset import class_folders, images_in
from coop_edu.data.paper_places import PAPER_DATASETS
from coop_edu.files import read_lines

Rows = list[list]  # [path below the image folder, label, class name], as in a split file
Classes = list[tuple[int, str, list[str]]]  # label, class name, paths


def build_rows(name: str, folder: Path, seed: int) -> dict[str, Rows]:
    """A split of a dataset in `folder`, made the authors' way: {"train": [[path, label, name], ...], ...}.

    Raises ValueError for a class that is too small to be split, and for a malformed line of a list.
    """
    generator = random.Random(seed)
    if name in OFFICIAL_TEST:
        trainval, test = OFFICIAL_TEST[name](folder)
        train, val = hold_out(trainval, generator)
        return {"train": train, "val": val, "test": test}
    classes = flowers(folder) if name == "OxfordFlowers" else by_folder(name, folder)
    return fifty_twenty_thirty(classes, generator)


def hold_out(rows: Rows, generator: random.Random) -> tuple[Rows, Rows]:
    """(training, validation): each class is shuffled, and its first fifth is for validation."""
    by_class: dict[int, Rows] = {}  # a dict keeps the order of first appearance
    for row in rows:
        by_class.setdefault(row[1], []).append(row)
    train: Rows = []
    val: Rows = []
    for items in by_class.values():
        _check_size(items[0][2], len(items), at_least=3)
        generator.shuffle(items)
        n_val = round(0.2 * len(items))
        val += items[:n_val]
        train += items[n_val:]
    return train, val


def fifty_twenty_thirty(classes: Classes, generator: random.Random) -> dict[str, Rows]:
    """Each class is shuffled: the first half trains, the next fifth validates, the rest tests."""
    rows: dict[str, Rows] = {"train": [], "val": [], "test": []}
    for label, name, paths in classes:
        _check_size(name, len(paths), at_least=4)
        generator.shuffle(paths)
        n_train, n_val = round(0.5 * len(paths)), round(0.2 * len(paths))
        parts = {"train": paths[:n_train], "val": paths[n_train:][:n_val], "test": paths[n_train + n_val :]}
        for split, part in parts.items():
            rows[split] += [[path, label, name] for path in part]
    return rows


def _check_size(name: str, n: int, at_least: int) -> None:
    if n < at_least:
        raise ValueError(
            f"class {name!r} has {n} image(s), and a split needs at least {at_least}: is the dataset complete?"
        )


# ------------------------------------------------------------------------------------- nothing official: by class
def by_folder(name: str, folder: Path) -> Classes:
    """One folder per class, in the order of the folders' names."""
    place = PAPER_DATASETS[name]
    folders = [inner for inner in class_folders(folder / place.images) if inner.name not in place.ignored]
    return [
        (label, place.names.get(inner.name, inner.name), [f"{inner.name}/{image.name}" for image in images_in(inner)])
        for label, inner in enumerate(folders)
    ]


def flowers(folder: Path) -> Classes:
    """imagelabels.mat has the labels of images 1, 2, ..., counted from 1; cat_to_name.json has the labels' names."""
    names = json.loads((folder / "cat_to_name.json").read_text(encoding="utf-8"))
    paths: dict[int, list[str]] = {}
    for number, label in enumerate(_mat(folder / "imagelabels.mat")["labels"].ravel().tolist(), start=1):
        paths.setdefault(int(label), []).append(f"image_{number:05d}.jpg")
    return [(label - 1, names[str(label)], images) for label, images in paths.items()]


# --------------------------------------------------------------------------------- an official test split: by lists
def pets(folder: Path) -> tuple[Rows, Rows]:
    """Lines "Abyssinian_100 1 1 1": the class is the file's name without its number, in lower case."""

    def row(line: str) -> list:
        stem, label, *_ = line.split(" ")
        return [f"{stem}.jpg", int(label) - 1, stem.rpartition("_")[0].lower()]

    annotations = folder / "annotations"
    return _rows(annotations / "trainval.txt", row), _rows(annotations / "test.txt", row)


def cars(folder: Path) -> tuple[Rows, Rows]:
    """A name ends in the year, as in "Audi TTS Coupe 2012"; the year is moved to the front."""
    names = [str(name) for name in _mat(folder / "devkit" / "cars_meta.mat")["class_names"]]

    def rows(images: str, file: Path) -> Rows:
        table = []
        for entry in _mat(file)["annotations"]:
            label = int(entry["class"]) - 1
            words, _, year = names[label].rpartition(" ")
            table.append([f"{images}/{entry['fname']}", label, f"{year} {words}"])
        return table

    train = rows("cars_train", folder / "devkit" / "cars_train_annos.mat")
    return train, rows("cars_test", folder / "cars_test_annos_withlabels.mat")


def scenes(folder: Path) -> tuple[Rows, Rows]:
    """SUN397's "/a/apse/indoor" is class "indoor apse": the letter is dropped, and the parts are reversed."""
    labels = {line: label for label, line in enumerate(read_lines(folder / "ClassName.txt"))}

    def row(line: str) -> list:
        where = line.rpartition("/")[0]
        return [line[1:], labels[where], " ".join(reversed(where.split("/")[2:]))]

    return _rows(folder / "Training_01.txt", row), _rows(folder / "Testing_01.txt", row)


def actions(folder: Path) -> tuple[Rows, Rows]:
    """UCF101's folder "ApplyEyeMakeup" is class "Apply_Eye_Makeup", which is also the folder of middle frames."""
    lists = folder / "ucfTrainTestlist"
    labels = {name: int(number) - 1 for number, name in map(str.split, read_lines(lists / "classInd.txt"))}

    def row(line: str) -> list:
        action, clip = line.split(" ")[0].split("/")
        name = "_".join(re.findall("[A-Z][^A-Z]*", action))
        return [f"{name}/{clip.removesuffix('.avi')}.jpg", labels[action], name]

    return _rows(lists / "trainlist01.txt", row), _rows(lists / "testlist01.txt", row)


OFFICIAL_TEST: dict[str, Callable[[Path], tuple[Rows, Rows]]] = {
    "OxfordPets": pets,
    "StanfordCars": cars,
    "SUN397": scenes,
    "UCF101": actions,
}


def aircraft(folder: Path) -> dict[str, Rows]:
    """FGVC-Aircraft has three official splits and no split file; a class is a line of variants.txt."""
    labels = {name: label for label, name in enumerate(read_lines(folder / "variants.txt"))}

    def row(line: str) -> list:
        image, name = line.split(" ", 1)
        return [f"{image}.jpg", labels[name], name]

    return {split: _rows(folder / f"images_variant_{split}.txt", row) for split in ("train", "val", "test")}


# -------------------------------------------------------------------------------------------------- reading lists
def _rows(file: Path, row: Callable[[str], list]) -> Rows:
    """A row for each line.  Raises ValueError, which names the file, for a malformed line."""
    rows = []
    for line in read_lines(file):
        try:
            rows.append(row(line))
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f"{file} has a line that does not fit the dataset: {line!r} ({type(error).__name__}: {error}). Copy "
                "the file again."
            ) from error
    return rows


def _mat(file: Path) -> dict:
    """The variables of a MATLAB file, each with at least one dimension."""
    import numpy as np
    from scipy.io import loadmat

    try:
        content = loadmat(file, squeeze_me=True)
    except Exception as error:  # scipy raises many kinds of exception for a damaged file
        raise ValueError(f"cannot read {file}: {error}. Copy it again.") from error
    return {key: np.atleast_1d(value) for key, value in content.items() if not key.startswith("__")}
