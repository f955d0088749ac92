"""Checkers of notebooks 07 and 08, for large experiments: a grid that survives a crash, a gradient in groups."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from coop_edu.teaching.memory import bytes_kept
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, random_numbers

# One name is the beginning of another, and one result is 0.
RESULTS = {"IconFood": 400 / 7, "Icon": 0.0, "IconFoods": 3.25, "Arrows": 1e-3 / 3}


class PowerCut(Exception):
    """Raised by the computation of a cell, so that a grid stops there."""


@checker
def check_run_all(solution: Callable) -> str:
    """A grid that goes on where it stopped: `solution(cells, compute, path) -> {cell: result}`.

    cells: a list of names; compute(cell): a number; path: of a text file, which may not exist yet.  Each result is in
    the file before the next is computed, what is there is not computed again, and a last line without its line break
    was cut off by a crash and does not count.  How a line looks is up to the solution.
    """
    cells, computed, late = list(RESULTS), list[str](), list[str]()
    stops: set[str] = set()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first.txt"

        def compute(cell: str) -> float:
            if cell in stops:
                raise PowerCut
            there = path.read_text().count("\n") if path.exists() else 0
            late.extend([cell] if there < len(computed) else [])
            computed.append(cell)
            return RESULTS[cell]

        _expect(answer_of(solution, list(cells), compute, path), cells)
        if late:
            raise Wrong(f"when “{late[0]}” is computed, the results before it are not in the file, each on a line with "
                        "a line break: write each at once, and close the file or flush it")  # fmt: skip
        path = Path(folder) / "results.txt"
        computed.clear()
        stops.add(cells[2])
        try:
            solution(list(cells), compute, path)
            raise Wrong("an error in the third cell was swallowed; let it through, so that one sees that it failed")
        except PowerCut:
            stops.clear()
        _expect(answer_of(solution, list(cells), compute, path), cells)
        if computed.count(cells[0]) > 1 or computed.count(cells[1]) > 1:
            raise Wrong("after a crash, what was in the file is computed again")
        if computed != cells:
            raise Wrong(
                f"after a crash in the third cell it should compute {cells[2:]}, and it computed {computed[2:]}"
            )
        whole = path.read_text()
        if len(whole.splitlines()) != len(cells):
            raise Wrong(
                f"{len(cells)} results should be {len(cells)} lines and nothing else, and the file is {whole!r}"
            )
        for asked in (cells, cells[:1], cells[::-1], cells[1:]):
            _expect(answer_of(solution, list(asked), compute, path), asked)
            if len(computed) > len(cells) or path.read_text() != whole:
                raise Wrong(f"all results are there; asked for {asked}, it still computes or changes the file")

        beginning = whole.rstrip("\n").rsplit("\n", 1)[0] + "\n"
        last = whole[len(beginning) :]
        for cut in (last[: len(last) // 2], last[:-1]):  # in the middle, and just before the line break
            path.write_text(beginning + cut)
            computed[:] = cells[:-1]
            try:
                found = answer_of(solution, list(cells), compute, path)
            except ValueError as error:  # of json, of float, of unpacking
                raise Wrong(f"a last line that is cut off ({cut!r}) stops it: {error}") from None
            if computed != cells:
                raise Wrong(f"the last line has no line break ({cut!r}): it was cut off, so compute that cell again, "
                            f"and no other; it computed {computed[len(cells) - 1 :]}")  # fmt: skip
            _expect(found, cells)
            if path.read_text() != whole:
                raise Wrong("a line that was cut off is still in the file; take it out before the next is written")
    return "a crash costs at most one cell."


def _expect(found: Any, cells: list[str]) -> None:
    right = {cell: RESULTS[cell] for cell in cells}
    if not isinstance(found, dict):
        raise Wrong(f"a dictionary was expected, {{cell: result}}, and it returned {type(found).__name__}")
    if found.keys() != right.keys():
        raise Wrong(f"asked for the cells {cells}, it should return these, and it returned {sorted(map(str, found))}")
    if found != right:
        raise Wrong(f"a result should come back as the number that it was, {right}, and it is {found}")


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
        kept = 0  # torch.func cannot be listened to
    else:
        compare(again[0], right, {"called twice, it adds the first gradient: clear ctx.grad, or use grad()": 2 * right})
    if kept > 1.5 * of_one:
        raise Wrong("the gradient is right, but the graphs of several groups are there at once: encode them without a "
                    "graph first, and again, one by one, with it")  # fmt: skip
    return "the whole gradient, with the memory of one group."
