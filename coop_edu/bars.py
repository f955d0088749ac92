"""Progress bars, which TQDM_DISABLE=1 silences everywhere."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(*iterable: Any, show: bool = True, **options: Any) -> tqdm:
    """A bar of tqdm's, hidden for show=False, and by the environment variable TQDM_DISABLE.

    tqdm reads TQDM_DISABLE only if `disable` is not passed. In a notebook the bar is an output of its own.
    """
    if not show:
        return tqdm(*iterable, disable=True, **options)
    return tqdm(*iterable, **({"file": Line()} if in_a_notebook() else {}), **options)


def in_a_notebook() -> bool:
    """Whether a kernel runs this, so that outputs can be changed later."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(get_ipython(), "kernel")


class Line:
    """Takes the place of stderr for a bar in a notebook: one output, which shows the last line written.

    JupyterLab shows what comes through stderr in a pink box, and the box stays when the bar has gone.
    """

    encoding = "utf-8"  # tqdm asks, before it draws with blocks

    def __init__(self) -> None:
        self.handle: Any = None

    def write(self, text: str) -> None:
        from IPython.display import display

        if not text.startswith("\r"):  # tqdm goes to another bar's line, or ends its own
            return
        line = text.strip()
        output = {"text/plain": line} if line else {"text/html": "", "text/plain": ""}
        if self.handle is not None:
            self.handle.update(output, raw=True)
        elif line:
            self.handle = display(output, raw=True, display_id=True)

    def flush(self) -> None:
        pass
