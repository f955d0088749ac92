"""From a list of images to batches of tensors: read, cropped and stacked, in this process or in several.

Every random crop has its own generator, made from (seed, view, position in the list).  So the same crop comes out
whatever the batch size and the number of processes, and the global random state stays as it is.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from coop_edu.clip.models import Clip
from coop_edu.data.dataset import Example
from coop_edu.data.images import load_image


def seeded(*numbers: int) -> torch.Generator:
    """A generator that depends on these whole numbers only, such as (seed, view, position).

    >>> bool(torch.rand(1, generator=seeded(1, 0, 5)) == torch.rand(1, generator=seeded(1, 0, 5)))
    True
    """
    mixed = np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1)
    return torch.Generator().manual_seed(int(mixed[0]))  # torch keeps only 32 bits of a seed, so mix them first


def read_batches(
    clip: Clip,
    examples: Sequence[Example],
    batches: Sequence[Sequence[tuple[int, int | None]]],
    *,
    seed: int,
    workers: int | None = None,
) -> Iterator[torch.Tensor]:
    """For each batch of pairs (position in `examples`, view or None), the images (B, 3, H, W) on clip's device.

    view: the number of a random crop, or None for the plain image.  workers: processes that read ahead; None chooses
    a number (`worker_count`).  If an image cannot be read, raises a ValueError that lists all such images.
    """
    if workers is None:
        workers = worker_count(clip.device, sum(map(len, batches)))
    loader = DataLoader(
        Images(clip, examples, seed),
        batch_sampler=[list(batch) for batch in batches],
        collate_fn=stack_or_none,
        num_workers=workers,
        pin_memory=clip.device.type == "cuda",
        generator=torch.Generator(),  # else the DataLoader would draw from the global one
    )
    for images in loader:
        if images is None:
            raise _unreadable(examples)
        yield images.to(clip.device, non_blocking=True)


def worker_count(device: torch.device, images: int) -> int:
    """How many processes to read with: several if a GPU would wait for thousands of images, otherwise 0.

    On a CPU the encoder keeps all cores busy by itself.  On Windows and macOS a new process runs the main script again,
    so there are extra processes in a notebook only, which has no main script.

    >>> worker_count(torch.device("cpu"), 100_000), worker_count(torch.device("cuda"), 100)
    (0, 0)
    """
    # allow_none: asking otherwise fixes the start method for the whole process.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    forked = method == "fork"
    in_script = hasattr(sys.modules["__main__"], "__file__")
    if device.type == "cpu" or images < 2000 or (in_script and not forked):
        return 0
    return min(8, max(1, available_cores() - 1))


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Images(torch.utils.data.Dataset):
    """(position, view) -> (3, H, W), or None if the image cannot be read.  Can be pickled for a worker process.

    Views of one image that are asked for one after the other read it once.
    """

    def __init__(self, clip: Clip, examples: Sequence[Example], seed: int) -> None:
        # Strings are small to pickle. An example may also hold the image itself.
        self.images = [str(e.image) if isinstance(e.image, Path) else e.image for e in examples]
        self.plain, self.augmented, self.seed = clip.preprocess, clip.train_transform, seed
        self.last: tuple[int, Image.Image | None] = (-1, None)  # the last position, and its image

    def __getitem__(self, index: tuple[int, int | None]) -> torch.Tensor | None:
        position, view = index
        if position != self.last[0]:
            try:
                self.last = position, load_image(self.images[position])
            except (ValueError, OSError):
                self.last = position, None
        image = self.last[1]
        if image is None:
            return None
        if view is None:
            return self.plain(image)
        return self.augmented(image, seeded(self.seed, view, position))


def stack_or_none(images: list[torch.Tensor | None]) -> torch.Tensor | None:
    """(B, 3, H, W), or None if one of the images could not be read."""
    read = [image for image in images if image is not None]
    return torch.stack(read) if len(read) == len(images) else None


def _unreadable(examples: Sequence[Example]) -> ValueError:
    """An error that names every image that cannot be read."""
    reasons: dict[str, None] = {}  # a dict keeps their order, each once
    for example in examples:
        try:
            load_image(example.image)
        except (ValueError, OSError) as error:
            reasons[str(error)] = None
    listed = "\n  ".join(reasons)
    return ValueError(f"{len(reasons)} image(s) cannot be read: copy them again or remove them.\n  {listed}")
