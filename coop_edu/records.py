"""What a file or a caller says, checked before it is used: JSON text, records of known fields, whole numbers.

A file may hold anything: other types than expected, entries twice, nesting without end.  What comes out of here is what
was asked for, or a ValueError that names the place and the entry.

Leaves out: what the records mean (coop/prompt_file.py, grid/results.py, data/split_file.py).
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

Record = TypeVar("Record")
NAMES = {dict: "an object in braces", list: "a list", str: "a text", bool: "true or false", int: "a whole number",
         float: "a number", type(None): "null"}  # fmt: skip


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

    >>> @dataclasses.dataclass
    ... class Point:
    ...     x: float
    ...     name: str | None = None
    >>> record(Point, {"x": 1}, "points.json").x
    1
    >>> record(Point, {"x": "1"}, "points.json")
    Traceback (most recent call last):
    ...
    ValueError: points.json: expected 'x' to be a number, got '1'
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: expected an object in braces, got {value!r:.80}")
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    needed = [name for name, field in fields.items() if _has_no_default(field)]
    if missing := [name for name in needed if name not in value]:
        raise ValueError(f"{where}: it has no {', '.join(map(repr, missing))}")
    if not more and (other := sorted(set(value) - set(fields))):
        raise ValueError(f"{where}: it has entries that are not known here: {', '.join(map(repr, other[:5]))}")
    hints = _hints(kind)
    known = {name: value[name] for name in fields if name in value}
    for name, item in known.items():
        if not fits(item, hints[name]):
            raise ValueError(f"{where}: expected {name!r} to be {_words(hints[name])}, got {_short(item)}")
    return kind(**known)


@lru_cache
def _hints(kind: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


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


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(_words, arguments))
    inner = "" if not arguments or arguments[-1] is Any else f" of which each is {_words(arguments[-1])}"
    return NAMES.get(origin or hint, str(hint)) + inner


def _short(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except (RecursionError, ValueError):  # nested without end, or a number of too many digits
        return f"a {type(value).__name__}"
