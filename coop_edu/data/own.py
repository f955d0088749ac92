"""Your own images as a dataset: class folders, train and test folders, a split file, or a table."""

from __future__ import annotations

import csv
import random
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from coop_edu.clip.templates import clean_classnames, fill
from coop_edu.data.contents import warn_of_copies
from coop_edu.data.dataset import IMAGE_SUFFIXES, Dataset, Example, class_folders, images_in
from coop_edu.data.split_file import SPLITS, SplitFileError, check_rows, classnames_of, read_split
from coop_edu.files import read_lines

ImagesOf = dict[str, list[Path]]  # class folder -> its images
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
COLUMNS = ("image", "class", "split")
SEPARATORS = {".csv": ",", ".tsv": "\t"}


def from_folder(
    path: str | Path, *, template: str = "a photo of a {}.", seed: int = 1, names: Mapping[str, str] | None = None
) -> Dataset:
    """Your own images: `path/<class name>/<any name>.png` (or jpg ...) becomes a dataset named after the folder.

    Each class is shuffled and split as the authors do: about 50 % train, 20 % val and 30 % test, at least one image in
    each.  The shuffle depends on `seed` and the folder's name only, so a new class does not change the other classes'
    split.  A folder with `train/` and `test/` (and perhaps `val/`), each with class folders, keeps its split; without
    val/, a fifth of train/ becomes it.  If there is no test/, val/ becomes the test split, as in ImageNet.
    names: class names for folders that have other names, {folder: class name}.
    A UserWarning counts the files that are not images, names copies of an image in two splits or classes, and class
    names that are codes (`suggest_names`); hidden files are ignored.
    Raises FileNotFoundError without such a folder; ValueError, which names every class with too few images.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected one folder per class, as in {folder}/cat/1.png")
    subfolders = [entry.name for entry in class_folders(folder)]
    skipped: list[Path] = []
    if {name.lower() for name in subfolders} <= SPLIT_FOLDERS.keys() and "train" in map(str.lower, subfolders):
        splits = _existing_split(folder, subfolders, seed, skipped)
    else:
        splits = _shuffled(folder, _images(folder, skipped), seed)
    if skipped:
        warnings.warn(
            f"{len(skipped)} files or folders in the class folders of {folder} are not images, such as "
            f"{skipped[0].name!r}, and are left out. Images end in {', '.join(sorted(IMAGE_SUFFIXES))}.",
            stacklevel=2,
        )
    folders = sorted({name for part in splits.values() for name in part})
    if unknown := sorted(set(names or {}) - set(folders)):
        raise ValueError(f"names has folders that are not in {folder}: {', '.join(unknown[:10])}")
    name_of = {name: (names or {}).get(name, name) for name in folders}
    classnames = tuple(name_of.values())
    clean_classnames(classnames)  # ValueError for names that CLIP would read alike
    lists = {
        split: tuple(
            Example(file, label, name_of[name])
            for label, name in enumerate(folders)
            for file in splits[split].get(name, ())
        )
        for split in SPLITS
    }
    return _checked(
        Dataset(folder.resolve().name, classnames, **lists, template=template, card={"source": str(folder)})
    )


def from_pairs(
    name: str,
    classnames: Sequence[str],
    train: Iterable[Any],
    test: Iterable[Any],
    val: Iterable[Any] = (),
    *,
    template: str = "a photo of a {}.",
    seed: int = 1,
) -> Dataset:
    """A dataset from sequences of (image, label), as torchvision has them, or of {"image": ..., "label": ...}, as
    Hugging Face has them.

    Labels count from 0 and are places in classnames.  Without val, a fifth of each class's training images becomes it.
    All images are kept in memory.  Raises IndexError for a label without a name, and for -1.

        cifar = partial(torchvision.datasets.CIFAR10, "data")
        from_pairs("CIFAR10", cifar(train=True).classes, cifar(train=True), cifar(train=False))
    """
    lists = {split: list(map(_pair, pairs)) for split, pairs in (("train", train), ("val", val), ("test", test))}
    if not lists["val"]:
        by_class: dict[str, list] = {}
        for pair in lists["train"]:
            by_class.setdefault(classnames[pair[1]], []).append(pair)
        if single := [class_ for class_, pairs in by_class.items() if len(pairs) < 2]:
            raise ValueError(f"one image each of {', '.join(single[:10])}: too few to hold out validation images")
        train_of, val_of = _hold_out(by_class, seed)
        lists |= {"train": [*chain(*train_of.values())], "val": [*chain(*val_of.values())]}
    train, val, test = (
        tuple(Example(image, label, classnames[label]) for image, label in lists[split]) for split in SPLITS
    )
    return Dataset(name, tuple(classnames), train, val, test, template=template)


def _pair(row: Any) -> tuple[Any, int]:
    image, label = (row["image"], row["label"]) if isinstance(row, Mapping) else row
    if int(label) < 0:  # Python would take a name from the end of the list
        raise IndexError(f"expected labels from 0 on, got {int(label)}: hidden labels cannot be used")
    return image, int(label)


def suggest_names(dataset: Dataset) -> dict[str, str]:
    """Class names that CLIP can read, for folders that are called by codes: {folder: name}.

    "001.Alarm_Clock" and "n02085621-alarm clock" lose their number, and "AlarmClock" gets a space.

        from_folder(path, names=suggest_names(from_folder(path)))
    """
    names = {name: re.sub(r"^(n\d{8}|\d+)[-._ ]+(?=[^\W\d])", "", name) for name in dataset.classnames}
    return {name: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", new) for name, new in names.items()}


def _checked(dataset: Dataset) -> Dataset:
    """The dataset, after warnings for what would silently make its numbers wrong."""
    warn_of_copies(dataset)
    codes = {name: new for name, new in suggest_names(dataset).items() if new != name or name.isdigit()}
    if 2 * len(codes) >= len(dataset.classnames):  # a single "iPhone" is a name
        name = next(iter(codes))
        warnings.warn(
            f"{len(codes)} class names of {dataset.name} look like codes: CLIP would read "
            f"{fill(dataset.template, [name])[0]!r}. Give names in words: names={{{name!r}: {codes[name]!r}, ...}}, on "
            "the command line --names names.csv. suggest_names(dataset) makes some.",
            stacklevel=3,
        )
    return dataset


def from_split_file(
    path: str | Path, images: str | Path | None = None, *, template: str = "a photo of a {}."
) -> Dataset:
    """A dataset from a split file in the authors' JSON schema, or from a table (.csv, .tsv) of image, class and split.

    images: the folder that the paths are relative to; None: the folder of the file.  The first line of a table is
    "image,class,split", and its split is train, val or test; labels are ranks of the class names.
    Raises FileNotFoundError without the file; SplitFileError (a ValueError), which lists all that is wrong with it.
    """
    path = Path(path).expanduser()
    images = path.parent if images is None else Path(images).expanduser()
    is_table = path.suffix.lower() in SEPARATORS
    splits = check_rows(_table(path), images, path) if is_table else read_split(path, images)
    names = classnames_of(splits)
    clean_classnames(names)  # ValueError for names that CLIP would read alike
    return _checked(Dataset(path.stem, names, **splits, template=template, card={"source": str(path)}))


def _table(path: Path) -> dict[str, list]:
    reader = csv.DictReader(read_lines(path), delimiter=SEPARATORS[path.suffix.lower()], strict=True)
    if not set(COLUMNS) <= set(reader.fieldnames or ()):
        problem = f"expected the columns {', '.join(COLUMNS)}, got {reader.fieldnames}"
        raise SplitFileError(path, [problem], "Separate the columns by commas, in a .tsv by tabs.")
    try:
        lines = list(reader)
    except csv.Error as error:
        raise SplitFileError(path, [f"line {reader.line_num}: {error}"], "Is a quote not closed?") from error
    wrong = [
        f"row {number}: expected an image, a class and a split of {', '.join(SPLITS)}, got {line}"
        for number, line in enumerate(lines, start=1)
        if not (line["image"] and line["class"] and line["split"] in SPLITS)
    ]
    if wrong:
        raise SplitFileError(path, wrong, "A name with a comma needs quotes.")
    label = {name: rank for rank, name in enumerate(sorted({line["class"] for line in lines}))}
    return {
        split: [[line["image"], label[line["class"]], line["class"]] for line in lines if line["split"] == split]
        for split in SPLITS
    }


# ------------------------------------------------------------------------------------------------- folders to lists
def _images(folder: Path, skipped: list[Path]) -> ImagesOf:
    """{class folder: its images}, sorted.  Files that are not images are added to `skipped`."""
    images_of = {inner.name: images_in(inner) for inner in class_folders(folder)}
    for name, images in images_of.items():
        entries = {entry for entry in (folder / name).iterdir() if not entry.name.startswith(".")}
        skipped += sorted(entries - set(images))
    if not images_of:
        raise ValueError(f"no class folders in {folder}: expected one folder per class, as in {folder}/cat/1.png")
    return images_of


def _shuffled(folder: Path, images_of: ImagesOf, seed: int) -> dict[str, ImagesOf]:
    """A split into train, val and test."""
    _check_sizes(folder, images_of, 3, "train, val, test")
    splits: dict[str, ImagesOf] = {split: {} for split in SPLITS}
    for name, files in images_of.items():
        random.Random(f"{seed}/{name}").shuffle(files)
        n_val, n_test = max(1, round(0.2 * len(files))), max(1, round(0.3 * len(files)))
        splits["val"][name] = files[:n_val]
        splits["test"][name] = files[n_val : n_val + n_test]
        splits["train"][name] = files[n_val + n_test :]
    return splits


def _existing_split(folder: Path, subfolders: list[str], seed: int, skipped: list[Path]) -> dict[str, ImagesOf]:
    """The split that the folders train/, test/ and perhaps val/ make."""
    splits = {SPLIT_FOLDERS[name.lower()]: _images(folder / name, skipped) for name in subfolders}
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    if "test" not in splits or len(splits) < len(subfolders):
        raise ValueError(f"expected train/, test/ and perhaps val/ in {folder}, got {subfolders}")
    for split, images_of in splits.items():
        _check_sizes(folder / split, images_of, 1 if "val" in splits or split != "train" else 2, "train, val")
        if unknown := sorted(set(images_of) - set(splits["train"])):
            raise ValueError(f"{folder / split} has classes that train/ does not have: {', '.join(unknown[:10])}")
    if "val" not in splits:
        splits["train"], splits["val"] = _hold_out(splits["train"], seed)
    return splits


def _hold_out(by_class: dict[str, list], seed: int) -> tuple[dict[str, list], dict[str, list]]:
    """(training, validation): a fifth of each class, at least one image, is for validation."""
    train, val = {}, {}
    for name, images in by_class.items():
        random.Random(f"{seed}/{name}").shuffle(images)
        n_val = max(1, round(0.2 * len(images)))
        train[name], val[name] = images[n_val:], images[:n_val]
    return train, val


def _check_sizes(folder: Path, images_of: ImagesOf, at_least: int, parts: str) -> None:
    if few := [f"{name} ({len(files)})" for name, files in images_of.items() if len(files) < at_least]:
        raise ValueError(
            f"every class needs at least {at_least} images ({parts}), but these in {folder} have fewer: "
            f"{', '.join(few)}. Images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
