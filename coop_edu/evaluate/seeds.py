"""Mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def mean_and_std(values: float | Iterable[float]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n, not n - 1) over seeds, as in the authors' tables.

    >>> mean_and_std([60, 62, 64]), mean_and_std(70)
    ((62.0, 1.632993161855452), (70.0, 0.0))
    """
    values = np.asarray(list(values) if isinstance(values, Iterable) else [values], dtype=float)
    if not len(values):
        raise ValueError("expected at least one value to average: did every seed fail?")
    return float(values.mean()), float(values.std())
