"""CLIP, loaded the same way at every scale, frozen, and ready to encode pictures and texts.

A CLIP is an image encoder and a text encoder that were trained together, so that a picture and its caption land close
to each other (the paper's Section 3.1).  `load_clip("mini")` is the small one that is shipped with this package;
`load_clip("RN50")`, `"RN101"`, `"ViT-B/32"` and `"ViT-B/16"` are the four that the paper uses, through open_clip.

Prompt learning never changes CLIP: its parameters take no gradient, and it stays in eval() so that the batch norms of
the ResNets keep their statistics (open_clip hands models out in train mode).

Leaves out: how pictures are read from disk (pictures.py) and features kept (features.py), how CLIP is trained
(scripts/pretrain_miniclip.py), text encoding at speed (prompt_encoder.py).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from coop_edu.augmentation import TrainTransform

ASSETS = Path(__file__).parent / "assets"
PAPER = {  # the paper's four; OpenAI trained them with QuickGELU, and open_clip gives them that only by this name
    "RN50": "RN50-quickgelu",
    "RN101": "RN101-quickgelu",
    "ViT-B/32": "ViT-B-32-quickgelu",
    "ViT-B/16": "ViT-B-16-quickgelu",
}


@dataclass(frozen=True, eq=False)
class Clip:
    """A frozen CLIP with all that belongs to it.

    preprocess(picture) -> (3, H, W): resize, centre crop, normalise; train_transform(picture, generator) -> (3, H, W):
    the paper's augmentation; tokenizer: text -> BPE token numbers.  Nothing in here learns.
    """

    name: str
    model: torch.nn.Module = field(repr=False)
    preprocess: Callable[[Image.Image], torch.Tensor] = field(repr=False)
    train_transform: Callable[[Image.Image, torch.Generator], torch.Tensor] = field(repr=False)
    tokenizer: Any = field(repr=False)

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    @property
    def logit_scale(self) -> torch.Tensor:
        """1 / tau of Eq. 1: CLIP learned its logarithm."""
        return self.model.logit_scale.detach().exp()

    def to(self, device: str | torch.device) -> Clip:
        """Move the model, in place as torch does, and return this Clip."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Features of preprocessed pictures: (B, 3, H, W) -> (B, E), not normalised."""
        return self.model.encode_image(images.to(self.device))

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Features of texts by CLIP's own code: K strings -> (K, E), not normalised; ValueError if one is too long."""
        return torch.cat(
            [self.model.encode_text(ids) for ids in self.tokenize(texts).to(self.device).split(256)]
        )

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Token numbers: K strings -> (K, L) long: start, the text, end, then zeros.

        CLIP's tokenizer cuts a text that is too long without a word; here it is a ValueError.
        """
        if isinstance(texts, str) or not texts:
            raise ValueError(f"expected a list of at least one text, got {texts!r}")
        positions = self.tokenizer.context_length
        ids = self.tokenizer(list(texts), context_length=positions)
        for text, full in zip(texts, ids[:, -1].tolist()):
            if full and len(self.tokenizer.encode(text)) + 2 > positions:  # only a full row can have been cut
                raise ValueError(
                    f"a text needs {len(self.tokenizer.encode(text)) + 2} positions and {self.name!r} has {positions}: "
                    f"shorten {text[:60]!r}"
                )
        return ids


def load_clip(name: str = "mini", *, pretrained: str | Path | None = None, device: str = "auto") -> Clip:
    """A frozen CLIP by name.

    name: "mini", one of the paper's "RN50", "RN101", "ViT-B/32", "ViT-B/16" (OpenAI's weights), or any open_clip
    name, with its tag in `pretrained`.  pretrained may also be a local file, .safetensors or a .pt state dict; code
    in a file is never run.  device: "auto" takes cuda, then mps, then cpu.
    Raises ValueError for an unknown name or tag, for weights that do not fit or were trained with another activation
    (QuickGELU), for a damaged file; FileNotFoundError, with what to download, where weights are missing.

    >>> load_clip("RN5O")
    Traceback (most recent call last):
    ...
    ValueError: unknown CLIP 'RN5O': choose "mini", "RN50", "RN101", "ViT-B/32", "ViT-B/16" or an open_clip name; did \
you mean 'RN50'?
    """
    model_name = PAPER.get(name, name.replace("/", "-"))
    if name != "mini" and open_clip.get_model_config(model_name) is None:
        close = get_close_matches(name, ["mini", *PAPER, *open_clip.list_models()], n=1)
        raise ValueError(
            f'unknown CLIP {name!r}: choose "mini", '
            + ", ".join(f'"{known}"' for known in PAPER)
            + " or an open_clip name"
            + (f"; did you mean {close[0]!r}?" if close else "")
        )
    device = best_device() if device == "auto" else device
    if name == "mini":
        config = json.loads(_asset("miniclip.json").read_text(encoding="utf-8"))
        model = _model_from_file(
            config, Path(pretrained) if pretrained else _asset("miniclip.safetensors", check=True)
        )
        tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
        return frozen_clip(name, model.to(device), tokenizer)
    if name in PAPER and pretrained is None:
        pretrained = "openai"
    model = _model_from_open_clip(name, model_name, pretrained)
    return frozen_clip(name, model.to(device), open_clip.get_tokenizer(model_name))


def frozen_clip(name: str, model: torch.nn.Module, tokenizer: Any) -> Clip:
    """Freeze a model of open_clip, put it in eval(), and add the transforms that fit it.

    The way in for a CLIP of your own; load_clip uses it too.
    """
    model.eval().requires_grad_(False)
    settings = PreprocessCfg(**getattr(model.visual, "preprocess_cfg", {"size": model.visual.image_size}))
    return Clip(
        name=name,
        model=model,
        preprocess=image_transform_v2(settings, is_train=False),
        train_transform=TrainTransform(settings.size, settings.mean, settings.std),
        tokenizer=tokenizer,
    )


def best_device() -> str:
    """cuda, then mps, then cpu: the first that this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _asset(filename: str, *, check: bool = False) -> Path:
    """A file shipped with the package; with check=True, only if its SHA-256 is the one on record."""
    path = ASSETS / filename
    if not path.is_file():
        raise FileNotFoundError(
            f"{filename} is missing from {ASSETS}: the installation is incomplete. Reinstall coop_edu, or in a clone "
            f"run `git checkout -- coop_edu/assets/{filename}`."
        )
    if check:
        expected = json.loads(_asset("checksums.json").read_text(encoding="utf-8")).get(filename)
        got = hashlib.sha256(path.read_bytes()).hexdigest()
        if got != expected:
            raise ValueError(
                f"{path} is damaged or was changed: expected SHA-256 {expected}, got {got}. Reinstall "
                f"coop_edu, or in a clone run `git checkout -- coop_edu/assets/{filename}`, if the change is not yours. To "
                "load weights of your own: "
                f'load_clip("mini", pretrained="{filename}").'
            )
    return path


def _model_from_file(config: dict[str, Any], path: Path) -> torch.nn.Module:
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


def _model_from_open_clip(name: str, model_name: str, pretrained: str | Path | None) -> torch.nn.Module:
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
