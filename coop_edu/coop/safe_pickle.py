"""Reads the pickle inside a file of torch.save without running it.

A pickle is a program for a small machine that can call whatever function the file names.  It is harmless where every
name leads to a class of this file or to a plain container, which is what `find_class` is for: it looks names up in a
table and imports nothing.  Tensors are noted down while the pickle is read, and made afterwards.

Leaves out: what the tensors mean (authors_files.py).
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections import OrderedDict
from typing import Any

import torch

STORAGES = {  # how a pickle of torch calls the numbers' types
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
IGNORED = re.compile(r"(torch\.optim|dassl\.optim)(\.\w+)*")  # modules whose classes are not wanted


class Refused(Exception):
    """The file asks for something that a file of the authors' code has no need of."""


class PromptUnpickler(pickle.Unpickler):
    """Reads the archive of torch.save, a zip of data.pkl and each tensor's numbers, and imports nothing."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if not stored or sum(entry.file_size for entry in entries) > size:
            raise Refused("it is compressed, which torch never does: it might unpack to any size")
        pickles = [entry.filename for entry in entries if entry.filename.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise Refused(f"expected one data.pkl in it, found {len(pickles)}")
        self.archive, self.folder = archive, pickles[0].split("/")[0]
        super().__init__(archive.open(pickles[0]))

    def prompt(self) -> dict[str, Any]:
        """{"state_dict": {name: tensor}, "epoch": 50, ...}: tensors, and facts of plain types; the rest is dropped."""
        content = self.load()
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise Refused("it has no state_dict of tensors")
        if others := [key for key, saved in state.items() if not isinstance(saved, _Tensor)]:
            raise Refused(f"in its state_dict, {others[:5]} are no tensors")
        tensors = {key: self._read(saved) for key, saved in state.items()}
        facts = {key: value for key, value in content.items() if key != "state_dict" and _is_plain(value)}
        return {"state_dict": tensors, **facts}

    def find_class(self, module: str, name: str) -> Any:
        """Every function or class that a pickle wants goes through here."""
        if module == "torch" and name in STORAGES:
            return name
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if IGNORED.fullmatch(module):
            return _Ignored
        raise Refused(f"it asks for {module}.{name}")

    def persistent_load(self, saved_id: Any) -> tuple:
        """What data.pkl says of a tensor's numbers: ("storage", type, name of the entry, device, how many)."""
        return saved_id

    def _read(self, saved: _Tensor) -> torch.Tensor:
        (_, storage, key, _, count), offset, size, stride, *_ = saved.arguments
        if not re.fullmatch(r"\d+", key) or not 0 < math.prod(size) <= count:
            raise Refused(f"a tensor of shape {tuple(size)} is made of {count} numbers called {key!r}")
        content = bytearray(self.archive.read(f"{self.folder}/data/{key}"))
        numbers = torch.frombuffer(content, dtype=STORAGES[storage], count=count)
        return torch.as_strided(numbers, size, stride, offset).clone()  # torch checks that it stays within


def _is_plain(value: Any, depth: int = 2) -> bool:
    """Whether it is a text, a number, or a short way down a list or dictionary of such: what a header is made of."""
    if depth and type(value) is dict:
        return all(type(key) is str and _is_plain(item, depth - 1) for key, item in value.items())
    if depth and type(value) is list:
        return all(_is_plain(item, 0) for item in value)
    return value is None or type(value) in (str, int, float, bool)


class _Unchangeable:
    """A pickle can set attributes of what it has, of a class too, but not where there is a __setstate__."""

    __slots__ = ()

    def __setstate__(self, _: Any) -> None:
        raise Refused("it changes a tensor or a container after it was made")


class _Ignored(_Unchangeable):
    """In the place of an object that is not wanted: takes any arguments and any state, keeps none."""

    __slots__ = ()

    def __new__(cls, *_: Any) -> _Ignored:
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Tensor(_Unchangeable):
    """In the place of a tensor, so that the pickle never holds one: what it is to be made of."""

    __slots__ = ("arguments",)

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class _Parameter(_Unchangeable):
    """In the place of a parameter: its tensor."""

    def __new__(cls, tensor: Any, *_: Any) -> Any:
        return tensor


class _Dictionary(_Unchangeable):
    """A dictionary, in the place of a defaultdict, which would call a function of the file's choice, or a Counter."""

    def __new__(cls, *_: Any) -> dict:
        return {}


# Beside the classes above, only types of Python's own core, which cannot be changed either.
KNOWN: dict[tuple[str, str], type] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch", "Size"): tuple,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): _Dictionary,
    ("collections", "defaultdict"): _Dictionary,
    **{(builtins, kind.__name__): kind for builtins in ("builtins", "__builtin__") for kind in (dict, set)},
}
