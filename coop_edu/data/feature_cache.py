"""Image features kept on disk.  The file name is a hash of everything that the features depend on.

A damaged file, or a folder that is full or read-only, gives a warning and costs time; features are never wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from coop_edu.clip.models import Clip
from coop_edu.data.batches import seeded
from coop_edu.data.dataset import Example
from coop_edu.data.images import ImageLike, image_key, load_image
from coop_edu.files import atomically

READER = "upright, 16-bit greys scaled"  # change this when load_image changes: old caches are then not used


def cache_key(clip: Clip, examples: Sequence[Example], views: int | None, seed: int) -> str:
    """A hash of everything that the features depend on: weights, transform, files, views and seed."""
    weights = hashlib.sha256()
    for name, tensor in clip.model.visual.state_dict().items():
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    files = [(image_key(example.image), *_size_and_time(example.image)) for example in examples]
    transform = _describe_transform(clip, views)
    facts = [READER, clip.name, weights.hexdigest(), transform, files, views, seed if views else None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _describe_transform(clip: Clip, views: int | None) -> list[str]:
    """The transform's repr, and a hash of what it makes of a test image, because two functions may share a repr."""
    transform = clip.preprocess if views is None else clip.train_transform
    name = re.sub(r" at 0x[0-9a-f]+", "", repr(transform))  # a memory address differs in every process
    probe = load_image((np.arange(97 * 61 * 4) % 251).astype(np.uint8).reshape(97, 61, 4))
    made = clip.preprocess(probe) if views is None else clip.train_transform(probe, seeded(0))
    return [name, hashlib.sha256(made.contiguous().numpy().data).hexdigest()]


def _size_and_time(image: ImageLike) -> tuple[int, int]:
    try:
        stat = os.stat(image if isinstance(image, str | Path) else "")
    except OSError:  # an image in memory; a missing file is reported when images are read
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _checksum(features: torch.Tensor) -> str:
    digest = hashlib.sha256(f"{features.dtype} {tuple(features.shape)}".encode())
    digest.update(features.contiguous().numpy().data)
    return digest.hexdigest()


def read_cache(file: Path) -> torch.Tensor | None:
    """The features in a cache file; None if it does not exist or, with a warning, if it is damaged."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as content:
            features = content.get_tensor("images")
            if content.metadata()["checksum"] == _checksum(features):
                return features
    except (SafetensorError, OSError, KeyError, TypeError):
        pass
    warnings.warn(f"the feature cache {file} is damaged: the features are computed again", stacklevel=3)
    return None


def write_cache(file: Path, features: torch.Tensor) -> None:
    """Keep the features; a folder that is full or read-only gives a warning."""
    try:
        with atomically(file) as scratch:
            save_file({"images": features.contiguous()}, scratch, {"checksum": _checksum(features)})
    except (SafetensorError, OSError) as error:
        warnings.warn(f"could not keep the features in {file.parent}, so they are not cached: {error}", stacklevel=3)
