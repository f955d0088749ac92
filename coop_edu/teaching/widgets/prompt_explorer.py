"""Type a prompt and see CLIP's answer: Eq. 1 for one image, and the accuracy over many."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from coop_edu import plots
from coop_edu.clip.probability import class_probabilities
from coop_edu.clip.templates import fill, several_names
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.data.images import load_image
from coop_edu.data.labels import distinct_names
from coop_edu.evaluate.accuracy import accuracy, by_probability
from coop_edu.teaching.widgets.parts import (
    NEXT_TO,
    WIDE,
    Explorer,
    ImageButtons,
    bar_cell,
    png_of,
    temperature_slider,
)

if TYPE_CHECKING:
    from coop_edu.clip.models import Clip
    from coop_edu.data.features import Features

# A wording is ranked among these. They were written down before anything was measured, for drawings and photographs.
FIXED_WORDINGS = (
    "{}", "{} icon", "{} glyph", "an icon of a {}.", "a pictogram of a {}.", "a silhouette of a {}.",
    "a line drawing of a {}.", "a sketch of a {}.", "a logo of a {}.", "an image of a {}.", "a photo of a {}.",
    "a bad photo of a {}.", "this is a {}",
)  # fmt: skip
ROWS = 7  # classes with a bar of their own
PLACEHOLDER = "Put {} once into each sentence, where the class name goes, as in “a photo of a {}.”"


class PromptExplorer(Explorer):
    """Two wordings of a prompt side by side: CLIP's answer with each (Eq. 1), and how often it is right.

    `clip`: from load_clip; `classnames`: K names; `images`: name -> image (path, PIL image, array, bytes or Example).
    If an image's name is one of the `classnames`, that class is the true one, and its bar is marked.
    `validation`: features of validation images, never of test images, on which wordings are ranked.
    The temperature tau starts at the value that CLIP learned, 1 / logit_scale. In code, set the values of `.template`,
    `.other` (may be empty), `.temperature` and `.image`, and read `.result` and `.other_result`, class -> probability,
    and `.rank`, the rank of the template among the FIXED_WORDINGS.
    For a template without exactly one {}, an explanation replaces the bars, and the results are empty.
    """

    def __init__(
        self,
        clip: Clip,
        images: Mapping[str, Any],
        classnames: Sequence[str],
        template: str = "a photo of a {}.",
        other: str = "{}",
        validation: Features | None = None,
    ) -> None:
        if not images:
            raise ValueError('expected at least one image to explore, as {"my cat": "cat.png"}')
        self.clip, self.classnames, self.validation = clip, several_names(classnames), validation
        self.images = {name: load_image(getattr(image, "image", image)) for name, image in images.items()}
        self._features = {name: clip.encode_image(clip.preprocess(i)[None]) for name, i in self.images.items()}
        self._classifiers: dict[str, ZeroShot] = {}
        self._scores: dict[str, float] = {}
        self.template, self.other = (
            widgets.Text(value=value, description=label, continuous_update=False, **WIDE)
            for value, label in ((template, "your wording"), (other, "another one"))
        )
        self.temperature = temperature_slider(1 / float(clip.logit_scale))
        self.image = ImageButtons(self.images)
        self.preview, self.bars, self.standing = widgets.Image(format="png", width=128), widgets.HTML(), widgets.HTML()
        answer = widgets.HBox([self.preview, self.bars], layout=NEXT_TO)
        controls = [self.image.view, self.template, self.other, self.temperature]
        self.view = widgets.VBox([*controls, answer, self.standing])
        for control in (self.template, self.other, self.temperature, self.image):
            control.observe(self.refresh, names="value")
        self.refresh()

    def compute(self, template: str, temperature: float, image: str) -> dict[str, float]:
        """Class -> probability of one image, most probable first; ValueError for a template that cannot be filled.

        Classes of one name are told apart by their labels, as in `predict`.
        """
        w = self._classifier(template).text_features  # (K, E)
        return by_probability(self.classnames, class_probabilities(self._features[image], w, 1 / temperature)[0])

    def score(self, template: str) -> float:
        """Accuracy of a template on the validation images, in percent; ValueError if there are none."""
        if self.validation is None:
            raise ValueError("to measure wordings, pass validation=extract_features(clip, dataset.val)")
        if template not in self._scores:
            self._scores[template] = accuracy(self._classifier(template), self.validation)
        return self._scores[template]

    def place(self, template: str) -> tuple[int, int]:
        """(rank, of how many) of a template among the FIXED_WORDINGS and itself; the first has rank 1."""
        wordings = {*FIXED_WORDINGS, template}
        return 1 + sum(self.score(wording) > self.score(template) for wording in wordings), len(wordings)

    def refresh(self, change: object = None) -> None:
        """Compute again from the controls and show the result."""
        self.preview.value = png_of(self.images[self.image.value])
        wordings = [self.template.value, *filter(None, [self.other.value])]
        try:
            answers = [self.compute(text, self.temperature.value, self.image.value) for text in wordings]
            self.problem = ""
        except ValueError as error:  # an unfinished template: explain it where the reader looks
            answers, filled = [{}], all(text.count("{}") == 1 for text in wordings)
            self.problem = str(error) if filled else PLACEHOLDER
        self.result, self.other_result = answers[0], answers[1] if len(answers) > 1 else {}
        self.rank = None if self.problem or self.validation is None else self.place(wordings[0])[0]
        inside = html.escape(self.problem) or self._table(wordings, answers)
        height = 1.75 * (min(ROWS, len(self.classnames)) + 3)  # constant, so that nothing below it moves
        self.bars.value = f'<div style="height:{height:.1f}em;line-height:1.3;overflow:auto">{inside}</div>'
        self.standing.value = "&nbsp;<br>&nbsp;" if self.rank is None else self._standing(wordings)

    def figure(self, message: str = "") -> Figure:
        """What is shown now, as a still figure that stays in a stored notebook; ValueError without an answer."""
        if self.problem:
            raise ValueError(f"there is no answer to draw. {self.problem}")
        name = self.image.value
        truth, image = name if name in self.classnames else "", self.images[name]
        if not self.other_result:
            return plots.show_probabilities(image, self.result, truth=truth, message=message)
        both = {self.template.value: self.result, self.other.value: self.other_result}
        return plots.compare_wordings(image, both, truth=truth, message=message)

    def _classifier(self, template: str) -> ZeroShot:
        if template not in self._classifiers:
            self._classifiers[template] = ZeroShot(self.clip, self.classnames, template)
        return self._classifiers[template]

    def _rows(self, answer: Mapping[str, float]) -> list[str]:
        """The classes that have a bar: the most probable ones, and the true one in any case."""
        names, truth = list(answer)[:ROWS], self.image.value
        return names if truth in names or truth not in answer else [*names[:-1], truth]

    def _standing(self, wordings: Sequence[str]) -> str:
        """The accuracy and rank of each wording: always two lines."""
        lines = ["&nbsp;", "&nbsp;"]
        for number, (whose, wording) in enumerate(zip(("Your", "The other"), wordings)):
            rank, n = self.place(wording)
            images = f"{len(self.validation or ())} validation images"
            lines[number] = f"{whose} wording: {self.score(wording):.0f} % on {images}, rank {rank} of {n}"
        return "<br>".join(lines)

    def _table(self, wordings: Sequence[str], answers: Sequence[Mapping[str, float]]) -> str:
        """A row for each class shown, in the order of the first wording, and one for all others; a column for each."""
        truth, names = self.image.value, self._rows(answers[0])
        head = "".join(self._head(wording, answer) for wording, answer in zip(wordings, answers, strict=True))
        rows = [f"<tr><td></td>{head}</tr>"]
        for name in names:
            shown = html.escape(name) if name != truth else f"<b>▸ {html.escape(name)} (true)</b>"
            cells = "".join(bar_cell(answer.get(name, 0), name == truth) for answer in answers)
            rows.append(f"<tr><td>{shown}</td>{cells}</tr>")
        if left := len(self.classnames) - len(names):
            cells = "".join(bar_cell(1 - sum(answer.get(name, 0) for name in names)) for answer in answers)
            rows.append(f"<tr><td><i>the other {left} together</i></td>{cells}</tr>")
        text = f"Of {len(self.classnames)} sentences, one per class, CLIP finds that this one fits best:"
        return f'<div>{text}</div><table style="white-space:nowrap">{"".join(rows)}</table>'

    def _head(self, wording: str, answer: Mapping[str, float]) -> str:
        """The sentence that fits best, and whether its class is the true one."""
        first = next(iter(answer))
        (sentence,) = fill(wording, [self.classnames[distinct_names(self.classnames).index(first)]])
        verdict = "" if self.image.value not in self.classnames else "✓ " if first == self.image.value else "✗ "
        cut = "max-width:14em;overflow:hidden;text-overflow:ellipsis;text-align:left"
        return f'<td style="{cut}" title="{html.escape(sentence)}">{verdict}<b>“{html.escape(sentence)}”</b></td>'
