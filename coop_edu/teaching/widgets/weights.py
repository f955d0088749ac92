"""KgCoOp's weight as a slider, from CoOp to the hand-written prompt; the prompts were learned before."""

from __future__ import annotations

import html
from collections.abc import Mapping

import ipywidgets as widgets
from matplotlib.figure import Figure

from coop_edu import plots
from coop_edu.teaching.widgets.parts import WIDE, Explorer, bar_cell


class KgCoOpExplorer(Explorer):
    """Move the weight: the accuracy of the prompt learned with it, beside CoOp (weight 0) and the hand-written prompt.

    `scores`: weight -> {part: percent}, such as the accuracies on base and new classes; one weight must be 0.
    `written`: {part: percent} of the hand-written prompt. Read `.result`, or call `compute(weight)`.

    >>> explorer = KgCoOpExplorer({0.0: {"new": 50.0}, 8.0: {"new": 60.0}}, written={"new": 70.0})
    >>> explorer.weight.value = 8.0
    >>> explorer.result
    {'new': 60.0}
    """

    def __init__(self, scores: Mapping[float, Mapping[str, float]], written: Mapping[str, float]) -> None:
        if 0 not in scores:
            raise ValueError(f"expected weight 0, which is CoOp, among the weights; got {list(scores)}")
        self.scores, self.written = dict(sorted(scores.items())), dict(written)
        options = [(f"{weight:g}", weight) for weight in self.scores]
        self.weight = widgets.SelectionSlider(options=options, value=min(self.scores), description="weight", **WIDE)
        self.bars = widgets.HTML()
        self.view = widgets.VBox([self.weight, self.bars])
        self.weight.observe(self.refresh, names="value")
        self.refresh()

    def compute(self, weight: float) -> dict[str, float]:
        """The scores of the prompt learned with a weight."""
        return dict(self.scores[weight])

    def rows(self) -> dict[str, dict[str, float]]:
        """What is shown: CoOp, the chosen weight, the hand-written prompt."""
        chosen = {} if self.weight.value == 0 else {f"KgCoOp, weight {self.weight.value:g}": self.result}
        return {"CoOp": self.compute(0), **chosen, "zero-shot": self.written}

    def refresh(self, change: object = None) -> None:
        self.result = self.compute(self.weight.value)
        lines = []
        for label in ("CoOp, weight 0", f"weight {self.weight.value:g}", "hand-written"):
            row = self.written if label == "hand-written" else self.compute(0) if "CoOp" in label else self.result
            cells = "".join(bar_cell(row[part] / 100, marked=label.startswith("weight")) for part in row)
            lines.append(f"<tr><td>{label}</td>{cells}</tr>")
        head = "".join(f"<td><b>{html.escape(part)}</b></td>" for part in self.written)
        self.bars.value = f'<table style="white-space:nowrap"><tr><td></td>{head}</tr>{"".join(lines)}</table>'

    def figure(self, message: str = "") -> Figure:
        """What is shown now, as a still figure."""
        return plots.domain_table(self.rows(), message=message)
