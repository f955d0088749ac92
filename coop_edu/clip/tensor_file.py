"""Tensors from a file of torch.save, or a compiled model of torch.jit.save, with nothing in it run.

Such a file is a zip archive: data.pkl says what there is, and each entry data/0, data/1, ... holds the numbers of a
tensor.  What data.pkl says of a tensor is compared with what the archive has before any memory is taken: no tensor has
more numbers than its entry, and all together no more bytes than the file.

Leaves out: how data.pkl is read (safe_pickle.py), what the tensors mean (weights.py, coop/authors_files.py).
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from coop_edu.clip.safe_pickle import Refused, SavedName, SavedObject, SavedTensor, read_pickle

TYPES = {  # how a pickle of torch calls the numbers' types
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
MOST_DIMENSIONS = 8


def read_tensor_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors of a file by name, and the facts of plain types beside them ({"epoch": 50}); all else is left out.

    The file holds a dictionary of tensors, bare or as "state_dict" among others, or a compiled model.
    Raises ValueError, saying which, for a file that is damaged or of another kind, and for one that asks for anything
    else than tensors and plain containers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path.stat().st_size)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path} is no whole file of torch.save ({error}): it is cut short, of another kind, or was written by a "
            "torch before 1.6, whose format is not read here. If you trust it, load and save it with a newer torch."
        ) from error
    except Refused as error:
        raise ValueError(
            f"{path} was refused, and nothing in it was run: {error}. Expected tensors, plain containers, and at most "
            "an optimizer and a scheduler. If you did not make this file yourself, do not trust it."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"{path} cannot be read: it is damaged ({type(error).__name__}: {error})") from error


def _read(archive: zipfile.ZipFile, size: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    # A compiled model has code in it, too, which is compressed, and not looked at.
    entries = [
        entry for entry in archive.infolist() if re.fullmatch(r"[^/]+/(data\.pkl|byteorder|data/\d+)", entry.filename)
    ]
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > size:
        raise Refused("it is compressed, which torch never does: it might unpack to any size")
    names = {entry.filename for entry in entries}
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(names) != len(entries):
        raise Refused(f"expected one data.pkl in it, found {len(pickles)}, and no entry twice")
    folder = pickles[0].split("/")[0]
    if f"{folder}/byteorder" in names and archive.read(f"{folder}/byteorder") != b"little":
        raise Refused("its numbers are in another order of bytes: save it again on a machine of today")
    state, facts = _state_and_facts(read_pickle(archive.read(pickles[0])))
    _check_sizes(state, size)
    keys = {saved.arguments[0][1][2] for saved in state.values()}
    numbers = {key: archive.read(f"{folder}/data/{key}") for key in keys}
    return {name: _tensor(saved, numbers) for name, saved in state.items()}, facts


def _state_and_facts(content: Any) -> tuple[dict[str, SavedTensor], dict[str, Any]]:
    if type(content) is SavedObject:
        content = dict(_attributes(content))
    if type(content) is not dict:
        raise Refused(f"it has no state_dict of tensors, but a {type(content).__name__}")
    state = content.get("state_dict", content)
    if not state or type(state) is not dict or not all(type(key) is str for key in state):
        raise Refused("it has no state_dict of tensors")
    others = [key for key, saved in state.items() if type(saved) is not SavedTensor]
    if others:
        raise Refused(f"it has no state_dict of tensors: in it, {others[:5]} are no tensors")
    seen: set[int] = set()
    return state, {key: value for key, value in content.items() if key != "state_dict" and _is_plain(value, seen)}


def _attributes(model: SavedObject) -> Iterator[tuple[str, SavedTensor]]:
    """The tensors of a compiled model, by the names of their modules: "visual.conv1.weight"."""
    waiting, seen = [("", model)], set()
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen or type(module.state) is not dict:
            raise Refused("it is no tree of modules")
        seen.add(id(module))
        for name, value in module.state.items():
            if type(value) is SavedTensor:
                yield f"{prefix}{name}", value
            elif type(value) is SavedObject:
                waiting.append((f"{prefix}{name}.", value))


def _check_sizes(state: dict[str, SavedTensor], size: int) -> None:
    """Refused for a tensor that says what cannot be, before any memory is taken."""
    total = 0
    for name, saved in state.items():
        (_, storage), offset, shape, stride, *_ = saved.arguments
        _, kind, key, _, count = storage
        lengths = (offset, count, *shape, *stride) if type(shape) is type(stride) is tuple else (None,)
        if not all(type(length) is int and length >= 0 for length in lengths):
            raise Refused(f"the shape of {name[:100]!r} is none")
        if len(shape) != len(stride) or len(shape) > MOST_DIMENSIONS:
            raise Refused(f"the shape of {name[:100]!r} is none")
        if type(kind) is not SavedName or kind.name not in TYPES or type(key) is not str or not key.isdecimal():
            raise Refused(f"the numbers of {name[:100]!r} have no known type or place")
        last = offset + sum((length - 1) * step for length, step in zip(shape, stride))
        if math.prod(shape) > count or (0 not in shape and last >= count):
            raise Refused(f"{name[:100]!r} of shape {shape[:10]} is made of {count} numbers")
        total += math.prod(shape) * TYPES[kind.name].itemsize
    if total > size:
        raise Refused(f"its tensors take {total:,} bytes, more than the file has")


def _tensor(saved: SavedTensor, numbers: dict[str, bytes]) -> torch.Tensor:
    (_, (_, kind, key, _, count)), offset, shape, stride, *_ = saved.arguments
    if not count:
        return torch.empty(shape, dtype=TYPES[kind.name])
    values = torch.frombuffer(bytearray(numbers[key]), dtype=TYPES[kind.name], count=count)
    return torch.as_strided(values, shape, stride, offset).clone()


def _is_plain(value: Any, seen: set[int], depth: int = 2) -> bool:
    """Whether it is a text, a number, or a short way down a list or dictionary of such: what a header is made of.

    seen: the containers looked at so far; none of a header stands in it twice.
    """
    if type(value) in (dict, list):
        if not depth or id(value) in seen:
            return False
        seen.add(id(value))
        items = value.values() if type(value) is dict else value
        return all(_is_plain(item, seen, depth - 1) for item in items)
    return value is None or type(value) in (str, int, float, bool)
