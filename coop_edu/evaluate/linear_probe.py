"""The linear probe: logistic regression on frozen image features, the paper's few-shot baseline (section 4.1).

It sees the same few images as CoOp but not the class names: what it lacks is CLIP's text encoder.  Features are not
normalised, and C, the inverse strength of the L2 penalty, is searched for on validation images, as in the CLIP
paper.

Leaves out: the authors' own sampling of the probe's images; here probe and prompt learn from the same shots.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from coop_edu.clip.models import Clip
from coop_edu.clip.templates import class_rows, several_names
from coop_edu.data.features import Features
from coop_edu.data.labels import check_same_classes

FIRST_LOOK = (6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0)  # log10 C
BISECTIONS = 8


class LinearProbe:
    """A classifier trained on features (N, E) of plain images; `log10_C` is what the search found.

    Raises ValueError if a class has no training image, without validation images, with augmented views, with
    fewer than two classes, or if features and classnames disagree.

        probe = LinearProbe(clip, iconnet.classnames, extract_features(clip, train), extract_features(clip, val))
    """

    def __init__(self, clip: Clip, classnames: Sequence[str], train: Features, val: Features) -> None:
        self.clip, self.classnames = clip, several_names(classnames)
        self._check(train, val)
        self.log10_C, model = search_C(train, val)
        weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
        if len(self.classnames) == 2:  # scikit-learn keeps the second class's row only
            weight, bias = torch.stack([0 * weight[0], weight[0]]), torch.cat([0 * bias, bias])
        self.weight, self.bias = weight.float(), bias.float()  # (K, E), (K,)

    def logits(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """Of features that are not normalised."""
        return image_features @ self.weight.to(image_features.device).T + self.bias.to(image_features.device)

    def with_classnames(self, classnames: Sequence[str]) -> LinearProbe:
        """The same probe over some of its classes: the other columns are left out, as for ImageNet-A and -R.

        Raises ValueError for a class that it was not trained on.
        """
        classnames = several_names(classnames)
        rows = class_rows(self.classnames, classnames)
        unknown = [name for name, row in zip(classnames, rows) if row is None]
        if unknown:
            raise ValueError(
                f"a linear probe has one row of weights per class that it was trained on, and none for "
                f"{', '.join(map(repr, unknown[:10]))}. Unlike a prompt, it does not read class names."
            )
        part = copy.copy(self)
        part.classnames = classnames
        part.weight, part.bias = self.weight[rows], self.bias[rows]
        return part

    def _check(self, train: Features, val: Features) -> None:
        if len(self.classnames) < 2:
            raise ValueError(f"expected at least two classes, got {self.classnames}: there is nothing to tell apart")
        for name, features in (("training", train), ("validation", val)):
            check_same_classes(features.classnames, self.classnames)
            if features.image_features.ndim != 2 or not len(features):
                raise ValueError(
                    f"expected {name} features (N, E) of at least one plain image, got "
                    f"{tuple(features.image_features.shape)}: extract_features(clip, examples, views=None)"
                )
        empty = sorted(set(range(len(self.classnames))) - set(train.labels.tolist()))
        if empty:
            raise ValueError(
                "no training image of "
                f"{', '.join(repr(self.classnames[label]) for label in empty[:10])}: a probe needs every "
                "class"
            )


def search_C(train: Features, val: Features) -> tuple[float, LogisticRegression]:
    """log10 C with the highest validation accuracy, and the model trained with it: the search of the paper's
    baseline.

    Seven values from 1e6 to 1e-6; then, from a tenth to ten times the best of them (the first of equals), eight
    bisections of the interval of log10 C, each keeping the half at the better end (the lower end of equals).

    In double precision: in single, lbfgs may stop after a few steps where C is small.  Every model starts from zero, on
    the features as they are.  Where C is large lbfgs stops long before the optimum, so that the result depends on its
    path: centred features, their span, or a start from a neighbour's weights save some steps, but may change what
    the search finds.
    """
    x, y = train.image_features.double().numpy(), train.labels.numpy()  # (N, E), (N,)
    val_x, val_y = val.image_features.double().numpy(), val.labels.numpy()
    fitted: dict[float, tuple[float, LogisticRegression]] = {}  # an end that stays need not be trained again

    def score(log10_C: float) -> float:
        if log10_C not in fitted:
            model = LogisticRegression(C=10.0**log10_C, max_iter=1000)  # lbfgs, L2
            model.fit(x, y)
            fitted[log10_C] = float(np.mean(model.predict(val_x) == val_y)), model
        return fitted[log10_C][0]

    # The products are small: with one thread, cores need not wait for each other.
    with expected_warnings_ignored(), threadpool_limits(1, "blas"):
        best = max(FIRST_LOOK, key=score)  # the first of equals
        left, right = best - 1.0, best + 1.0
        for _ in range(BISECTIONS):
            middle = (left + right) / 2
            if score(left) < score(right):
                chosen, left = right, middle
            else:
                chosen, right = left, middle
    return chosen, fitted[chosen][1]


_running: list[object] = []  # one entry per search that goes on
_filters, _running_lock = ExitStack(), threading.Lock()


@contextmanager
def expected_warnings_ignored() -> Iterator[None]:
    """Without what scikit-learn says about one shot, and about large C, where the search judges the result.

    Warning filters belong to the process: of several searches in threads, the first sets them, the last one puts
    back what was there.
    """
    with _running_lock:
        if not _running:
            _filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", message="The number of unique classes")
        _running.append(None)
    try:
        yield
    finally:
        with _running_lock:
            _running.pop()
            if not _running:
                _filters.close()
