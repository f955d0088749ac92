"""What all figures share: colours, the style of each method, the message under the figure, small drawing helpers.

A figure of the package shows itself as a sharp image, and its message under it as text, not as pixels: it can be
searched, enlarged and read aloud, and it is the image's description for programs that look for one.

Colours are Okabe and Ito's, or Tol's, which colour-blind readers can tell apart. They never stand alone: markers,
hatches or direct labels say the same. One colour means one thing in every figure: a method has its own (STYLES), a bar
that is no method is light blue, and purple is what a figure is about: the learned vectors, the marked bar.

Leaves out: the figures (predictions.py, curves.py, diagrams.py).
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Sequence, Sized
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from coop_edu.data.images import load_image
from coop_edu.evaluate.seeds import mean_and_std

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = OKABE_ITO = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
TEAL, WINE, OLIVE, INDIGO, ROSE = OTHERS = "#44AA99", "#882255", "#999933", "#332288", "#CC6677"  # Tol's
GREY = "#767676"
FORMULA = "formula"  # the gid of a text that matplotlib is to typeset, as no other is
SCREEN = 96  # pixels an inch, as a browser counts them
ENOUGH = 1400  # pixels across: up to here an image has twice as many as it is shown with, for a fine screen
PAPER = " (paper)"  # ends the label of the published curve of a method
STYLES = {  # label of a method: (colour, marker, hatch), the same in every figure
    "zero-shot": (BLACK, "*", ""),
    "linear probe": (GREY, "s", "//"),
    "CoOp": (BLUE, "o", ".."),
    "CoOp, class-specific": (VERMILION, "^", "xx"),
    "KgCoOp": (GREEN, "D", "\\\\"),
    "CoCoOp": (ORANGE, "v", "--"),
    "CoOp, M=4": (TEAL, "P", "++"),
    "CoOp, name in the middle": (WINE, "X", "||"),
    "CoOp, M=4 from words": (OLIVE, "h", "oo"),
}
BAR, MARKED = SKY, PURPLE


def caption(figure: Figure, message: str) -> Figure:
    """Give `figure` its message: the sentence that reads the figure, and that a notebook shows as text under it.

    >>> figure, axes = new_figure(4.0, 3.0)
    >>> caption(figure, "The loss halves.").message
    'The loss halves.'
    """
    more: Any = figure  # matplotlib's class knows neither of these two
    more.message = " ".join(message.split())
    more._ipython_display_ = lambda: _show(figure, more.message)  # IPython asks an object for this name first
    texts: Any = figure.findobj(Text)
    for text in texts:  # a class name with $ in it is no formula; the powers of ten on a logarithmic axis are
        ours = text.get_gid() == FORMULA or r"\mathdefault" in text.get_text()
        text.set_parse_math(ours or "$" not in text.get_text())
    return figure


def _show(figure: Figure, message: str) -> None:
    from IPython.display import display

    width = round(figure.get_figwidth() * SCREEN)
    data = png(figure, dpi=SCREEN * min(2, ENOUGH / width))
    described = {"image/png": {"width": width, "alt": message}}
    text = message or repr(figure)
    display({"image/png": data, "text/plain": text}, metadata=described, raw=True)
    if message:
        plain = re.sub(r"([\\`*_\[\]<>$|~#])", r"\\\1", message)  # a class name is not Markdown
        display({"text/markdown": f"*Figure.* {plain}", "text/plain": f"Figure. {text}"}, raw=True)


def png(figure: Figure, dpi: float) -> bytes:
    """The figure as the bytes of a PNG file, with at most 128 colours: a third of the size, no difference to see."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)
    plt.close(figure)  # it stays usable; only pyplot forgets it
    return figure, axes


def some(values: Sized, what: str) -> None:
    """ValueError where there is nothing to show.

    >>> some({}, "method")
    Traceback (most recent call last):
    ...
    ValueError: expected at least one method to show, got none
    """
    if not len(values):
        raise ValueError(f"expected at least one {what} to show, got none")


def draw_image(axis: Axes, image: Any, title: str = "") -> None:
    axis.imshow(load_image(getattr(image, "image", image)))
    axis.set_xticks([])
    axis.set_yticks([])
    if title:
        axis.set_title(title, fontsize=9)


def draw_bars(
    axis: Axes,
    names: Sequence[str],
    values: Sequence[float | Sequence[float]],
    colours: Sequence[str],
    limit: float = 100,
    write: Callable[[float], str] = "{:.1f}".format,
) -> None:
    """Bars from 0 to `limit`, first on top, each with its value as `write` words it; over seeds, mean and one std."""
    numbers = [mean_and_std(value) for value in values]
    bars = axis.barh(range(len(names)), [mean for mean, _ in numbers], color=colours)
    for row, (mean, std) in enumerate(numbers):
        if std:
            axis.errorbar(mean, row, xerr=std, color=BLACK, linewidth=1, capsize=2.5)
        axis.annotate(
            write(mean), (mean + std, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9.5
        )
    axis.set_yticks(range(len(bars)), names)
    axis.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.13 * limit), xticks=np.linspace(0, limit, 6))
    axis.spines["bottom"].set_bounds(0, limit)
    tidy(axis, grid="x")


def whole_percent(value: float) -> str:
    """A probability as people say it.

    >>> whole_percent(31.6), whole_percent(0.2), whole_percent(0.0)
    ('32 %', '< 1 %', '< 1 %')
    """
    return f"{value:.0f} %" if value >= 1 else "< 1 %"


def style_of(label: str) -> tuple[str, str, str]:
    """The style of a method: from the table, or else from its label alone, whatever is drawn beside it.

    The published curve of a method has the method's own style; it is drawn dashed.
    """
    label = label.removesuffix(PAPER)
    number = zlib.crc32(label.encode())
    markers, hatches = ("p", "H", "<", ">", "d", "8"), ("///", "...", "**", "\\\\\\", "xxx", "OO")
    pick = number // len(OTHERS) % len(markers)
    return STYLES.get(label, (OTHERS[number % len(OTHERS)], markers[pick], hatches[pick]))


def tidy(axis: Axes, grid: Literal["x", "y", "both"] = "both") -> None:
    """No frame, and faint lines where values are read: across bars, not along them."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)


def as_array(values: Any) -> np.ndarray:
    return values.detach().cpu().float().numpy() if hasattr(values, "detach") else np.asarray(values)
