"""Exercise checkers on prompts and the probability that they give: Eqs. 1 and 2.

Leaves out: how a verdict comes about (verdicts.py), training and measuring (check_training.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, random_numbers


@checker
def check_prompts(solution: Callable) -> str:
    """Sentences from a template: `solution(template, classnames) -> list[str]`, one per class, no underscores."""
    template, names = "a drawing of a {}, on white.", ["cat", "hot_air_balloon"]
    given = answer_of(solution, template, list(names))
    if isinstance(given, str) or not isinstance(given, list | tuple):
        raise Wrong(f"a list with one sentence per class was expected, and it returned {type(given).__name__}")
    spaced = [name.replace("_", " ") for name in names]
    mistakes = {
        "the underscores are still there; the text encoder was trained on words with spaces":
            [template.replace("{}", name) for name in names],
        "the template is not filled in: {} still stands where the name should": [template] * len(names),
        "only the names are returned; the words around them are missing": spaced,
        "the name is put behind the template; it belongs where {} stands": [f"{template} {name}" for name in spaced],
        "the braces are still there; replace all of {}": [template.replace("{}", f"{{{name}}}") for name in spaced],
    }  # fmt: skip
    right = [template.replace("{}", name) for name in spaced]
    for reason, answer in mistakes.items():
        if list(given) == answer:
            raise Wrong(reason)
    if len(given) != len(names):
        raise Wrong(f"{len(names)} classes need {len(names)} sentences, and it returned {len(given)}")
    if list(given) != right:
        raise Wrong(f"for {template!r} and {names} it should be {right}, and is {list(given)}")
    return "one sentence per class, in plain words."


@checker
def check_class_probabilities(solution: Callable) -> str:
    """Eq. 1: `solution(image_features (B, E), text_features (K, E), temperature) -> (B, K)`, features not normalised.

    >>> from coop_edu.clip.probability import class_probabilities
    >>> check_class_probabilities(lambda f, w, tau: class_probabilities(f, w, 1 / tau))
    ✓ right: rows add up to one, and every number is Eq. 1's.
    >>> check_class_probabilities(lambda f, w, tau: None).status
    'not attempted'
    """
    f, w, tau = 3 * random_numbers(1, 5, 8), 2 * random_numbers(2, 4, 8), 0.2
    cosine = normalize(f, dim=-1) @ normalize(w, dim=-1).T
    scaled = cosine / tau
    half = (f @ normalize(w, dim=-1).T / tau, normalize(f, dim=-1) @ w.T / tau)
    compare(
        answer_of(solution, f, w, tau),
        scaled.softmax(dim=-1),
        {
            "the temperature is missing: divide the similarities by it before the softmax": cosine.softmax(-1),
            "the similarities are multiplied by the temperature; Eq. 1 divides by it": (cosine * tau).softmax(-1),
            "the softmax runs over the images (dim=0); it must run over the classes (dim=-1)": scaled.softmax(0),
            "the features are not normalised: a cosine needs vectors of length one": (f @ w.T / tau).softmax(-1),
            "the text features are normalised, the image features are not": half[0].softmax(-1),
            "the image features are normalised, the text features are not": half[1].softmax(-1),
            "both features and temperature are used raw: normalise, and divide by tau": (f @ w.T).softmax(-1),
            "these are the similarities over tau; the softmax is still missing": scaled,
            "these are the cosine similarities; temperature and softmax are still missing": cosine,
            "these are logarithms of probabilities; use softmax, not log_softmax": scaled.log_softmax(-1),
            "rows and columns are swapped: images go down, classes across": scaled.softmax(-1).T,
        },
    )
    return "rows add up to one, and every number is Eq. 1's."


@checker
def check_ensemble(solution: Callable) -> str:
    """Prompt ensembling: `solution(text_features (T, K, E)) -> (K, E)`, T templates, features not normalised."""
    features = random_numbers(3, 3, 4, 6) * torch.tensor([0.3, 1.0, 4.0])[:, None, None]
    unit = normalize(features, dim=-1)
    compare(
        answer_of(solution, features),
        normalize(unit.mean(dim=0), dim=-1),
        {
            "the average is taken before normalising, so long features outvote short ones; normalise each first":
                normalize(features.mean(dim=0), dim=-1),
            "the average is not normalised again: its length is below one wherever the templates disagree":
                unit.mean(dim=0),
            "nothing is normalised: normalise, average, normalise": features.mean(dim=0),
            "the average runs over the classes; it must run over the templates (dim=0)":
                normalize(unit.mean(dim=1), dim=-1),
            "the templates are added up and not normalised again": unit.sum(dim=0),
            "normalising runs along the wrong axis; each feature is a row, so use dim=-1":
                normalize(normalize(features, dim=0).mean(dim=0), dim=0),
            "only the first template is used": unit[0],
        },
    )  # fmt: skip
    return "each template has one vote, and the result has length one."


@checker
def check_prompt_assembly(solution: Callable) -> str:
    """Eq. 2: `solution(sos (1, D), ctx (M, D), name (n, D), eot (1, D)) -> (1 + M + n + 1, D)`."""
    pieces = {"SOS": (1, 9.0), "the context": (3, 1.0), "the name": (2, 5.0), "EOT": (1, 7.0)}
    sos, ctx, name, eot = (start + torch.arange(4.0 * n).reshape(n, 4) / 100 for n, start in pieces.values())
    compare(
        answer_of(solution, sos, ctx, name, eot),
        torch.cat([sos, ctx, name, eot]),
        {
            "the name stands before the context; Eq. 2 has the context first": torch.cat([sos, name, ctx, eot]),
            "the context stands after EOT, where nothing can see it": torch.cat([sos, name, eot, ctx]),
            "the context stands before SOS; every prompt starts with SOS": torch.cat([ctx, sos, name, eot]),
            "SOS is missing": torch.cat([ctx, name, eot]),
            "EOT is missing, and the text feature is read there": torch.cat([sos, ctx, name]),
            "the context is missing": torch.cat([sos, name, eot]),
            "the name is missing: all classes would have the same prompt": torch.cat([sos, ctx, eot]),
            "the context is in reverse order": torch.cat([sos, ctx.flip(0), name, eot]),
            "the context vectors are averaged into one": torch.cat([sos, ctx.mean(0, keepdim=True), name, eot]),
            "the pieces are joined along the width; positions are rows, so use dim=0":
                torch.cat([sos, ctx[:1], name[:1], eot], dim=1),
        },
    )  # fmt: skip
    return "SOS, context, name, EOT: Eq. 2."


@checker
def check_parameter_count(solution: Callable) -> str:
    """Learned numbers of a class-specific context: `solution(n_classes, n_ctx, width) -> int` (Section 3.2)."""
    n_classes, n_ctx, width = 100, 16, 512
    given = answer_of(solution, n_classes, n_ctx, width)
    mistakes = {
        n_ctx * width: "that is the unified context, which all classes share; class-specific has one for each class",
        n_classes * width: "that is one vector per class; each context has n_ctx of them",
        n_classes * n_ctx: "that counts the vectors; each has `width` numbers",
        n_classes * (n_ctx + 1) * width: "the class name is counted too, but its tokens are frozen",
        (n_classes + n_ctx) * width: "classes and context vectors are added; every class has its own context",
        n_classes * (n_ctx + 2) * width: "SOS and EOT are counted too, but they are frozen",
    }
    if given in mistakes:
        raise Wrong(mistakes[given])
    cases = [(n_classes, n_ctx, width), (1, 4, 128), (37, 1, 640)]
    for case in cases:
        if (given := answer_of(solution, *case)) != math.prod(case):
            raise Wrong(f"for {case[0]} classes, {case[1]} vectors, width {case[2]} it is not {given}")
    return f"{n_classes} classes with 16 vectors of 512 numbers: {math.prod(cases[0]):,}, where the unified has 8,192."
