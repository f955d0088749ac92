"""What a prompt looks like: its options, and the order of context vectors and tokens.

end      t = [v_1] ... [v_M] [CLASS] .                               Eq. 2
middle   t = [v_1] ... [v_M/2] [CLASS] [v_M/2+1] ... [v_M] .         Eq. 4
front    t = [CLASS] [v_1] ... [v_M] .                               in the authors' code only

A new position of the class name is a line in POSITIONS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from coop_edu.clip.models import Clip
from coop_edu.clip.templates import clean_classnames

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


def token_layout(clip: Clip, classnames: Sequence[str], config: PromptConfig) -> list[list[int]]:
    """Each prompt as a list: token numbers, and -1, -2, ..., -M where the context vectors stand.

    Raises ValueError for another tokenizer than CLIP's own, a name without words, and a prompt that does not fit.
    """
    tokenizer = clip.tokenizer
    if not hasattr(tokenizer, "sot_token_id"):
        raise ValueError(
            f"learned prompts need CLIP's own BPE tokenizer, and {clip.name!r} has a "
            f"{type(tokenizer).__name__}: where its words begin and end is not known here"
        )
    before, after = config.before_and_after()
    # No BPE token is negative, so -1 - m can stand for the context vector v_m.
    left = [-1 - m for m in range(before)]
    right = [-1 - before - m for m in range(after)]
    layout = []
    for name in clean_classnames(classnames):
        length = len(tokenizer.encode(name))
        # Together with the full stop: "kite (bird of prey)." ends in the token ")."
        tokens = tokenizer.encode(name + ".")
        layout.append(
            [
                tokenizer.sot_token_id,
                *left,
                *tokens[:length],
                *right,
                *tokens[length:],
                tokenizer.eot_token_id,
            ]
        )
    _check_fit(layout, clip, classnames, config.n_ctx)
    return layout


def _check_fit(layout: list[list[int]], clip: Clip, classnames: Sequence[str], n_ctx: int) -> None:
    positions = clip.tokenizer.context_length
    longest = max(range(len(layout)), key=lambda k: len(layout[k]))
    over = len(layout[longest]) - positions
    if over > 0 and n_ctx <= over:
        raise ValueError(
            f"the name of class {classnames[longest]!r} alone is too long for the {positions} positions of "
            f"{clip.name!r}: shorten it"
        )
    if over > 0:
        raise ValueError(
            f"the prompt of class {classnames[longest]!r} needs {len(layout[longest])} positions and the text "
            f"encoder of {clip.name!r} has {positions}: use n_ctx={n_ctx - over} or less (now {n_ctx}), or a shorter "
            "name"
        )


def words_of(layout: list[list[int]]) -> Int[Tensor, " W"]:
    """The sorted token numbers of all prompts, including 0, the padding."""
    return torch.tensor(sorted({0} | {token for prompt in layout for token in prompt if token >= 0}))


def slots_of(
    layout: list[list[int]], words: Int[Tensor, " W"], config: PromptConfig, positions: int
) -> tuple[Int[Tensor, "K L"], Int[Tensor, " K"]]:
    """Each prompt as rows of the table [context vectors; words], and its length up to the EOT."""
    contexts = len(layout) if config.class_specific else 1
    first_word = contexts * config.n_ctx
    row_of = {token: first_word + row for row, token in enumerate(words.tolist())}
    # After the EOT stands token 0, as in CLIP's own texts.
    slots = torch.full((len(layout), positions), row_of[0])
    for k, prompt in enumerate(layout):
        first_row = config.n_ctx * k if config.class_specific else 0
        # t = -1 - m stands for v_m, so own - 1 - t is row own + m.
        slots[k, : len(prompt)] = torch.tensor([row_of[t] if t >= 0 else first_row - 1 - t for t in prompt])
    return slots, torch.tensor([len(prompt) for prompt in layout])
