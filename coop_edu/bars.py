"""Progress bars, which TQDM_DISABLE=1 silences everywhere."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress_bar(*iterable: Any, show: bool = True, **options: Any) -> tqdm:
    """A bar of tqdm's, hidden for show=False, and by the environment variable TQDM_DISABLE.

    tqdm reads TQDM_DISABLE only if `disable` is not passed.
    """
    return tqdm(*iterable, **options) if show else tqdm(*iterable, disable=True, **options)
