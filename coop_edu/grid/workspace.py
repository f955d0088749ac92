"""What all cells of a process share: the CLIP, the data sets, and the features of their images, each computed once.

Features are kept in the cache folder for the next process, too.

Leaves out: what a cell computes with them (cells.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from coop_edu.clip.models import Clip, load_clip
from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.datasets import load_dataset
from coop_edu.data.features import FeatureBank, Features, extract_features
from coop_edu.files import cache_folder
from coop_edu.grid.results import Cell

WHOLE = 20_000  # of a list of training images up to this long, all are encoded once; of a longer one, what is drawn

_loading = threading.RLock()  # of two threads that need the same, the second waits for what the first loads


def get_clip(name: str) -> Clip:
    with _loading:
        return _load_clip(name)


def get_dataset(name: str, root: str | Path | None) -> Dataset:
    with _loading:
        return _load_dataset(name, root)


def get_features(cell: Cell, root: str | Path | None, part: str, examples: Sequence[Example]) -> Features:
    """Features of some plain images of a data set's train, val or test list, with the labels that they have here."""
    if len(getattr(get_dataset(cell.dataset, root), part)) > WHOLE and part != "test":
        return extract_features(get_clip(cell.clip), examples, progress=False)
    with _loading:
        return _bank(cell.clip, cell.dataset, root, part)(examples)


@lru_cache(maxsize=1)
def _load_clip(name: str) -> Clip:
    return load_clip(name)


@lru_cache(maxsize=16)
def _load_dataset(name: str, root: str | Path | None) -> Dataset:
    return load_dataset(name, root)


@lru_cache(maxsize=48)
def _bank(clip: str, dataset: str, root: str | Path | None, part: str) -> FeatureBank:
    examples = getattr(get_dataset(dataset, root), part)
    return FeatureBank(get_clip(clip), examples, cache=features_folder(), progress=False)


def features_folder() -> Path:
    return cache_folder() / "features"
