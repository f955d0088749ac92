"""The idea of CoOp as a drawing: images stay where they are, and the classes' text features move towards them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize

from coop_edu.data.features import Features
from coop_edu.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INDIGO,
    ORANGE,
    SKY,
    VERMILION,
    WINE,
    caption,
    new_figure,
)

LOOKS = (  # of a class: (colour, marker); no yellow, which is pale on white, no black and no purple
    (BLUE, "o"), (ORANGE, "s"), (SKY, "^"), (WINE, "P"), (GREEN, "v"), (VERMILION, "X"), (GREY, "<"), (INDIGO, ">"),
)  # fmt: skip


def feature_map(
    train: Features,
    images: Features,
    path: Sequence[Float[Tensor, "K E"]],
    labels: Sequence[int],
    *,
    message: str = "",
) -> Figure:
    """Images and text features at the start of a training and at its end, in two dimensions.

    path: the text features after each epoch, the start first; labels: the classes that are drawn, at most eight.  The
    axes are the two directions in which the classes' mean training images differ most, so they do not depend on what is
    learned.  Text features are drawn from their common mean at the start, which the softmax does not see, and all with
    one length, because only their directions count.
    """
    f = normalize(train.image_features, dim=-1)
    means = torch.stack([f[train.labels == label].mean(dim=0) for label in labels])  # (k, E)
    axes = torch.linalg.svd(means - means.mean(dim=0), full_matrices=False).Vh[:2]  # (2, E)
    dots = (normalize(images.image_features, dim=-1) - means.mean(dim=0)) @ axes.T  # (N, 2)
    w = torch.stack([step[list(labels)].cpu() for step in path])  # (T, k, E)
    ways = (w - w[0].mean(dim=0)) @ axes.T  # (T, k, 2)
    ways = 0.9 * dots.abs().max() * ways / ways.norm(dim=-1, keepdim=True)
    reach = 1.08 * max(float(dots.abs().max()), float(ways.abs().max()))
    figure, panels = new_figure(8.0, 4.1, 1, 2)
    stops = 0, len(path) - 1
    for panel, now in zip(panels, stops):
        right = _share_right(images, w[now], labels)
        for place, label in enumerate(labels):
            colour, marker = LOOKS[place]
            end = ways[now, place].tolist()
            panel.scatter(*dots[images.labels == label].T, color=colour, marker=marker, s=15, alpha=0.75, linewidths=0)
            panel.plot([0, end[0]], [0, end[1]], color=colour, linewidth=1, alpha=0.6)
            panel.scatter(*end, color=colour, marker="D", s=58, edgecolors="black", linewidths=0.8, zorder=3)
            if not now:
                panel.scatter([], [], color=colour, marker=marker, label=images.classnames[label])
        title = "before" if now == 0 else f"after {now} epochs"
        panel.set(
            title=f"{title}: {right:.0f} % right", xticks=[], yticks=[], xlim=(-reach, reach), ylim=(-reach, reach)
        )
        panel.spines[:].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9, handletextpad=0.2)
    return caption(figure, message)


def _share_right(images: Features, w: Float[Tensor, "k E"], labels: Sequence[int]) -> float:
    """Accuracy in percent among the drawn classes."""
    drawn = torch.isin(images.labels, torch.tensor(list(labels)))
    answers = (normalize(images.image_features[drawn], dim=-1) @ w.T).argmax(dim=1)
    return 100 * (torch.tensor(list(labels))[answers] == images.labels[drawn]).double().mean().item()
