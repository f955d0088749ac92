"""What an exercise checker is made of: the verdict, the comparison that names a mistake, the strict mode.

Leaves out: the exercises (checks/).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch

NOT_ATTEMPTED, WRONG, RIGHT = "not attempted", "wrong", "right"


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a checker says: `status` is one of "not attempted", "wrong", "right"; it shows itself as a sentence."""

    status: str
    message: str

    def __repr__(self) -> str:
        sign = {NOT_ATTEMPTED: "…", WRONG: "✗", RIGHT: "✓"}[self.status]
        return f"{sign} {self.status}: {self.message}"


class Wrong(Exception):
    """Raised inside a checker, with the reason."""


def checker(check: Callable[[Callable], str]) -> Callable[[Callable], Verdict]:
    """Turn a function that raises Wrong, or returns praise, into a checker that gives a Verdict."""

    @wraps(check)
    def checked(solution: Callable) -> Verdict:
        try:
            verdict = Verdict(RIGHT, check(solution))
        except NotImplementedError:
            verdict = Verdict(NOT_ATTEMPTED, f"{_name(solution)} is still empty. Write it, then run this cell again.")
        except Wrong as wrong:
            verdict = Verdict(WRONG, f"because {wrong}")
        except Exception as error:
            verdict = Verdict(WRONG, f"because {_name(solution)} stopped with {type(error).__name__}: {error}")
        if os.environ.get("COOP_EDU_STRICT") == "1" and verdict.status != RIGHT:
            raise AssertionError(repr(verdict))
        return verdict

    return checked


def answer_of(solution: Callable, *arguments: Any) -> Any:
    """The learner's answer; None counts as not attempted."""
    answer = solution(*arguments)
    if answer is None or answer is NotImplemented or answer is Ellipsis:
        raise NotImplementedError
    return answer


def compare(got: Any, right: torch.Tensor, mistakes: Mapping[str, torch.Tensor], relative: float = 1e-4) -> None:
    """Pass if `got` is `right`; else raise Wrong with the mistake whose answer it is, or with what differs."""
    try:
        got = torch.as_tensor(got).detach().to(right.dtype)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"a tensor was expected, and it returned {type(got).__name__}") from None
    if _same(got, right, relative):
        return
    for reason, answer in mistakes.items():
        if _same(got, answer.to(right.dtype), relative) and not _same(answer.to(right.dtype), right, relative):
            raise Wrong(reason)
    if got.shape != right.shape:
        raise Wrong(f"the shape should be {tuple(right.shape)} and is {tuple(got.shape)}")
    if not torch.isfinite(got).all():
        raise Wrong("some numbers are not finite (nan or inf)")
    worst = int((got - right).abs().argmax())
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), right.shape))
    raise Wrong(f"at {list(place)} it should be {right.flatten()[worst]:.4g} and is {got.flatten()[worst]:.4g}")


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """How far a lies from b, as a share of b's length."""
    return float((a.detach() - b.detach()).norm() / b.detach().norm())


def _same(a: torch.Tensor, b: torch.Tensor, relative: float) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=relative, atol=1e-7)


def _name(solution: Callable) -> str:
    return getattr(solution, "__name__", "the function")


def random_numbers(seed: int, *shape: int) -> torch.Tensor:
    """The same for everybody, drawn from N(0, 1)."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
