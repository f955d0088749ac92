"""Checkers of notebooks 02, 06 and 07: paired differences, accuracy over some classes, an average, a verdict."""

from __future__ import annotations

from collections.abc import Callable

import torch

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, parts_of, random_numbers


@checker
def check_paired_difference(solution: Callable) -> str:
    """Two classifiers on the same images: `solution(first (N,), second (N,)) -> (points, standard error in points)`.

    `first` and `second` are True where that classifier is right.  The difference is taken image by image.
    """
    for N, seed in ((300, 1), (80, 2)):
        first, second = _correlated_answers(N, seed)[:: 1 if seed == 1 else -1]  # once the second is ahead
        given = answer_of(solution, first.clone(), second.clone())
        given = parts_of(given, 2, "two numbers, the difference and its standard error")
        compare(given, _paired(first, second), _mistakes_of_pairs(first, second), relative=1e-2)
    return "what is hard about an image is hard for both, and cancels."


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
def check_subset_accuracy(solution: Callable) -> str:
    """Scoring a variant that has only some classes: `solution(logits (B, K), labels (B,), classes) -> percent`.

    `classes` lists the variant's classes as columns of `logits`; `labels` count within that list (label 0 is
    classes[0]). An image is right if the largest logit *among those classes* is its own, as the paper scores
    ImageNet-A and -R.
    """
    logits, classes = random_numbers(4, 40, 9), [7, 2, 5, 3]
    labels = torch.tensor([0] * 19 + [1] * 11 + [2] * 7 + [3] * 3)[torch.arange(40) * 7 % 40]  # not equally many
    for row in range(24):  # most images are right within the subset, some of them only there
        logits[row, classes[int(labels[row])]] = 5.0
        if row % 3 == 0:
            logits[row, 0] = 6.0
    columns = torch.tensor(classes)
    over_all, in_order = logits.argmax(-1), logits[:, sorted(classes)].argmax(-1)
    chosen = logits[:, columns].argmax(-1)
    right = _percent(chosen == labels)
    mistakes = {
        "the largest of all K logits is taken; keep only the variant's columns, logits[:, classes]":
            _percent(over_all == columns[labels]),
        "the labels count within `classes`, and are compared with columns of all K": _percent(over_all == labels),
        "a column of all K is compared with a label of the subset": _percent(columns[chosen] == labels),
        "the columns are taken in sorted order; keep the order of `classes`": _percent(in_order == labels),
        "that is the mean over the classes; every image counts alike":
            100 * torch.stack([(chosen == labels)[labels == y].float().mean() for y in range(4)]).mean(),
        "that is a fraction; give percent": right / 100,
        "that is the share of wrong answers": 100 - right,
        "that is the number of right answers; give percent": right * len(labels) / 100,
        "the smallest logit is taken for the answer": _percent(logits[:, columns].argmin(-1) == labels),
    }  # fmt: skip
    compare(float(answer_of(solution, logits, labels, classes)), right, mistakes)
    return "only the variant's own classes compete."


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


def _correlated_answers(N: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where two classifiers are right, (N,) each: on most images both or neither."""
    draw = torch.rand(3, N, generator=_generator(seed))
    return draw[0] < 0.75, torch.where(draw[1] < 0.8, draw[0] < 0.75, draw[2] < 0.5)


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


def _percent(hits: torch.Tensor) -> float:
    return 100 * float(hits.float().mean())
