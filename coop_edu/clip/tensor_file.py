"""Tensors from a file of torch.save or torch.jit.save, read without running anything in it.

Such a file is a zip archive: data.pkl says what there is, and each entry data/0, data/1, ... holds the numbers of a
tensor.  A pickle can call any function that it names.  The Unpickler below accepts few names and turns each into plain
data: the description of a tensor, or a dictionary in the place of an optimizer, scheduler or module.

torch.load(weights_only=True) does not read these files: the authors' have schedulers, OpenAI's are compiled models.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

STORAGES = {  # how a pickle of torch names the type of a tensor's numbers
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
LEFT_OUT = re.compile(  # the schedulers' and optimizers' classes, the modules of a compiled model, other containers
    r"(torch\.optim|dassl\.optim|torch\.jit\._pickle|__torch__)(\.\w+)+"
    r"|collections\.(Counter|defaultdict)|(builtins|__builtin__)\.(dict|set)|torch\.Size"
    r"|numpy\.(dtype|_?core\.multiarray\.scalar)|_codecs\.encode"  # a number of numpy, such as an accuracy
)


class Saved(NamedTuple):
    """The file's description of a tensor, unchecked."""

    storage: tuple  # ("storage", type, entry, device, how many)
    offset: int
    shape: tuple
    stride: tuple


class LeftOut(dict):
    """Takes the place of an object that is not created, and keeps the state that the file gives it."""

    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Unpickler(pickle.Unpickler):
    """Reads a pickle as plain data, and refuses every name that it does not know."""

    def find_class(self, module: str, name: str) -> Any:
        """A harmless replacement for the name; new each time, so that one file cannot affect another."""
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: Saved(*arguments[:4])
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *arguments: tensor
        if LEFT_OUT.fullmatch(f"{module}.{name}"):
            return type("LeftOut", (LeftOut,), {})
        raise pickle.UnpicklingError(f"it asks for {module[:100]}.{name[:100]}")

    def persistent_load(self, storage: Any) -> Any:
        return storage


def read_tensor_file(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, Any]]:
    """The file's tensors by name, and its other entries (such as {"epoch": 50}), unchecked.

    The file holds a dictionary of tensors, bare or as "state_dict" among others, or a compiled model.
    Raises ValueError for a file that is damaged, of another kind, or that names anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except OSError:
        raise
    except Exception as error:  # a damaged file can fail in any way, with a MemoryError too
        raise ValueError(
            f"{path} was refused, and nothing in it was run ({type(error).__name__}: {str(error)[:300]}). Expected a "
            "state_dict of tensors saved by torch.save 1.6 or newer."
        ) from error


def _read(archive: zipfile.ZipFile) -> tuple[dict[str, torch.Tensor], Mapping[str, Any]]:
    names = archive.namelist()
    pickles = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(pickles) != 1:
        raise ValueError(f"expected one data.pkl in it, found {len(pickles)}")
    folder = pickles[0].split("/")[0]
    if f"{folder}/byteorder" in names and _bytes(archive, f"{folder}/byteorder") != b"little":
        raise ValueError("its numbers are big-endian, expected little-endian")
    content = Unpickler(io.BytesIO(_bytes(archive, pickles[0]))).load()
    if isinstance(content, LeftOut):
        content = dict(_tensors_of(content))
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not state or not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError("it has no state_dict of tensors")
    if others := [name for name, saved in state.items() if not isinstance(saved, Saved)]:
        raise ValueError(f"it has no state_dict of tensors: {others[:5]} are not tensors")
    return unwrapped({name: _tensor(archive, folder, saved) for name, saved in state.items()}), content


def unwrapped(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors by their plain names: DataParallel and torch.compile put "module." and "_orig_mod." before them."""
    return {re.sub(r"^((module|_orig_mod)\.)+", "", name): tensor for name, tensor in state.items()}


def _tensors_of(module: LeftOut, prefix: str = "") -> Iterator[tuple[str, Saved]]:
    """The tensors of a compiled model, named after its modules: "visual.conv1.weight"."""
    for name, value in module.state.items():
        if isinstance(value, Saved):
            yield f"{prefix}{name}", value
        elif isinstance(value, LeftOut):
            yield from _tensors_of(value, f"{prefix}{name}.")


def _tensor(archive: zipfile.ZipFile, folder: str, saved: Saved) -> torch.Tensor:
    _, dtype, entry, *_ = saved.storage
    data = bytearray(_bytes(archive, f"{folder}/data/{entry}"))
    numbers = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    if math.prod(saved.shape) > len(numbers):  # an expanded tensor: a few bytes on disk that would fill the memory
        raise ValueError(f"a tensor of shape {saved.shape} is made of {len(numbers)} numbers")
    return torch.as_strided(numbers, saved.shape, saved.stride, saved.offset).clone()  # checks the rest


def _bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, which torch never does: it might unpack to any size")
    return archive.read(name)
