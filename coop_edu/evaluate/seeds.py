"""Mean, spread and interval over seeds, images or tasks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.special import stdtrit  # Student's t; scipy.stats takes a second to import


def mean_and_std(values: float | Iterable[float]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n, not n - 1) over seeds, as in the authors' tables.

    >>> mean_and_std([60, 62, 64]), mean_and_std(70)
    ((62.0, 1.632993161855452), (70.0, 0.0))
    """
    values = _array(values)
    return float(values.mean()), float(values.std())


def mean_and_interval(values: float | Iterable[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval, t s / sqrt(n), by Student's t; nan for a single value.

    s is divided by n - 1.  Every ± and every band of the course is this number.

    >>> mean_and_interval([60, 62, 64])
    (62.0, 4.968...)
    """
    values = _array(values)
    n = len(values)
    if n < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / n**0.5)


def _array(values: float | Iterable[float]) -> np.ndarray:
    values = np.asarray(list(values) if isinstance(values, Iterable) else [values], dtype=float)
    if not len(values):
        raise ValueError("expected at least one value to average: did every seed fail?")
    return values
