"""The file of a learned prompt: safetensors, with a JSON header that says what the tensors belong to, and a checksum.

Reading it cannot run code.  The file of another method than CoOp has a format of its own, so that a reader of version 1
refuses it.  What is saved of a learner, and the learner made of a file, are in checkpoints.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from coop_edu.files import atomically, user_path
from coop_edu.records import parse_json, record

FORMAT = "coop_edu prompt, version 1"  # CoOp: "ctx"
FORMAT_OF_METHODS = "coop_edu prompt, version 2"  # and any other method: every parameter by its name


@dataclass(frozen=True)
class Header:
    """What a prompt belongs to; `facts` is whatever was saved with it."""

    format: str
    model: str
    weights: str
    classnames: list[str]
    n_ctx: int  # M
    width: int  # D
    class_specific: bool
    position: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class HeaderOfMethod(Header):
    """The same for another method than CoOp, with its name and its own options."""

    method: str
    options: dict[str, Any]


def write_prompt_file(path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write header and tensors in one step.

    Raises TypeError for a header that JSON cannot hold, ValueError for NaN or infinite values, OSError where the file
    cannot be written; the file that was there then stays.
    """
    header = json.loads(json.dumps(header))  # as it will be read: the checksum is over that
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if wrong := [name for name, tensor in content.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{', '.join(wrong)} is NaN or infinite: the training has diverged. {path} was not written.")
    text = json.dumps({**header, "checksum": _checksum(header, content)})
    with atomically(path) as scratch:
        scratch.write_bytes(save(content, {"coop_edu": text}))


def read_prompt(path: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a prompt file holds: its header (model, classnames, n_ctx, ..., facts) and its tensors ("ctx", ...).

    Raises FileNotFoundError without the file; ValueError if it is damaged or of another kind.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no prompt file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            said = parse_json((file.metadata() or {}).get("coop_edu", "{}"), "its header")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum = said.pop("checksum", None)  # files of version 0.1 do not have one
        kinds: dict[Any, type[Header]] = {FORMAT: Header, FORMAT_OF_METHODS: HeaderOfMethod}
        if str(said.get("format")) not in kinds:
            raise ValueError(f"expected the format {FORMAT!r}, got {said.get('format')!r:.80}")
        header = record(kinds[said["format"]], said, "its header")
        if checksum not in (None, _checksum(said, tensors)):
            raise ValueError("its checksum is another: something in it was changed")
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole prompt file, as save_prompt writes it: {error}") from error
    return dict(vars(header)), tensors


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a prompt file says, 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(header).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
