"""Draw, and CLIP guesses: a page for mouse, pen or finger, and Eq. 1 for the drawing.

The page is an anywidget: the browser draws the strokes, and the kernel gets their points and makes the image from them,
so that code can draw as well. With ipycanvas each movement would travel to the kernel and back.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

import anywidget
import ipywidgets as widgets
import traitlets
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from coop_edu import plots
from coop_edu.clip.zero_shot import ZeroShot
from coop_edu.evaluate.accuracy import predict
from coop_edu.teaching.widgets.parts import NEXT_TO, WIDE, Explorer, bars_html

if TYPE_CHECKING:
    from coop_edu.clip.models import Clip

Strokes = Sequence[Sequence[Sequence[float]]]  # lists of points (x, y), from 0 to 1
SIDE, PEN = 256, 16  # pixels, as in assets/drawing_pad.js
READY: Mapping[str, Strokes] = {
    "star": [[(0.5, 0.1), (0.74, 0.85), (0.1, 0.38), (0.9, 0.38), (0.26, 0.85), (0.5, 0.1)]],
    "house": [
        [(0.08, 0.5), (0.5, 0.12), (0.92, 0.5)],
        [(0.2, 0.42), (0.2, 0.88), (0.8, 0.88), (0.8, 0.42)],
        [(0.42, 0.88), (0.42, 0.62), (0.58, 0.62), (0.58, 0.88)],
    ],
    "envelope": [
        [(0.08, 0.22), (0.92, 0.22), (0.92, 0.78), (0.08, 0.78), (0.08, 0.22)],
        [(0.08, 0.22), (0.5, 0.56), (0.92, 0.22)],
    ],
}


class DrawingPad(anywidget.AnyWidget):
    """The page: the finished `strokes`, and the one that is being drawn, `under_way`."""

    _esm = (files("coop_edu") / "assets" / "drawing_pad.js").read_text(encoding="utf-8")
    strokes: traitlets.List = traitlets.List().tag(sync=True)
    under_way: traitlets.List = traitlets.List().tag(sync=True)


class DrawingExplorer(Explorer):
    """Draw with the mouse, or take a ready-made drawing, and read class -> probability (Eq. 1) while you draw.

    `clip`: from load_clip; `classnames`: K names. In code, set `.strokes`, lists of points (x, y) from 0 to 1, or the
    value of `.template`, and read `.result`, class -> probability, which is empty while the page is empty. `image()`
    is the PIL image that CLIP sees.
    """

    def __init__(self, clip: Clip, classnames: Sequence[str], template: str = "a drawing of a {}.") -> None:
        self.clip, self.classnames = clip, tuple(classnames)
        self.pad, self.bars = DrawingPad(), widgets.HTML()
        self.template = widgets.Text(value=template, description="wording", continuous_update=False, **WIDE)
        self.buttons = {name: widgets.Button(description=name) for name in (*READY, "undo", "clear")}
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self._press(name))
        buttons = widgets.VBox([*self.buttons.values()], layout={"flex": "0 0 auto"})
        self.view = widgets.VBox([self.template, widgets.HBox([self.pad, buttons, self.bars], layout=NEXT_TO)])
        self.template.observe(self._new_wording, names="value")
        self.pad.observe(self.refresh, names=["strokes", "under_way"])
        self._new_wording()

    @property
    def strokes(self) -> Strokes:
        return self.pad.strokes

    @strokes.setter
    def strokes(self, strokes: Strokes) -> None:
        self.pad.strokes = [[[float(x), float(y)] for x, y in stroke] for stroke in strokes]

    def image(self) -> Image.Image:
        """The page as CLIP sees it: black lines on white."""
        page = Image.new("RGB", (SIDE, SIDE), "white")
        draw = ImageDraw.Draw(page)
        for stroke in filter(None, (*self.pad.strokes, self.pad.under_way)):
            points = [(SIDE * x, SIDE * y) for x, y in stroke]
            draw.line(points, fill="black", width=PEN, joint="curve")
            for x, y in points:  # round ends; a stroke of one point becomes a dot
                draw.ellipse((x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2), fill="black")
        return page

    def compute(self, image: Image.Image) -> dict[str, float]:
        """Class -> probability, most probable first."""
        return predict(self._classifier, image)

    def refresh(self, change: object = None) -> None:
        """Compute the guess again."""
        drawn = any(self.pad.strokes) or bool(self.pad.under_way)
        self.result = self.compute(self.image()) if drawn and not self.problem else {}
        text = self.problem or "Draw with the mouse, or take a ready-made drawing."
        if self.result:
            text = f"CLIP says: <b>{html.escape(next(iter(self.result)))}</b>{bars_html(self.result, top=6)}"
        self.bars.value = f'<div style="min-height:15em">{text}</div>'

    def figure(self, message: str = "") -> Figure:
        """The drawing and the guesses, as a still figure; ValueError for an empty page."""
        if not self.result:
            raise ValueError("there is no guess to draw: the page is empty, or the wording has no {}")
        return plots.show_probabilities(self.image(), self.result, message=message)

    def _new_wording(self, change: object = None) -> None:
        try:
            self._classifier, self.problem = ZeroShot(self.clip, self.classnames, self.template.value), ""
        except ValueError:
            self.problem = "Put {} once into the wording, where the class name goes, as in “a drawing of a {}.”"
        self.refresh()

    def _press(self, name: str) -> None:
        self.strokes = READY[name] if name in READY else self.strokes[:-1] if name == "undo" else []
