"""Shared by the widgets: bars as a table, images to click, the temperature slider, and how a widget is shown.

Text has the colour of the page, so that it can be read in a dark theme too; an image has a white background.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from PIL import Image, ImageDraw

from coop_edu.plots.style import BAR, BLUE, GREY, RIGHT

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

NEXT_TO = widgets.Layout(flex_flow="row wrap", align_items="flex-start")  # one below the other on a narrow page
WIDE = {"layout": widgets.Layout(width="30em"), "style": {"description_width": "7em"}}

COLUMNS, SIDE = 12, 60  # of a wall of images: how many in a row, and the pixels of each


def bars_html(probabilities: Mapping[str, float], top: int = 8) -> str:
    """The most probable classes as a table of name, bar and percent, which screen readers can read.

    >>> "cat" in bars_html({"cat": 0.9, "dog": 0.1})
    True
    """
    best = sorted(probabilities.items(), key=lambda item: -item[1])[:top]
    rows = [f"<tr><td>{html.escape(name)}</td>{bar_cell(p)}</tr>" for name, p in best]
    return f'<table style="white-space:nowrap">{"".join(rows)}</table>'


def bar_cell(p: float, marked: bool = False) -> str:
    """A cell of a table: a bar, and its probability in percent."""
    colour = RIGHT if marked else BAR
    bar = f'<div style="background:{colour};height:0.8em;flex:0 0 {6 * p:.2f}em;margin-right:0.5em"></div>'
    return f'<td style="min-width:11em"><div style="display:flex;align-items:center">{bar}{100 * p:.1f} %</div></td>'


def temperature_slider(start: float) -> widgets.FloatLogSlider:
    """tau from about 0.001 to 10, on a logarithmic scale.

    A browser moves a slider in whole steps from its left end. The ends are chosen such that `start` is one of the
    steps; otherwise the browser would round it.
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


class Explorer:
    """A widget that shows its `view`."""

    view: widgets.Widget
    _made_of: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        made = super().__new__(cls)
        made._made_of = arguments, options
        return made

    def copy(self) -> Self:
        """A second one, made of the same arguments: code that sets its values leaves what a reader has set alone."""
        arguments, options = self._made_of
        return type(self)(*arguments, **options)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        still = "Controls: run this cell to move them. The figure beside them stays."  # for readers without widgets
        display({**self.view._repr_mimebundle_(), "text/plain": still}, raw=True)


class ImageButtons(widgets.ToggleButtons):
    """Choose one of several images: a button for each, with its image and name. `.value` is the name."""

    def __init__(self, images: Mapping[str, Image.Image], **options: Any) -> None:
        super().__init__(options=list(images), **options)
        own = f"coop-edu-{self.model_id}"
        self.add_class(own)
        rules = [
            f".{own} button {{background:white no-repeat center 4px / 56px !important;color:black !important;"
            "height:86px;width:96px;padding:60px 2px 0;line-height:22px;border:2px solid transparent}",
            f".{own} button.mod-active {{border-color:{BLUE};font-weight:bold}}",
        ]
        for number, image in enumerate(images.values(), start=1):
            url = "data:image/png;base64," + base64.b64encode(png_of(image)).decode()
            rules.append(f".{own} button:nth-of-type({number}) {{background-image:url({url}) !important}}")
        self.view = widgets.VBox([widgets.HTML(f"<style>{''.join(rules)}</style>", layout={"display": "none"}), self])


def png_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()


def wall(images: Sequence[Image.Image], marked: Sequence[bool] | None) -> Image.Image:
    """Images of SIDE - 12 pixels in a grid: marked ones have a frame; others are pale and crossed out."""
    page = Image.new("RGB", (COLUMNS * SIDE, SIDE * -(-len(images) // COLUMNS)), "white")
    draw = ImageDraw.Draw(page)
    for number, image in enumerate(images):
        x, y = number % COLUMNS * SIDE, number // COLUMNS * SIDE
        if marked is None or marked[number]:
            page.paste(image, (x + 6, y + 6))
            draw.rectangle((x + 2, y + 2, x + SIDE - 3, y + SIDE - 3), outline=RIGHT if marked else "#cccccc", width=3)
            continue
        page.paste(Image.blend(image, Image.new("RGB", image.size, "white"), 0.7), (x + 6, y + 6))
        draw.line((x + 6, y + SIDE - 7, x + SIDE - 7, y + 6), fill=GREY, width=2)
    return page
