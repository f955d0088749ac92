"""Checkers of notebooks 00 to 03: sentences, Eq. 1, ensembles, the assembly of a prompt, and a batch of prompts."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, parts_of, random_numbers


@checker
def check_prompts(solution: Callable) -> str:
    """Sentences from a template: `solution(template, classnames) -> list[str]`, one per class, no underscores."""
    template = "a drawing of a {}, no_background."
    names = ["T-shirt", "hot_air_balloon", "airplane", "wolf", "key", "cup"]
    given = answer_of(solution, template, list(names))
    if isinstance(given, str) or not isinstance(given, list | tuple):
        raise Wrong(f"a list with one sentence per class was expected, and it returned {type(given).__name__}")
    spaced = [name.replace("_", " ") for name in names]
    mistakes = {
        "the underscores are still there; the text encoder was trained on words with spaces":
            [template.replace("{}", name) for name in names],
        "only the first underscore of a name is replaced": [
            template.replace("{}", name.replace("_", " ", 1)) for name in names
        ],
        "the template is not filled in: {} still stands where the name should": [template] * len(names),
        "only the names are returned; the words around them are missing": spaced,
        "the name is put behind the template; it belongs where {} stands": [f"{template} {name}" for name in spaced],
        "the braces are still there; replace all of {}": [template.replace("{}", f"{{{name}}}") for name in spaced],
        "the underscores of the template are replaced, too; only those of the names should be":
            [template.replace("{}", name).replace("_", " ") for name in names],
        "the names are in small letters now; leave them as they are, except for the underscores":
            [template.replace("{}", name.lower()) for name in spaced],
        "the hyphens are gone, too; only underscores should be replaced":
            [template.replace("{}", name.replace("-", " ")) for name in spaced],
        "it turns “a” into “an”; fill in the template as it is":
            [template.replace("a {}", f"{'an' if name[0] in 'aeiou' else 'a'} {name}") for name in spaced],
    }  # fmt: skip
    right = [template.replace("{}", name) for name in spaced]
    if list(given) != right and sorted(map(str, given)) == sorted(right):
        raise Wrong("the sentences are in another order than the class names")
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
    >>> check_class_probabilities(lambda f, w, tau: None)
    ✗ wrong: because it returned None: is the return missing?
    """
    f, w, tau = 3 * random_numbers(1, 5, 8), 2 * random_numbers(2, 4, 8), 0.2
    cosine = normalize(f, dim=-1) @ normalize(w, dim=-1).T
    scaled = cosine / tau
    half = (f @ normalize(w, dim=-1).T / tau, normalize(f, dim=-1) @ w.T / tau)
    columns = normalize(w, dim=0).T / tau
    wrong_axis = (normalize(f, dim=0) @ columns, normalize(f, dim=-1) @ columns)
    mistakes = {
        "the temperature is missing: divide the similarities by it before the softmax": cosine.softmax(-1),
        "the similarities are multiplied by the temperature; Eq. 1 divides by it": (cosine * tau).softmax(-1),
        "the softmax runs over the images (dim=0); it must run over the classes (dim=-1)": scaled.softmax(0),
        "the features are not normalised: a cosine needs vectors of length one": (f @ w.T / tau).softmax(-1),
        "x / x.norm() divides by the length of all rows together; each row needs its own, with dim":
            ((f / f.norm()) @ (w / w.norm()).T / tau).softmax(-1),
        "the text features are normalised, the image features are not": half[0].softmax(-1),
        "the image features are normalised, the text features are not": half[1].softmax(-1),
        "both features and temperature are used raw: normalise, and divide by tau": (f @ w.T).softmax(-1),
        "these are the similarities over tau; the softmax is still missing": scaled,
        "these are the cosine similarities; temperature and softmax are still missing": cosine,
        "these are logarithms of probabilities; use softmax, not log_softmax": scaled.log_softmax(-1),
        "rows and columns are swapped: images go down, classes across": scaled.softmax(-1).T,
        "normalised along the wrong axis: each feature is a row, so use dim=-1": wrong_axis[0].softmax(-1),
        "the text features are normalised along the wrong axis: each is a row, so use dim=-1":
            wrong_axis[1].softmax(-1),
        "two mistakes are left; ask of each line what should have length one, and what should add up to one":
            wrong_axis[1].softmax(0),
    }  # fmt: skip
    compare(answer_of(solution, f, w, tau), scaled.softmax(dim=-1), mistakes)
    return "rows add up to one, and every number is Eq. 1's."


@checker
def check_or_none(solution: Callable) -> str:
    """CLIP that may say none: `solution(f (B, E), w (K, E), least) -> (B,)`, class numbers, and -1 for none.

    The features are not normalised; the best cosine of an image must be `least` or more.
    """
    f, w = 3 * random_numbers(4, 12, 6), 2 * random_numbers(5, 4, 6)
    cosine = normalize(f, dim=-1) @ normalize(w, dim=-1).T
    best, classes = cosine.max(dim=1)
    for least in (float(best.sort().values[5]), 0.9):

        def answers(value: torch.Tensor, classes: torch.Tensor = classes, least: float = least) -> torch.Tensor:
            return torch.where(value >= least, classes, -1)

        right, raw = answers(best), (f @ w.T).max(dim=1)
        given = answer_of(solution, f.clone(), w.clone(), least)
        if isinstance(given, list | tuple) and None in given:
            raise Wrong("none is the number -1 here, so that the answers are one tensor")
        mistakes = {
            "no image is refused: compare the best cosine with `least`": classes,
            "that is True and False; return the number of the class, or -1": best >= least,
            "it refuses where the best cosine is large enough": torch.where(best >= least, -1, classes),
            "an image whose best cosine is just `least` is kept": torch.where(best > least, classes, -1),
            "the features are not normalised: `least` is a cosine": answers(raw[0], raw[1]),
            "a softmax adds up to one for every image, so it cannot say none; compare the cosines":
                answers(cosine.softmax(dim=1).amax(dim=1)),
            "no image is kept: ask the best cosine of each image, not the mean, the least, or that of the whole batch":
                torch.full_like(classes, -1),
            "these are the cosines; return the number of the class": best,
        }  # fmt: skip
        compare(given, right, mistakes)
    return "the best class, if it is good enough."


@checker
def check_weight_matrix(solution: Callable) -> str:
    """CLIP's linear layer read backwards: `solution(W (K, E)) -> (temperature, directions (K, E))`, of length one."""
    for K, E, tau in ((4, 6, 0.2), (3, 5, 0.05)):
        rows = normalize(random_numbers(K, K, E), dim=-1)
        weights = rows / tau
        temperature, directions = parts_of(answer_of(solution, weights.clone()), 2, "temperature and directions")
        if isinstance(temperature, torch.Tensor) and temperature.shape == weights.shape:
            raise Wrong("the two are swapped: the temperature comes first")
        if isinstance(temperature, torch.Tensor) and temperature.numel() == E:
            raise Wrong("that is the length of each column; a class is a row")
        if isinstance(temperature, torch.Tensor) and temperature.numel() == K:
            raise Wrong("all rows have the same length, so one number is enough for the temperature")
        temperatures = {
            "that is the logit scale, the length of a row; the temperature is one divided by it": 1 / tau,
            "that is for the length of all rows together; take that of one row": float(1 / weights.norm()),
            "that is the square; a length has a root": tau**2,
        }
        compare(temperature, tau, temperatures)
        wrong = {
            "these are the weights as they were; the directions have length one": weights,
            "divided by the temperature once more; multiply by it": weights / tau,
            "normalised along the wrong axis: each class is a row, so use dim=-1": normalize(weights, dim=0),
            "rows and columns are swapped: one row for each class": rows.T,
        }
        compare(directions, rows, wrong)
    return "the weights hold the directions, and their length is the logit scale."


@checker
def check_cosine_gap(solution: Callable) -> str:
    """Eq. 1 read backwards: `solution(p, q, temperature)`, the first class's cosine minus the second's."""
    for p, q, tau in ((0.6, 0.2, 0.05), (0.1, 0.4, 0.2)):
        gap = tau * math.log(p / q)
        mistakes = {
            "the temperature is missing: Eq. 1 divides the cosines by it": gap / tau,
            "it is divided by the temperature; Eq. 1 does that, and here it is undone": gap / tau**2,
            "the sign is wrong: the class with p minus the class with q": -gap,
            "the logarithm is to base 2; exp needs the natural one": gap / math.log(2),
            "the logarithm is to base 10; exp needs the natural one": gap / math.log(10),
            "the logarithm is missing: p / q is exp of the difference of two logits": tau * p / q,
            "the probabilities are subtracted; take the difference of their logarithms": tau * (p - q),
        }
        compare(float(answer_of(solution, p, q, tau)), gap, mistakes)
    return "the sum below the fraction cancels: a ratio of probabilities is a difference of cosines."


@checker
def check_leave_one_out(solution: Callable) -> str:
    """Ensembles that each lack one template: `solution(text_features (T, K, E)) -> (T, K, E)`, not normalised."""
    features = random_numbers(3, 4, 3, 6) * torch.tensor([0.3, 1.0, 4.0, 2.0])[:, None, None]
    unit, columns = normalize(features, dim=-1), normalize(features, dim=1)
    rest, total = unit.sum(dim=0) - unit, unit.sum(dim=0)
    mistakes = {
        "every template takes part in every ensemble; leave one out of each":
            normalize(total, dim=-1).expand(4, -1, -1),
        "the average is taken before normalising, so long features outvote short ones; normalise each first":
            normalize(features.sum(dim=0) - features, dim=-1),
        "the average is not normalised again: its length is below one wherever the templates disagree": rest / 3,
        "the templates are added up and not normalised again": rest,
        "nothing is normalised: normalise, average, normalise": (features.sum(dim=0) - features) / 3,
        "each template stands alone; it is the one to leave out": unit,
        "a class is left out; it must be a template (dim=0)": normalize(unit.sum(dim=1, keepdim=True) - unit, dim=-1),
        "the template is taken from the mean; take it from the sum": normalize(unit.mean(dim=0) - unit, dim=-1),
        "F.normalize without dim works along dim=1, here the classes; each feature is a row, so use dim=-1":
            normalize(columns.sum(dim=0) - columns, dim=-1),
        "F.normalize without dim works along dim=1, here the classes; each feature is a row, so use dim=-1, both times":
            normalize(columns.sum(dim=0) - columns, dim=1),
        "the last F.normalize works along dim=1, here the classes; each feature is a row, so use dim=-1":
            normalize(rest, dim=1),
    }  # fmt: skip
    compare(answer_of(solution, features), normalize(rest, dim=-1), mistakes)
    return "the template without which the ensemble is better is the one that pulls it down."


@checker
def check_prompt_assembly(solution: Callable) -> str:
    """Eq. 2: `solution(sos (1, D), ctx (M, D), name (n, D), eot (1, D)) -> (1 + M + n + 1, D)`."""
    pieces = {"SOS": (1, 9.0), "the context": (3, 1.0), "the name": (2, 5.0), "EOT": (1, 7.0)}
    sos, ctx, name, eot = (start + torch.arange(4.0 * n).reshape(n, 4) / 100 for n, start in pieces.values())
    given = answer_of(solution, sos, ctx.requires_grad_(), name, eot)
    if isinstance(given, torch.Tensor) and given.shape == (7, 4) and not given.requires_grad:
        raise Wrong("the numbers may be right, but no gradient can flow back to the context: do not copy or detach it")
    ctx = ctx.detach()
    mistakes = {
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
    }  # fmt: skip
    compare(given, torch.cat([sos, ctx, name, eot]), mistakes)
    longer = [random_numbers(n, n, 6) for n in (1, 5, 3, 1)]
    other = answer_of(solution, *longer)
    if not isinstance(other, torch.Tensor) or other.shape != (10, 6) or not torch.equal(other, torch.cat(longer)):
        raise Wrong("it is right for 3 context vectors and a name of 2 tokens, but not for 5 and 3: is it typed in?")
    return "SOS, context, name, EOT: Eq. 2."
