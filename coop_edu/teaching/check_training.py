"""Exercise checkers on training and measuring: the sample, the schedule, the steps, accuracies and their average.

Leaves out: how a verdict comes about (verdicts.py), prompts and probabilities (check_prompts.py).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import torch

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, random_numbers


@checker
def check_sampler(solution: Callable) -> str:
    """The k-shot sampler: `solution(labels: list[int], k, seed) -> list[int]`, positions in `labels`, k of each class.

    A class with fewer than k images gives all of them. The order is free.
    """
    labels = [label for label in (2, 0, 1) for _ in range(12)] + [3, 3]
    state = random.getstate(), torch.get_rng_state()
    drawn = answer_of(solution, list(labels), 4, 1)
    try:
        drawn = [int(i) for i in drawn]
    except (TypeError, ValueError):
        raise Wrong(f"a list of positions was expected, and it returned {type(drawn).__name__}") from None
    if len(drawn) == 4:
        raise Wrong("it draws 4 images in all; k shots means k images of every class")
    if len(drawn) == 14 and set(drawn) <= {0, 1, 2, 3}:
        raise Wrong("these are labels; return the positions of the images in the list")
    if any(not 0 <= i < len(labels) for i in drawn):
        raise Wrong(f"positions must lie between 0 and {len(labels) - 1}, and it returned {drawn}")
    if len(set(drawn)) < len(drawn):
        raise Wrong("an image is drawn twice; draw without putting back (random.sample, not random.choices)")
    count = Counter(labels[i] for i in drawn)
    if count[3] != 2:
        raise Wrong(f"class 3 has only 2 images, and both should be taken; it took {count[3]}")
    if any(count[label] != 4 for label in (0, 1, 2)):
        raise Wrong(f"each class should give 4 images, and they give {dict(sorted(count.items()))}")
    again = [[int(i) for i in solution(list(labels), 4, seed)] for seed in (1, 2, 3, 4)]
    if all(set(other) == set(drawn) for other in again):
        first = {i for label in range(4) for i in [n for n, y in enumerate(labels) if y == label][:4]}
        if set(drawn) == first:
            raise Wrong("it takes the first k of each class; the draw must be random, and depend on the seed")
        raise Wrong("every seed gives the same images: the seed is not used")
    if again[0] != drawn:
        raise Wrong("the same seed gives other images the second time: make a generator, random.Random(seed)")
    if random.getstate() != state[0] or not torch.equal(torch.get_rng_state(), state[1]):
        raise Wrong("it draws from, or seeds, the global generator, and so disturbs everyone; use random.Random(seed)")
    return "k of each class, none twice, and the same seed gives the same images."


@checker
def check_learning_rate(solution: Callable) -> str:
    """The schedule of the paper's Section 4.1: `solution(epoch, epochs) -> learning rate`, epochs counted from 0.

    1e-5 in epoch 0, then a cosine that starts at 0.002 in epoch 1: 0.002 (1 + cos(pi (epoch - 1) / epochs)) / 2.
    """
    total = 50

    def cosine(epoch: float, length: int = total) -> float:
        return 0.002 * (1 + math.cos(math.pi * epoch / length)) / 2

    def schedule(first: float, after: Callable[[int], float]) -> torch.Tensor:
        return torch.tensor([first, *(after(epoch) for epoch in range(1, total))], dtype=torch.float64)

    given = [answer_of(solution, epoch, total) for epoch in range(total)]
    compare(
        torch.tensor([float(value) for value in given], dtype=torch.float64),
        schedule(1e-5, lambda e: cosine(e - 1)),
        {
            "the warm-up is missing: epoch 0 learns at 1e-5": schedule(0.002, cosine),
            "epoch 0 starts at 0.002; the warm-up is missing there": schedule(0.002, lambda e: cosine(e - 1)),
            "the cosine starts one epoch too early; it is 0.002 in epoch 1": schedule(1e-5, cosine),
            "the cosine is stretched to reach 0; the authors' divides by all epochs and never does":
                schedule(1e-5, lambda e: cosine(e - 1, total - 1)),
            "the learning rate stays at 0.002; the cosine is missing": schedule(1e-5, lambda e: 0.002),
            "the cosine is not halved and shifted, so it becomes negative; use (1 + cos) / 2":
                schedule(1e-5, lambda e: 0.002 * math.cos(math.pi * (e - 1) / total)),
            "the factor 1/2 is missing: epoch 1 should learn at 0.002": schedule(1e-5, lambda e: 2 * cosine(e - 1)),
            "it falls along a line, not along a cosine": schedule(1e-5, lambda e: 0.002 * (1 - (e - 1) / total)),
            "the cosine rises; it must fall": schedule(1e-5, lambda e: 0.002 - cosine(e - 1)),
        },
        relative=1e-6,
    )  # fmt: skip
    return "one epoch of warm-up, then the cosine."


@checker
def check_training_steps(solution: Callable) -> str:
    """Steps of a training: `solution(n_classes, shots, epochs, batch_size) -> int` (the authors' drop_last rule)."""
    classes, shots, epochs, batch = case = 37, 15, 200, 32  # 555 images: 17 full batches and a part
    given = answer_of(solution, *case)
    mistakes = {
        epochs * -(-classes * shots // batch): "the last batch is not full, and is left out; round down",
        epochs * classes * shots / batch: "a part of a step is counted; full batches only, so use //",
        epochs * classes * shots: "that counts images; a step takes a whole batch of them",
        classes * shots // batch: "that is one epoch; the training has `epochs` of them",
        epochs * (classes // batch): "each class has `shots` images, not one",
        epochs * classes * shots // batch: "the remainder is dropped in every epoch, not once in the end",
    }
    right = epochs * (classes * shots // batch)
    if given != right:
        raise Wrong(mistakes.get(given, f"for {case} it should be {right:,}, and is {given!r}"))
    if (given := answer_of(solution, 10, 1, 50, 32)) != 50:
        none = "10 images do not fill a batch of 32, and are trained on all the same: one step an epoch"
        raise Wrong(none if given == 0 else f"for 10 classes, 1 shot and 50 epochs it should be 50, and is {given!r}")
    if (given := answer_of(solution, 100, 8, 200, 16)) != 10_000:
        raise Wrong(
            f"for 100 classes, 8 shots, 200 epochs and batches of 16 it is not {given!r}: is the size typed in?"
        )
    return (
        f"{right:,} steps for {classes} classes and {shots} shots, and one an epoch where there is less than a batch."
    )


@checker
def check_subset_accuracy(solution: Callable) -> str:
    """Scoring a variant that has only some classes: `solution(logits (B, K), labels (B,), classes) -> percent`.

    `classes` lists the variant's classes as columns of `logits`; `labels` count within that list (label 0 is
    classes[0]). An image is right if the largest logit *among those classes* is its own, as the paper scores
    ImageNet-A and -R.
    """
    logits, classes = random_numbers(4, 40, 9), [7, 2, 5, 3]
    labels = torch.arange(40) % 4
    for row in range(24):  # most images are right within the subset, some of them only there
        logits[row, classes[int(labels[row])]] = 5.0
        if row % 3 == 0:
            logits[row, 0] = 6.0
    columns = torch.tensor(classes)
    right = 100 * float((logits[:, columns].argmax(-1) == labels).float().mean())
    over_all = logits.argmax(-1)
    in_order = logits[:, sorted(classes)].argmax(-1)
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
