"""Image features of the frozen encoder, computed once.

CLIP's image encoder never changes in prompt learning (Section 3.2 of the paper), so the feature f of an image can be
computed before training.  The paper crops each image anew in every epoch; `views` says how close to that you stay:

    views=None     the plain image, once                (cheapest; no augmentation)
    views=n        n random crops of each image         (n times the work, n times the memory)
    views="fresh"  a new crop every epoch; coop/trainer.py     (the paper's recipe; the encoder runs at every step)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.bars import progress_bar
from coop_edu.clip.fingerprint import clip_fingerprint
from coop_edu.clip.models import Clip
from coop_edu.data.batches import read_batches
from coop_edu.data.dataset import Example
from coop_edu.data.feature_cache import cache_key, read_cache, write_cache
from coop_edu.data.images import image_key
from coop_edu.data.labels import label_names
from coop_edu.records import whole_number


@dataclass(frozen=True)
class Features:
    """Image features with their labels and class names.

    image_features: unnormalised, (N, E), or (V, N, E) for V augmented views; labels: their classes; on the CPU.

    classnames: the name of each label; "" for a label that no image has.  clip: the fingerprint of the CLIP that made
    the features, "" if it is not known; a classifier on another CLIP refuses them.
    Raises ValueError for features that are NaN or infinite, and for labels that do not fit images or class names.
    """

    image_features: Float[Tensor, "... N E"]
    labels: Int[Tensor, " N"]
    classnames: tuple[str, ...]
    clip: str = ""

    def __post_init__(self) -> None:
        features, labels, K = self.image_features, self.labels, len(self.classnames)
        if features.ndim not in (2, 3) or labels.shape != features.shape[-2:-1]:  # else they would be broadcast
            raise ValueError(
                f"expected image features (N, E) or (V, N, E) with labels (N,), got {tuple(features.shape)} with "
                f"{tuple(labels.shape)}"
            )
        if len(labels) and not (labels.min() >= 0 and labels.max() < K):  # cross entropy would skip a label of -100
            raise ValueError(
                f"expected labels from 0 to {K - 1} for {K} class names, got {labels.min()} to {labels.max()}"
            )
        if not features.isfinite().all():
            raise ValueError("some features are NaN or infinite: are the weights or the images damaged?")

    def __len__(self) -> int:
        return len(self.labels)

    def check_clip(self, clip: Clip) -> None:
        """ValueError if another CLIP has made the features: their width may be the same, and the answers wrong."""
        if self.clip and self.clip != clip_fingerprint(clip):
            raise ValueError(
                f"the features are of another CLIP than {clip.name!r}, or of the same one before its weights changed: "
                "extract them again with it"
            )


def extract_features(
    clip: Clip,
    examples: Sequence[Example],
    *,
    views: int | None = None,
    seed: int = 0,
    batch_size: int = 100,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Features:
    """Encode N images once: the plain ones (views=None), or `views` random crops of each, drawn from `seed`.

    cache: a folder to keep the features in.  A file there is used if model, weights, transform, images, views and seed
    are all the same and the file is undamaged.  workers: processes that read images; None chooses a number
    (batches.worker_count).
    Raises ValueError for an empty list, for `views` below 1, and for images that cannot be read; it lists all of them.

        test = extract_features(clip, iconnet.test)                         # (N, E)
        train = extract_features(clip, shots, views=8, seed=1)              # (8, N, E)
    """
    if not examples:
        raise ValueError("no examples to encode: is this the empty training list of a test-only dataset?")
    if views is not None:
        views = whole_number(views, "views", at_least=1, otherwise="None (the plain image)")
    names, labels = label_names(examples), torch.tensor([example.label for example in examples])
    file, features = None, None
    if cache is not None:
        file = Path(cache).expanduser() / f"features-{cache_key(clip, examples, views, seed)}.safetensors"
        features = read_cache(file)
    if features is None:
        crops = [None] if views is None else range(views)
        wanted = [(position, view) for position in range(len(examples)) for view in crops]
        batches = [wanted[i : i + batch_size] for i in range(0, len(wanted), batch_size)]
        parts = []
        with (
            torch.autocast(clip.device.type, enabled=False),  # in full precision, even if the caller uses autocast
            progress_bar(total=len(wanted), desc="encoding images", show=progress, delay=2, leave=False) as bar,
        ):
            for images in read_batches(clip, examples, batches, seed=seed, workers=workers):
                parts.append(clip.encode_image(images))  # (B, E); stays on the device: no batch waits for a copy
                bar.update(len(images))
        features = torch.cat(parts).float().cpu()  # (N, E) or (N * V, E)
        if views is not None:
            features = features.unflatten(0, (len(examples), views)).transpose(0, 1).contiguous()  # (V, N, E)
        if file is not None:
            write_cache(file, features)
    return Features(features, labels, names, clip_fingerprint(clip))


class FeatureBank:
    """Features of many images, encoded once: `bank(examples)` gives the features of some of them.

    Different seeds and numbers of shots share images, so the bank encodes them only once. Takes what
    `extract_features` takes; the images are plain. KeyError for an image that is not in the bank.

        bank = FeatureBank(clip, iconnet.train)
        shots = bank(sample_few_shot(iconnet.train, k=4, seed=1))                     # Features, (4 * K, E)
    """

    def __init__(self, clip: Clip, examples: Sequence[Example], **options: Any) -> None:
        images = list({image_key(example.image): example for example in examples}.values())
        encoded = extract_features(clip, images, **options)
        self.image_features, self.clip = encoded.image_features, encoded.clip  # (N, E), and its CLIP's fingerprint
        self.row = {image_key(example.image): row for row, example in enumerate(images)}

    def __call__(self, examples: Sequence[Example]) -> Features:
        """Features of these images, in their order, with the labels that they have here."""
        rows = [self.row[image_key(example.image)] for example in examples]
        labels = torch.tensor([example.label for example in examples])
        return Features(self.image_features[rows], labels, label_names(examples), self.clip)
