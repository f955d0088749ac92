"""Progress bars, which TQDM_DISABLE=1 silences everywhere.

Leaves out: what is counted (data/features.py, coop/trainer.py, grid/progress.py).
"""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress_bar(*iterable: Any, show: bool = True, **options: Any) -> tqdm:
    """A bar of tqdm's, hidden for show=False, and by the environment variable TQDM_DISABLE.

    tqdm asks the variable only where `disable` is not given: an explicit False would overrule it.
    """
    return tqdm(*iterable, **options) if show else tqdm(*iterable, disable=True, **options)
