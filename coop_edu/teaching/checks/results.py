"""Checkers of notebooks 02, 06 and 07: an honest report, what a shift leaves, averages, a verdict."""

from __future__ import annotations

from collections.abc import Callable

import torch

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, parts_of


@checker
def check_honest_report(solution: Callable) -> str:
    """Choose on validation, report on test: `solution(on_val, right_on_test, given) -> (chosen, points, error)`.

    `on_val`: template -> validation accuracy; `right_on_test`: template -> (N,), True where it is right on a test
    image; `given`: the template to compare with.  `points` is chosen minus given on test, `error` its standard error.
    """
    given = "a photo of a {}."
    on_val = {given: 60.0, "{}": 71.0, "a logo of a {}.": 73.5, "{} icon": 70.0}
    rows = {"{}": 5, "a logo of a {}.": 2, "{} icon": 1, given: 4}
    shares = {"{}": 0.8, "a logo of a {}.": 0.66, "{} icon": 0.7, given: 0.6}
    hard = torch.rand(250, generator=_generator(0))  # shared by all templates, so that their answers are correlated
    draws = {name: torch.rand(2, 250, generator=_generator(seed)) for name, seed in rows.items()}
    right = {name: torch.where(own[0] < 0.7, hard, own[1]) < shares[name] for name, own in draws.items()}
    answer = answer_of(solution, dict(on_val), {name: hits.clone() for name, hits in right.items()}, given)
    chosen, *numbers = parts_of(answer, 3, "three things, template, points and error")
    best = max(on_val, key=lambda name: on_val[name])
    lucky = max(right, key=lambda name: float(right[name].double().mean()))
    if chosen == lucky:
        raise Wrong("it chooses the template that is best on test images; choose on validation, only report on test")
    if chosen == max(on_val):
        raise Wrong("max of a dictionary gives the last name in the alphabet; its key= says what to compare")
    if chosen != best:
        raise Wrong(f"the template that is best on validation is {best!r}, and it chose {chosen!r}")
    wrong = _mistakes_of_pairs(right[best], right[given])
    points, error = _paired(right[best], right[given])
    lead = on_val[best] - on_val[given]
    wrong["the lead on validation flatters the winner; report the difference on test"] = (lead, error)
    compare(numbers, (points, error), wrong, relative=1e-2)
    return "chosen on one part, reported on another, with its error."


@checker
def check_other_averages(solution: Callable) -> str:
    """`solution(gains, images) -> (mean weighted by images, mean without the two largest gains)`, both by task."""
    gains = {"a": 12.0, "b": -1.5, "c": 4.0, "d": 30.0, "e": 2.0}
    images = {"a": 100, "b": 400, "c": 250, "d": 50, "e": 200}
    given = parts_of(answer_of(solution, dict(gains), dict(images)), 2, "two numbers, two averages")
    ordered = sorted(gains.values())
    by_size = [gains[task] for task in sorted(images, key=lambda task: images[task])]
    total = sum(gains[task] * images[task] for task in gains)
    weighted, rest = total / sum(images.values()), sum(ordered[:-2]) / 3
    mistakes = {
        "the first is not weighted by the test images": (sum(ordered) / 5, rest),
        "the weighted sum is divided by the number of tasks; divide by that of all images": (total / 5, rest),
        "without the two largest there are three tasks; divide by their number": (weighted, sum(ordered[:-2]) / 5),
        "the two smallest gains are left out, not the two largest": (weighted, sum(ordered[2:]) / 3),
        "only one task is left out": (weighted, sum(ordered[:-1]) / 4),
        "the two tasks with most images are left out; it should be the largest gains": (
            weighted,
            sum(by_size[:-2]) / 3,
        ),
        "the two averages are swapped": (rest, weighted),
    }
    compare(given, (weighted, rest), mistakes)
    return "and now you can see what the headline hangs on."


@checker
def check_verdict(solution: Callable) -> str:
    """The rule of notebook 07: `solution(differences, paper) -> verdict`.

    `differences`: points, one per seed; `paper`: the paper's difference.  "agrees" if the mean has the paper's sign and
    0 is outside the 95 % interval around it, "disagrees" if it has the other sign and 0 is outside, else "too close to
    call".  The interval reaches t standard errors to each side, t = scipy.stats.t.ppf(0.975, n - 1).
    """
    cases = (
        ([3.0, 4.0, 5.0], 2.0, "agrees", "three seeds, all well above 0, and the paper is above"),
        ([-3.0, -4.0, -5.0], 2.0, "disagrees", "the sign is the other one"),
        ([-3.0, -4.0, -5.0], -0.5, "agrees", "both are below 0: the sign counts, not whether it is above"),
        ([3.0, -4.0, 5.0], 2.0, "too close to call", "the seeds differ by more than their mean"),
        ([2.9, 1.2, 0.7], 2.0, "too close to call", "the mean is 1.60, 2 SE are 1.33, but t is 4.3 and t SE are 2.87"),
        ([-0.13, 0.87, 1.87, 2.87, 3.87], 2.0, "too close to call", "t SE is 1.96, with n - 1, and the mean is 1.87"),
        ([1.3, 2.2, 0.9, 0.8, 1.1], 9.0, "agrees", "t SE is 0.69, the mean 1.26, though far from the paper's 9"),
    )
    for differences, paper, right, why in cases:
        given = answer_of(solution, list(differences), paper)
        if given != right:
            raise Wrong(f"{differences} against {paper:+} in the paper is {right!r}, and it says {given!r}: {why}")
    return "one rule for all statements, fixed before the numbers were known."


@checker
def check_kept_above_chance(solution: Callable) -> str:
    """What is kept above chance, in percent: `solution(there, source, classes_there, classes_source)`.

    `there` and `source` are accuracies in percent, on a variant and on the source, among so many classes each.
    """
    for there, source, few, many in ((24.0, 78.0, 29, 77), (50.0, 80.0, 4, 10)):
        chance, of_source = 100 / few, 100 / many
        right = 100 * (there - chance) / (source - of_source)
        mistakes = {
            "chance is not subtracted: 1 / K of all answers are right by guessing": 100 * there / source,
            "chance is the source's on both; with fewer classes it is higher":
                100 * (there - of_source) / (source - of_source),
            "chance is the variant's on both; the source has more classes": 100 * (there - chance) / (source - chance),
            "the two numbers of classes are swapped": 100 * (there - of_source) / (source - chance),
            "the accuracies are percent and chance is a fraction; it is 100 / K":
                100 * (there - 1 / few) / (source - 1 / many),
            "that is a fraction; give percent": right / 100,
            "the fraction is upside down: what is left, divided by what was there": 1e4 / right,
            "that is the accuracy without chance; divide it by the same of the source": there - chance,
        }  # fmt: skip
        compare(float(answer_of(solution, there, source, few, many)), right, mistakes)
    return "nothing kept is guessing, everything kept is 100."


@checker
def check_average(solution: Callable) -> str:
    """The average panel: `solution({task: [percent of each seed]}) -> (mean, standard deviation over seeds)`."""
    accuracies = {"food": [50.0, 56.0, 62.0], "arrows": [30.0, 33.0, 21.0], "places": [70.0, 72.0, 77.0]}
    table = torch.tensor(list(accuracies.values()))  # (tasks, seeds)
    given = answer_of(solution, {task: list(values) for task, values in accuracies.items()})
    given = parts_of(given, 2, "two numbers, the mean and the standard deviation")
    mean, by_seed, by_task = table.mean(), table.mean(dim=0), table.mean(dim=1)
    spreads = {
        "the spread is that of the tasks; average over the tasks first, then take the spread over the seeds":
            by_task.std(correction=0),
        "the spread is that of all numbers at once; average over the tasks first": table.std(correction=0),
        "the spread is the mean of the tasks' own; take that of the average, where tasks partly cancel":
            table.std(dim=1, correction=0).mean(),
        "the spread is divided by n - 1; the field's tables divide by n": by_seed.std(),
        "the spread is the variance; take its square root": by_seed.var(correction=0),
    }  # fmt: skip
    compare(given, (mean, by_seed.std(correction=0)), {reason: (mean, spread) for reason, spread in spreads.items()})
    return "the mean over tasks and seeds, and how much it depends on the draw."


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _paired(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    d = first.double() - second.double()
    return 100 * float(d.mean()), 100 * float(d.std()) / len(d) ** 0.5


def _mistakes_of_pairs(first: torch.Tensor, second: torch.Tensor) -> dict[str, tuple[float, float]]:
    """{mistake: its answer} when two classifiers are compared."""
    points, error = _paired(first, second)
    N, one, two = len(first), float(first.double().mean()), float(second.double().mean())
    apart = 100 * ((one * (1 - one) + two * (1 - two)) / N) ** 0.5
    return {
        "the difference has lost its sign: it is negative where the second is ahead": (abs(points), error),
        "the two numbers are swapped: first the difference, then its error": (error, points),
        "the difference is second minus first": (-points, error),
        "these are fractions; give points, of 100": (points / 100, error / 100),
        "the difference is in points, its error is a fraction": (points, error / 100),
        "that is the error of two unpaired accuracies; take the difference image by image": (points, apart),
        "that is the spread of single images; divide it by the root of N": (points, error * N**0.5),
        "the spread is divided by N; divide it by the root of N": (points, error / N**0.5),
        "that is the variance of the mean; take its square root": (points, error**2 / 100),
    }
