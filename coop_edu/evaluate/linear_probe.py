"""The linear probe: logistic regression on frozen image features, the paper's few-shot baseline (Section 4.1).

It sees the same few images as CoOp but neither class names nor text encoder.  Features are not normalised.  C, the
inverse strength of the L2 penalty, is chosen on validation images, as in the CLIP paper.  The authors sample other
images for their probe; here probe and prompt learn from the same shots.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

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
    """A classifier trained on features (N, E) of plain images; `log10_C` is the value that the search chose.

    Raises ValueError if a class has no training image, if there is no validation image, for features of augmented
    views, for fewer than two classes, and if features and classnames disagree.

        probe = LinearProbe(clip, iconnet.classnames, extract_features(clip, train), extract_features(clip, val))
    """

    def __init__(self, clip: Clip, classnames: Sequence[str], train: Features, val: Features) -> None:
        self.clip, self.classnames = clip, several_names(classnames)
        self._check(train, val)
        self.log10_C, model = search_C(train, val)
        weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
        if len(self.classnames) == 2:  # scikit-learn has a row for the second class only
            weight, bias = torch.stack([0 * weight[0], weight[0]]), torch.cat([0 * bias, bias])
        self.weight, self.bias = weight.float(), bias.float()  # (K, E), (K,)

    def logits(self, image_features: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """W x + b, for features that are not normalised."""
        return image_features @ self.weight.to(image_features.device).T + self.bias.to(image_features.device)

    def with_classnames(self, classnames: Sequence[str]) -> LinearProbe:
        """The same probe over some of its classes, as ImageNet-A and -R need it.

        Raises ValueError for a class that it was not trained on.
        """
        classnames = several_names(classnames)
        rows = class_rows(self.classnames, classnames)
        unknown = [name for name, row in zip(classnames, rows) if row is None]
        if unknown:
            raise ValueError(
                f"this linear probe was not trained on {', '.join(map(repr, unknown[:10]))}. Unlike a prompt, it does "
                "not read class names."
            )
        part = copy.copy(self)
        part.classnames = classnames
        part.weight, part.bias = self.weight[rows], self.bias[rows]
        return part

    def _check(self, train: Features, val: Features) -> None:
        for features in (train, val):
            check_same_classes(features.classnames, self.classnames)
        if not len(val):  # each C would have the accuracy NaN
            raise ValueError("expected at least one validation image, to choose C on")
        if absent := sorted(set(range(len(self.classnames))) - set(train.labels.tolist())):
            names = ", ".join(repr(self.classnames[label]) for label in absent[:10])
            raise ValueError(f"no training image of {names}: add images, or leave the classes out")


def search_C(train: Features, val: Features) -> tuple[float, LogisticRegression]:
    """The log10 C with the highest validation accuracy, and its model: the search of the paper's baseline.

    It tries seven values from 1e6 to 1e-6.  Then it takes the interval from a tenth to ten times the best of them (the
    first of equals) and halves it eight times in log10 C, towards the better end (the lower end of equals).

    Every model starts from zero, on the features as they are, in double precision.  In single precision lbfgs may stop
    after a few steps if C is small.  If C is large it stops long before the optimum, so the result depends on its path:
    centred features or a start from a neighbour's weights would be faster, but could change the C that is found.
    """
    x, y = train.image_features.double().numpy(), train.labels.numpy()  # (N, E), (N,)
    val_x, val_y = val.image_features.double().numpy(), val.labels.numpy()
    fitted: dict[float, tuple[float, LogisticRegression]] = {}  # one end of the interval stays: do not train it again

    def score(log10_C: float) -> float:
        if log10_C not in fitted:
            model = LogisticRegression(C=10.0**log10_C, max_iter=1000)  # lbfgs, L2
            model.fit(x, y)
            fitted[log10_C] = float(np.mean(model.predict(val_x) == val_y)), model
        return fitted[log10_C][0]

    # The matrix products are small, so one thread is faster. scikit-learn warns about one shot and about large C.
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes")
        best = max(FIRST_LOOK, key=score)  # the first of equals
        left, right = best - 1.0, best + 1.0
        for _ in range(BISECTIONS):
            middle = (left + right) / 2
            if score(left) < score(right):
                chosen, left = right, middle
            else:
                chosen, right = left, middle
    return chosen, fitted[chosen][1]
