"""Weights from a file or from open_clip into a model: nothing in a file is run, and what does not fit is an error.

Leaves out: which weights belong to which name (models.py).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import open_clip
import torch


def model_from_file(config: dict[str, Any], path: Path) -> torch.nn.Module:
    """An open_clip.CLIP with the weights of a file, without first filling it with random ones."""
    weights = _read_weights(path)
    weights = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        model = open_clip.CLIP(**config)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} do not fit this CLIP: {error}") from error
    causal = torch.full(model.attn_mask.shape, -torch.inf).triu_(1)  # not among the weights: hides the future
    model.register_buffer("attn_mask", causal, persistent=False)
    return model


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors or .pt file.  Never runs code: a pickle may hold nothing but tensors."""
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: expected a .safetensors file or a .pt state dict")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has exceptions of its own for a damaged file
        raise ValueError(
            f"cannot read weights from {path} ({type(error).__name__}): it is damaged, or holds more than tensors, as "
            "OpenAI's own .pt files do (they are programs, and are not run). Take the .safetensors file of the model "
            "from the Hugging Face hub instead."
        ) from error
    return weights.get("state_dict", weights)


def model_from_open_clip(name: str, model_name: str, pretrained: str | Path | None) -> torch.nn.Module:
    """A model and its weights through open_clip; its warnings about a wrong activation become errors."""
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    is_file = pretrained is not None and Path(pretrained).suffix in (".safetensors", ".pt", ".pth", ".bin")
    if is_file:
        _read_weights(Path(pretrained))  # for its clear errors
    elif pretrained is None or not open_clip.is_pretrained_cfg(model_name, str(pretrained)):
        hint = (
            f' (as {name!r} means QuickGELU; without it: "{name.replace("/", "-")}")' if "/" in name else ""
        )
        raise ValueError(
            f"{name!r} needs pretrained=: a local .safetensors or .pt file, or one of the tags {tags}{hint}; "
            f"got {str(pretrained) if pretrained else None!r}"
        )
    try:
        with (
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=[]),
        ):  # leave the global generator as it was
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            return open_clip.create_model(model_name, pretrained=str(pretrained), weights_only=True)
    except UserWarning as mismatch:
        other = (
            model_name.removesuffix("-quickgelu")
            if model_name.endswith("-quickgelu")
            else f"{model_name}-quickgelu"
        )
        raise ValueError(
            f"{name!r} with the weights {pretrained!r} would compute wrong features in silence: they were trained with "
            f"the other activation function. Use load_clip({other!r}, pretrained={pretrained!r})."
        ) from mismatch
    except Exception as error:
        if is_file:
            raise ValueError(f"the weights in {pretrained} do not fit {name!r}: {error}") from error
        known = open_clip.get_pretrained_cfg(model_name, str(pretrained))
        source = (
            f"https://huggingface.co/{known['hf_hub'].strip('/')}"
            if known.get("hf_hub")
            else known.get("url")
        )
        raise FileNotFoundError(
            f"no weights for {name!r}: they are not in this machine's cache and could not be downloaded. On a machine "
            f"with a network, get open_clip_model.safetensors from {source}, copy it here and call "
            f'load_clip({name!r}, pretrained="path/to/open_clip_model.safetensors"). The reason given was: {error}'
        ) from error
