"""The file of a learned prompt: safetensors, with a JSON header that says what the tensors belong to, and a checksum.

No pickle: reading a file cannot run code.  Files from before there was a checksum are read too.  The file of another
method than CoOp has a format of its own, with the name of the method, its options, and all that it has learned; who
knows version 1 only refuses it.

Leaves out: what is saved of a learner, and a learner made of a file (checkpoints.py).
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

from coop_edu.coop.prompt_config import POSITIONS
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

    Raises TypeError for a header that JSON cannot hold, ValueError for values that are no numbers, OSError, naming the
    file, where it cannot be written; the file that was there then stays.
    """
    header = json.loads(json.dumps(header))  # as it will be read: the checksum is over that
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if wrong := _not_finite(content):
        raise ValueError(
            f"{', '.join(wrong)} of this prompt has values that are no numbers: its training has diverged. "
            f"Nothing was written to {path}."
        )
    text = json.dumps({**header, "checksum": _checksum(header, content)})
    with atomically(path) as scratch:
        scratch.write_bytes(save(content, {"coop_edu": text}))


def read_prompt(path: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a prompt file holds: its header (model, classnames, n_ctx, ..., facts) and its tensors ("ctx", ...).

    Raises FileNotFoundError without the file; ValueError if it is damaged, of another kind, or contradicts itself.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no prompt file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            said = parse_json((file.metadata() or {}).get("coop_edu", "null"), "its header")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = _checked(said, tensors)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a whole prompt file of coop_edu ({error}). It is damaged, cut short, or of another format; "
            "expected a safetensors file written by save_prompt."
        ) from error
    shape = [len(header.classnames)] * header.class_specific + [header.n_ctx, header.width]
    if list(tensors["ctx"].shape) != shape:
        raise ValueError(
            f"{path} contradicts itself: by its header ctx has shape {tuple(shape)} (classes, context "
            f"vectors, width), but it has {tuple(tensors['ctx'].shape)}. The file was changed; take the "
            "original."
        )
    return dict(vars(header)), tensors


def _checked(said: Any, tensors: Mapping[str, torch.Tensor]) -> Header:
    """The header, if it and the tensors are as save_prompt writes them; ValueError where not."""
    if not isinstance(said, dict):
        raise ValueError("it has no header of coop_edu")
    checksum = said.pop("checksum", None)  # older files have none
    kinds: dict[str, type[Header]] = {FORMAT: Header, FORMAT_OF_METHODS: HeaderOfMethod}
    if not isinstance(said.get("format"), str) or said["format"] not in kinds:
        raise ValueError(f"expected the format {FORMAT!r}, got {said.get('format')!r:.80}")
    header = record(kinds[said["format"]], said, "its header")
    if checksum not in (None, _checksum(said, tensors)):
        raise ValueError("its checksum is another: something in it was changed")
    if header.position not in POSITIONS:
        raise ValueError(
            f"expected the position of the class name to be one of {tuple(POSITIONS)}, got {header.position!r:.80}"
        )
    if "ctx" not in tensors:
        raise ValueError("it has no ctx")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(f"expected {name} in floating point, got {tensor.dtype}")
    if wrong := _not_finite(tensors):
        raise ValueError(f"{', '.join(wrong)} has values that are no numbers")
    return header


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a prompt file says, 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(header).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
