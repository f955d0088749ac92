"""The drawings that the notebooks show: the one that 00 opens with, six for the whole course, typical ones."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from coop_edu.clip.models import Clip
from coop_edu.clip.probability import normalize
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.features import Features, extract_features


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


def typical_drawings(clip: Clip, datasets: Iterable[Dataset], classnames: Iterable[str]) -> list[list[Example]]:
    """For each data set, and in it for each class, the test image that is most typical of the data set.

    Most typical: its features lie farthest in the direction from the mean of all data sets to the mean of its own.
    """
    datasets, classnames = list(datasets), list(classnames)
    features = [normalize(extract_features(clip, data.test, progress=False).image_features) for data in datasets]
    means = torch.stack([x.mean(dim=0) for x in features])  # (data sets, E)
    shown = []
    for data, x, own in zip(datasets, features, means - means.mean(dim=0)):
        score = (x @ own).tolist()  # (N,)
        found = [[n for n, example in enumerate(data.test) if example.classname == name] for name in classnames]
        shown.append([data.test[max(places, key=score.__getitem__)] for places in found])
    return shown
