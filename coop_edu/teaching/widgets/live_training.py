"""Watch a training: its curves, the hand-written prompt as a line to beat, and drawings that turn from wrong to right.

While a kernel runs a cell, its buttons do not answer, except with the subshells of ipykernel 7 and JupyterLab 4.4 or
Notebook 7.4. Without them, the toolbar's ■ ends the training.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from coop_edu import plots
from coop_edu.coop.history import History, StopTraining
from coop_edu.data.features import extract_features
from coop_edu.data.images import load_image
from coop_edu.evaluate.accuracy import accuracy
from coop_edu.teaching.widgets.parts import COLUMNS, SIDE, Explorer, png_of, wall

if TYPE_CHECKING:
    from coop_edu.clip.zero_shot import ZeroShot
    from coop_edu.coop.history import TrainerState
    from coop_edu.data.dataset import Example

LINES = 3  # of the wall
SHARE = 5  # wait five times as long as the last drawing took
STOP, STOPPING = "Stop after this epoch", "stops after this epoch …"


class LiveTraining(Explorer):
    """Watch a training: `live = LiveTraining(...)`, then `Trainer(learner, callback=live).fit(shots)`.

    `written`: the hand-written prompt to beat; `watched`: validation images, never test images; `epochs`: the number of
    epochs. Show it in the cell before the training. It draws at most every `pause` seconds, and after the last epoch.
    At each drawing it adds the learner's accuracy on the watched images to `.measured`, {epoch: percent}, and sets
    `.right`: for each image of the wall, whether the learner is right. The button `.stop` ends the training after the
    current epoch, and `fit` returns the history so far.
    """

    def __init__(
        self,
        written: ZeroShot,
        watched: Sequence[Example],
        *,
        epochs: int,
        title: str = "",
        pause: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.pause, self._clock = title, pause, clock
        self._features = extract_features(written.clip, watched, progress=False)
        self.beat, self._classes = accuracy(written, self._features), len(written.classnames)
        step = max(1, len(watched) // (COLUMNS * LINES))
        self._places = list(range(0, len(watched), step))[: COLUMNS * LINES]  # indices of the wall's images
        self.names = [watched[place].classname for place in self._places]
        self._images = [load_image(watched[place].image).resize((SIDE - 12, SIDE - 12)) for place in self._places]
        self.stop = widgets.Button(description=STOP, icon="stop", layout=widgets.Layout(width="14em", flex="none"))
        self.stop.on_click(self._on_stop)
        self.status, self.changes = widgets.HTML(), widgets.HTML()
        self.image, self.wall = (widgets.Image(format="png", width=720) for _ in range(2))
        bar = widgets.HBox([self.stop, self.status])
        self.view = widgets.VBox([bar, self.image, self.wall, self.changes])
        self._epoch, self._next = 0, float("-inf")  # the last epoch seen, and the time of the next drawing
        self._begin(epochs)
        self._draw(History(), epochs)
        self.status.value = "waiting for the first epoch"

    def __call__(self, state: TrainerState) -> None:
        """The Trainer's callback, once per epoch."""
        if state.epoch <= self._epoch:  # a new training with the same view
            self._begin(state.epochs)
        self._epoch = state.epoch
        over = self.stopping or state.epoch == state.epochs
        if over or self._clock() >= self._next:
            self._look(state, over)
        if over:
            self.stop.disabled, self.stop.description = True, STOP  # ignore clicks after the training
        if self.stopping:
            raise StopTraining

    def figure(self, message: str = "") -> Figure:
        """The curves as they are now, as a still figure that stays in a stored notebook."""
        return plots.training_progress(
            self._history, self.measured, epochs=self._epochs, beat=self.beat, chance=math.log(self._classes),
            title=self.title, message=message,
        )  # fmt: skip

    def _begin(self, epochs: int) -> None:
        self.measured: dict[int, float] = {}
        self.right: list[bool] | None = None  # not measured yet
        self.drawn, self.stopping = 0, False
        self._epoch, self._next = 0, float("-inf")
        self.stop.disabled, self.stop.description = False, STOP
        # ipykernel 7.4 sends a widget's messages to the thread that wrote to it last, which is busy: make it forget.
        vars(self.stop.comm).pop("_reply_subshell_id", None)

    def _on_stop(self, button: object) -> None:
        if not self.stop.disabled:
            self.stopping, self.stop.description = True, STOPPING

    @torch.no_grad()
    def _look(self, state: TrainerState, over: bool) -> None:
        """Measure and draw."""
        start = self._clock()
        answers = state.learner.logits(self._features.image_features.to(state.learner.clip.device)).argmax(dim=1).cpu()
        hits = answers == self._features.labels  # (N,)
        self.measured[state.epoch] = 100 * hits.double().mean().item()
        before, self.right = self.right, hits[self._places].tolist()
        self._draw(state.history, state.epochs)
        self._say(state, before, over)
        self.drawn += 1
        self._next = self._clock() + max(self.pause, SHARE * (self._clock() - start))

    def _draw(self, history: History, epochs: int) -> None:
        self._history, self._epochs = history, epochs
        drawn = io.BytesIO()
        self.figure().savefig(drawn, format="png", dpi=100)
        self.image.value = drawn.getvalue()
        self.wall.value = png_of(wall(self._images, self.right))

    def _say(self, state: TrainerState, before: list[bool] | None, over: bool) -> None:
        left = sum(state.history.seconds) / state.epoch * (state.epochs - state.epoch)
        steps = f"step {state.epoch * state.steps_per_epoch} of {state.epochs * state.steps_per_epoch}"
        end = "stopped" if self.stopping else "finished" if over else f"about {left:.0f} s left"
        self.status.value = (
            f"epoch {state.epoch} of {state.epochs}, {steps}, {end}. On {len(self._features)} validation images "
            f"{self.measured[state.epoch]:.1f} % right; the hand-written prompt has {self.beat:.1f} %."
        )
        assert self.right is not None
        before = before or [True] * len(self.right)
        new = ", ".join(name for name, now, then in zip(self.names, self.right, before) if now > then)
        self.changes.value = f"{sum(self.right)} of these {len(self.right)} are right" + f"; newly right: {new}" * bool(
            new
        )
