"""Checkers of notebooks 07 and 08, for large experiments: a grid that survives a crash, a gradient in groups."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from coop_edu.teaching.memory import bytes_kept
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, random_numbers


class PowerCut(Exception):
    """Raised by the computation of a cell, so that a grid stops there."""


@checker
def check_run_all(solution: Callable) -> str:
    """A grid that goes on where it stopped: `solution(cells, compute, path) -> {cell: result}`.

    cells: a list of names; compute(cell): a number; path: of a text file, which may not exist yet.  Each result is in
    the file before the next is computed, what is there is not computed again, and a last line without its line break
    was cut off by a crash and does not count.  How a line looks is up to the solution.
    """
    cells, computed = ["a", "b", "c", "d"], []
    stops: set[str] = set()

    def compute(cell: str) -> float:
        if cell in stops:
            raise PowerCut
        computed.append(cell)
        return ord(cell) / 4

    with tempfile.TemporaryDirectory() as folder:
        _expect(answer_of(solution, list(cells), compute, Path(folder) / "first.txt"), cells)
        path = Path(folder) / "results.txt"
        computed.clear()
        stops.add("c")
        try:
            solution(list(cells), compute, path)
            raise Wrong("an error in the third cell was swallowed; let it through, so that one sees that it failed")
        except PowerCut:
            pass
        if not path.exists() or len(path.read_text().splitlines()) < 2:
            raise Wrong("after a crash in the third cell the first two are not both in the file: write each at once")
        stops.clear()
        _expect(answer_of(solution, list(cells), compute, path), cells)
        if computed.count("a") > 1 or computed.count("b") > 1:
            raise Wrong("after a crash, what was in the file is computed again")
        if computed != cells:
            raise Wrong(f"after a crash in cell “c” it should compute c and d, and it computed {computed[2:]}")
        whole = path.read_text()
        if len(whole.splitlines()) != 4 or not whole.endswith("\n"):
            raise Wrong(f"four results should be four lines, each with its line break, and the file is {whole!r}")
        _expect(answer_of(solution, list(cells), compute, path), cells)
        if len(computed) > 4 or path.read_text() != whole:
            raise Wrong("all results are there, and it still computes or writes")
        _expect(answer_of(solution, cells[:1], compute, path), cells[:1])

        beginning = whole.rstrip("\n").rsplit("\n", 1)[0] + "\n"
        last = whole[len(beginning) :]
        for cut in (last[: len(last) // 2], last[:-1]):  # in the middle, and just before the line break
            path.write_text(beginning + cut)
            computed.clear()
            try:
                found = answer_of(solution, list(cells), compute, path)
            except ValueError as error:  # of json, of float, of unpacking
                raise Wrong(f"a last line that is cut off ({cut!r}) stops it: {error}") from None
            if computed != ["d"]:
                raise Wrong(f"the last line has no line break ({cut!r}): it was cut off, so compute that cell again")
            _expect(found, cells)
            if path.read_text() != whole:
                raise Wrong("a line that was cut off is still in the file; take it out before the next is written")
    return "a crash costs at most one cell."


def _expect(found: Any, cells: list[str]) -> None:
    right = {cell: ord(cell) / 4 for cell in cells}
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
    groups, target, wide = [[0, 1, 2], [3, 4], [5, 6]], random_numbers(3, 7, 4), random_numbers(4, 4, 200)

    def encode(ctx: torch.Tensor, group: list[int]) -> torch.Tensor:
        hidden = ((others[group] * ctx.sum(dim=0) + ctx[0]) @ wide).tanh()  # most of what autograd keeps
        return (hidden @ wide.T / 200).tanh()

    def loss_of(features: torch.Tensor) -> torch.Tensor:
        return (features @ target.T).logsumexp(dim=0).sum() - (features * target).sum()  # the classes compete

    def gradient(through: list[list[int]]) -> torch.Tensor:
        """The part of the gradient that comes through some of the groups."""
        ctx = start.clone().requires_grad_()
        parts = [encode(ctx if group in through else start, group) for group in groups]
        return torch.autograd.grad(loss_of(torch.cat(parts)), ctx)[0]

    right = gradient(groups)
    whole = bytes_kept(lambda: encode(start.clone().requires_grad_(), [*range(7)]), [wide])
    ctx, found = start.clone().requires_grad_(), []
    of_groups = [list(group) for group in groups]
    kept = bytes_kept(lambda: found.append(answer_of(solution, encode, ctx, loss_of, of_groups)), [wide])
    mistakes = {
        "that is the gradient of the last group alone; add up those of all groups": gradient(groups[-1:]),
        "that is the gradient of the first group alone; add up those of all groups": gradient(groups[:1]),
        "the gradients of the groups are averaged; add them up": right / len(groups),
    }
    compare(found[0], right, mistakes)
    if kept >= whole:
        raise Wrong("the gradient is right, but the graphs of all groups are there at once: encode them without a "
                    "graph first, and again, one by one, with it")  # fmt: skip
    return "the whole gradient, with the memory of one group."
