"""Checkers of notebooks 02, 06 and 07: an honest report, classes that compete, a probe, averages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.special import stdtrit

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
    """From how many images on a method is ahead: `solution({shots: (mean, half)}) -> shots or "never"`.

    Ahead: the interval, from mean - half to mean + half, is above zero, for this number of shots and every larger one.
    """
    high, low, wide, none = (5.0, 2.0), (-5.0, 2.0), (4.0, 10.0), (0.5, 2.0)
    just, nearly, touching = (3.0, 2.5), (2.0, 2.5), (2.0, 2.0)
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
        ({1: touching, 2: high, 4: high}, 2),
    )
    given = [answer_of(solution, dict(leads)) for leads, _ in cases]

    def ruled(clear: Callable[[float, float], bool], first: bool = False) -> list[int | str]:
        """The answers by another rule."""
        answers: list[int | str] = []
        for leads, _ in cases:
            good = [k for k in sorted(leads) if clear(*leads[k])]
            bad = [k for k in leads if k not in good]
            answers.append(min((k for k in good if first or k > max(bad, default=0)), default="never"))
        return answers

    mistakes = {
        "that is the first number of images at which it is ahead; it must stay ahead with more":
            ruled(lambda mean, half: mean > half, first=True),
        "the mean is above zero, but its interval may reach zero; compare the mean with half the interval":
            ruled(lambda mean, half: mean > 0),
        "that is clearly different from zero; behind is not ahead": ruled(lambda mean, half: abs(mean) > half),
        "the whole interval is wider than needed: compare the mean with half of it":
            ruled(lambda mean, half: mean > 2 * half),
        "you are given half of the interval already; do not halve it again": ruled(lambda mean, half: mean > half / 2),
        "an interval that just reaches zero does not lie above it": ruled(lambda mean, half: mean >= half),
    }  # fmt: skip
    right = [k for _, k in cases]
    for mistake, answers in mistakes.items():
        if given == answers != right:
            raise Wrong(mistake)
    for (leads, k), answer in zip(cases, given):
        if answer != k:
            raise Wrong(f"of {leads} it should be {k!r}, and is {answer!r}")
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
