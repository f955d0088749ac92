"""CLIP, loaded the same way at every scale, frozen, and ready to encode images and texts.

A CLIP is an image encoder and a text encoder that were trained together, so that an image and its caption land close
to each other (the paper's Section 3.1).  `load_clip("mini")` is the small one that is shipped with this package;
`load_clip("mini-vit")` has a small vision transformer beside the same text encoder.  `load_clip("RN50")`, `"RN101"`,
`"ViT-B/32"` and `"ViT-B/16"` are the four that the paper uses, through open_clip.

Prompt learning never changes CLIP: its parameters take no gradient, and it stays in eval() so that the batch norms of
the ResNets keep their statistics (open_clip hands models out in train mode).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor

from coop_edu.clip.templates import check_length
from coop_edu.clip.transforms import TrainTransform
from coop_edu.clip.weights import SCHEMES, model_from_file, model_from_open_clip
from coop_edu.files import asset, read_asset

# The paper's four; OpenAI trained them with QuickGELU, which in open_clip only the -quickgelu names have.
PAPER_MODELS = {
    "RN50": "RN50-quickgelu",
    "RN101": "RN101-quickgelu",
    "ViT-B/32": "ViT-B-32-quickgelu",
    "ViT-B/16": "ViT-B-16-quickgelu",
}

MINIATURES = {  # name: configuration, weights, and those of another image encoder
    "mini": ("miniclip.json", "miniclip.safetensors"),
    "mini-vit": ("miniclip_vit.json", "miniclip.safetensors", "miniclip_vit.safetensors"),
}


@dataclass(frozen=True, eq=False)
class Clip:
    """A frozen CLIP with all that belongs to it.

    preprocess(image) -> (3, H, W): resize, centre crop, normalise; train_transform(image, generator) -> (3, H, W):
    the paper's augmentation; tokenizer: text -> BPE token numbers.  Nothing in here learns.
    """

    name: str
    model: Any = field(repr=False)
    preprocess: Callable[[Image.Image], Tensor] = field(repr=False)
    train_transform: Callable[[Image.Image, torch.Generator], Tensor] = field(repr=False)
    tokenizer: Any = field(repr=False)

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """1 / tau of Eq. 1: CLIP learned its logarithm."""
        return self.model.logit_scale.detach().exp()

    def to(self, device: str | torch.device) -> Clip:
        """Move the model, in place as torch does, and return this Clip."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode_image(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B E"]:
        """Features of preprocessed images, not normalised."""
        return self.model.encode_image(images.to(self.device))

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "K E"]:
        """Features of texts by CLIP's own code, not normalised; ValueError if one is too long."""
        return torch.cat([self.model.encode_text(ids) for ids in self.tokenize(texts).to(self.device).split(256)])

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "K L"]:
        """Token numbers of K texts: start, the text, end, then zeros.

        CLIP's tokenizer truncates long texts without a warning; here they raise ValueError.
        """
        if isinstance(texts, str) or not texts:
            raise ValueError(f"expected a list of at least one text, got {texts!r}")
        for text in texts:
            check_length(text)
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

    name: "mini", "mini-vit", one of the paper's "RN50", "RN101", "ViT-B/32", "ViT-B/16" (OpenAI's weights), any
    open_clip name, with its tag in `pretrained`, or "hf-hub:owner/name", "local-dir:/a/folder" in the hub's layout.
    pretrained may also be a local file: .safetensors, a .pt state dict, or OpenAI's own .pt; code in a file is never
    run.  device: "auto" takes cuda, then mps, then cpu.
    Raises ValueError for an unknown name or tag, for weights that do not fit, for OpenAI's under a name that means
    another activation than QuickGELU, for a damaged file; FileNotFoundError for missing weights, with what to download.

    >>> load_clip("RN5O")
    Traceback (most recent call last):
    ...
    ValueError: unknown CLIP 'RN5O': choose "mini", "mini-vit", "RN50", "RN101", "ViT-B/32", "ViT-B/16" or an \
open_clip name; did you mean 'RN50'?
    """
    if name.startswith("local-dir:"):
        name = f"local-dir:{Path(name.removeprefix('local-dir:')).expanduser()}"
    of_hub = name.startswith(SCHEMES)
    model_name = name if of_hub else PAPER_MODELS.get(name, name.replace("/", "-"))
    if name not in MINIATURES and not of_hub and open_clip.get_model_config(model_name) is None:
        close = get_close_matches(name, [*MINIATURES, *PAPER_MODELS, *open_clip.list_models()], n=1)
        raise ValueError(
            f"unknown CLIP {name!r}: choose "
            + ", ".join(f'"{known}"' for known in (*MINIATURES, *PAPER_MODELS))
            + " or an open_clip name"
            + (f"; did you mean {close[0]!r}?" if close else "")
        )
    device = best_device() if device == "auto" else device
    if name in MINIATURES:
        config, *files = MINIATURES[name]
        paths = [Path(pretrained).expanduser()] if pretrained else [asset(file, check=True) for file in files]
        model = model_from_file(read_asset(config), *paths)
        tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
        return frozen_clip(name, model.to(device), tokenizer)
    if name in PAPER_MODELS and pretrained is None:
        pretrained = "openai"
    model = model_from_open_clip(name, model_name, pretrained)
    # Hub and folder models always get CLIP's tokenizer: get_tokenizer may load a Transformers one, which can run code.
    if of_hub:
        tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
    else:
        tokenizer = open_clip.get_tokenizer(model_name)
    return frozen_clip(name, model.to(device), tokenizer)


def frozen_clip(name: str, model: Any, tokenizer: Any) -> Clip:
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
