"""A dataset: lists of images with class names, split into train, validation and test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

IMAGE_SUFFIXES = {  # what Pillow reads by itself
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".webp", ".avif", ".gif", ".tif", ".tiff"),
    *(".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".qoi"),
}


def class_folders(folder: Path) -> list[Path]:
    """The folders in it, sorted by name (capitals first), without hidden ones and "__pycache__" or "__MACOSX"."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))


def images_in(folder: Path) -> list[Path]:
    """The files in it that are images by their ending, sorted by name, without hidden ones."""
    # listdir, because ImageNet has a million files and a Path for each would be slow to sort.
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return [folder / name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]


@dataclass(frozen=True, slots=True)
class Example:
    """One image: its path (`from_pairs` puts the image itself there), its label y (from 0 to K - 1) and its class name.

    >>> Example(Path("cat/1.png"), label=0, classname="cat").classname
    'cat'
    """

    image: Path
    label: int
    classname: str


@dataclass(frozen=True, repr=False)
class Dataset:
    """A classification task: K class names (the label is the position), three lists of examples, a written prompt.

    `card` holds facts to print (role, licence, source ...).  A test-only dataset has an empty `train` and `val`.

    >>> Dataset("Pets", ("cat", "dog"), (), (), (Example(Path("1.png"), 1, "dog"),), card={"licence": "CC0"}).describe()
    Pets: 2 classes (cat, dog)
    images   0 train, 0 val, 1 test
    per class  0 to 1 test
    prompt     a photo of a {}.
    licence    CC0
    >>> Dataset("Pets", ("cat", "dog"), (), (), (Example(Path("1.png"), 1, "dog"),))
    Dataset(Pets: 2 classes, 0 train, 0 val, 1 test; describe() tells more)
    """

    name: str
    classnames: tuple[str, ...]
    train: tuple[Example, ...]
    val: tuple[Example, ...]
    test: tuple[Example, ...]
    template: str = "a photo of a {}."
    card: Mapping[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(examples):,} {split}" for split, examples in self.splits.items())
        return f"Dataset({self.name}: {len(self.classnames)} classes, {sizes}; describe() tells more)"

    @property
    def splits(self) -> dict[str, tuple[Example, ...]]:
        """The three lists by name: {"train": ..., "val": ..., "test": ...}."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def describe(self) -> None:
        """Print classes, sizes, prompt, and the facts of the card."""
        first_names = ", ".join(self.classnames[:6]) + (", ..." if len(self.classnames) > 6 else "")
        # (3, K): a class without an image counts 0
        sizes = {split: [0] * len(self.classnames) for split in self.splits}
        for split, examples in self.splits.items():
            for example in examples:
                sizes[split][example.label] += 1
        ranges = [f"{min(n)} to {max(n)} {split}" for split, n in sizes.items() if any(n)]
        lines = {
            "images": ", ".join(f"{sum(n):,} {split}" for split, n in sizes.items()),
            "per class": ", ".join(ranges),
            "prompt": self.template,
            **self.card,
        }
        print(f"{self.name}: {len(self.classnames)} classes ({first_names})")
        print("\n".join(f"{key:10} {value}" for key, value in lines.items()))
