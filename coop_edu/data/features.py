"""Image features of the frozen encoder, computed once.

In prompt learning only the text side learns (paper's Section 3.2): CLIP's image encoder never changes, so the feature
f of an image can be computed before training starts.  The paper trains on a new random crop at every step; `views`
says how near to that one stays:

    views=None     the plain image, once                (cheapest; no augmentation)
    views=n        n random crops of each image         (n times the work, n times the memory)
    views="fresh"  a new crop every epoch; coop/trainer.py     (the paper's recipe; the encoder runs at every step)

Leaves out: reading images (batches.py), the disk cache (feature_cache.py), what is learned from features
(coop/trainer.py, evaluate/linear_probe.py).
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
from coop_edu.clip.memory import free_memory
from coop_edu.clip.models import Clip
from coop_edu.data.batches import read_batches
from coop_edu.data.dataset import Example
from coop_edu.data.feature_cache import cache_key, read_cache, write_cache
from coop_edu.data.images import image_key
from coop_edu.data.labels import label_names
from coop_edu.files import user_path
from coop_edu.records import whole_number


@dataclass(frozen=True)
class Features:
    """image_features: unnormalised, (N, E), or (V, N, E) for V augmented views; labels: their classes; on the CPU.

    classnames: the name of each label; "" for a label that no image has.
    Raises ValueError for values that are no numbers, and for labels that are not one class for each image.
    """

    image_features: Float[Tensor, "... N E"]
    labels: Int[Tensor, " N"]
    classnames: tuple[str, ...]

    def __post_init__(self) -> None:
        features, labels = self.image_features, self.labels
        if not (isinstance(features, torch.Tensor) and isinstance(labels, torch.Tensor)):
            raise ValueError(
                f"expected image features and labels as tensors, got {type(features).__name__} and "
                f"{type(labels).__name__}"
            )
        if features.ndim not in (2, 3) or not features.is_floating_point():
            raise ValueError(
                f"expected image features (N, E) or (V, N, E) in floating point, got {tuple(features.shape)} of "
                f"{features.dtype}"
            )
        if labels.dtype != torch.long or labels.shape != features.shape[-2:-1]:
            raise ValueError(
                f"expected one label for each of {features.shape[-2]} images, ({features.shape[-2]},) of torch.int64, "
                f"got {tuple(labels.shape)} of {labels.dtype}"
            )
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.classnames)):
            raise ValueError(
                f"expected labels from 0 to {len(self.classnames) - 1}, for {len(self.classnames)} class names, got "
                f"{labels.min()} to {labels.max()}"
            )
        if not features.isfinite().all():
            raise ValueError("the features have values that are no numbers: were the weights or the images damaged?")

    def __len__(self) -> int:
        return len(self.labels)


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

    cache: a folder to keep the features in; what is found there is used if model, weights, transform, images, views
    and seed are all the same and the file is whole, else recomputed.  workers: processes that read images; None is
    as many as help (batches.worker_count).
    Raises ValueError for an empty list, and listing every image that cannot be read.

        test = extract_features(clip, iconnet.test)                         # (N, E)
        train = extract_features(clip, shots, views=8, seed=1)              # (8, N, E)
    """
    if not examples:
        raise ValueError("no examples to encode: is this the empty training list of a test-only data set?")
    if views is not None:
        views = whole_number(views, "views=None (the plain image) or views", at_least=1)
        _check_memory(clip, len(examples) * views)
    batch_size = whole_number(batch_size, "batch_size", at_least=1)
    names, labels = label_names(examples), torch.tensor([example.label for example in examples])
    file, features = None, None
    if cache is not None:
        file = user_path(cache) / f"features-{cache_key(clip, examples, views, seed)}.safetensors"
        features = read_cache(file)
    if features is None:
        crops = [None] if views is None else range(views)
        wanted = [(position, view) for position in range(len(examples)) for view in crops]
        features = _encode(clip, examples, wanted, seed, batch_size, workers, progress)  # (N, E) or (N * V, E)
        if views is not None:
            features = features.unflatten(0, (len(examples), views)).transpose(0, 1).contiguous()  # (V, N, E)
        if file is not None:
            write_cache(file, features)
    return Features(features, labels, names)


class FeatureBank:
    """Features of many images, encoded once, to draw from: `bank(examples)` are the features of some of them.

    What several samples share, as different seeds and numbers of shots do, is computed once. Takes what
    `extract_features` does; the images are plain. KeyError for an image that is not in the bank.

        bank = FeatureBank(clip, iconnet.train)
        shots = bank(sample_few_shot(iconnet.train, k=4, seed=1))                     # Features, (4 * K, E)
    """

    def __init__(self, clip: Clip, examples: Sequence[Example], **options: Any) -> None:
        images = list({image_key(example.image): example for example in examples}.values())
        self.image_features = extract_features(clip, images, **options).image_features  # (N, E)
        self.row = {image_key(example.image): row for row, example in enumerate(images)}

    def __call__(self, examples: Sequence[Example]) -> Features:
        """Features of these images, in their order, with the labels that they have here."""
        rows = [self.row[image_key(example.image)] for example in examples]
        labels = torch.tensor([example.label for example in examples])
        return Features(self.image_features[rows], labels, label_names(examples))


def _check_memory(clip: Clip, rows: int) -> None:
    """ValueError if the features of so many images cannot be held."""
    need, free = 4 * rows * clip.model.visual.output_dim, free_memory(torch.device("cpu"))
    if free is not None and need > free:
        raise ValueError(
            f"the features of {rows:,} views take {need >> 20:,} MB, and {free >> 20:,} are free: fewer views"
        )


def _encode(
    clip: Clip,
    examples: Sequence[Example],
    wanted: Sequence[tuple[int, int | None]],
    seed: int,
    batch_size: int,
    workers: int | None,
    progress: bool,
) -> Float[Tensor, "W E"]:
    """Features of all that is wanted, in float32, in full precision even inside somebody's autocast."""
    batches = [wanted[i : i + batch_size] for i in range(0, len(wanted), batch_size)]
    parts = []
    with (
        torch.autocast(clip.device.type, enabled=False),
        progress_bar(total=len(wanted), desc="encoding images", show=progress, delay=2, leave=False) as bar,
    ):
        for images in read_batches(clip, examples, batches, seed=seed, workers=workers):
            parts.append(clip.encode_image(images))  # (B, E); stays on the device, so that it need not wait
            bar.update(len(images))
    return torch.cat(parts).float().cpu()
