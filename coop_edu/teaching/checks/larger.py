"""Checkers of the longer exercises of notebooks 08 and 10: a gradient in groups of classes, a search for words."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch

from coop_edu.teaching.memory import bytes_kept
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, random_numbers


@checker
def check_gradient_in_groups(solution: Callable) -> str:
    """The gradient with the memory of one group: `solution(encode, ctx (M, D), loss_of, groups) -> (M, D)`.

    encode(ctx, group): the text features of a group of classes, (k, E); loss_of(features (K, E)): the loss of all.
    Compared with the gradient of the whole, and with the memory of one group, counted by autograd.
    """
    start, others = random_numbers(1, 3, 4), random_numbers(2, 7, 4)
    groups, target, wide = [object(), object(), object()], random_numbers(3, 7, 4), random_numbers(4, 4, 200)
    rows = dict(zip(groups, ([0, 1, 2], [3, 4], [5, 6])))

    def encode(ctx: torch.Tensor, group: object) -> torch.Tensor:
        hidden = ((others[rows[group]] * ctx.sum(dim=0) + ctx[0]) @ wide).tanh()  # most of what autograd keeps
        return (hidden @ wide.T / 200).tanh()

    def loss_of(features: torch.Tensor) -> torch.Tensor:
        return (features @ target.T).logsumexp(dim=0).sum() - (features * target).sum()  # the classes compete

    def gradient(through: list[object]) -> torch.Tensor:
        """The part of the gradient that comes through some of the groups."""
        ctx = start.clone().requires_grad_()
        parts = [encode(ctx if group in through else start, group) for group in groups]
        return torch.autograd.grad(loss_of(torch.cat(parts)), ctx)[0]

    right = gradient(groups)
    ctx = start.clone().requires_grad_()
    mistakes = {
        "that is the gradient of the last group alone; add up those of all groups": gradient(groups[-1:]),
        "that is the gradient of the first group alone; add up those of all groups": gradient(groups[:1]),
        "the gradients of the groups are averaged; add them up": right / len(groups),
    }
    compare(answer_of(solution, encode, ctx, loss_of, list(groups)), right, mistakes)
    again: list[torch.Tensor] = []
    of_one = bytes_kept(lambda: encode(start.clone().requires_grad_(), groups[0]), [wide]).most
    try:
        kept = bytes_kept(lambda: again.append(answer_of(solution, encode, ctx, loss_of, list(groups))), [wide]).most
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        raise Wrong("the gradient is right, but torch.func hides what it keeps, and the next cells count that: take "
                    "torch.autograd.grad") from None  # fmt: skip
    else:
        compare(again[0], right, {"called twice, it adds the first gradient: clear ctx.grad, or use grad()": 2 * right})
    if kept > 1.5 * of_one:
        raise Wrong("the gradient is right, but the graphs of several groups are there at once: encode them without a "
                    "graph first, and again, one by one, with it")  # fmt: skip
    return "the whole gradient, with the memory of one group."


@checker
def check_search(solution: Callable) -> str:
    """Greedy search for words: `solution(vocabulary, loss, length) -> words`; loss(list of words) -> number.

    One place after the other, from the first: the word that, behind those chosen before, has the lowest loss.
    """
    for seed, vocabulary, length in ((1698, ["one", "two", "three"], 3), (3, ["red", "blue", "green", "grey"], 2)):
        losses = 5 + random_numbers(seed, *[len(vocabulary) + 1] * length)  # above 0, as a cross entropy
        loss = partial(_loss, vocabulary, losses)
        searched = partial(_searched, vocabulary, loss, length)
        right = searched()
        given = answer_of(solution, list(vocabulary), loss, length)
        if isinstance(given, str) or not isinstance(given, (list, tuple)):
            raise Wrong(f"a list of words was expected, and it returned {given!r}")
        if None in given:
            raise Wrong("at one place no word was chosen; let the lowest loss start at infinity, anew at each place")
        if len(given) != length:
            raise Wrong(f"{length} words were asked for, and it returned {len(given)}: {list(given)}")
        every = itertools.product(vocabulary, repeat=length)
        mistakes = {
            "those are the words with the highest loss; take the lowest": searched(worst=True),
            "each word is tried alone; try it behind those that were chosen before": searched(alone=True),
            "those are the best words alone; try each behind those that were chosen before":
                searched(alone=True, repeat=False),
            "a word may be taken twice": searched(repeat=False),
            "the lowest loss of one place is compared with those of the next; start anew at each place":
                searched(carry=True),
            "a new word stands before the others; put it behind them": searched(front=True),
            "each word is tried behind the last alone; try it behind all that were chosen before":
                searched(last=True),
            "that is the best of all combinations, far too many with a real vocabulary; choose one after the other":
                list(min(every, key=lambda words: loss(list(words)))),
        }  # fmt: skip
        for mistake, words in mistakes.items():
            if list(given) == words != right:
                raise Wrong(mistake)
        if list(given) != right:
            raise Wrong(f"of {vocabulary}, {right} should be found, and it found {list(given)}")
    return "a prompt of words, from the same images as CoOp's."


def _loss(vocabulary: list[str], losses: torch.Tensor, words: list[str]) -> float:
    if isinstance(words, str):
        raise TypeError(f"loss takes a list of words, and got the text {words!r}")
    if len(words) > losses.dim():
        raise Wrong(f"loss was asked about {len(words)} words; there should be at most {losses.dim()}")
    if None in words:
        raise Wrong("at one place no word was chosen; let the lowest loss start at infinity, anew at each place")
    if unknown := [word for word in words if word not in vocabulary]:
        raise Wrong(f"loss was asked about {unknown[0]!r}, which is not in the vocabulary")
    places = [1 + vocabulary.index(word) for word in words]
    return float(losses[tuple(places + [0] * (losses.dim() - len(places)))])


def _searched(
    vocabulary: list[str],
    loss: Callable,
    length: int,
    *,
    worst: bool = False,
    repeat: bool = True,
    alone: bool = False,
    front: bool = False,
    carry: bool = False,
    last: bool = False,
) -> list[str]:
    """The greedy search; each option makes one of the usual mistakes."""
    found: list[str] = []
    lowest = float("inf"), ""
    for _ in range(length):
        tries = [word for word in vocabulary if repeat or word not in found]
        before = [] if alone else found[-1:] if last else found
        behind = [[word, *before] if front else [*before, word] for word in tries]
        new = (max if worst else min)(zip(map(loss, behind), tries))
        lowest = min(lowest, new) if carry else new
        best = lowest[1]
        found = [best, *found] if front else [*found, best]
    return found
