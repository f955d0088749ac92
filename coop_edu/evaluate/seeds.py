"""A figure over seeds.

Leaves out: running several seeds (grid/).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def mean_and_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n, not n - 1) over seeds, as the authors' tables have it.

    >>> mean_and_std([60, 62, 64])
    (62.0, 1.632993161855452)
    """
    values = np.asarray(list(values), dtype=float)
    if not len(values):
        raise ValueError("expected at least one value, got none: did every seed fail?")
    return float(values.mean()), float(values.std())
