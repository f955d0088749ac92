"""Small images and data sets for tests, drawn from a seed."""

from pathlib import Path

import numpy as np
from PIL import Image

from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.split_file import write_split
from coop_edu.files import atomically


def draw(path: Path, seed: int, size: tuple[int, int] = (64, 64)) -> Path:
    """An image of random blocks, saved under `path` in one step: two processes may draw the same one, and read it."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    with atomically(path) as scratch:
        Image.fromarray(blocks).resize(size).save(scratch, {".jpg": "JPEG"}.get(path.suffix, "PNG"))
    return path


def make_examples(folder: Path, classnames=("cat", "dog"), each: int = 3, start: int = 0) -> list[Example]:
    """`each` images of every class, as folder/<class>/<number>.png."""
    return [
        Example(draw(folder / name / f"{number}.png", seed=1000 * label + number), label, name)
        for label, name in enumerate(classnames)
        for number in range(start, start + each)
    ]


def make_dataset(
    folder: Path, name: str = "Zoo", classnames=("cat", "dog"), train: int = 6, val: int = 2, test: int = 2
):
    """A whole data set on disk: folder/<name>/images/<class>/<number>.png and the split file beside them."""
    images, start, splits = folder / name / "images", 0, {}
    for split, each in (("train", train), ("val", val), ("test", test)):
        splits[split] = tuple(make_examples(images, classnames, each, start))
        start += each
    write_split(folder / name / f"split_zhou_{name}.json", splits, images)
    return Dataset(name, tuple(classnames), **splits)
