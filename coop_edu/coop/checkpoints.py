"""Save and load learned prompts: a safetensors file that holds the context vectors and says what they belong to.

A learned prompt is M vectors (or K x M), a few kilobytes; it only means something to the CLIP that it was learned on,
so the file's JSON header names model, class names, M, position and kind, and loading checks every one of them, and a
checksum over header and tensors; files from before there was one are read too. No pickle: reading a file cannot run code.
The file of another method than CoOp has a format of its own, with the name of the method, its options, and all that it
has learned; who knows version 1 only refuses it.

Leaves out: when a training saves (see trainer.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from coop_edu.clip.models import Clip
from coop_edu.clip.text_towers import text_tower
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.files import atomically

FORMAT = "coop_edu prompt, version 1"  # CoOp: "ctx"
FORMAT_OF_METHODS = "coop_edu prompt, version 2"  # and any other method: every parameter by its name
KEYS = {"format", "model", "weights", "classnames", "n_ctx", "width", "class_specific", "position", "facts"}
KEYS_OF_METHODS = KEYS | {"method", "options"}


def save_prompt(
    learner: PromptLearner,
    path: str | Path,
    *,
    tensors: Mapping[str, torch.Tensor] | None = None,
    **facts: Any,
) -> None:
    """Save what a learner has learned, with anything that JSON can hold as facts (accuracy=..., recipe=...).

    tensors: more to keep in the file (a training's momentum).  The file appears in one step, whole.
    Raises TypeError for a fact that JSON cannot hold, ValueError for values that are no numbers, and keeps a file that
    is there.
    """
    kind = FORMAT if type(learner) is PromptLearner else FORMAT_OF_METHODS
    header = {"format": kind, **layout(learner), "facts": facts}
    header = json.loads(json.dumps(header))  # as it will be read: the checksum is over that
    content = {**dict(learner.named_parameters()), **(tensors or {})}
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in content.items()}
    if wrong := _not_finite(content):
        raise ValueError(
            f"{', '.join(wrong)} of this prompt has values that are no numbers: its training has diverged. "
            f"Nothing was written to {path}."
        )
    text = json.dumps({**header, "checksum": _checksum(header, content)})
    with atomically(path) as scratch:
        save_file(content, scratch, {"coop_edu": text})


def read_prompt(path: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a prompt file holds: its header (model, classnames, n_ctx, ..., facts) and its tensors ("ctx", ...).

    Raises FileNotFoundError without the file; ValueError if it is damaged, of another kind, or contradicts itself.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no prompt file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["coop_edu"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["format"] not in (FORMAT, FORMAT_OF_METHODS):
            raise ValueError(f"expected the format {FORMAT!r}, got {header['format']!r}")
        checksum = header.pop("checksum", None)  # older files have none
        keys = KEYS if header["format"] == FORMAT else KEYS_OF_METHODS
        if set(header) != keys:
            raise ValueError(f"its header has other entries than expected: {sorted(set(header) ^ keys)}")
        if checksum not in (None, _checksum(header, tensors)):
            raise ValueError("its checksum is another: something in it was changed")
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                raise ValueError(f"expected {name} in floating point, got {tensor.dtype}")
        if wrong := _not_finite(tensors):
            raise ValueError(f"{', '.join(wrong)} has values that are no numbers")
        shape = [header["n_ctx"], header["width"]]
        shape = [len(header["classnames"]), *shape] if header["class_specific"] else shape
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a whole prompt file of coop_edu ({type(error).__name__}: {error}). It is "
            "damaged, cut short, or of another format; expected a safetensors file written by save_prompt."
        ) from error
    if list(tensors["ctx"].shape) != shape:
        raise ValueError(
            f"{path} contradicts itself: by its header ctx has shape {tuple(shape)} (classes, context "
            f"vectors, width), but it has {tuple(tensors['ctx'].shape)}. The file was changed; take the "
            "original."
        )
    return header, tensors


def load_prompt(
    path: str | Path,
    clip: Clip,
    classnames: Sequence[str] | None = None,
    *,
    method: type[PromptLearner] = PromptLearner,
) -> PromptLearner:
    """The learner that was saved, on `clip`; with classnames, the same context in front of those names.

    method: the class of the learner, such as CoCoOp.  Raises ValueError if the prompt was learned on another CLIP or by
    another method, or is class-specific and asked for a class that it has no context for; and as `read_prompt` does.
    """
    header, tensors = read_prompt(path)
    learned_by = header.get("method", PromptLearner.__name__)
    if learned_by != method.__name__:
        raise ValueError(
            f"the prompt in {path} was learned by {learned_by}, not by {method.__name__}: load_prompt(path, clip, "
            f"method={learned_by})"
        )
    if (header["model"], header["weights"]) != (clip.name, weights_digest(clip)):
        why = (
            f"it was learned on {header['model']!r}, this is {clip.name!r}"
            if header["model"] != clip.name
            else f"this {clip.name!r} has other weights than the one it was learned on"
        )
        raise ValueError(
            f"the prompt in {path} does not fit this CLIP: {why} (context width {header['width']}, here "
            f"{text_tower(clip.model).token_embedding.weight.shape[1]}). Context vectors live in one model's "
            f"own word embedding space and mean nothing in another's: load_clip({header['model']!r}), or "
            "learn them again."
        )
    options = {"class_specific": True} if header["class_specific"] else {}
    options |= {"n_ctx": header["n_ctx"], "position": header["position"], **header.get("options", {})}
    learner = method(clip, header["classnames"], **options)
    copy_parameters(learner, tensors)
    return learner if classnames is None else learner.with_classnames(classnames)


def save_training(
    learner: PromptLearner,
    path: str | Path,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    training: dict[str, Any],
    history: dict[str, list[float]],
) -> None:
    """Save a learner in the midst of its training, with all that is needed to go on; `load_prompt` reads it too.

    training: what must be the same when it is resumed (recipe, labels, pictures, start); history: what happened so far.
    """
    momenta = {
        _momentum_of(name): optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in learner.named_parameters()
        if "momentum_buffer" in optimizer.state[parameter]  # none before the first step
    }
    facts = {**training, "scaler": scaler.state_dict(), "history": history}
    save_prompt(learner, path, tensors=momenta, training=facts)


def resume_training(
    learner: PromptLearner,
    path: str | Path,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    training: dict[str, Any],
) -> dict[str, list[float]]:
    """Put learner, optimizer and scaler back to where `save_training` left them; returns the history.

    A learner that already has what was learned there, as from `load_prompt`, may have started anywhere.
    Raises ValueError, and changes nothing, if anything in `training` or the learner's layout is not as it was; what an
    older file does not hold is not compared.
    """
    header, tensors = read_prompt(path)
    saved = header["facts"].get("training")
    if saved is None:
        raise ValueError(
            f"{path} holds a prompt but no training to resume: save_prompt wrote it, not a Trainer"
        )
    plain = {"method": PromptLearner.__name__, "options": {}}
    here = {**plain, **json.loads(json.dumps({**layout(learner), **training}))}
    there = {**plain, **header, **saved}
    if _holds(learner, tensors):
        here.pop("start", None)
    differing = [
        f"{key}: {there[key]!r:.200} there, {here[key]!r:.200} here"
        for key in here
        if key in there and there[key] != here[key]
    ]
    if differing:
        raise ValueError(
            f"{path} is of another training ({'; '.join(differing)}). To resume, everything must be as it was. To "
            "train anew, give this training a checkpoint file of its own: without resume it would replace that one."
        )
    copy_parameters(learner, tensors)
    learner.start = saved.get("start", learner.start)
    for name, parameter in learner.named_parameters():
        if _momentum_of(name) in tensors:
            optimizer.state[parameter]["momentum_buffer"] = tensors[_momentum_of(name)].to(parameter.device)
    if saved["scaler"]:
        scaler.load_state_dict(saved["scaler"])
    return saved["history"]


def copy_parameters(learner: PromptLearner, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put values into all that a learner has learned, ctx among it, as its new start.

    Raises ValueError, and changes nothing, if one is missing, has another shape, or values that are no numbers.
    """
    others = {name: parameter for name, parameter in learner.named_parameters() if name != "ctx"}
    for name, parameter in others.items():
        if name not in tensors or tensors[name].shape != parameter.shape:
            got = tuple(tensors[name].shape) if name in tensors else "none"
            raise ValueError(
                f"expected {name} of shape {tuple(parameter.shape)}, got {got}: another method's?"
            )
        _check_finite(name, tensors[name].to(parameter.dtype))
    copy_ctx(learner, tensors["ctx"])
    with torch.no_grad():
        for name, parameter in others.items():
            parameter.copy_(tensors[name])
    learner.mark_start()


def _momentum_of(name: str) -> str:
    """The name of a parameter's momentum in a file."""
    return "momentum" if name == "ctx" else f"momentum of {name}"


def copy_ctx(learner: PromptLearner, ctx: torch.Tensor) -> None:
    """Put values into a learner's context, as its new start.  Raises ValueError if the shapes differ, and guesses why."""
    expected, got = tuple(learner.ctx.shape), tuple(ctx.shape)
    if expected != got:
        if len(expected) != len(got):
            why = "is one of the two class-specific (K, M, D) and the other unified (M, D)?"
        elif expected[-1] != got[-1]:
            why = f"another CLIP's word embeddings: they are {got[-1]} wide there and {expected[-1]} here"
        elif expected[-2] != got[-2]:
            why = f"was it learned with n_ctx={got[-2]}?"
        else:
            why = f"was it learned on {got[0]} classes? A class-specific context cannot serve others"
        raise ValueError(f"expected ctx of shape {expected}, got {got}: {why}")
    values = ctx.to(learner.ctx.dtype)
    _check_finite("ctx", values)
    with torch.no_grad():
        learner.ctx.copy_(values)
    learner.mark_start()


def _check_finite(name: str, values: torch.Tensor) -> None:
    if not values.isfinite().all():
        raise ValueError(
            f"expected finite values in {name}, got some that are no numbers, or too large for {values.dtype}: that "
            "training has diverged"
        )


def _holds(learner: PromptLearner, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Does the learner have the values of a file already?"""
    return all(
        name in tensors and torch.equal(parameter.detach().cpu().float(), tensors[name].float())
        for name, parameter in learner.named_parameters()
    )


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a prompt file says, 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(header).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]


def weights_digest(clip: Clip) -> str:
    """Tells two models of one name apart: a checksum of the text tower's word positions, 16 hexadecimal digits."""
    positions = text_tower(clip.model).positional_embedding
    return hashlib.sha256(positions.detach().cpu().float().numpy().tobytes()).hexdigest()[:16]


def layout(learner: PromptLearner) -> dict[str, Any]:
    """What must be known to use a context; the method, too, where it is not CoOp."""
    method = {}
    if type(learner) is not PromptLearner:
        known = ("n_ctx", "class_specific", "position", "max_classes_at_once")
        own = {name: value for name, value in learner.options().items() if name not in known}
        method = {"method": type(learner).__name__, "options": own}
    return {
        **method,
        "model": learner.clip.name,
        "weights": weights_digest(learner.clip),
        "classnames": list(learner.classnames),
        "n_ctx": learner.ctx.shape[-2],
        "width": learner.ctx.shape[-1],
        "class_specific": learner.ctx.ndim == 3,
        "position": learner.position,
    }
