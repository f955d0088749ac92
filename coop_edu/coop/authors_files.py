"""Prompts of the authors' code, in and out: `prompt_learner/model.pth.tar-<epoch>`.

Theirs holds a learning-rate scheduler beside the tensors, so torch.load(weights_only=True) refuses it, and
weights_only=False would run whatever the file says.  clip/tensor_file.py reads it as data.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from coop_edu.clip.models import Clip
from coop_edu.clip.templates import clean_classnames
from coop_edu.clip.tensor_file import read_tensor_file
from coop_edu.clip.text_encoding import text_tower
from coop_edu.coop.checkpoints import copy_parameters, header_of, same_clip
from coop_edu.coop.kgcoop import KgCoOp
from coop_edu.coop.prompt_layout import POSITIONS
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.files import atomically
from coop_edu.records import record, whole_number

FORMAT = "coop_edu prompt for the authors' code, version 1"
FIXED = ("token_prefix", "token_suffix")  # the words around the context: not learned
OUR_NAMES = {  # of what CoCoOp learns
    f"meta_net.linear{theirs}.{kind}": f"meta_net.{ours}.{kind}"
    for theirs, ours in ((1, 0), (2, 2))
    for kind in ("weight", "bias")
}


@dataclass(frozen=True)
class Header:
    """The extra header that export_authors writes; the authors' code ignores it."""

    format: str
    model: str
    weights: str
    classnames: list[str]
    position: str


def read_authors_file(path: str | Path) -> dict[str, Any]:
    """The part of a file of the authors' code that is a prompt: {"state_dict": {"ctx": ..., ...}, "epoch": 50, ...}.

    Raises FileNotFoundError without the file; ValueError for one that `read_tensor_file` refuses, or without a ctx.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        inside = [file.relative_to(path).as_posix() for file in sorted(path.rglob("model*.pth.tar*"))]
        raise FileNotFoundError(
            f"no prompt file at {path}: expected <output folder>/prompt_learner/model.pth.tar-<epoch>"
            + (f". That is a folder, which has {inside}" if path.is_dir() else "")
        )
    state, beside = read_tensor_file(path)
    if "ctx" not in state or state["ctx"].ndim not in (2, 3) or not state["ctx"].is_floating_point():
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        raise ValueError(f"{path} holds no prompt of CoOp: expected ctx of shape (M, D) or (K, M, D), got {shapes}")
    return {"state_dict": state, **{key: beside[key] for key in ("epoch", "val_result", "coop_edu") if key in beside}}


def import_authors(
    path: str | Path,
    clip: Clip,
    classnames: Sequence[str],
    *,
    position: str | None = None,
    method: type[PromptLearner] = PromptLearner,
    **options: Any,
) -> PromptLearner:
    """A prompt that the authors' code has learned, on `clip`, for `classnames`.

    position of the class name: the file does not store it.  None reads the authors' folder name
    (`nctx16_cscFalse_ctpend`), else "end", with a UserWarning.  A unified context goes with any class names, a
    class-specific one only with its own, in their order.  method: whose file it is, PromptLearner (CoOp), CoCoOp or
    KgCoOp; options: the method's own, such as the template of KgCoOp.
    Raises as `read_authors_file` does, and ValueError if the prompt was learned on another CLIP, by another method, or
    is class-specific and of other classes.

        learner = import_authors("output/.../prompt_learner/model.pth.tar-50", load_clip("RN50"), imagenet.classnames)
    """
    path = Path(path).expanduser()
    content = read_authors_file(path)
    state, header = content["state_dict"], None
    if "coop_edu" in content:  # export_authors wrote it, so we need not guess
        header = record(Header, content["coop_edu"], f"{path}, its header")
        if header.format != FORMAT:
            raise ValueError(f"{path}: expected the format {FORMAT!r}, got {header.format!r:.80}")
    # float(): the authors train and save in half precision.
    learned = {OUR_NAMES.get(name, name): tensor.float() for name, tensor in state.items() if name not in FIXED}
    if issubclass(method, KgCoOp):  # the authors' file has a bias and a meta-net that were never trained
        learned = {"ctx": learned["ctx"]}
    ctx = learned["ctx"]
    _check_clip(path, ctx, state, header, clip)
    if ctx.ndim == 3:
        _check_classes(path, ctx, state, header, clip, classnames)
    position = _position(path, header, position)
    try:
        shape = {"n_ctx": ctx.shape[-2], "class_specific": ctx.ndim == 3}
        learner = method(clip, classnames, **shape, position=position, **options)
        copy_parameters(learner, learned)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the prompt in {path} does not make a {method.__name__}: {error}") from error
    if unknown := sorted(set(learned) - {name for name, _ in learner.named_parameters()}):
        advice = "It is CoCoOp's: import_authors(..., method=CoCoOp)" if {*OUR_NAMES.values()} >= {*unknown} else ""
        if "bias_vectors" in unknown:
            advice = "It is KgCoOp's: import_authors(..., method=KgCoOp, template=...)"
        raise ValueError(f"{path} holds more than {method.__name__} has learned: {unknown[:10]}. {advice}")
    return learner


def export_authors(learner: PromptLearner, folder: str | Path, epoch: int) -> Path:
    """Write `<folder>/prompt_learner/model.pth.tar-<epoch>`, which the authors' --model-dir and --load-epoch read.

    Their loader takes `state_dict` and `epoch`, and makes the fixed words itself; `coop_edu` says for ours what the
    context belongs to.  Tensors and plain containers only: torch.load(weights_only=True) reads it.  Returns the path.
    ValueError for a learner that has learned more than a context and CoCoOp's meta-net.
    """
    learned = {name: parameter.detach().cpu().float().clone() for name, parameter in learner.named_parameters()}
    if unknown := sorted(learned.keys() - {"ctx", *OUR_NAMES.values()}):
        raise ValueError(f"the authors' code reads a context and a meta-net, and this learner has {unknown} too")
    theirs = {ours: name for name, ours in OUR_NAMES.items()}
    epoch = whole_number(epoch, "epoch", at_least=0)
    path = Path(folder).expanduser() / "prompt_learner" / f"model.pth.tar-{epoch}"
    content = {
        "state_dict": {theirs.get(name, name): values for name, values in learned.items()},
        "epoch": epoch,
        "val_result": None,
        "coop_edu": {"format": FORMAT, **header_of(learner)},
    }
    buffer = io.BytesIO()  # on a full disk, torch's own errors name no file
    torch.save(content, buffer)
    with atomically(path) as scratch:
        scratch.write_bytes(buffer.getvalue())
    return path


# does it fit? -----------------------------------------------------------------------------------------------------
def _position(path: Path, header: Header | None, position: str | None) -> str:
    """From the header or the folder's name, else the argument; ValueError if they disagree."""
    folder = re.search(r"_ctp(\w+?)(?:[/\\_]|$)", str(path.parent))
    stored = header.position if header else folder[1] if folder and folder[1] in POSITIONS else None
    if stored and position and stored != position:
        raise ValueError(f"the prompt in {path} was learned with position={stored!r}, not {position!r}")
    if not position and not stored:
        warnings.warn(
            f"neither {path} nor its folder says where the class name stood: 'end' is assumed. For another place, give "
            "import_authors(..., position=...)",
            stacklevel=3,
        )
    return position or stored or "end"


def _check_clip(path: Path, ctx: torch.Tensor, state: dict, header: Header | None, clip: Clip) -> None:
    """The paper's CLIPs all have contexts of one width; the start token's vector, or our header, tells them apart."""
    embedding = text_tower(clip.model).token_embedding.weight  # (vocabulary, D)
    if header:
        fits = same_clip(header.model, header.weights, clip)
    elif "token_prefix" in state:
        # token_prefix is the start token's vector, repeated for each class; each CLIP has its own.
        start = embedding[clip.tokenizer.sot_token_id]  # (D,)
        fits = _alike(state["token_prefix"].reshape(-1, state["token_prefix"].shape[-1])[0], start)
    else:
        fits = True  # nothing but the width is known
    if not fits or ctx.shape[-1] != embedding.shape[1]:
        learned = f"on {header.model!r}" if header else "on another one"
        raise ValueError(
            f"the prompt in {path} does not fit {clip.name!r}: it was learned {learned} (context width "
            f"{ctx.shape[-1]}, here {embedding.shape[1]}). The authors' folders name it: rn50, vit_b16, ..."
        )


def _check_classes(
    path: Path, ctx: torch.Tensor, state: dict, header: Header | None, clip: Clip, classnames: Sequence[str]
) -> None:
    """A class-specific context fits only its own classes: number and words must match, in order."""
    wrong = None
    if len(ctx) != len(classnames):
        wrong = f"it has contexts for {len(ctx)} classes, and {len(classnames)} class names were given"
    elif header and clean_classnames(header.classnames) != clean_classnames(classnames):
        pairs = zip(header.classnames, classnames)
        wrong = next(f"it has class {a!r} where {b!r} was given" for a, b in pairs if a != b)
    elif any(name in state and len(state[name]) != len(ctx) for name in FIXED):
        wrong = f"it has contexts for {len(ctx)} classes, and words for another number"
    elif "token_suffix" in state:
        # token_suffix[k] has the vectors of class k's name, full stop, EOT and padding: (K, L - 1 - M, D).
        embedding = text_tower(clip.model).token_embedding.weight
        context = " ".join(["X"] * ctx.shape[1])
        for name, suffix in zip(clean_classnames(classnames), state["token_suffix"]):
            tokens = clip.tokenize([f"{context} {name}."])[0, 1 + ctx.shape[1] :]  # what follows the context
            if tokens.shape != suffix.shape[:1] or not _alike(suffix, embedding[tokens.to(embedding.device)]):
                wrong = f"the words it has in the place of {name!r} are others"
                break
    if wrong:
        raise ValueError(
            f"the prompt in {path} is class-specific, and of other classes: {wrong}. Give the names of its classes, in "
            "their order; only a unified prompt goes with any classes."
        )


def _alike(saved: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal, but for the rounding to half precision in which the authors save."""
    saved, expected = saved.float(), expected.detach().float().cpu()
    return saved.shape == expected.shape and bool((saved - expected).norm() <= 0.01 * expected.norm())
