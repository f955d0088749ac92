"""What moves: type a prompt, slide the temperature, watch a training, with the numbers live.

A widget here is a small class: `compute` is a pure function of its arguments, `refresh` writes what it gives into an
HTML or Image widget, and `.observe` ties the two together. `interact` and `Output` are left alone, because they swallow
exceptions: an error here is an error in the cell. A notebook drives a widget in code as well (`explorer.template.value
= "..."`, then `explorer.result`), so that a test run covers what a reader's hand would do.

Leaves out: still figures (plots/). A stored notebook shows no widget, so each has one beside it: `.figure()`.
"""

from __future__ import annotations

import html
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from PIL import Image

from coop_edu import plots
from coop_edu.clip.probability import class_probabilities
from coop_edu.clip.templates import fill, several_names
from coop_edu.data.images import load_image
from coop_edu.data.labels import distinct_names
from coop_edu.plots.style import png

if TYPE_CHECKING:
    from coop_edu.clip.models import Clip
    from coop_edu.coop.trainer import TrainerState

WIDE = {"layout": widgets.Layout(width="30em"), "style": {"description_width": "7em"}}


class PromptExplorer:
    """Type a template, move the temperature, choose an image: class -> probability (Eq. 1).

    `clip`: from load_clip; `images`: name -> image (path, PIL image, array, bytes or Example), under the
    name of its class if it has one of the `classnames`, of which there are K.
    The temperature tau starts where CLIP's own training left it, at 1 / logit_scale. In code, set the values of
    `.template`, `.temperature` and `.image`, and read `.result`, class -> probability.
    A template without exactly one {} is explained in place of the bars, and `.result` is empty.
    """

    def __init__(
        self,
        clip: Clip,
        images: Mapping[str, Any],
        classnames: Sequence[str],
        template: str = "a photo of a {}.",
    ) -> None:
        if not images:
            raise ValueError('expected at least one image to explore, as {"my cat": "cat.png"}; got none')
        self.clip, self.classnames = clip, several_names(classnames)
        self.images = {name: load_image(getattr(image, "image", image)) for name, image in images.items()}
        self._features = {name: _encode(clip, image) for name, image in self.images.items()}
        self._texts: dict[str, torch.Tensor] = {}
        self.template = widgets.Text(value=template, description="prompt", continuous_update=False, **WIDE)
        self.temperature = _temperature_slider(1 / float(clip.logit_scale))
        self.image = widgets.Dropdown(options=list(images), description="image", **WIDE)
        self.preview, self.bars = widgets.Image(format="png", width=128), widgets.HTML()
        controls = widgets.VBox([self.template, self.temperature, self.image])
        self.view = widgets.VBox(
            [controls, widgets.HBox([self.preview, self.bars], layout={"align_items": "flex-start"})]
        )
        for control in (self.template, self.temperature, self.image):
            control.observe(self.refresh, names="value")
        self.refresh()

    def compute(self, template: str, temperature: float, image: str) -> dict[str, float]:
        """Class -> probability of one image, most probable first; ValueError for a template that cannot be filled.

        Classes of one name are told apart by their labels, as in `predict`.
        """
        if template not in self._texts:
            self._texts[template] = self.clip.encode_text(fill(template, self.classnames))  # (K, E)
        p = class_probabilities(self._features[image], self._texts[template], 1 / temperature)[0]  # (K,)
        return _sorted(self.classnames, p)

    def refresh(self, change: object = None) -> None:
        """Compute again from the controls and show what comes out."""
        self.preview.value = _png(self.images[self.image.value])
        try:
            self.result = self.compute(self.template.value, self.temperature.value, self.image.value)
            best = distinct_names(self.classnames).index(next(iter(self.result)))
            (sentence,) = fill(self.template.value, [self.classnames[best]])
            self.bars.value = (
                f"<p>Of {len(self.classnames)} sentences, one per class, CLIP finds that this one fits best:<br>"
                f"<b>“{html.escape(sentence)}”</b></p>{bars_html(self.result)}"
            )
            self.problem = ""
        except ValueError as error:  # a template in the making: say what is missing, where the reader looks
            self.result = {}
            self.problem = (
                "Put {} once into the sentence, where the name of the class goes, as in “a photo of a {}.”"
                if self.template.value.count("{}") != 1
                else str(error)
            )
            rows = min(8, len(self.classnames)) + 3  # as high as what stood there: nothing below it moves
            self.bars.value = f'<div style="min-height:{1.7 * rows:.1f}em">{html.escape(self.problem)}</div>'

    def figure(self, message: str = "") -> Figure:
        """What is shown now, as a still figure that stays in a stored notebook; ValueError where nothing is."""
        if self.problem:
            raise ValueError(f"there is no answer to draw. {self.problem}")
        name = self.image.value
        truth = name if name in self.classnames else ""
        return plots.show_probabilities(self.images[name], self.result, truth=truth, message=message)

    def _ipython_display_(self) -> None:
        _display(self.view)


class TemperatureExplorer:
    """Slide the temperature tau: the same similarities, other probabilities, always the same order.

    `similarities`: class -> cosine similarity to one image. Read `.result`, or call `compute(tau)`.

    >>> explorer = TemperatureExplorer({"cat": 0.30, "dog": 0.25})
    >>> explorer.temperature.value = 0.01
    >>> {name: round(p, 3) for name, p in explorer.result.items()}
    {'cat': 0.993, 'dog': 0.007}
    """

    def __init__(self, similarities: Mapping[str, float], temperature: float = 1.0) -> None:
        self.classnames = tuple(similarities)
        self._similarities = torch.tensor(list(similarities.values()), dtype=torch.float64)  # (K,)
        self.temperature = _temperature_slider(temperature)
        self.bars = widgets.HTML()
        self.view = widgets.VBox([self.temperature, self.bars])
        self.temperature.observe(self.refresh, names="value")
        self.refresh()

    def compute(self, temperature: float) -> dict[str, float]:
        """softmax(similarity / tau): class -> probability, most probable first."""
        return _sorted(self.classnames, (self._similarities / temperature).softmax(dim=0))

    def refresh(self, change: object = None) -> None:
        self.result = self.compute(self.temperature.value)
        self.bars.value = bars_html(self.result)

    def _ipython_display_(self) -> None:
        _display(self.view)


class LiveTraining:
    """A training that draws its own curve: `live = LiveTraining(); Trainer(learner, callback=live).fit(shots)`.

    Shown in the cell before the training starts. The figure is drawn again at most every `pause` seconds, and always
    after the last epoch; drawing costs about 0.1 s. `measure(learner)`, if given, is called at every drawing, and its
    numbers are kept in `.measured` as (epoch, number).
    """

    def __init__(
        self,
        *,
        title: str = "",
        pause: float = 0.5,
        measure: Callable[[Any], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.pause, self.measure, self._clock = title, pause, measure, clock
        self.measured: list[tuple[int, float]] = []
        self.drawn = 0
        self._last = float("-inf")
        self.image, self.status = (
            widgets.Image(format="png", width=720),
            widgets.HTML("waiting for the first epoch"),
        )
        self.view = widgets.VBox([self.status, self.image])

    def __call__(self, state: TrainerState) -> None:
        """The Trainer's callback, once an epoch."""
        now = self._clock()
        if now - self._last < self.pause and state.epoch < state.epochs:
            return
        self._last = now
        self.drawn += 1
        measured = ""
        if self.measure is not None:
            self.measured.append((state.epoch, self.measure(state.learner)))
            measured = f", measured {self.measured[-1][1]:.1f}"
        self.status.value = f"epoch {state.epoch} of {state.epochs}, loss {state.history.loss[-1]:.3f}{measured}"
        self.image.value = png(plots.training_curve(state.history, title=self.title), dpi=120)

    def _ipython_display_(self) -> None:
        _display(self.view)


def bars_html(probabilities: Mapping[str, float], top: int = 8) -> str:
    """The most probable classes as a table of name, bar and per cent: readable as text, by screen readers too.

    >>> "cat" in bars_html({"cat": 0.9, "dog": 0.1})
    True
    """
    rows = []
    for name, p in sorted(probabilities.items(), key=lambda item: -item[1])[:top]:
        bar = f'<div style="background:{plots.OKABE_ITO[5]};height:0.8em;width:{15 * p:.2f}em"></div>'
        rows.append(f'<tr><td>{html.escape(name)}</td><td style="width:15em">{bar}</td><td>{100 * p:.1f} %</td></tr>')
    return "<table>" + "".join(rows) + "</table>"


# ---------------------------------------------------------------------------------------------------- the parts


def _temperature_slider(start: float) -> widgets.FloatLogSlider:
    """tau from about 0.001 to 10, each factor of ten as wide as the next.

    A browser moves a slider in whole steps from its left end, so the ends are laid such that `start` is one of them;
    else it would be rounded as soon as the slider is shown.
    """
    place, step = math.log10(start), 0.02
    return widgets.FloatLogSlider(
        value=start,
        base=10,
        min=place - step * math.ceil((place + 3) / step),
        max=place + step * math.ceil((1 - place) / step),
        step=step,
        description="temperature",
        readout_format=".3g",
        **WIDE,
    )


def _encode(clip: Clip, image: Any) -> torch.Tensor:
    return clip.encode_image(clip.preprocess(image)[None])  # f: (1, E)


def _sorted(classnames: Sequence[str], p: torch.Tensor) -> dict[str, float]:
    names = distinct_names(classnames)
    return dict(sorted(zip(names, p.tolist(), strict=True), key=lambda item: -item[1]))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()


def _display(view: widgets.Widget) -> None:
    """Show a widget; where there is none behind it, as in a file that is read elsewhere, say so."""
    from IPython.display import display

    bundle = view._repr_mimebundle_()
    still = "Controls: run this cell to move them. The figure beside them stays."
    display({**bundle, "text/plain": still}, raw=True)
