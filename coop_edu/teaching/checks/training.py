"""Checkers of notebook 04: the sampler and the learning rate."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import torch

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare


@checker
def check_sampler(solution: Callable) -> str:
    """The k-shot sampler: `solution(labels: list[int], k, seed) -> list[int]`, positions in `labels`, k of each class.

    A class with fewer than k images gives all of them. The order is free.
    """
    labels = [label for label in (2, 0, 1) for _ in range(12)] + [3, 3]
    state = random.getstate(), torch.get_rng_state()
    drawn = answer_of(solution, list(labels), 4, 1)
    if isinstance(drawn, dict | set):
        raise Wrong(f"one list of positions was expected, for all classes, and it returned a {type(drawn).__name__}")
    if isinstance(drawn, list | tuple) and any(isinstance(part, list | tuple) for part in drawn):
        raise Wrong("each class has a list of its own; put all positions into one list (extend, not append)")
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
    if len(set(drawn)) < len(drawn) and max(drawn) < 12:
        raise Wrong("these are places within each class; return the positions in `labels`")
    if len(set(drawn)) < len(drawn):
        raise Wrong("an image is drawn twice; draw without replacement (random.sample, not random.choices)")
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
    within = [[sorted(n % 12 for n in draw if labels[n] == label) for label in (0, 1, 2)] for draw in again]
    if all(first == second == third for first, second, third in within):
        raise Wrong("every class gives the images at the same places: make one generator for all classes")
    if all(places[-1] - places[0] == 3 for draw in within for places in draw):
        raise Wrong("it takes neighbours, a block of each class; draw each image independently, with generator.sample")
    if random.getstate() != state[0] or not torch.equal(torch.get_rng_state(), state[1]):
        raise Wrong("it draws from, or seeds, the global generator, which other code uses too; use random.Random(seed)")
    return "k of each class, none twice, and the same seed gives the same images."


@checker
def check_learning_rate(solution: Callable) -> str:
    """The schedule of the paper's Section 4.1: `solution(epoch, epochs) -> learning rate`, epochs counted from 0.

    1e-5 in epoch 0, then a cosine that starts at 0.002 in epoch 1: 0.002 (1 + cos(pi (epoch - 1) / epochs)) / 2.
    """
    for total in (50, 200):
        _compare_schedules(solution, total)
    return "one epoch of warm-up, then the cosine."


def _compare_schedules(solution: Callable, total: int) -> None:
    def cosine(epoch: float, length: int = total) -> float:
        return 0.002 * (1 + math.cos(math.pi * epoch / length)) / 2

    def schedule(first: float, after: Callable[[int], float]) -> torch.Tensor:
        return torch.tensor([first, *(after(epoch) for epoch in range(1, total))], dtype=torch.float64)

    given = [float(answer_of(solution, epoch, total)) for epoch in range(total)]
    mistakes = {
        "the warm-up is missing: epoch 0 learns at 1e-5": schedule(0.002, cosine),
        "epoch 0 starts at 0.002; the warm-up is missing there": schedule(0.002, lambda e: cosine(e - 1)),
        "the warm-up is missing: epoch 0 learns at 1e-5 (and not before the cosine's start)":
            schedule(cosine(-1), lambda e: cosine(e - 1)),
        "the cosine starts one epoch too early; it is 0.002 in epoch 1": schedule(1e-5, cosine),
        "the cosine is stretched to reach 0; the authors' divides by all epochs and never does":
            schedule(1e-5, lambda e: cosine(e - 1, total - 1)),
        "the learning rate stays at 0.002; the cosine is missing": schedule(1e-5, lambda e: 0.002),
        "the cosine is not halved and shifted, so it becomes negative; use (1 + cos) / 2":
            schedule(1e-5, lambda e: 0.002 * math.cos(math.pi * (e - 1) / total)),
        "the factor 1/2 is missing: epoch 1 should learn at 0.002": schedule(1e-5, lambda e: 2 * cosine(e - 1)),
        "pi is missing: the cosine should run over half a wave, from 0 to pi":
            schedule(1e-5, lambda e: 0.001 * (1 + math.cos((e - 1) / total))),
        "the 0.002 is missing: the cosine alone falls from 1 to 0":
            schedule(1e-5, lambda e: (1 + math.cos(math.pi * (e - 1) / total)) / 2),
        "it falls along a line, not along a cosine": schedule(1e-5, lambda e: 0.002 * (1 - (e - 1) / total)),
        "the cosine rises; it must fall": schedule(1e-5, lambda e: 0.002 - cosine(e - 1)),
        "right for 50 epochs only: is a number typed in?": schedule(1e-5, lambda e: cosine(e - 1, 50)),
    }  # fmt: skip
    compare(given, schedule(1e-5, lambda e: cosine(e - 1)), mistakes, relative=1e-6)
