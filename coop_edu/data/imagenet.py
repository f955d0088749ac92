"""ImageNet and the four variants that prompts learned on it are tested on (Section 4.2): V2, Sketch, A and R.

Here a label is the rank of a class folder ("n01440764") in sorted order, and its name stands in classnames.txt.
ImageNet's validation images are its test images, as everybody reports it; nothing is selected on them.  A and R
have 200 of the 1000 classes each, not the same ones, and are scored over their own.

The authors' few-shot samples of ImageNet depend on the order in which their disk listed the files, and were never
published: images are sorted here, so a seed always means the same images, but not theirs.  The list of the 1.28
million training images takes about half a gigabyte of memory.

Leaves out: the ten other data sets, and the messages that both share (paper.py).
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from coop_edu.bars import progress_bar
from coop_edu.data.dataset import IMAGE_SUFFIXES, Dataset, Example
from coop_edu.data.paper import card_of, data_root, find
from coop_edu.data.paper_places import GUIDE, Place
from coop_edu.files import read_lines

SAME_ORDER = "sorted by name; the authors' own 16-shot sample of ImageNet cannot be reproduced"
REPOSITORY_ONLY = "MIT (the LICENSE file of its repository; of the images it does not speak)"
IMAGENET: dict[str, Place] = {
    "ImageNet": Place(
        folder="imagenet",
        images="images",
        template="a photo of a {}.",
        published="1,000 classes, as usually given: 1,281,167 train, 50,000 val (also test)",
        licence="non-commercial research and education (the terms of image-net.org, as others quote them)",
        source="https://image-net.org (needs an account)",
        needs=("images/val",),
    ),
    "ImageNetV2": Place(
        folder="imagenetv2",
        images="imagenetv2-matched-frequency-format-val",
        template="a photo of a {}.",
        published="1,000 classes, as usually given: 10,000 test",
        licence=REPOSITORY_ONLY,
        source="https://github.com/modestyachts/ImageNetV2",
    ),
    "ImageNet-Sketch": Place(
        folder="imagenet-sketch",
        images="images",
        template="a photo of a {}.",
        published="1,000 classes, as usually given: 50,889 test",
        licence=REPOSITORY_ONLY,
        source="https://github.com/HaohanWang/ImageNet-Sketch",
    ),
    "ImageNet-A": Place(
        folder="imagenet-adversarial",
        images="imagenet-a",
        template="a photo of a {}.",
        published="200 classes, as usually given: 7,500 test",
        licence=REPOSITORY_ONLY,
        source="https://github.com/hendrycks/natural-adv-examples",
    ),
    "ImageNet-R": Place(
        folder="imagenet-rendition",
        images="imagenet-r",
        template="a photo of a {}.",
        published="200 classes, as usually given: 30,000 test",
        licence="none found: its repository has no LICENSE file",
        source="https://github.com/hendrycks/imagenet-r",
    ),
}


def load_imagenet(name: str, root: str | Path | None = None) -> Dataset:
    """ImageNet, or a variant of it, which is for testing only; see `load_dataset` for root.

    Without images/train, ImageNet is for testing only too.  None of them can be downloaded through torchvision.
    Raises FileNotFoundError with the tree that is expected; ValueError for a flat val/ folder, for class folders that
    no name is known of, that hold no image, or that differ between train/ and val/.
    """
    place = IMAGENET[name]
    folder = find(name, place, data_root(root))
    names = read_classnames(folder, folder.parent)
    if name == "ImageNetV2":
        test = _by_number(folder / place.images, names)
        return _dataset(name, tuple(names.values()), test=test)
    if name != "ImageNet":
        classes = _class_folders(folder / place.images, names)
        return _dataset(name, _names(classes, names), test=_examples(classes, names))
    val = _class_folders(folder / "images" / "val", names)
    train = _class_folders(folder / "images" / "train", names) if (folder / "images" / "train").is_dir() else {}
    if train and set(train) != set(val):
        differ = sorted(set(train) ^ set(val))
        raise ValueError(
            f"train/ and val/ in {folder / 'images'} have different classes: {len(differ)} stand in one only, such as "
            f"{differ[:5]}. A label is the rank of a class folder, so both must have the same ones."
        )
    test = _examples(val, names)
    return _dataset(name, _names(val, names), train=_examples(train, names), val=test, test=test)


def read_classnames(folder: Path, root: Path) -> dict[str, str]:
    """{class folder: name}, sorted: from classnames.txt in the data set's folder or ImageNet's, else CLIP's own list.

    The authors' classnames.txt is CLIP's list; a UserWarning says which names of another file differ from it.
    Raises ValueError for a file that is not lines of "n01440764 tench", or has numbers in the place of the names.
    """
    file = next((f for f in (folder / "classnames.txt", root / "imagenet" / "classnames.txt") if f.is_file()), None)
    if file is None:
        return _clips_names()
    lines = [line.split(maxsplit=1) for line in read_lines(file)]
    wrong = [
        " ".join(line) for line in lines if not (len(line) == 2 and line[0].startswith("n") and line[0][1:].isdigit())
    ]
    names = {line[0]: line[-1] for line in lines}
    numbered = bool(lines) and all(re.match(r"\d+(\s|$)", line[-1]) for line in lines)
    if wrong or numbered or len(names) != len(lines) or not names:
        columns = ", a column of numbers before the names" if numbered else ""
        raise ValueError(
            f'{file} should have one line for each class, as "n01440764 tench"; {len(lines)} lines, '
            f"{len(names)} different folders, lines of another form: {wrong[:5]}{columns}. Get it again from {GUIDE}, "
            "or remove it: CLIP's own list, which is the same, is then taken."
        )
    known = _clips_names()
    differ = [f"{wnid} {name!r} (CLIP: {known[wnid]!r})" for wnid, name in names.items()
              if wnid in known and name != known[wnid]]  # fmt: skip
    if differ:
        warnings.warn(
            f"{len(differ)} names in {file} are not those of CLIP's list, which the authors used, so figures will "
            f"differ from theirs: {', '.join(differ[:3])}, ... Remove the file to take CLIP's list.",
            stacklevel=3,
        )
    return dict(sorted(names.items()))


def _clips_names() -> dict[str, str]:
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo  # open_clip brings timm, which knows the folders' names

    return dict(zip(ImageNetInfo("imagenet-1k").label_names(), IMAGENET_CLASSNAMES))


# ---------------------------------------------------------------------------------------------------- folders to lists
def _class_folders(images: Path, names: dict[str, str]) -> dict[str, list[Path]]:
    """{class folder: its images}, both sorted."""
    folders = [entry for entry in sorted(images.iterdir()) if _is_class(entry)]
    bar = progress_bar(folders, desc=f"listing {images.name}", unit="class", leave=False, delay=2)
    classes = {folder.name: _images_in(folder) for folder in bar}
    if not classes:
        raise ValueError(_explain_flat(images))
    unknown = sorted(set(classes) - set(names))
    empty = [wnid for wnid, found in classes.items() if not found]
    if unknown or empty:
        raise ValueError(
            f"{images} has folders that are no class of ImageNet: {unknown[:10]}, and class folders without an image: "
            f"{empty[:10]}. Labels are ranks of folders, so one that is wrong shifts all that follow: remove those."
        )
    return classes


def _by_number(images: Path, names: dict[str, str]) -> tuple[Example, ...]:
    """ImageNetV2's folders are called 0 ... 999, and that is the label."""
    classnames = tuple(names.values())
    folders = {int(entry.name): entry for entry in images.iterdir() if _is_class(entry) and entry.name.isdigit()}
    absent = sorted(set(range(len(classnames))) ^ set(folders))
    if absent:
        raise ValueError(
            f"{images} should have a folder for each of {len(classnames)} labels, called 0 to {len(classnames) - 1}; "
            f"{len(absent)} are missing or too many: {absent[:10]}. Unpack the archive again."
        )
    return tuple(
        Example(image, label, classnames[label]) for label in sorted(folders) for image in _images_in(folders[label])
    )


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _images_in(folder: Path) -> list[Path]:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return [folder / name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]


def _explain_flat(images: Path) -> str:
    number = len(_images_in(images))
    seen = sorted(entry for entry in images.iterdir() if not entry.name.startswith("."))
    archives = [entry.name for entry in seen if entry.suffix in (".tar", ".gz", ".tgz", ".zip")]
    if archives and not number:
        return (
            f"{images} holds {len(archives):,} archives that are not unpacked, such as {archives[0]}: unpack each into "
            f"a folder of its name, as in {images}/n01440764/. See {GUIDE}"
        )
    if not number:
        return f"{images} is empty: expected one folder for each class, as in {images}/n01440764/. See {GUIDE}"
    return (
        f"{images} is flat: it holds {number:,} images side by side, and should hold one folder for each class, "
        f"as in {images}/n01440764/. The archive ILSVRC2012_img_val.tar unpacks like that, and without the folders "
        "nothing says which class an image is of. Move them with valprep.sh, the script that PyTorch's ImageNet "
        "example points to, or let torchvision do it, which needs the archive and ILSVRC2012_devkit_t12.tar.gz: "
        'torchvision.datasets.ImageNet(<folder of the archives>, split="val").'
    )


def _names(classes: dict[str, list[Path]], names: dict[str, str]) -> tuple[str, ...]:
    return tuple(names[wnid] for wnid in classes)


def _examples(classes: dict[str, list[Path]], names: dict[str, str]) -> tuple[Example, ...]:
    return tuple(
        Example(image, label, names[wnid]) for label, (wnid, images) in enumerate(classes.items()) for image in images
    )


def _dataset(
    name: str,
    classnames: tuple[str, ...],
    train: tuple[Example, ...] = (),
    val: tuple[Example, ...] = (),
    test: tuple[Example, ...] = (),
) -> Dataset:
    place = IMAGENET[name]
    card = card_of(place)
    if train:
        card["samples"] = SAME_ORDER
    return Dataset(name, classnames, train, val, test, template=place.template, card=card)
