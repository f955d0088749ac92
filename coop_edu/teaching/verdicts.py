"""The parts of an exercise checker: the verdict, the comparison that names a mistake, the strict mode."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch

NOT_ATTEMPTED, WRONG, RIGHT = "not attempted", "wrong", "right"
STUBS = ((), ("replace this line",))  # what an exercise raises before it is written; torch's own error says more


@dataclass(frozen=True, repr=False)
class Verdict:
    """The answer of a checker: `status` is "not attempted", "wrong" or "right"; its repr is a sentence."""

    status: str
    message: str

    def __repr__(self) -> str:
        sign = {NOT_ATTEMPTED: "…", WRONG: "✗", RIGHT: "✓"}[self.status]
        return f"{sign} {self.status}: {self.message}"


class Wrong(Exception):
    """Raised inside a checker, with the reason."""


def checker(check: Callable[[Callable], str]) -> Callable[[Callable], Verdict]:
    """Turn a function that raises Wrong, or returns praise, into a checker that returns a Verdict."""

    @wraps(check)
    def checked(solution: Callable) -> Verdict:
        name = getattr(solution, "__name__", "the function")
        try:
            verdict = Verdict(RIGHT, check(solution))
        except Wrong as wrong:
            verdict = Verdict(WRONG, f"because {wrong}")
        except Exception as error:
            if isinstance(error, NotImplementedError) and error.args in STUBS:
                empty = f"{name}.{_last_function(error)}" if isinstance(solution, type) else name
                empty = empty.removesuffix(".__init__")
                verdict = Verdict(NOT_ATTEMPTED, f"{empty} is still empty. Write it, then run this cell again.")
            else:
                stopped = f"because {name} stopped with {type(error).__name__}: {error}"
                verdict = Verdict(WRONG, stopped + _line_of(error, solution))
        if os.environ.get("COOP_EDU_STRICT") == "1" and verdict.status != RIGHT:
            raise AssertionError(repr(verdict))
        return verdict

    return checked


def _last_function(error: Exception) -> str:
    """The name of the function that raised the error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_name if trace is not None else ""


def _line_of(error: Exception, solution: Callable) -> str:
    """The last line of the learner's own that an error went through."""
    functions = vars(solution).values() if isinstance(solution, type) else [solution]
    files = {function.__code__.co_filename for function in functions if hasattr(function, "__code__")}
    line, trace = "", error.__traceback__
    while trace is not None:
        if (file := trace.tb_frame.f_code.co_filename) in files:
            line = linecache.getline(file, trace.tb_lineno).strip()
        trace = trace.tb_next
    return f" (in the line “{line}”)" if line else ""


def answer_of(solution: Callable, *arguments: Any, **options: Any) -> Any:
    """The learner's answer. Raises Wrong if there is none, or if an argument that is a tensor has changed."""
    before = [one.detach().clone() if isinstance(one, torch.Tensor) else None for one in arguments]
    answer = solution(*arguments, **options)
    if any(old is not None and not torch.equal(old, new.detach()) for old, new in zip(before, arguments, strict=True)):
        raise Wrong("it changes a tensor that it is given; make new tensors, without in-place steps such as /=")
    if answer is None:
        raise Wrong("it returned None: is the return missing?")
    return answer


def parts_of(answer: Any, count: int, what: str) -> list[Any]:
    """The parts of a tuple or list of `count`; Wrong for anything else."""
    if not isinstance(answer, tuple | list) or len(answer) != count:
        raise Wrong(f"it should return {what}, and returned {answer!r}")
    return list(answer)


def compare(got: Any, right: Any, mistakes: Mapping[str, Any], relative: float = 1e-4) -> None:
    """Raise Wrong unless `got` is `right`: with the mistake whose answer it is, or with the difference.

    All of them may be tensors, numbers, or lists of numbers.
    """
    right = torch.as_tensor(right)
    try:
        got = _tensor(got, right.dtype)
    except (TypeError, ValueError, RuntimeError):
        expected = "a tensor" if right.dim() else "a number"
        raise Wrong(f"{expected} was expected, and it returned {type(got).__name__}") from None
    if _same(got, right, relative):
        return
    for reason, mistake in mistakes.items():
        answer = _tensor(mistake, right.dtype)
        if _same(got, answer, relative) and not _same(answer, right, relative):
            raise Wrong(reason)
    if got.shape != right.shape:
        raise Wrong(f"the shape should be {tuple(right.shape)} and is {tuple(got.shape)}")
    if not torch.isfinite(got).all():
        raise Wrong("some numbers are NaN or infinite")
    worst = int((got - right).abs().argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), right.shape)]
    at = f"at {place} " if place else ""
    raise Wrong(f"{at}it should be {right.flatten()[worst]:.4g} and is {got.flatten()[worst]:.4g}")


def compare_gradients(given: torch.Tensor, right: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> None:
    """Raise Wrong unless both numbers, which are equal, have the same gradients at the inputs."""
    for name, x in inputs.items():
        (wanted,) = torch.autograd.grad(right, x, retain_graph=True)
        (found,) = (
            torch.autograd.grad(given, x, retain_graph=True, allow_unused=True) if given.requires_grad else (None,)
        )
        if found is None or relative_difference(found, wanted) > 1e-3:
            raise Wrong(
                f"the number is right, but not its gradient at {name}: compute it from {name} without .item(), .data, "
                ".detach() or a new tensor"
            )


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / |b|."""
    return float((a.detach() - b.detach()).norm() / b.detach().norm())


def random_numbers(seed: int, *shape: int) -> torch.Tensor:
    """Numbers from N(0, 1), the same for everybody."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _tensor(value: Any, dtype: torch.dtype) -> torch.Tensor:
    return (value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=dtype)).detach().to(dtype)


def _same(a: torch.Tensor, b: torch.Tensor, relative: float) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=relative, atol=1e-7)
