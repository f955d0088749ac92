"""ImageNet and the four variants that prompts learned on it are tested on (Section 4.2): V2, Sketch, A and R.

A label is the rank of a class folder ("n01440764") in sorted order; classnames.txt has its name.  ImageNet's validation
images are its test images, as in the authors' code: their linear probe chooses C on a few of them.  A and R have 200 of
the 1000 classes each, not the same ones, and are scored over their own classes.

The authors' few-shot samples of ImageNet depend on the order in which their disk listed the files, and were never
published.  Images are sorted here, so a seed always means the same images, but not the authors'.  The list of the 1.28
million training images takes about half a gigabyte of memory.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from coop_edu.bars import progress_bar
from coop_edu.data.dataset import Dataset, Example, class_folders, images_in
from coop_edu.data.paper import card_of, data_root, find
from coop_edu.data.paper_places import GUIDE, IMAGENET
from coop_edu.files import read_lines

SAME_ORDER = "sorted by name; the authors' own 16-shot sample of ImageNet cannot be reproduced"


def load_imagenet(name: str, root: str | Path | None = None) -> Dataset:
    """ImageNet, or a variant of it, which is test-only; see `load_dataset` for root.

    Without images/train, ImageNet is test-only too.  torchvision cannot download any of them.
    Raises FileNotFoundError with the tree that is expected; ValueError for a folder without class folders, and for
    class folders that are unknown, empty, or different in train/ and val/.
    """
    place = IMAGENET[name]
    train: tuple[Example, ...] = ()
    val: tuple[Example, ...] = ()
    folder, card = find(name, place, data_root(root)), card_of(place)
    names = read_classnames(folder, folder.parent)
    if name == "ImageNetV2":
        classnames, test = tuple(names.values()), _by_number(folder / place.images, names)
    else:
        classes = _class_folders(folder / place.images / ("val" if name == "ImageNet" else ""), names)
        classnames, test = tuple(names[wnid] for wnid in classes), _examples(classes, names)
    if name == "ImageNet":
        val = test
        if (images := folder / "images" / "train").is_dir():
            train_classes = _class_folders(images, names)
            if differ := sorted(set(train_classes) ^ set(classes)):
                raise ValueError(
                    f"train/ and val/ in {images.parent} have different classes: {len(differ)} are in one only, as "
                    f"{differ[:5]}. A label is the rank of a class folder, so both need the same folders."
                )
            train, card["samples"] = _examples(train_classes, names), SAME_ORDER
    return Dataset(name, classnames, train, val, test, template=place.template, card=card)


def read_classnames(folder: Path, root: Path) -> dict[str, str]:
    """{class folder: name}, sorted: from classnames.txt in the dataset's folder or ImageNet's, else CLIP's own list.

    The authors' classnames.txt is CLIP's list; a UserWarning tells which names of another file differ from it.
    Raises ValueError for a file whose lines are not like "n01440764 tench", or that has numbers instead of names.
    """
    file = next((f for f in (folder / "classnames.txt", root / "imagenet" / "classnames.txt") if f.is_file()), None)
    clips_names = _clips_names()
    if file is None:
        return clips_names
    lines = [line.split(maxsplit=1) for line in read_lines(file)]
    wrong = [" ".join(line) for line in lines if len(line) != 2 or not re.fullmatch(r"n\d+", line[0])]
    names = {line[0]: line[-1] for line in lines}
    if lines and all(re.match(r"\d+(\s|$)", line[-1]) for line in lines):
        wrong.append("a column of numbers before the names")
    if wrong or len(names) != len(lines) or not names:
        raise ValueError(
            f'{file} should have one line for each class, as "n01440764 tench", but has {len(lines)} lines for '
            f"{len(names)} folders and these mistakes: {wrong[-5:]}. Get it again from {GUIDE}, or remove it to use "
            "CLIP's own list."
        )
    differ = [
        f"{wnid} {name!r} (CLIP: {clips_names[wnid]!r})"
        for wnid, name in names.items()
        if clips_names.get(wnid, name) != name
    ]
    if differ:
        warnings.warn(
            f"{len(differ)} names in {file} differ from CLIP's list, which the authors used, so metrics will differ "
            f"from theirs: {', '.join(differ[:3])}, ... Remove the file to use CLIP's list.",
            stacklevel=3,
        )
    return dict(sorted(names.items()))


def _clips_names() -> dict[str, str]:
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data.imagenet_info import ImageNetInfo  # open_clip requires timm, which has the folders' names

    return dict(zip(ImageNetInfo("imagenet-1k").label_names(), IMAGENET_CLASSNAMES))


# ---------------------------------------------------------------------------------------------------- folders to lists
def _class_folders(images: Path, names: dict[str, str]) -> dict[str, list[Path]]:
    """{class folder: its images}, both sorted."""
    bar = progress_bar(class_folders(images), desc=f"listing {images.name}", unit="class", leave=False, delay=2)
    classes = {folder.name: images_in(folder) for folder in bar}
    if not classes:
        raise ValueError(
            f"{images} has no class folders, but {len(images_in(images)):,} images: expected a folder for each class, "
            f"as in {images}/n01440764/. Unpack the archive of each class into its own folder; valprep.sh, which "
            f"PyTorch's ImageNet example names, moves the images of val/. See {GUIDE}"
        )
    unknown = sorted(set(classes) - set(names))
    empty = [wnid for wnid, files in classes.items() if not files]
    if unknown or empty:
        raise ValueError(
            f"{images} has folders that are not a class of ImageNet: {unknown[:10]}, and empty class folders: "
            f"{empty[:10]}. A label is the rank of a folder, so each of them shifts the later labels: remove them."
        )
    return classes


def _by_number(images: Path, names: dict[str, str]) -> tuple[Example, ...]:
    """ImageNetV2's folders are named by their label, 0 ... 999; in some copies by their code, as ImageNet's are."""
    classnames = tuple(names.values())
    if all((images / wnid).is_dir() for wnid in names):
        return _examples(_class_folders(images, names), names)
    folders = {int(folder.name): folder for folder in class_folders(images) if folder.name.isdigit()}
    absent = sorted(set(range(len(classnames))) ^ set(folders))
    if absent:
        raise ValueError(
            f"{images} should have folders 0 to {len(classnames) - 1}, one for each label; {len(absent)} are missing "
            f"or too many: {absent[:10]}. Unpack the archive again."
        )
    return tuple(
        Example(image, label, classnames[label]) for label in sorted(folders) for image in images_in(folders[label])
    )


def _examples(classes: dict[str, list[Path]], names: dict[str, str]) -> tuple[Example, ...]:
    return tuple(
        Example(image, label, names[wnid]) for label, (wnid, images) in enumerate(classes.items()) for image in images
    )
