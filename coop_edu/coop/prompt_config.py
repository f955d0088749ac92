"""Options of a learned prompt: context length, unified or class-specific, position of the class name, initialisation.

The paper's Section 3.2: Eq. 2 has the name at the end, Eq. 4 in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# Name position -> how many of the M context vectors stand before the name.  If M is odd, one more stands after it.
POSITIONS = {"end": lambda M: M, "middle": lambda M: M // 2, "front": lambda M: 0}


@dataclass(frozen=True)
class PromptConfig:
    """The options of a learned prompt.

    n_ctx: the context length M; class_specific: one context for each class; position: of the class name; init: starting
    words, such as "a photo of a", whose number of BPE tokens replaces n_ctx, or None for random vectors N(0, 0.02^2)
    drawn with `seed`.  Raises ValueError for an unknown position.

    >>> PromptConfig(n_ctx=5, position="middle").before_and_after()
    (2, 3)
    """

    n_ctx: int = 16
    class_specific: bool = False
    position: str = "end"
    init: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.class_specific, bool):  # "no" would mean yes
            raise ValueError(f"expected class_specific as True or False, got {self.class_specific!r}")
        if self.position not in tuple(POSITIONS):
            raise ValueError(f"unknown position {self.position!r} of the class name: choose one of {tuple(POSITIONS)}")

    def before_and_after(self) -> tuple[int, int]:
        """How many context vectors stand before and after the class name."""
        before = POSITIONS[self.position](self.n_ctx)
        return before, self.n_ctx - before

    def without_start(self) -> PromptConfig:
        """The config without init and seed, which only set the initial values."""
        return replace(self, init=None, seed=0)
