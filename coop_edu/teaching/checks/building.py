"""Checkers of the exercises that build the prompt learner, from the text encoder to both contexts (Eqs. 2-4)."""

from __future__ import annotations

import dis
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import nn

from coop_edu.clip.models import Clip, load_clip
from coop_edu.clip.probability import normalize
from coop_edu.clip.text_encoding import text_tower
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.teaching.verdicts import (
    Wrong,
    answer_of,
    checker,
    compare,
    random_numbers,
    relative_difference,
)

NAMES = {  # two sizes, so that none can be typed in; ")." is one token
    2: ["cat", "hot air balloon"],
    3: ["key", "kite (toy)", "alarm clock"],
}
CLOSE = 1e-4


@checker
def check_encoding(solution: Callable) -> str:
    """Through the text encoder: `solution(text, prompt (L, D)) -> (E,)`, read at EOT, the prompt's last position."""
    text: Any = text_tower(clip_of_checks().model)
    for L in (5, 8):
        prompt = (0.02 * random_numbers(L, L, text.token_embedding.embedding_dim)).requires_grad_()
        given, right = answer_of(solution, text, prompt), _encoded(prompt)
        if not isinstance(given, torch.Tensor) or given.shape != right.shape:
            all_of_them = "all positions: take the prompt out of its batch with [0], and read its last row, EOT"
            shapes = {(1, *right.shape): "the batch of one", (L, *right.shape): all_of_them}
            shapes[prompt.shape[1:]] = "a hidden state: text.text_projection is missing"
            found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            why = f" ({shapes[found]})" if found in shapes else ""
            raise Wrong(f"a text feature of shape {tuple(right.shape)} was expected, and it is {found}{why}")
        mistakes = {
            "the feature is read at the wrong position; read it at EOT, the last": _encoded(prompt, read=-2),
            "the feature is read at SOS, the first position, which has seen nothing else": _encoded(prompt, read=0),
            "the positional embedding is not added": _encoded(prompt, positions=False),
            "the causal mask is missing": _encoded(prompt, mask=False),
            "the feature is the mean of all positions; read it at EOT, the last": _encoded(
                prompt, read=slice(None)
            ).mean(0),
            "these are the last rows of the positional embedding; a prompt begins at the first": _encoded(
                prompt, first=-L
            ),
            "the last layer norm, ln_final, is missing": _encoded(prompt, norm=False),
            "the feature is normalised already; give it as the text encoder does": normalize(right),
        }
        if relative_difference(given, right) > CLOSE:
            for mistake, wrong in mistakes.items():
                if relative_difference(given, wrong) < CLOSE:
                    raise Wrong(mistake)
            raise Wrong(f"the feature differs from CLIP's by {relative_difference(given, right):.1e} of its size")
        if not given.requires_grad:
            raise Wrong("no gradient can flow back to the prompt: do not detach it, and do not use no_grad()")
    return "CLIP's own text feature."


@checker
def check_prompt_learner(solution: Callable) -> str:
    """A prompt learner: `solution(clip, classnames, ctx)` is an nn.Module; called, it gives text features (K, E).

    `ctx` (M, D) is the start of its one parameter.  Checked for two numbers of classes and two context lengths: the
    parameter, the text features against the library's, the gradient at the context, and that CLIP gets no gradient.
    """
    if borrowed := _borrowed(solution):
        raise Wrong(
            f"it uses the notebook's `{borrowed}`; write its lines into the class, because notebook 04 does not have it"
        )
    weights = _weights_of(clip_of_checks())
    for names, M in ((NAMES[3], 4), (NAMES[2], 2)):
        start, mine = _build(solution, names, M)
        learned = own_parameters(mine, clip_of_checks())
        if not learned:
            raise Wrong("nothing can be learned: the context must be an nn.Parameter, set in __init__")
        if (count := sum(p.numel() for p in learned)) != start.ctx.numel():
            raise Wrong(f"{count:,} numbers are learned; {M} vectors have {start.ctx.numel():,}")
        if len(learned) == 1 and not torch.equal(learned[0].flatten(), start.ctx.flatten()):
            raise Wrong("the parameter does not start from the `ctx` that is given")
        features = _checked_features(mine, names, start)
        features.sum().backward()
        if any(p.grad is None or not p.grad.any() for p in learned):
            raise Wrong("the context receives no gradient: it was detached or copied on its way into the prompt")
        if any(weight.grad is not None for weight in weights):
            raise Wrong("CLIP's own weights receive a gradient; they have to stay frozen")
        start().sum().backward()
        if relative_difference(learned[0].grad, start.ctx.grad) > CLOSE:  # type: ignore[arg-type]
            raise Wrong("the gradient at the context is not that of the text features: part of the way is cut off")
        with torch.no_grad():
            learned[0].mul_(2)
        if relative_difference(answer_of(mine), features) == 0:
            raise Wrong("the context has changed and the text features have not: compute them anew in each forward()")
    if not (calls := _calls(mine)):
        raise Wrong("the prompts do not go through the `clip` that is given: call clip.model.transformer")
    return (
        f"the prompts go through the frozen encoder, in {calls} call{'s' * (calls > 1)} of the transformer for "
        f"{len(names)} classes, and the gradient comes back to the context."
    )


def _borrowed(solution: Any) -> str:
    """The first name of the notebook's helpers that a method of a class uses, or nothing."""
    helpers = {"prompt_of", "assemble", "encode", "text", "table", "tokenizer", "names"}
    codes = [method.__code__ for method in vars(solution).values() if isinstance(method, FunctionType)]
    used = {step.argval for code in codes for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return min(helpers & used, default="")


def _calls(mine: Callable) -> int:
    """How often a learner calls the transformer."""
    calls: list[nn.Module] = []
    transformer: nn.Module = text_tower(clip_of_checks().model).transformer
    hook = transformer.register_forward_pre_hook(lambda module, inputs: calls.append(module))
    try:
        answer_of(mine)
    finally:
        hook.remove()
    return len(calls)


@checker
def check_class_specific(solution: Callable) -> str:
    """A class-specific context: `solution(clip, classnames, ctx)` is an nn.Module; called, it gives (K, E).

    Every class starts from its own copy of `ctx` (M, D).  Checked: the parameter (K, M, D), the text features, and that
    the feature of a class depends on its own context alone.
    """
    for names, M in ((NAMES[3], 4), (NAMES[2], 2)):
        start, mine = _build(solution, names, M)
        learned, K = own_parameters(mine, clip_of_checks()), len(names)
        shapes = [tuple(p.shape) for p in learned]
        if shapes == [tuple(start.ctx.shape)]:
            raise Wrong(f"all classes share the {M} vectors; make the parameter (K, M, D), a copy for each class")
        if shapes != [(K, *start.ctx.shape)]:
            raise Wrong(f"the one parameter should be (K, M, D) = {(K, *start.ctx.shape)}; there is {shapes}")
        (ctx,) = learned
        if ctx.stride(0) == 0:
            raise Wrong("expand gives K views of the same numbers; copy them, with clone() or repeat")
        if not torch.equal(ctx, start.ctx.expand_as(ctx)):
            raise Wrong("the contexts do not start from the `ctx` that is given")
        features = _checked_features(mine, names, start)
        for place in range(K):
            (gradient,) = torch.autograd.grad(features[place].sum(), ctx, retain_graph=True, allow_unused=True)
            if gradient is None or not gradient[place].any():
                raise Wrong(f"class {place} does not use its own context, ctx[{place}]")
            if gradient.any(dim=2).any(dim=1).sum() > 1:
                raise Wrong(f"the text feature of class {place} depends on other classes' contexts, too")
    return "the same start, and from there every class goes its own way."


@checker
def check_group_gradient(solution: Callable) -> str:
    """Contexts of groups of classes: `solution(grad (K, M, D), group (K,), G) -> (G, M, D)`, sums over the groups."""
    for K, G, group in ((4, 2, torch.tensor([0, 1, 1, 1])), (5, 3, torch.tensor([2, 0, 2, 0, 2]))):  # one is empty
        grad = random_numbers(K, K, 2, 3)
        member = torch.nn.functional.one_hot(group, G).T.to(grad)  # (G, K)
        right = torch.einsum("gk,kmd->gmd", member, grad)
        last = torch.zeros_like(right)
        last[group] = grad  # of several classes in a group the last one counts
        mistakes = {
            "the gradients of a group are averaged; a shared vector collects their sum":
                right / member.sum(dim=1).clamp(min=1)[:, None, None],
            "of each group only one class counts; index_add_ adds up all of them, indexing with = or += does not": last,
            "that is the gradient of one context for all; keep the groups apart": grad.sum(dim=0).expand(G, 2, 3),
            "each class got its group's gradient; one row for each group, (G, M, D)": right[group],
            "that is the gradient of the first classes; add up the classes of each group": grad[:G],
        }  # fmt: skip
        compare(answer_of(solution, grad.clone(), group.clone(), G), right, mistakes)
    return "one group for all gives the unified context, a group for each class the class-specific one."


def _build(solution: Callable, names: list[str], M: int) -> tuple[PromptLearner, nn.Module]:
    """The library's learner and the solution's, from the same context; CLIP is frozen, whatever was tried before."""
    for weight in _weights_of(clip_of_checks()):
        weight.requires_grad_(False).grad = None
    start = PromptLearner(clip_of_checks(), names, n_ctx=M, seed=M)
    mine = answer_of(solution, clip_of_checks(), list(names), start.ctx.detach().clone())
    if not isinstance(mine, nn.Module):
        raise Wrong(f"an nn.Module was expected, and it returned {type(mine).__name__}")
    return start, mine


def _checked_features(mine: nn.Module, names: list[str], start: PromptLearner) -> torch.Tensor:
    """The solution's text features, if they are the library's and a gradient can flow back from them."""
    features, expected = answer_of(mine), start()
    if isinstance(features, torch.Tensor) and features.shape == (len(names), *expected.shape):
        raise Wrong("there are K features for each of K prompts; take from each its own: x[range(K), ends]")
    if not isinstance(features, torch.Tensor) or features.shape != expected.shape:
        shape = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise Wrong(f"called, it should give text features of shape {tuple(expected.shape)}, and gives {shape}")
    if relative_difference(features, expected) > CLOSE:
        raise Wrong(_which_prompt(features, names, start))
    if not features.requires_grad:
        raise Wrong("no gradient can flow back: somewhere the context was detached, copied, or used under no_grad()")
    return features


@torch.no_grad()
def _which_prompt(features: torch.Tensor, names: list[str], start: PromptLearner) -> str:
    """The usual mistake that gives these text features."""
    ctx = start.ctx
    mistakes = {
        "the full stop behind the class name is missing": _assembled(names, ctx, stop=""),
        "the class name stands in front of the context; it belongs behind it": _assembled(names, ctx, front=True),
        "the context is left out": _assembled(names, ctx[:0]),
        "SOS is missing": _assembled(names, ctx, sos=False),
        "the feature is read at the end of the batch, which is padding for the shorter prompts": _assembled(
            names, ctx, padded="right"
        ),
        "the padding stands in front of the prompt; EOT sees it, and all positions shift": _assembled(
            names, ctx, padded="left"
        ),
        "the vectors of the context are in the wrong order": _assembled(names, ctx.flip(0)),
        "EOT is missing, or the feature is read one position too early": _assembled(names, ctx, read=-2),
        "the feature is read at SOS, which has seen nothing else": _assembled(names, ctx, read=0),
        "the positional embedding is not added": _assembled(names, ctx, positions=False),
        "the causal mask is missing": _assembled(names, ctx, mask=False),
        "the last layer norm, ln_final, is missing": _assembled(names, ctx, norm=False),
        "the full stop is looked up apart from the name; look both up together, because “).” is one token": _assembled(
            names, ctx, stop=None
        ),
        "the features are normalised already; give them as the text encoder does": normalize(start()),
    }
    for mistake, wrong in mistakes.items():
        if relative_difference(features, wrong) < CLOSE:
            return mistake
    return f"the text features differ from the library's by {relative_difference(features, start()):.1e} of their size"


def _assembled(
    names: list[str],
    ctx: torch.Tensor,
    *,
    stop: str | None = ".",
    front: bool = False,
    sos: bool = True,
    padded: str = "",
    **options: Any,
) -> torch.Tensor:
    """The text features of the exercise, one prompt after the other; each option makes one of the usual mistakes."""
    clip = clip_of_checks()
    table = text_tower(clip.model).token_embedding.weight
    first, last = table[[clip.tokenizer.sot_token_id]], table[[clip.tokenizer.eot_token_id]]
    prompts = []
    for name in names:
        apart = clip.tokenizer.encode(name) + clip.tokenizer.encode(".")
        words = table[apart if stop is None else clip.tokenizer.encode(name + stop)]
        inner = [words, ctx] if front else [ctx, words]
        prompts.append(torch.cat([first[: int(sos)], *inner, last]))
    if padded:
        prompts = list(nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_side=padded))
    return torch.stack([_encoded(prompt, **options) for prompt in prompts])


def _encoded(
    prompt: torch.Tensor,
    *,
    read: int | slice = -1,
    positions: bool = True,
    first: int = 0,
    mask: bool = True,
    norm: bool = True,
) -> torch.Tensor:
    """The text feature of one prompt (L, D); each option makes one of the usual mistakes."""
    text: Any = text_tower(clip_of_checks().model)
    L = len(prompt)
    x = prompt + text.positional_embedding[first:][:L] if positions else prompt
    x = text.transformer(x[None], attn_mask=text.attn_mask[:L, :L] if mask else None)[0]
    return (text.ln_final(x) if norm else x)[read] @ text.text_projection


def _weights_of(clip: Clip) -> list[nn.Parameter]:
    model: Any = clip.model
    return list(model.parameters())


def own_parameters(module: nn.Module, clip: Clip) -> list[nn.Parameter]:
    """What the module learns: its parameters that are not CLIP's and require a gradient."""
    frozen = {id(weight) for weight in _weights_of(clip)}
    return [p for p in module.parameters() if id(p) not in frozen and p.requires_grad]


@cache
def clip_of_checks() -> Clip:
    return load_clip("mini")
