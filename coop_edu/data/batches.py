"""From a list of images to batches of tensors: read, cropped and stacked, in this process or in several.

Every random crop has a generator of its own, made from (seed, view, position in the list): the same crop comes out
whatever the batch size and the number of processes, and no global state is touched.

Leaves out: one image (images.py), the transforms (clip/transforms.py), what is done with the tensors (features.py,
coop/trainer.py).
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
    """A generator that depends on these whole numbers and nothing else: (seed, view, position), say.

    >>> bool(torch.rand(1, generator=seeded(1, 0, 5)) == torch.rand(1, generator=seeded(1, 0, 5)))
    True
    """
    mixed = np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1)
    return torch.Generator().manual_seed(int(mixed[0]))  # torch keeps 32 bits of a seed: mix them first


def read_batches(
    clip: Clip,
    examples: Sequence[Example],
    batches: Sequence[Sequence[tuple[int, int | None]]],
    *,
    seed: int,
    workers: int | None = None,
) -> Iterator[torch.Tensor]:
    """For each batch of pairs (position in `examples`, view or None), the images (B, 3, H, W) on clip's device.

    view: the number of a random crop, or None for the plain image.  workers: processes that read ahead; None is as
    many as help.  Raises ValueError, listing every unreadable image among the examples, as soon as there is one.
    """
    if workers is None:
        workers = worker_count(clip.device, sum(map(len, batches)))
    loader = DataLoader(
        Images(clip, examples, seed),
        batch_sampler=[list(batch) for batch in batches],
        collate_fn=stack_or_none,
        num_workers=workers,
        pin_memory=clip.device.type == "cuda",
        generator=torch.Generator(),  # its own: the global one is left alone
    )
    for images in loader:
        if images is None:
            raise _unreadable(examples)
        yield images.to(clip.device, non_blocking=True)


def worker_count(device: torch.device, images: int) -> int:
    """How many processes to read with: some, where a GPU would wait for thousands of images; else none.

    On a CPU the encoder keeps all cores busy by itself.  Where a process cannot be forked (Windows, macOS), a new one
    runs the main script again, which only a notebook takes well, as it has none.

    >>> worker_count(torch.device("cpu"), 100_000), worker_count(torch.device("cuda"), 100)
    (0, 0)
    """
    forked = multiprocessing.get_start_method() == "fork"
    in_script = hasattr(sys.modules["__main__"], "__file__")
    if device.type == "cpu" or images < 2000 or (in_script and not forked):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores - 1))


class Images(torch.utils.data.Dataset):
    """(position, view) -> (3, H, W), or None if the image cannot be read; can be sent to a worker process.

    An image whose views are asked for one after the other is read once.
    """

    def __init__(self, clip: Clip, examples: Sequence[Example], seed: int) -> None:
        # As texts, which are small to send; an example may also hold an image.
        self.images = [str(e.image) if isinstance(e.image, Path) else e.image for e in examples]
        self.plain, self.augmented, self.seed = clip.preprocess, clip.train_transform, seed
        self.last: tuple[int, Image.Image | None] = (-1, None)  # position, and what was read there

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
    """Look at every image, so that one error names all that cannot be read."""
    reasons: dict[str, None] = {}  # in order, each once
    for example in examples:
        try:
            load_image(example.image)
        except (ValueError, OSError) as error:
            reasons[str(error)] = None
    if not reasons:
        return ValueError(
            "an image could not be read, and a moment later it could: is the disk a shared one, and busy?"
        )
    listed = "\n  ".join(reasons)
    return ValueError(f"{len(reasons)} image(s) cannot be read; copy them again or take them out:\n  {listed}")
