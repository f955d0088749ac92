"""The file of a learned prompt: safetensors, with a JSON header that says what the tensors belong to, and a checksum.

Reading it cannot run code.  Other methods than CoOp use version 2 of the format, which older readers refuse.
checkpoints.py converts between learners and files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from coop_edu.files import atomically
from coop_edu.records import decode, record

FORMAT = "coop_edu prompt, version 1"  # CoOp: "ctx"
FORMAT_OF_METHODS = "coop_edu prompt, version 2"  # and any other method: every parameter by its name


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """What a prompt belongs to; `facts` is whatever was saved with it.  Version 2 names the method and its options."""

    format: str
    model: str
    weights: str
    classnames: list[str]
    n_ctx: int  # M
    width: int  # D
    class_specific: bool
    position: str
    facts: dict[str, Any]
    method: str = "PromptLearner"
    options: dict[str, Any] = {}
    checksum: str | None = None  # files of version 0.1 do not have one


def write_prompt_file(path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write header and tensors in one step.

    Raises TypeError for a header that JSON cannot hold, ValueError for NaN or infinite values, OSError where the file
    cannot be written; the file that was there then stays.
    """
    header = json.loads(json.dumps(header, allow_nan=False))  # as it will be read: the checksum is over that
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if wrong := [name for name, tensor in content.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{', '.join(wrong)} is NaN or infinite: the training has diverged. {path} was not written.")
    text = json.dumps({**header, "checksum": _checksum(header, content)})
    with atomically(path) as scratch:  # a crash leaves the old file whole
        scratch.write_bytes(save(content, {"coop_edu": text}))


def read_prompt(path: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a prompt file holds: its header (model, classnames, n_ctx, ..., facts) and its tensors ("ctx", ...).

    Raises FileNotFoundError without the file; ValueError if it is damaged or of another kind.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no prompt file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            raw = decode((file.metadata() or {}).get("coop_edu", "{}"), "its header")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if raw.get("format") not in (FORMAT, FORMAT_OF_METHODS):
            raise ValueError(f"expected the format {FORMAT!r}, got {raw.get('format')!r:.80}")
        header = msgspec.structs.asdict(record(Header, raw, "its header"))
        checksum = header.pop("checksum")
        if checksum not in (None, _checksum({name: raw[name] for name in raw if name != "checksum"}, tensors)):
            raise ValueError("its checksum does not match: it was changed")
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole prompt file, as save_prompt writes it: {error}") from error
    return header, tensors


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a prompt file says, 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(header).encode())
    for name in sorted(tensors):  # safetensors does not keep their order
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
