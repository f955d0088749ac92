"""Image features kept on disk.  The file name is a hash of everything that the features depend on.

A damaged file or an unwritable folder gives a warning; the features are then computed again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from coop_edu.clip.fingerprint import clip_fingerprint, tensor_digest, transform_digest
from coop_edu.clip.models import Clip
from coop_edu.data.batches import seeded
from coop_edu.data.contents import images_digest
from coop_edu.data.dataset import Example
from coop_edu.files import atomically

READER = "upright, 16-bit greys scaled; format 2"  # change this when load_image changes: old caches are then not used


def cache_key(clip: Clip, examples: Sequence[Example], views: int | None, seed: int) -> str:
    """A hash of everything that the features depend on: the CLIP, the transform, the images, views and seed."""
    facts = [READER, clip_fingerprint(clip), images_digest(examples), views]
    if views is not None:
        facts += [transform_digest(clip.train_transform, seeded(0)), seed]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_cache(file: Path) -> torch.Tensor | None:
    """The features in a cache file; None if it does not exist or, with a warning, if it is damaged."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as content:
            features = content.get_tensor("images")
            if content.metadata()["checksum"] == tensor_digest(features):
                return features
    except (SafetensorError, OSError, KeyError, TypeError):
        pass
    warnings.warn(f"the feature cache {file} is damaged: the features are computed again", stacklevel=3)
    return None


def write_cache(file: Path, features: torch.Tensor) -> None:
    """Keep the features; a folder that is full or read-only gives a warning."""
    try:
        with atomically(file) as scratch:
            save_file({"images": features.contiguous()}, scratch, {"checksum": tensor_digest(features)})
    except (SafetensorError, OSError) as error:
        warnings.warn(f"could not keep the features in {file.parent}, so they are not cached: {error}", stacklevel=3)
