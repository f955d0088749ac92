"""Data sets by name, and from a folder of your own.

One kind of data set serves both scales: image folders and a split file in the authors' JSON schema (split_file.py).

Leaves out: what a data set is (dataset.py), the miniature's images (iconnet.py), the paper's (paper.py, imagenet.py).
"""

from __future__ import annotations

import random
from difflib import get_close_matches
from pathlib import Path

from coop_edu.data.dataset import IMAGE_SUFFIXES, Dataset, Example
from coop_edu.data.iconnet import iconnet_cards, load_iconnet
from coop_edu.data.imagenet import IMAGENET, load_imagenet
from coop_edu.data.paper import load_paper
from coop_edu.data.paper_places import PAPER_DATASETS


def __getattr__(name: str) -> tuple[str, ...]:
    """`DATASETS`: the names that `load_dataset` knows, the shipped ones first; collected on first use (PEP 562)."""
    if name != "DATASETS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return (*iconnet_cards(), *IMAGENET, *PAPER_DATASETS)


def load_dataset(
    name: str, root: str | Path | None = None, *, download: bool = False, split_seed: int | None = None
) -> Dataset:
    """Load a data set by name: one of the shipped ones, or one of the paper's from your disk.

    root: the folder that holds the data sets' folders, in the authors' folder tree; None: the environment variable
    COOP_EDU_DATA.  For the drawings shipped with the package None is right: they are unpacked into the user's cache
    folder on first use.  download: fetch missing images of the paper's data sets through torchvision, where it can.
    split_seed: where the authors' split file is missing, make a split by their rule from this seed, and write it
    beside the images; the card then says that it is not theirs.  Nothing else is ever written there.
    Raises ValueError for an unknown name, and lists the known ones; FileNotFoundError for missing images or files,
    with the tree that is expected.

        pets = load_dataset("OxfordPets", root="data")
    """
    if name in PAPER_DATASETS:
        return load_paper(name, root, download=download, split_seed=split_seed)
    if name in IMAGENET:
        return load_imagenet(name, root)
    if name in iconnet_cards():
        return load_iconnet(name, root)
    known = (*iconnet_cards(), *IMAGENET, *PAPER_DATASETS)
    close = get_close_matches(str(name), known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"unknown data set {name!r}. {hint}Known: {', '.join(known)}. "
        "For your own images in a folder of class folders: from_folder(path)."
    )


def from_folder(path: str | Path, *, template: str = "a photo of a {}.", seed: int = 1) -> Dataset:
    """Your own images: `path/<class name>/<any name>.png` (or jpg ...) becomes a data set named after the folder.

    Each class is shuffled by a generator that depends on `seed` and the class name only, so a new class leaves the
    others' split alone; then, as the authors do, about 50 % train, 20 % val and 30 % test, at least one image in
    each.
    Raises FileNotFoundError without such a folder; ValueError naming every class with fewer than 3 images.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected one folder per class, as in {folder}/cat/1.png")
    found = {
        entry.name: sorted(file for file in entry.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith((".", "__"))
    }
    too_few = [f"{name} ({len(files)})" for name, files in found.items() if len(files) < 3]
    if not found:
        raise ValueError(
            f"no class folders in {folder}: expected one folder per class, named after it, as in "
            f"{folder}/cat/1.png and {folder}/dog/1.png; got only files"
        )
    if too_few:
        raise ValueError(
            f"every class needs at least 3 images (train, val, test), with a suffix in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}; too few in {folder}: {', '.join(too_few)}"
        )
    splits: dict[str, list[Example]] = {"train": [], "val": [], "test": []}
    for label, (name, files) in enumerate(found.items()):
        random.Random(f"{seed}/{name}").shuffle(files)
        n_val, n_test = max(1, round(0.2 * len(files))), max(1, round(0.3 * len(files)))
        for split, part in (
            ("val", files[:n_val]),
            ("test", files[n_val : n_val + n_test]),
            ("train", files[n_val + n_test :]),
        ):
            splits[split] += [Example(file, label, name) for file in part]
    return Dataset(
        folder.resolve().name,
        tuple(found),
        train=tuple(splits["train"]),
        val=tuple(splits["val"]),
        test=tuple(splits["test"]),
        template=template,
        card={"source": str(folder)},
    )
