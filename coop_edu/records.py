"""What a file or a caller says, checked before it is used: JSON text, records of known fields, whole numbers.

A file may hold anything: other types than expected, entries twice, nesting without end.  What comes out of here is what
was asked for, or a ValueError that names the place and the entry.
"""

from __future__ import annotations

import json
import math
import operator
import reprlib
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

Record = TypeVar("Record")
_hints = lru_cache(typing.get_type_hints)


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a JSON text, of which `where` says where it stands.

    Raises ValueError for text that is not JSON, or not UTF-8, for a key that stands twice, for numbers that JSON does
    not have (NaN), and for nesting without end.

    >>> parse_json('{"a": 1, "a": 2}', "line 3 of x.json")
    Traceback (most recent call last):
    ...
    ValueError: line 3 of x.json: the key 'a' stands twice
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{where}: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:60]!r} stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def record(kind: Callable[..., Record], value: Any, where: str, *, more: bool = False) -> Record:
    """The dataclass `kind` made of an object of JSON, if every field has the type that its annotation says.

    Fields with a default may be absent; more: entries of other names are left aside.  Raises ValueError, naming `where`
    and the field.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: float
    ...     name: str | None = None
    >>> record(Point, {"x": 1}, "points.json").x
    1
    >>> record(Point, {"x": "1"}, "points.json")
    Traceback (most recent call last):
    ...
    ValueError: points.json: expected 'x' to be float, got '1'
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object in braces, got {reprlib.repr(value)}")
    hints = _hints(kind)
    known = {name: item for name, item in value.items() if name in hints or not more}
    for name in hints.keys() & known:
        if not fits(known[name], hints[name]):
            hint = hints[name].__name__ if isinstance(hints[name], type) else hints[name]
            raise ValueError(f"{where}: expected {name!r} to be {hint}, got {reprlib.repr(known[name])}")
    try:
        return kind(**known)
    except TypeError as error:  # it names the entry that is missing, or that is not known
        raise ValueError(f"{where}: {error}") from error


def fits(value: Any, hint: Any) -> bool:
    """Is the value of this type?  Looks into lists and dictionaries; a whole number is a number, true is neither."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, one) for one in arguments)
    if origin is list:
        return type(value) is list and all(fits(item, arguments[0]) for item in value)
    if origin is dict:
        return type(value) is dict and all(fits(k, arguments[0]) and fits(v, arguments[1]) for k, v in value.items())
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is hint


def whole_number(value: Any, name: str, *, at_least: int | None = None) -> int:
    """The value as an int, from any library's whole numbers; ValueError, naming it, for anything else, and for too few.

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
        raise ValueError(f"expected {name} as a whole number{bound}, got {value!r:.80}")
    return number


def real_number(value: Any, name: str, *, at_least: float) -> float:
    """The value as a float; ValueError, naming it, for one that is no finite number, or too small."""
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise ValueError(f"expected {name} as a number, got {value!r:.80}")
    if not (math.isfinite(float(value)) and float(value) >= at_least):
        raise ValueError(f"expected {name} as a finite number of at least {at_least:g}, got {value!r:.80}")
    return float(value)
