"""Learned prompts and interrupted trainings, saved and loaded.

A learned prompt is M vectors (or K x M), a few kilobytes; it only means something to the CLIP that it was learned on,
so its file (prompt_file.py) stores the CLIP, the class names and the options.  Loading checks CLIP, method and shapes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from coop_edu.clip.fingerprint import clip_fingerprint
from coop_edu.clip.models import Clip
from coop_edu.clip.text_encoding import text_tower
from coop_edu.coop.prompt_file import FORMAT, FORMAT_OF_METHODS, read_prompt, write_prompt_file
from coop_edu.coop.prompt_learner import PromptLearner


def save_prompt(
    learner: PromptLearner,
    path: str | Path,
    *,
    tensors: Mapping[str, torch.Tensor] | None = None,
    **facts: Any,
) -> None:
    """Save what a learner has learned, with anything that JSON can hold as facts (accuracy=..., recipe=...).

    tensors: more to keep in the file (a training's momentum).
    Raises TypeError for a fact that JSON cannot hold, ValueError for NaN or infinite values; an older file then stays.
    """
    kind = FORMAT if type(learner) is PromptLearner else FORMAT_OF_METHODS
    header = {"format": kind, **header_of(learner), "facts": facts}
    write_prompt_file(path, header, {**dict(learner.named_parameters()), **(tensors or {})})


def load_prompt(
    path: str | Path,
    clip: Clip,
    classnames: Sequence[str] | None = None,
    *,
    method: type[PromptLearner] = PromptLearner,
) -> PromptLearner:
    """The learner that was saved, on `clip`; with classnames, the same context for those names.

    method: the class of the learner, such as CoCoOp.  Raises ValueError if the prompt was learned on another CLIP or by
    another method, or is class-specific and asked for a class that it has no context for; and as `read_prompt` does.
    """
    header, tensors = read_prompt(path)
    learned_by = header["method"]
    if learned_by != method.__name__:
        raise ValueError(
            f"the prompt in {path} was learned by {learned_by}, not by {method.__name__}: load_prompt(path, clip, "
            f"method={learned_by})"
        )
    if not same_clip(header["model"], header["weights"], clip):
        this_clip = "has other weights" if header["model"] == clip.name else f"is {clip.name!r}"
        raise ValueError(
            f"the prompt in {path} was learned on {header['model']!r} (context width {header['width']}), and this CLIP "
            f"{this_clip} (width {text_tower(clip.model).token_embedding.weight.shape[1]}). Context vectors live in "
            "one model's word embedding space: load that model, or learn them again."
        )
    try:
        prompt = {name: header[name] for name in ("n_ctx", "class_specific", "position")}
        learner = method(clip, header["classnames"], **prompt, **header["options"])
        copy_parameters(learner, tensors)
    except (KeyError, TypeError, ValueError) as error:  # unknown options, impossible names, other shapes, no ctx
        raise ValueError(f"the prompt in {path} does not make a {method.__name__}: {error}") from error
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

    training: what must be the same when it is resumed (recipe, labels, images, start); history: what happened so far.
    """
    momenta = {}
    for name, parameter in learner.named_parameters():
        state = optimizer.state[parameter]  # empty before the first step
        if more := state.keys() - {"momentum_buffer"}:
            raise ValueError(f"a checkpoint keeps SGD's momentum, and this optimizer has {', '.join(sorted(more))}")
        if "momentum_buffer" in state:
            momenta[_momentum_of(name)] = state["momentum_buffer"]
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

    If the learner already holds the file's values (from `load_prompt`), `start` is not compared.
    Raises ValueError, and changes nothing, if `training` or the learner's layout differs; fields that older files lack
    are skipped.
    """
    header, tensors = read_prompt(path)
    saved = header["facts"].get("training")
    if saved is None:
        raise ValueError(f"{path} holds a prompt but no training to resume: save_prompt wrote it, not a Trainer")
    if "pictures" in saved:  # the word of version 0.2
        saved["images"] = saved.pop("pictures")
    # If any of these differs, going on would mix two trainings.
    current = {"method": PromptLearner.__name__, "options": {}, **header_of(learner), **training}
    current, stored = json.loads(json.dumps(current)), {**header, **saved}  # through JSON, where tuples become lists
    if same_clip(header["model"], header["weights"], learner.clip):
        current["weights"] = stored["weights"]  # an older file has an older hash of it
    learned = dict(learner.named_parameters())
    if _has_values(learned, tensors):  # load_prompt has made the learner: its start is not that of the training
        current.pop("start", None)
    differing = [key for key in current if key in stored and stored[key] != current[key]]
    if differing:
        pairs = "; ".join(f"{key}: {stored[key]!r:.200} there, {current[key]!r:.200} here" for key in differing)
        raise ValueError(
            f"{path} belongs to a different training ({pairs}). Give this training its own checkpoint file; to train a "
            "finished prompt for more epochs, start from it: Trainer(load_prompt(path, clip), recipe).fit(data)."
        )
    copy_parameters(learner, tensors)
    if saved["scaler"]:
        scaler.load_state_dict(saved["scaler"])  # its scale grows and shrinks with the gradients
    learner.start = saved.get("start", learner.start)
    for name, parameter in learned.items():
        if _momentum_of(name) in tensors:
            optimizer.state[parameter]["momentum_buffer"] = tensors[_momentum_of(name)].to(parameter.device)
    return saved["history"]


def _has_values(learned: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> bool:
    for name, values in learned.items():
        if name not in tensors or not torch.equal(values.detach().cpu(), tensors[name].to(values.dtype)):
            return False
    return True


def _momentum_of(name: str) -> str:
    """The name of a parameter's momentum in a file."""
    return "momentum" if name == "ctx" else f"momentum of {name}"


def same_clip(model: str, weights: str, clip: Clip) -> bool:
    """Is `clip` the one that a file names?  Files of version 0.2 have a hash of the word positions only."""
    positions = text_tower(clip.model).positional_embedding.detach().cpu().float().numpy()
    old = hashlib.sha256(positions.tobytes()).hexdigest()[:16]
    return model == clip.name and weights in (clip_fingerprint(clip), old)


def header_of(learner: PromptLearner) -> dict[str, Any]:
    """The header of a prompt file; for other methods than CoOp also the method and its options."""
    method = {}  # a file of CoOp names no method, as in the first version
    if type(learner) is not PromptLearner:
        in_header = ("n_ctx", "class_specific", "position", "max_classes_at_once")  # in every file, or in none
        hyperparameters = {name: value for name, value in learner.options().items() if name not in in_header}
        method = {"method": type(learner).__name__, "options": hyperparameters}
    return {
        **method,
        "model": learner.clip.name,
        "weights": clip_fingerprint(learner.clip),
        "classnames": list(learner.classnames),
        "n_ctx": learner.ctx.shape[-2],
        "width": learner.ctx.shape[-1],
        "class_specific": learner.ctx.ndim == 3,
        "position": learner.position,
    }


def copy_parameters(learner: PromptLearner, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy values into all parameters of the learner and make them its new start.

    Raises ValueError, and changes nothing, if one is missing, has another shape, or is not finite.
    """
    values = {}
    for name, parameter in learner.named_parameters():
        expected, got = tuple(parameter.shape), tuple(tensors[name].shape) if name in tensors else "none"
        if got != expected:
            raise ValueError(
                f"expected {name} of shape {expected}, got {got}. A context is (M, D), or (K, M, D) if it is "
                "class-specific; D is the CLIP's."
            )
        values[name] = tensors[name].to(parameter.dtype)
        if not values[name].isfinite().all():
            raise ValueError(
                f"expected finite values in {name}, got NaN, infinity or values too large for {parameter.dtype}: that "
                "training diverged"
            )
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            parameter.copy_(values[name])
    learner.mark_start()  # a training from here is not the one from random vectors
