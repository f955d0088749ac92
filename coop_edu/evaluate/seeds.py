"""A mean over seeds, images or tasks, and its interval."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.special import stdtrit  # Student's t; scipy.stats takes a second to import


def mean_and_interval(values: float | Iterable[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval, t s / sqrt(n), by Student's t; nan for a single value.

    s is divided by n - 1.  Every ± and every band of the course is this number.

    >>> mean_and_interval([60, 62, 64])
    (62.0, 4.968...)
    """
    values = np.asarray(list(values) if isinstance(values, Iterable) else [values], dtype=float)
    n = len(values)
    if not n:
        raise ValueError("expected at least one value to average: did every seed fail?")
    half = stdtrit(n - 1, 0.975) * values.std(ddof=1) / n**0.5 if n > 1 else float("nan")
    return float(values.mean()), float(half)
