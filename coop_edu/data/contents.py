"""Hashes of images' contents, so that results know what they were made of, wherever the files lie.

A file is read once: its hash is kept in the cache folder beside its size, its time to the nanosecond and its inode.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.images import ImageLike, image_key
from coop_edu.files import cache_folder, sha256

TABLE = "create table if not exists contents (path, size, time, inode, digest, primary key (path, size, time, inode))"
MIN_AGE_NS = 2e9  # a file that is younger may still change within one tick of the disk's clock


def contents(images: Sequence[ImageLike]) -> list[str]:
    """For each image: the SHA-256 of its file, "" if the file does not exist, or `image_key` if it is in memory."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache_folder() / "contents.sqlite", timeout=10)) as database, database:
            database.execute(TABLE)
            return [_content(image, database) for image in images]
    except (sqlite3.Error, OSError):  # a cache folder that is full, read-only, or on a disk without locks
        return [_content(image) for image in images]


def _content(image: ImageLike, database: sqlite3.Connection | None = None) -> str:
    if not isinstance(image, str | Path):
        return image_key(image)
    image = Path(image).expanduser()
    if not os.path.isfile(image):
        return ""
    stat = os.stat(image)
    key = os.path.abspath(image), stat.st_size, stat.st_mtime_ns, stat.st_ino
    where = "where path = ? and size = ? and time = ? and inode = ?"
    if database and (row := database.execute(f"select digest from contents {where}", key).fetchone()):
        return row[0]
    digest = sha256(image)
    if database and time.time_ns() - stat.st_mtime_ns > MIN_AGE_NS:
        database.execute("insert or replace into contents values (?, ?, ?, ?, ?)", (*key, digest))
    return digest


def images_digest(examples: Sequence[Example]) -> str:
    """A hash of the images alone, 16 hexadecimal digits."""
    return hashlib.sha256(" ".join(contents([example.image for example in examples])).encode()).hexdigest()[:16]


def examples_digest(examples: Sequence[Example]) -> str:
    """A hash of images, labels and class names, in their order, 16 hexadecimal digits."""
    labels = [(example.label, example.classname) for example in examples]
    return hashlib.sha256(json.dumps([images_digest(examples), labels]).encode()).hexdigest()[:16]


def warn_of_copies(dataset: Dataset) -> None:
    """Warn about equal images in two splits or two classes, and about a file that is listed twice.

    Only files of one size are hashed, so this is cheap.
    """
    rows = [(split, example) for split, examples in dataset.splits.items() for example in examples]
    by_size: dict[int, list[tuple[str, Example]]] = {}
    for split, example in rows:
        by_size.setdefault(os.path.getsize(example.image), []).append((split, example))
    of_one_size = [row for same in by_size.values() if len(same) > 1 for row in same]
    first: dict[str, tuple[str, Example]] = {}
    copies = []
    for (split, example), content in zip(of_one_size, contents([example.image for _, example in of_one_size])):
        other_split, other = first.setdefault(content, (split, example))
        listed_twice = example.image == other.image and example is not other
        if (other_split, other.label) != (split, example.label) or listed_twice:
            copies.append(f"{other.image} ({other_split}) and {example.image} ({split})")
    if copies:
        warnings.warn(
            f"{len(copies)} images of {dataset.name} are copies of another one in a different split or class, or are "
            f"listed twice: {'; '.join(copies[:2])}. Test accuracy counts what was trained on: remove the copies.",
            stacklevel=4,
        )
