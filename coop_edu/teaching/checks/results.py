"""Checkers of notebooks 02, 06 and 07: an honest report, classes that compete, a probe, averages."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev

import torch
from scipy.special import stdtrit
from torch.nn.functional import cross_entropy

from coop_edu.clip.probability import normalize
from coop_edu.evaluate.seeds import mean_and_interval
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, parts_of, random_numbers


@checker
def check_honest_report(solution: Callable) -> str:
    """Choose on validation, report on test: `solution(on_val, right_on_test, given) -> (chosen, points, half)`.

    `on_val`: template -> validation accuracy; `right_on_test`: template -> (N,), True where it is right on a test
    image; `given`: the template to compare with.  `points` is chosen minus given on test, `half` half of its
    95 % interval.
    """
    for given in ("a photo of a {}.", "{}"):  # the chosen one is ahead of the first on test, and behind the second
        _check_report(solution, given)
    return "chosen on one part, reported on another, with its error."


@checker
def check_images_needed(solution: Callable) -> str:
    """From how many images on a method is ahead: `solution({shots: [points of each seed]}) -> shots or "never"`.

    Ahead: the 95 % interval of the mean (Student's t) is above zero, for this number of shots and every larger one.
    """
    high, low, wide, none = [4.0, 5.0, 6.0], [-4.0, -5.0, -6.0], [9.0, 1.0, 2.0], [1.0, -1.0, 0.5]
    just, nearly = [2.0, 3.0, 4.0], [1.0, 2.0, 3.0]  # mean 3 and 2, half an interval 2.5
    five, not_five = [0.2, 1.2, 2.2, 3.2, 4.2], [-0.2, 0.8, 1.8, 2.8, 3.8]  # mean 2.2 and 1.8, half an interval 2.0
    cases = (
        ({1: none, 2: high, 4: high}, 2),
        ({1: high, 2: high, 4: high}, 1),
        ({1: high, 2: none, 4: high}, 4),
        ({1: none, 2: wide, 4: high}, 4),
        ({1: low, 2: low, 4: high}, 4),
        ({1: high, 2: high, 4: none}, "never"),
        ({1: low, 2: low, 4: low}, "never"),
        ({16: high, 2: none, 4: none, 1: none}, 16),
        ({1: nearly, 2: just, 4: high}, 2),
        ({1: just, 2: nearly, 4: just}, 4),
        ({1: not_five, 2: five, 4: five}, 2),
        ({1: [-0.8, 0.2, 1.2, 2.2, 3.2], 2: five, 4: high}, 2),  # 1.7 standard errors
        ({1: [0.3, 1.3, 2.3], 2: five, 4: high}, 2),  # 2.3 standard errors, 1.3 standard deviations
        ({1: [2.1, 3.1, 4.1, 5.1, 6.1], 2: high}, 1),
        ({1: [3.0], 2: high, 4: high}, 2),  # one seed has no interval
        ({1: [-3.0], 2: [-5.0], 4: [4.0]}, "never"),
        ({1: [-0.5, 0.5, 1.5, 2.5, 3.5], 2: five, 4: high}, 2),  # 2.1 standard errors, 0.95 standard deviations
    )
    given = [answer_of(solution, {k: list(d) for k, d in differences.items()}) for differences, _ in cases]

    def ruled(clear: Callable[[list[float]], bool], first: bool = False) -> list[int | str]:
        """The answers by another rule."""
        answers: list[int | str] = []
        for differences, _ in cases:
            good = [k for k in sorted(differences) if clear(differences[k])]
            bad = [k for k in differences if k not in good]
            answers.append(min((k for k in good if first or k > max(bad, default=0)), default="never"))
        return answers

    def spread(d: list[float]) -> float:
        return stdev(d) if len(d) > 1 else float("nan")

    def error(d: list[float]) -> float:
        return spread(d) / len(d) ** 0.5

    def reached(d: list[float], part: float = 1.0) -> bool:
        mean, half = mean_and_interval(d)
        return mean > part * half

    mistakes = {
        "that is the first number of images at which it is ahead; it must stay ahead with more":
            ruled(reached, first=True),
        "the mean is above zero, but its interval may reach zero; compare the mean with half the interval":
            ruled(lambda d: fmean(d) > 0),
        "that is clearly different from zero; behind is not ahead":
            ruled(lambda d: reached(d) or reached([-x for x in d])),
        "about two standard errors are not the interval of so few seeds; mean_and_interval takes Student's t":
            ruled(lambda d: fmean(d) > 2 * error(d)),
        "the whole interval is wider than needed: compare the mean with half of it": ruled(lambda d: reached(d, 2)),
        "mean_and_interval gives half of the interval already; do not halve it again":
            ruled(lambda d: reached(d, 0.5)),
        "that is the spread of single seeds; the interval is that of their mean": ruled(lambda d: fmean(d) > spread(d)),
        "that t leaves 5 % on one side; mean_and_interval leaves 2.5 % on each":
            ruled(lambda d: fmean(d) > stdtrit(len(d) - 1, 0.95) * error(d)),
        "that is t times the spread; the interval of the mean divides it by the root of n":
            ruled(lambda d: fmean(d) > stdtrit(len(d) - 1, 0.975) * spread(d)),
        "of one seed the interval is nan, and no comparison with nan is true; ask whether the mean is above half":
            ruled(lambda d: not fmean(d) <= mean_and_interval(d)[1]),
        "all seeds are ahead, but that is no interval": ruled(lambda d: min(d) > 0),
    }  # fmt: skip
    right = [k for _, k in cases]
    for mistake, answers in mistakes.items():
        if given == answers != right:
            raise Wrong(mistake)
    for (differences, k), answer in zip(cases, given):
        if answer != k:
            raise Wrong(f"of {differences} it should be {k!r}, and is {answer!r}")
    return "the first number of images after which it stays ahead."


@checker
def check_two_ways(solution: Callable) -> str:
    """Accuracies among all classes, and among a variant's own: `solution(logits (N, K), labels (N,), own) -> (%, %)`.

    own: the column of each of the variant's classes; labels count within the variant.
    """

    def percent(hits: torch.Tensor) -> torch.Tensor:
        return 100 * hits.double().mean()

    own = [6, 1, 4]
    logits, labels = random_numbers(2, 60, 7) - 1, torch.arange(60) % 3
    columns = torch.tensor(own)
    logits[torch.arange(60), columns[labels]] += 1.5
    best, best_own, right = logits.argmax(dim=1), logits[:, columns].argmax(dim=1), columns[labels]
    masked = torch.zeros_like(logits)
    masked[:, columns] = logits[:, columns]
    among_all, among_own = percent(best == right), percent(best_own == labels)
    inside = torch.isin(best, columns)  # the best of all classes is one of the variant's
    given = parts_of(answer_of(solution, logits.clone(), labels.clone(), list(own)), 2, "two numbers, in percent")
    among = {
        "the second is the first again; let the variant's own classes compete": among_all,
        "the other classes' logits are set to 0, which may be more than the rest; leave them out": percent(
            masked.argmax(dim=1) == right
        ),
        "images whose best class is no class of the variant are left out; they have an answer among its own as well":
            percent((best == right)[inside]),
        "among its own, argmax counts within the variant, as the labels do": percent(best_own == right),
        "the columns are sorted; the labels count in the order of `own`":
            percent(logits[:, sorted(own)].argmax(dim=1) == labels),
        "the first classes are taken, not those of `own`": percent(logits[:, :3].argmax(dim=1) == labels),
    }  # fmt: skip
    mistakes = {
        "the labels count within the variant: among all classes, compare with own[label]":
            (percent(best == labels), among_own),
        "the two numbers are swapped: first among all": (among_own, among_all),
        "these are fractions; give percent": (among_all / 100, among_own / 100),
        "these are numbers of images; give percent": (among_all * 60 / 100, among_own * 60 / 100),
        **{reason: (among_all, wrong) for reason, wrong in among.items()},
    }  # fmt: skip
    if any(isinstance(part, torch.Tensor) and part.numel() > 1 for part in given):
        raise Wrong("two numbers are asked for; take the mean over the images")
    compare(given, (among_all, among_own), mistakes)
    return "fewer rivals, and so never less."


@checker
def check_probe_loss(solution: Callable) -> str:
    """A linear probe's loss: `solution(W (K, E), b (K,), x (N, E), y (N,), C) -> ()`, C times the *sum* of the cross
    entropies of W x + b, and half the squared length of W (logistic regression as scikit-learn has it).
    """
    W, b, x, y = random_numbers(1, 3, 5), random_numbers(2, 3), 2 * random_numbers(3, 8, 5), torch.arange(8) % 3
    C = 0.3
    logits, penalty = x @ W.T + b, W.square().sum() / 2
    fit, N = cross_entropy(logits, y, reduction="sum"), len(y)
    given = answer_of(solution, W.clone().requires_grad_(), b.clone().requires_grad_(), x.clone(), y.clone(), C)
    if not isinstance(given, torch.Tensor) or not given.requires_grad:
        raise Wrong("no gradient can flow back to W: give the loss as a tensor, without .item() or .detach()")
    unit = cross_entropy(normalize(x) @ normalize(W).T + b, y, reduction="sum")
    mistakes = {
        "the cross entropies are averaged; add them up": C * fit / N + penalty,
        "the penalty is missing": C * fit,
        "that is the penalty alone": penalty,
        "C stands before the penalty; it belongs to the cross entropies": fit + C * penalty,
        "the penalty is divided by C; the cross entropies are multiplied by it": fit + penalty / C,
        "C is missing": fit + penalty,
        "the penalty is half of the squared length, and here it is all of it": C * fit + 2 * penalty,
        "the penalty has the length of W; take its square": C * fit + W.norm() / 2,
        "the penalty is averaged; add up the squares": C * fit + penalty / W.numel(),
        "b is penalised, too; only W is": C * fit + penalty + b.square().sum() / 2,
        "b is missing": C * cross_entropy(x @ W.T, y, reduction="sum") + penalty,
        "features and rows are normalised, as in Eq. 1; a probe takes them as they are": C * unit + penalty,
        "the features are normalised; a probe takes them as they are":
            C * cross_entropy(normalize(x) @ W.T + b, y, reduction="sum") + penalty,
        "the sign of the penalty is wrong: large weights should cost something": C * fit - penalty,
    }  # fmt: skip
    compare(given, C * fit + penalty, mistakes)
    for w in (W, torch.zeros_like(W)):  # training starts at zero
        w, free = w.clone().requires_grad_(), b.clone().requires_grad_()
        right = torch.autograd.grad(
            C * cross_entropy(x @ w.T + free, y, reduction="sum") + w.square().sum() / 2, (w, free)
        )
        found = torch.autograd.grad(answer_of(solution, w, free, x.clone(), y.clone(), C), (w, free), allow_unused=True)
        if any(one is None or not torch.allclose(one, other, atol=1e-4) for one, other in zip(found, right)):
            raise Wrong(
                "the loss is right, but its gradient is not, at W = 0 or elsewhere: no .data, .detach() or norm()"
            )
    return "the same cross entropy as CoOp's; what moves is another thing."


@checker
def check_average(solution: Callable) -> str:
    """The average panel: `solution({task: [percent of each seed]}) -> (mean, half its 95 % interval over seeds)`."""
    food, arrows, places = (
        [50.0, 56.0, 62.0, 51.0, 53.0],
        [30.0, 33.0, 21.0, 25.0, 24.0],
        [70.0, 72.0, 77.0, 76.0, 71.0],
    )
    accuracies = {"food": food, "arrows": arrows, "places": places, "styles": [20.0, 26.0, 24.0, 31.0, 22.0]}
    table = torch.tensor(list(accuracies.values()))  # (tasks, seeds)
    given = answer_of(solution, {task: list(values) for task, values in accuracies.items()})
    given = parts_of(given, 2, "two numbers, the mean and half the interval")
    for part, what in zip(given, ("the first", "the second")):
        if part is None or isinstance(part, tuple | list) or getattr(part, "shape", ()) not in ((), torch.Size([])):
            raise Wrong(f"{what} should be one number, and is {part!r}")
    by_seed = table.mean(dim=0)
    T, n = table.shape
    mean, half = mean_and_interval(by_seed.tolist())
    s, t = float(by_seed.std()), float(stdtrit(n - 1, 0.975))
    halves = {
        "the interval is that over tasks; average over the tasks first, then take the interval over the seeds":
            mean_and_interval(table.mean(dim=1).tolist())[1],
        "the interval is that of all numbers at once; average over the tasks first":
            mean_and_interval(table.flatten().tolist())[1],
        "the interval is the mean of the tasks' own; take that of the average, where tasks partly cancel":
            sum(mean_and_interval(row.tolist())[1] for row in table) / len(table),
        "the squares are divided by n; take n - 1": half * ((n - 1) / n) ** 0.5,
        "n is the number of tasks; it is that of the seeds": float(stdtrit(T - 1, 0.975)) * s / T**0.5,
        "n is the number of all accuracies; it is that of the seeds": t * s / (T * n) ** 0.5,
        "that is the standard deviation of single seeds; times t, and divided by the root of n": s,
        "that is a standard error; the interval reaches t of them to each side": s / n**0.5,
        "divide by the root of n": t * s,
        "s is divided by n; divide by its root": t * s / n,
        "the root of the variance is missing": t * s**2 / n**0.5,
        "two standard errors are a 95 % interval only for many seeds; take t": 2 * s / n**0.5,
        "1.96 standard errors are a 95 % interval only for many seeds; take t": 1.96 * s / n**0.5,
        "that t leaves 5 % on each side; take the quantile 0.975": float(stdtrit(n - 1, 0.95)) * s / n**0.5,
        "t has n - 1 degrees of freedom, not n": float(stdtrit(n, 0.975)) * s / n**0.5,
        "that is the whole interval; return half of it": 2 * half,
        "t is rounded; stdtrit(n - 1, 0.975) gives it": 2.8 * s / n**0.5,
    }  # fmt: skip
    mistakes = {
        "the two are swapped: the mean comes first": (half, mean),
        "these are the two ends of the interval; return the mean and half of the interval": (mean - half, mean + half),
        **{reason: (mean, other) for reason, other in halves.items()},
    }
    compare(given, (mean, half), mistakes, relative=1e-3)
    return "the mean over tasks and seeds, and how much it depends on the draw."


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_report(solution: Callable, given: str) -> None:
    on_val = {"a photo of a {}.": 60.0, "{}": 71.0, "a logo of a {}.": 73.5, "{} icon": 70.0}
    rows = {"{}": 5, "a logo of a {}.": 2, "{} icon": 1, "a photo of a {}.": 4}
    shares = {"{}": 0.8, "a logo of a {}.": 0.66, "{} icon": 0.7, "a photo of a {}.": 0.6}
    hard = torch.rand(250, generator=_generator(0))  # shared by all templates, so that their answers are correlated
    draws = {name: torch.rand(2, 250, generator=_generator(seed)) for name, seed in rows.items()}
    right = {name: torch.where(own[0] < 0.7, hard, own[1]) < shares[name] for name, own in draws.items()}
    answer = answer_of(solution, dict(on_val), {name: hits.clone() for name, hits in right.items()}, given)
    chosen, *numbers = parts_of(answer, 3, "three things, template, points and half of the interval")
    for part in numbers:
        if part is None or isinstance(part, tuple | list):
            raise Wrong(f"points and half of the interval are one number each, and one is {part!r}")
    best = max(on_val, key=lambda name: on_val[name])
    lucky = max(right, key=lambda name: float(right[name].double().mean()))
    if chosen == lucky:
        raise Wrong("it chooses the template that is best on test images; choose on validation, only report on test")
    if chosen == max(on_val):
        raise Wrong("max of a dictionary gives the last name in the alphabet; its key= says what to compare")
    if chosen != best:
        raise Wrong(f"the template that is best on validation is {best!r}, and it chose {chosen!r}")
    wrong = _mistakes_of_pairs(right[best], right[given])
    points, half = _paired(right[best], right[given])
    lead = on_val[best] - on_val[given]
    wrong["the lead on validation flatters the winner; report the difference on test"] = (lead, half)
    compare(numbers, (points, half), wrong, relative=3e-2)


def _paired(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    return mean_and_interval(100 * (first.double() - second.double()))


def _mistakes_of_pairs(first: torch.Tensor, second: torch.Tensor) -> dict[str, tuple[float, float]]:
    """{mistake: its answer} when two classifiers are compared."""
    points, half = _paired(first, second)
    N, one, two = len(first), float(first.double().mean()), float(second.double().mean())
    apart = 200 * ((one * (1 - one) + two * (1 - two)) / N) ** 0.5
    return {
        "the difference has lost its sign: it is negative where the second is ahead": (abs(points), half),
        "the two numbers are swapped: first the difference, then half of its interval": (half, points),
        "the difference is second minus first": (-points, half),
        "these are fractions; give points, of 100": (points / 100, half / 100),
        "the difference is in points, its interval is a fraction": (points, half / 100),
        "that is the interval of two unpaired accuracies; take the difference image by image": (points, apart),
        "that is one standard error; the interval has about two of them on each side": (points, half / 2),
        "that is the whole interval; give half of it": (points, 2 * half),
        "that is the spread of single images; divide it by the root of N": (points, half * N**0.5),
    }
