"""Image features of the frozen encoder, computed once.

In prompt learning only the text side learns (paper's Section 3.2): CLIP's image encoder never changes, so the feature
f of a picture can be computed before training starts.  The paper trains on a new random crop at every step; `views`
says how near to that one stays:

    views=None     the plain picture, once                (cheapest; no augmentation)
    views=n        n random crops of each picture         (n times the work, n times the memory)
    views="fresh"  a new crop every epoch; trainer.py     (the paper's recipe; the image encoder runs at every step)

Leaves out: reading pictures (pictures.py), what is learned from features (trainer.py, linear_probe.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from coop_edu.clip_models import Clip
from coop_edu.datasets import Example
from coop_edu.files import atomically
from coop_edu.pictures import load_image, read_batches, seeded

__all__ = ["FeatureBank", "Features", "check_same_classes", "extract_features", "label_names", "load_image"]


@dataclass(frozen=True)
class Features:
    """images: (N, E) float32, unnormalised, or (V, N, E) for V augmented views; labels: (N,) long; on the CPU.

    classnames: the name of each label; "" for a label that no picture has.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classnames: tuple[str, ...]

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
    """Encode N pictures once: the plain ones (views=None), or `views` random crops of each, drawn from `seed`.

    cache: a folder to keep the features in; what is found there is used if model, weights, transform, pictures, views
    and seed are all the same and the file is whole, else recomputed.  workers: processes that read pictures; None is
    as many as help (pictures.worker_count).
    Raises ValueError for an empty list, and listing every picture that cannot be read.

        test = extract_features(clip, iconnet.test)                         # (N, E)
        train = extract_features(clip, shots, views=8, seed=1)              # (8, N, E)
    """
    if not examples:
        raise ValueError("no examples to encode: is this the empty training list of a test-only data set?")
    if views is not None and (isinstance(views, bool) or not isinstance(views, int) or views < 1):
        raise ValueError(f"expected views=None (the plain picture) or a whole number >= 1, got {views!r}")
    names, labels = label_names(examples), torch.tensor([example.label for example in examples])
    file, images = None, None
    if cache is not None:
        file = Path(cache) / f"features-{_digest(clip, examples, views, seed)}.safetensors"
        images = _read_cache(file)
    if images is None:
        crops = [None] if views is None else range(views)
        wanted = [(position, view) for position in range(len(examples)) for view in crops]
        images = _encode(clip, examples, wanted, seed, batch_size, workers, progress)  # (N, E) or (N * V, E)
        if views is not None:
            images = images.unflatten(0, (len(examples), views)).transpose(0, 1).contiguous()  # (V, N, E)
        if file is not None:
            _write_cache(file, images)
    return Features(images, labels, names)


class FeatureBank:
    """Features of many pictures, encoded once, to draw from: `bank(examples)` are the features of some of them.

    What several samples share, as different seeds and numbers of shots do, is computed once. Takes what
    `extract_features` does; the pictures are plain. KeyError for a picture that is not in the bank.

        bank = FeatureBank(clip, iconnet.train)
        shots = bank(sample_few_shot(iconnet.train, k=4, seed=1))                     # Features, (4 * K, E)
    """

    def __init__(self, clip: Clip, examples: Sequence[Example], **options: object) -> None:
        pictures = list({example.image: example for example in examples}.values())
        self.images = extract_features(clip, pictures, **options).images  # (N, E)
        self.row = {example.image: row for row, example in enumerate(pictures)}

    def __call__(self, examples: Sequence[Example]) -> Features:
        """Features of these pictures, in their order, with the labels that they have here."""
        rows = [self.row[example.image] for example in examples]
        labels = torch.tensor([example.label for example in examples])
        return Features(self.images[rows], labels, label_names(examples))


def _encode(
    clip: Clip,
    examples: Sequence[Example],
    wanted: Sequence[tuple[int, int | None]],
    seed: int,
    batch_size: int,
    workers: int | None,
    progress: bool,
) -> torch.Tensor:
    """Features (len(wanted), E) in float32, in full precision even inside somebody's autocast."""
    batches = [wanted[i : i + batch_size] for i in range(0, len(wanted), batch_size)]
    parts = []
    with (
        torch.autocast(clip.device.type, enabled=False),
        tqdm(total=len(wanted), desc="encoding pictures", disable=not progress, delay=2, leave=False) as bar,
    ):
        for images in read_batches(clip, examples, batches, seed=seed, workers=workers):
            parts.append(clip.encode_image(images))  # (B, E); stays on the device, so that it need not wait
            bar.update(len(images))
    return torch.cat(parts).float().cpu()


def label_names(examples: Sequence[Example]) -> tuple[str, ...]:
    """The class name of each label, "" for a label without a picture.  ValueError if a label has two names.

    >>> label_names([Example(Path("1.png"), 1, "dog")])
    ('', 'dog')
    """
    names: dict[int, str] = {}
    for example in examples:
        known = names.setdefault(example.label, example.classname)
        if known != example.classname:
            raise ValueError(
                f"label {example.label} is {known!r} and {example.classname!r}: the examples come from "
                "different data sets"
            )
    return tuple(names.get(label, "") for label in range(max(names) + 1))


def check_same_classes(names: Sequence[str], classnames: Sequence[str]) -> None:
    """Do the names of some data's labels ("" where unknown) agree with a classifier's?  ValueError where not.

    >>> check_same_classes(("", "dog"), ("cat", "dog", "eel"))
    """
    wrong = [
        f"label {label} is {name!r} in the data and {known!r} in the classifier"
        for label, (name, known) in enumerate(zip(names, classnames, strict=False))
        if name and name.replace("_", " ") != known.replace("_", " ")
    ]
    if len(names) > len(classnames):
        wrong.append(f"the data have {len(names)} classes and the classifier {len(classnames)}")
    if wrong:
        raise ValueError(
            f"data and classifier disagree on the classes: {'; '.join(wrong[-5:])}. Make the classifier with "
            "the data set's own classnames, or take classifier.with_classnames(dataset.classnames)."
        )


# --------------------------------------------------------------------------------------------- the disk cache
def _digest(clip: Clip, examples: Sequence[Example], views: int | None, seed: int) -> str:
    """One key for all that the features depend on."""
    weights = hashlib.sha256()
    for name, tensor in clip.model.visual.state_dict().items():
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    files = [(os.path.abspath(example.image), *_size_and_time(example.image)) for example in examples]
    facts = [clip.name, weights.hexdigest(), _transform(clip, views), files, views, seed if views else None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _transform(clip: Clip, views: int | None) -> list[str]:
    """What the transform says it is, and what it makes of a picture: functions of one name can differ."""
    transform = clip.preprocess if views is None else clip.train_transform
    name = re.sub(
        r" at 0x[0-9a-f]+", "", repr(transform)
    )  # where a function lies in memory is not its meaning
    probe = load_image((np.arange(97 * 61 * 4) % 251).astype(np.uint8).reshape(97, 61, 4))
    made = transform(probe) if views is None else transform(probe, seeded(0))
    return [name, hashlib.sha256(made.contiguous().numpy()).hexdigest()]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:  # reported, with all others, when pictures are read
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _checksum(images: torch.Tensor) -> str:
    digest = hashlib.sha256(f"{images.dtype} {tuple(images.shape)}".encode())
    digest.update(images.contiguous().numpy())
    return digest.hexdigest()


def _read_cache(file: Path) -> torch.Tensor | None:
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as content:
            images = content.get_tensor("images")
            if content.metadata()["checksum"] == _checksum(images):
                return images
    except (SafetensorError, OSError, KeyError, TypeError):
        pass
    warnings.warn(f"the feature cache {file} is damaged: computing the features afresh", stacklevel=3)
    return None


def _write_cache(file: Path, images: torch.Tensor) -> None:
    try:
        with atomically(file) as scratch:
            save_file({"images": images.contiguous()}, scratch, {"checksum": _checksum(images)})
    except (SafetensorError, OSError) as error:  # read-only or full: slower next time, nothing lost
        warnings.warn(
            f"could not keep the features in {file.parent} ({error}): they will be computed again next time",
            stacklevel=3,
        )
