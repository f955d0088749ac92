"""Values from files and callers, checked before they are used: JSON, and numbers."""

from __future__ import annotations

import math
import operator
from typing import Any, TypeVar

import msgspec

Record = TypeVar("Record")


def decode(text: str | bytes, where: str) -> Any:
    """The value of a JSON text.  Raises ValueError, which names `where`, for text that is not JSON.

    >>> decode('{"a": 1', "line 3 of x.json")
    Traceback (most recent call last):
    ...
    ValueError: line 3 of x.json: Input data was truncated
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from error


def record(kind: type[Record], value: Any, where: str) -> Record:
    """A dataclass or msgspec.Struct made of a dictionary.  Raises ValueError, which names `where` and the field.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: float
    >>> record(Point, {"x": "1"}, "points.json")
    Traceback (most recent call last):
    ...
    ValueError: points.json: Expected `float`, got `str` - at `$.x`
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{where}: {error}") from error


def whole_number(value: Any, name: str, *, at_least: int | None = None, otherwise: str = "") -> int:
    """The value as an int; ValueError, with its name, for anything that is not a whole number, and for one too small.

    otherwise: what else the caller takes, for the message.

    >>> whole_number(True, "k")
    Traceback (most recent call last):
    ...
    ValueError: expected k as a whole number, got True
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (at_least is not None and number < at_least):
        bound = "" if at_least is None else f" of at least {at_least}"
        others = f", or {otherwise}" if otherwise else ""
        raise ValueError(f"expected {name} as a whole number{bound}{others}, got {value!r:.80}")
    return number


def real_number(value: Any, name: str, *, at_least: float) -> float:
    """The value as a float; ValueError, with its name, for one that is not a finite number, or too small."""
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise ValueError(f"expected {name} as a number, got {value!r:.80}")
    if not (math.isfinite(float(value)) and float(value) >= at_least):
        raise ValueError(f"expected {name} as a finite number of at least {at_least:g}, got {value!r:.80}")
    return float(value)
