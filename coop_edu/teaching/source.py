"""The source of a class or function, folded into a notebook."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import Markdown


def show_source(thing: type | Callable) -> Markdown:
    """The source of a class or function, folded: a click on the line opens it.

    >>> from coop_edu import normalize
    >>> print(show_source(normalize).data.splitlines()[0])
    <details><summary>normalize, in coop_edu/clip/probability.py (click to read)</summary>
    """
    from IPython.display import Markdown

    file = thing.__module__.replace(".", "/") + ".py"
    heading = f"<details><summary>{thing.__name__}, in {file} (click to read)</summary>"
    return Markdown(f"{heading}\n\n```python\n{inspect.getsource(thing)}```\n\n</details>")
