"""The drawings that the notebooks show: the one that 00 opens with, and six that go through the course."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.features import Features


def disagreement(classifiers: Iterable[ZeroShot], features: Features) -> tuple[Tensor, int]:
    """How many different answers each of N images gets, (N,), and the index of the image that shows it best.

    Best: it has the most different answers, the last classifier is right (so that the label is not a doubtful one), and
    the answers are confident.
    """
    logits = [each.logits(features.image_features.to(each.clip.device)).cpu() for each in classifiers]
    p = torch.stack(logits).softmax(dim=2)  # (T, N, K)
    answers = p.argmax(dim=2)  # (T, N)
    different = torch.tensor([len(set(column)) for column in answers.T.tolist()])  # (N,)
    last_is_right = answers[-1] == features.labels
    return different, int((different + last_is_right + p.amax(dim=2).mean(dim=0)).argmax())


def six_drawings(dataset: Dataset) -> dict[str, Example]:
    """The course's small example: a validation image of each of six classes, spread over the alphabet."""
    step = max(1, len(dataset.classnames) // 6)
    names = dataset.classnames[3 * step // 4 :: step][:6]  # at mini: things that one can count
    return {name: next(example for example in dataset.val if example.classname == name) for name in names}
