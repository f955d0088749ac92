"""Mean and spread of a number over seeds.

Leaves out: running several seeds (grid/).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def mean_and_std(values: float | Iterable[float]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n, not n - 1) over seeds, as the authors' tables have it.

    >>> mean_and_std([60, 62, 64]), mean_and_std(70)
    ((62.0, 1.632993161855452), (70.0, 0.0))
    """
    values = np.asarray(list(values) if isinstance(values, Iterable) else [values], dtype=float)
    if not len(values):
        raise ValueError("expected at least one value, got none: did every seed fail?")
    return float(values.mean()), float(values.std())
