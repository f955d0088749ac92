"""Which images did this seed draw? The few-shot sampler, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets as widgets
from matplotlib.figure import Figure

from coop_edu import plots
from coop_edu.data.few_shot import sample_few_shot
from coop_edu.data.images import load_image
from coop_edu.teaching.widgets.parts import SIDE, WIDE, Explorer, png_of, wall

if TYPE_CHECKING:
    from coop_edu.data.dataset import Example

SHOTS, SEEDS = (1, 2, 4, 8, 16), (1, 2, 3)  # the paper's


class SeedExplorer(Explorer):
    """Change shots and seed: of a class's training images, the drawn ones have a frame, and the others are pale.

    `examples`: the training images. In code, set the values of `.shots`, `.seed` and `.classname`, and read `.result`,
    the numbers of the drawn images, counted from 1 within their class. A table shows the paper's three seeds.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = list(examples)
        self._by_class: dict[str, list[Example]] = {}
        for example in self.examples:
            self._by_class.setdefault(example.classname, []).append(example)
        self.classname = widgets.Dropdown(options=list(self._by_class), description="class", **WIDE)
        self.shots = widgets.SelectionSlider(options=SHOTS, value=4, description="shots", **WIDE)
        self.seed = widgets.IntSlider(value=1, min=1, max=20, description="seed", **WIDE)
        self.image, self.table = widgets.Image(format="png", width=720), widgets.HTML()
        controls = (self.classname, self.shots, self.seed)
        self.view = widgets.VBox([*controls, self.image, self.table])
        for control in controls:
            control.observe(self.refresh, names="value")
        self.refresh()

    def compute(self, shots: int, seed: int, classname: str) -> list[int]:
        """The numbers of the images drawn, as `sample_few_shot` draws them from all classes."""
        drawn = [e for e in sample_few_shot(self.examples, shots, seed) if e.classname == classname]
        return sorted(1 + self._by_class[classname].index(example) for example in drawn)

    def refresh(self, change: object = None) -> None:
        """Draw again."""
        name, own = self.classname.value, self._by_class[self.classname.value]
        self.result = self.compute(self.shots.value, self.seed.value, name)
        images = [load_image(example.image).resize((SIDE - 12, SIDE - 12)) for example in own]
        self.image.value = png_of(wall(images, [n in self.result for n in range(1, len(own) + 1)], struck=False))
        seeds = dict.fromkeys((*SEEDS, self.seed.value))
        rows = {seed: ", ".join(map(str, self.compute(self.shots.value, seed, name))) for seed in seeds}
        lines = "".join(f"<tr><td>seed {seed}</td><td>images {drawn}</td></tr>" for seed, drawn in rows.items())
        self.table.value = f"<table>{lines}</table>"

    def figure(self, message: str = "") -> Figure:
        """The images drawn now, as a still figure."""
        own = self._by_class[self.classname.value]
        shown = [own[number - 1] for number in self.result]
        return plots.show_images(shown, [f"image {number}" for number in self.result], message=message)
