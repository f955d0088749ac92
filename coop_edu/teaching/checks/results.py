"""Checkers of notebooks 06 and 07: accuracy over some classes, and an average with its spread.

Leaves out: how a verdict comes about (teaching/verdicts.py), and the solutions, which stand in the notebooks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, random_numbers


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
    right = 100 * float((logits[:, columns].argmax(-1) == labels).float().mean())
    over_all = logits.argmax(-1)
    in_order = logits[:, sorted(classes)].argmax(-1)
    chosen = logits[:, columns].argmax(-1)
    given = float(answer_of(solution, logits, labels, classes))
    compare(
        torch.tensor([given]),
        torch.tensor([right]),
        {
            "the largest of all K logits is taken; keep only the variant's columns, logits[:, classes]":
                _percent(over_all == columns[labels]),
            "the labels count within `classes`, and are compared with columns of all K":
                _percent(over_all == labels),
            "a column of all K is compared with a label of the subset": _percent(
                columns[logits[:, columns].argmax(-1)] == labels),
            "the columns are taken in sorted order; keep the order of `classes`": _percent(in_order == labels),
            "that is the mean over the classes; every image counts alike":
                100 * torch.stack([(chosen == labels)[labels == y].float().mean() for y in range(4)]).mean().reshape(1),
            "that is a fraction; give per cent": torch.tensor([right / 100]),
            "that is the share of wrong answers": torch.tensor([100 - right]),
            "that is the number of right answers; give per cent": torch.tensor([right * len(labels) / 100]),
            "the smallest logit is taken for the answer": _percent(logits[:, columns].argmin(-1) == labels),
        },
    )  # fmt: skip
    return "only the variant's own classes compete."


@checker
def check_average(solution: Callable) -> str:
    """The average panel: `solution({task: [percent of each seed]}) -> (mean, standard deviation over seeds)`."""
    accuracies = {"food": [50.0, 56.0, 62.0], "arrows": [30.0, 33.0, 21.0], "places": [70.0, 72.0, 77.0]}
    table = torch.tensor(list(accuracies.values()))  # (tasks, seeds)
    given = answer_of(solution, {task: list(values) for task, values in accuracies.items()})
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong(f"two numbers were expected, the mean and the standard deviation, and it returned {given!r}")
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
    right = torch.stack([mean, by_seed.std(correction=0)])
    compare(list(given), right, {reason: torch.stack([mean, spread]) for reason, spread in spreads.items()})
    return "the mean over tasks and seeds, and how much it depends on the draw."


def _percent(hits: torch.Tensor) -> torch.Tensor:
    return torch.tensor([100 * float(hits.float().mean())])
