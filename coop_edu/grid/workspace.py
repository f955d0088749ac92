"""What all cells of a process share: the CLIP, the datasets, and the features of their images, each computed once.

Features are kept in the cache folder for the next process, too.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

from coop_edu import __version__
from coop_edu.clip.fingerprint import clip_fingerprint
from coop_edu.clip.models import Clip, load_clip
from coop_edu.data.contents import examples_digest
from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.datasets import DATASETS, load_dataset
from coop_edu.data.features import FeatureBank, Features, extract_features
from coop_edu.data.few_shot import draw_train_val
from coop_edu.data.own import from_folder, from_split_file
from coop_edu.files import cache_folder
from coop_edu.grid.results import Cell
from coop_edu.scales import Scale

WHOLE = 20_000  # longer training lists are not encoded whole, only the drawn images


class Workspace:
    """The CLIP, datasets and features that all cells of a process share.

    root: where the paper's datasets are; cache: a folder for features; epochs: instead of the recipes'.

    pretrained: a file with weights of the CLIP, or a tag of open_clip.  A dataset may also be one's own: a folder, or
    a split file.  names: class names for its folders.  templates: the best of them on the validation
    images replaces the dataset's own.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        cache: str | Path | None = None,
        epochs: int | None = None,
        pretrained: str | Path | None = None,
        templates: Sequence[str] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self.epochs, self.templates, self.names = root, epochs, templates, names
        self.pretrained = pretrained
        self.cache = Path(cache) if cache else cache_folder() / "features"
        self._loading = threading.RLock()  # so that two threads do not load the same thing twice
        self._load_clip = lru_cache(maxsize=1)(partial(load_clip, pretrained=self.pretrained))
        self._load_dataset = lru_cache(maxsize=16)(self._known_or_own)
        self._bank = lru_cache(maxsize=48)(self._encode)
        # A hash of a dataset's class names and test images, or of the images that shots and seed draw.
        self.digest = lru_cache(maxsize=None)(self._hash)

    def clip(self, name: str) -> Clip:
        with self._loading:
            return self._load_clip(name)

    def dataset(self, name: str) -> Dataset:
        with self._loading:
            return self._load_dataset(name)

    def _hash(self, name: str, shots: int = 0, seed: int = 0) -> str:
        dataset = self.dataset(name)
        drawn = draw_train_val(dataset, shots, seed) if shots else (dataset.test,)
        hashes = [",".join(dataset.classnames), *map(examples_digest, drawn)]
        return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]

    def _known_or_own(self, name: str) -> Dataset:
        path = Path(name).expanduser()
        if self.names and (name in DATASETS or path.is_file()):  # they would be ignored
            raise ValueError(f"class names (--names) are for a folder of images, and {name} is not a folder")
        if name in DATASETS:
            return load_dataset(name, root=self.root)
        if not path.exists():
            try:
                return load_dataset(name, root=self.root)
            except ValueError as error:
                raise ValueError(f"there is no folder {name} here, and no dataset of that name: {error}") from error
        return from_folder(path, names=self.names) if path.is_dir() else from_split_file(path)

    def features(self, cell: Cell, part: str, examples: Sequence[Example]) -> Features:
        """Features of some plain images of a dataset's train, val or test list, with their labels of here."""
        if len(self.dataset(cell.dataset).splits[part]) > WHOLE and part != "test":
            return extract_features(self.clip(cell.clip), examples, progress=False)
        with self._loading:
            return self._bank(cell.clip, cell.dataset, part)(examples)

    def _encode(self, clip: str, dataset: str, part: str) -> FeatureBank:
        examples = self.dataset(dataset).splits[part]
        return FeatureBank(self.clip(clip), examples, cache=self.cache, progress=False)


def results_file(name: str, scale: Scale) -> Path:
    """Where a notebook keeps results, so that a restart goes on: one file for each scale, weights and version."""
    weights = clip_fingerprint(load_clip(scale.clip))
    return cache_folder() / "runs" / f"{name}-{scale.name}-{weights}-{__version__}.jsonl"
