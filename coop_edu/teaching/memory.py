"""How much memory the backward pass needs, counted by autograd: notebook 08 and its checker."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Bytes(NamedTuple):
    most: int
    after: int


def bytes_kept(step: Callable[[], Any], weights: Iterable[Tensor] = ()) -> Bytes:
    """The bytes that autograd keeps for the backward pass, the weights not counted: the most at any moment of step(),
    and those that are left when its result is gone.

    >>> x = torch.ones(1000, requires_grad=True)
    >>> bytes_kept(lambda: x.exp())  # its result is also its derivative: 1000 numbers of 4 bytes
    Bytes(most=4000, after=0)
    """
    of_weights = {weight.untyped_storage().data_ptr() for weight in weights}
    uses: Counter[int] = Counter()  # of each piece of memory: two operations may keep the same tensor
    now = most = 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    def forget(place: int, size: int) -> None:
        nonlocal now
        uses[place] -= 1
        now -= size if not uses[place] else 0

    def keep(tensor: Tensor) -> Kept:
        nonlocal now, most
        kept = Kept(tensor.detach())  # without its graph, which would keep this object alive for ever
        place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        if place not in of_weights:
            now += size if not uses[place] else 0
            uses[place] += 1
            weakref.finalize(kept, forget, place, size)
            most = max(most, now)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        result = step()
    del result  # only now: memory that is freed earlier could be used, and counted, twice
    return Bytes(most, now)
