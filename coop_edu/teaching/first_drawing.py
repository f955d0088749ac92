"""Finds the drawing that notebook 00 opens with: wordings disagree on it most, and the last of them is right."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from coop_edu.clip.zero_shot import ZeroShot
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
