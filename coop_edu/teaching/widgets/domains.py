"""Pick a dataset, and see which of its images each method gets wrong."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from coop_edu import plots
from coop_edu.data.images import load_image
from coop_edu.teaching.widgets.parts import Explorer, png_of

if TYPE_CHECKING:
    from coop_edu.data.dataset import Dataset
    from coop_edu.data.features import Features
    from coop_edu.evaluate.accuracy import Classifier

SHOWN = 8  # images in the table


class DomainExplorer(Explorer):
    """Pick a dataset: how many of its test images each method gets wrong, and its answers for some of them.

    `classifiers`: method -> classifier, already trained; `datasets`: name -> Dataset; `features`: name -> features of
    its test images. Only the dataset's own classes compete. In code, set the value of `.domain`, and read `.result`,
    {method: its answer for each test image}.
    """

    def __init__(
        self, classifiers: Mapping[str, Classifier], datasets: Mapping[str, Dataset], features: Mapping[str, Features]
    ) -> None:
        self.classifiers, self.datasets, self.features = dict(classifiers), dict(datasets), dict(features)
        self.domain = widgets.ToggleButtons(options=list(datasets), description="dataset")
        self.counts, self.table = widgets.HTML(), widgets.HTML()
        self.view = widgets.VBox([self.domain, self.counts, self.table])
        self.domain.observe(self.refresh, names="value")
        self.refresh()

    @torch.no_grad()
    def compute(self, domain: str) -> dict[str, list[str]]:
        """{method: its answer for each test image}."""
        names, f = self.datasets[domain].classnames, self.features[domain].image_features
        answers = {}
        for method, classifier in self.classifiers.items():
            logits = classifier.with_classnames(names).logits(f.to(classifier.clip.device))  # (N, K)
            answers[method] = [names[label] for label in logits.argmax(dim=1).tolist()]
        return answers

    def wrong(self) -> dict[str, list[int]]:
        """{method: the indices of the test images that it gets wrong}, for the chosen dataset."""
        truth = [example.classname for example in self.datasets[self.domain.value].test]
        return {m: [n for n, name in enumerate(answers) if name != truth[n]] for m, answers in self.result.items()}

    def refresh(self, change: object = None) -> None:
        self.result = self.compute(self.domain.value)
        test, wrong = self.datasets[self.domain.value].test, self.wrong()
        counts = [f"<tr><td>{html.escape(m)}</td><td>{len(w)} of {len(test)} wrong</td></tr>" for m, w in wrong.items()]
        self.counts.value = f"<table>{''.join(counts)}</table>"
        head = "".join(f"<td><b>{html.escape(word)}</b></td>" for word in ("", "true", *self.result))
        rows = "".join(self._row(place) for place in self._places())
        self.table.value = f"<table><tr>{head}</tr>{rows}</table>"

    def figure(self, message: str = "") -> Figure:
        """The images of the table with their classes, and a ✓ or ✗ for each method, as a still figure."""
        test, places = self.datasets[self.domain.value].test, self._places()
        truth = [test[place].classname for place in places]
        marks = [
            "".join("✓" if answers[place] == name else "✗" for answers in self.result.values())
            for place, name in zip(places, truth)
        ]
        order = f"Right or wrong, in this order: {', '.join(self.result)}."
        titles = [f"{name}\n{mark}" for name, mark in zip(truth, marks)]
        return plots.show_images([test[place] for place in places], titles, message=f"{message} {order}")

    def _places(self) -> Sequence[int]:
        """Indices of some images on which the methods differ; if they never do, of images that all get wrong."""
        wrong = [set(places) for places in self.wrong().values()]
        some, all_of_them = wrong[0].union(*wrong), wrong[0].intersection(*wrong)
        differ = sorted(some - all_of_them or some or {0})
        return differ[:: max(1, len(differ) // SHOWN)][:SHOWN]

    def _row(self, place: int) -> str:
        example = self.datasets[self.domain.value].test[place]
        encoded = base64.b64encode(png_of(load_image(example.image).resize((40, 40)))).decode()
        image = f'<img src="data:image/png;base64,{encoded}" alt="{html.escape(example.classname)}" width="40">'
        answers = [answers[place] for answers in self.result.values()]
        words = [f"{'✓' if name == example.classname else '✗'} {html.escape(name)}" for name in answers]
        cells = "".join(f"<td>{cell}</td>" for cell in (image, html.escape(example.classname), *words))
        return f"<tr>{cells}</tr>"
