"""Loads weights from a file or from open_clip into a model.  Nothing in a file is run; weights must fit exactly.

OpenAI's own files (RN50.pt, ViT-B-32.pt) are TorchScript archives; tensor_file.py reads their tensors and ignores the
code.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from coop_edu.clip.tensor_file import read_tensor_file, unwrapped

OF_TORCH = (".pt", ".pth", ".bin")
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # in OpenAI's own files, and in no others
# With one of these in a configuration, open_clip hands the text encoder or the tokenizer to Transformers, with
# `trust_remote_code` if the configuration says so: code from the folder or the hub would run.
OF_TRANSFORMERS = ("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode")
SCHEMES = ("hf-hub:", "local-dir:")  # names of open_clip that lead to a configuration and its weights


def model_from_file(config: dict[str, Any], path: Path, image_encoder: Path | None = None) -> Any:
    """An open_clip.CLIP with the weights of a file, without first filling it with random ones.

    `image_encoder`: a second file, with another image encoder to stand beside the text encoder of the first.
    """
    weights = read_weights(path)
    if image_encoder is not None:
        texts = {name: tensor for name, tensor in weights.items() if not name.startswith("visual.")}
        weights = texts | read_weights(image_encoder)
    weights = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        model = open_clip.CLIP(**config)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(_no_fit(path, "this CLIP", weights, error)) from error
    causal = torch.full(model.attn_mask.shape, -torch.inf).triu_(1)  # the causal mask is not stored in the file
    model.register_buffer("attn_mask", causal, persistent=False)
    return model


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, a .pt state dict, or OpenAI's own .pt.  Never runs code.

    Raises FileNotFoundError without the file, ValueError for one that is damaged or holds anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: expected a .safetensors file or a .pt state dict")
    if path.suffix != ".safetensors":
        return read_tensor_file(path)[0]
    try:
        return unwrapped(load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"cannot read weights from {path}: it is damaged, or not a safetensors file ({error})"
        ) from error


def model_from_open_clip(name: str, model_name: str, pretrained: str | Path | None) -> Any:
    """A model and its weights through open_clip; its warnings about a wrong activation become errors."""
    if name.startswith(SCHEMES):
        return _from_scheme(name, pretrained)
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    path = None if pretrained is None else Path(pretrained).expanduser()
    if path is not None and (path.suffix in (".safetensors", *OF_TORCH) or path.is_file()):
        return _from_file(name, model_name, path)
    if pretrained is None or not open_clip.is_pretrained_cfg(model_name, str(pretrained)):
        plain = name.replace("/", "-")
        quick = "/" in name and model_name != plain  # only the paper's four names imply QuickGELU
        hint = f' ({name!r} is the QuickGELU model; the one without is "{plain}")' if quick else ""
        raise ValueError(
            f"{name!r} needs pretrained=: a local .safetensors or .pt file, or one of the tags {tags}{hint}; "
            f"got {str(pretrained) if pretrained else None!r}"
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            return _create(model_name, str(pretrained))
    except UserWarning as mismatch:
        raise ValueError(_wrong_activation(name, model_name, pretrained)) from mismatch
    except Exception as error:
        listed = open_clip.get_pretrained_cfg(model_name, str(pretrained))
        source = f"https://huggingface.co/{listed['hf_hub'].strip('/')}" if listed.get("hf_hub") else listed.get("url")
        raise FileNotFoundError(
            f"the weights of {name!r} could not be loaded ({type(error).__name__}: {error}). Without network, get "
            f'open_clip_model.safetensors from {source}, and call load_clip({name!r}, pretrained="path/to/the/file").'
        ) from None  # three chained errors of the hub say no more, on a hundred lines


def _create(model_name: str, pretrained: str | None) -> torch.nn.Module:
    # Leaves the global generator as it was.  weights_only: torch then refuses a pickle that would run anything.
    with torch.random.fork_rng(devices=[]):
        return open_clip.create_model(model_name, pretrained=pretrained, weights_only=True, require_pretrained=True)


def _from_file(name: str, model_name: str, path: Path) -> torch.nn.Module:
    weights = read_weights(path)
    openais = all(key in weights for key in NO_WEIGHTS)
    if openais and not open_clip.get_model_config(model_name).get("quick_gelu"):
        raise ValueError(_wrong_activation(name, model_name, path))
    try:
        with tempfile.TemporaryDirectory() as folder:  # open_clip only reads files; this copy holds nothing but tensors
            copy = Path(folder) / "weights.safetensors"
            save_file({key: value for key, value in weights.items() if key not in NO_WEIGHTS}, copy)
            return _create(model_name, str(copy))
    except Exception as error:
        raise ValueError(_no_fit(path, repr(name), weights, error)) from error


def _no_fit(path: Path, name: str, weights: dict[str, torch.Tensor], error: Exception) -> str:
    """One line: torch's own message lists every name."""
    if any(key.startswith(("text_model.", "vision_model.")) for key in weights):
        return f"the weights in {path} have the layout of Transformers' CLIPModel: take a file for open_clip"
    return f"the weights in {path} do not fit {name}: {str(error)[:300]}"


def _from_scheme(name: str, pretrained: str | Path | None) -> torch.nn.Module:
    """A model in the Hugging Face layout: a folder ("local-dir:/path") or on the hub ("hf-hub:owner/name")."""
    if pretrained is not None:
        raise ValueError(f"{name!r} brings its own weights: leave pretrained out")
    try:
        asks_for = [key for key in OF_TRANSFORMERS if open_clip.get_model_config(name).get("text_cfg", {}).get(key)]
        if not asks_for:
            return _create(name, None)
    except Exception as error:  # configuration, download and weights fail with many exception types
        raise ValueError(f"{name!r} cannot be loaded ({type(error).__name__}): {error}") from error
    raise ValueError(
        f"{name!r} is not loaded: its configuration has {', '.join(asks_for)}, and Hugging Face Transformers can run "
        "code that comes with such a model. Take a CLIP with open_clip's own text encoder and tokenizer."
    )


def _wrong_activation(name: str, model_name: str, pretrained: str | Path) -> str:
    sibling = model_name.removesuffix("-quickgelu") if model_name.endswith("-quickgelu") else f"{model_name}-quickgelu"
    return (
        f"{name!r} would compute wrong features with the weights {str(pretrained)!r}: they were trained with the other "
        f"activation function. Use load_clip({sibling!r}, pretrained={str(pretrained)!r})."
    )
