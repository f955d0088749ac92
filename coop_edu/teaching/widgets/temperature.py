"""The temperature of Eq. 1 as a slider: the probabilities change, their order does not."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
import torch

from coop_edu.evaluate.accuracy import by_probability
from coop_edu.teaching.widgets.parts import Explorer, bars_html, temperature_slider


class TemperatureExplorer(Explorer):
    """Move the temperature tau: the probabilities change, their order does not.

    `similarities`: class -> cosine similarity to one image. Read `.result`, or call `compute(tau)`.

    >>> explorer = TemperatureExplorer({"cat": 0.30, "dog": 0.25})
    >>> explorer.temperature.value = 0.01
    >>> {name: round(p, 3) for name, p in explorer.result.items()}
    {'cat': 0.993, 'dog': 0.007}
    """

    def __init__(self, similarities: Mapping[str, float], temperature: float = 1.0) -> None:
        self.classnames = tuple(similarities)
        self._similarities = torch.tensor(list(similarities.values()), dtype=torch.float64)  # (K,)
        self.temperature = temperature_slider(temperature)
        self.bars = widgets.HTML()
        self.view = widgets.VBox([self.temperature, self.bars])
        self.temperature.observe(self.refresh, names="value")
        self.refresh()

    def compute(self, temperature: float) -> dict[str, float]:
        """softmax(similarity / tau): class -> probability, most probable first."""
        return by_probability(self.classnames, (self._similarities / temperature).softmax(dim=0))

    def refresh(self, change: object = None) -> None:
        self.result = self.compute(self.temperature.value)
        self.bars.value = bars_html(self.result)
