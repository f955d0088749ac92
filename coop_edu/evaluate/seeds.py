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


def both_errors(by_seed: Iterable[float], by_image: Iterable[float]) -> tuple[float, float]:
    """Mean over the seeds, and half of a 95 % interval that counts both errors: other seeds and other test images.

    `by_seed`: a difference of two classifiers, in points, for each seed.  `by_image`: the same for each test image,
    -100, 0 or 100 (or its mean over seeds).  The two errors are independent, so their squares add up.

    >>> both_errors([4, 6, 5], [100, 0, 0, 0, 0, 0, 0, -100])
    (5.0, 44.7...)
    """
    mean, of_seeds = mean_and_interval(by_seed)
    return mean, float((of_seeds**2 + mean_and_interval(by_image)[1] ** 2) ** 0.5)
