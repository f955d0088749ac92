"""Shared by all figures: colours, the style of each method, the message under the figure, small drawing helpers.

A figure is shown as a sharp image, with its message under it as text, so that it can be searched, enlarged and read
aloud. The message is also the image's description for screen readers.

Colours are those of Okabe and Ito, and of Tol, which colour-blind readers can tell apart; markers or labels
repeat what they say. A colour means the same in every figure: each method has its own (STYLES); other bars and dots are
light blue; among probabilities the right class is green, and has a ✓; purple means the learned vectors and their
gradient, and nothing else. An interval is filled and black where it does not reach zero, hollow and grey where it does.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Sized
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from coop_edu.data.images import load_image

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = OKABE_ITO = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
TEAL, WINE, OLIVE, INDIGO, ROSE = OTHERS = "#44AA99", "#882255", "#999933", "#332288", "#CC6677"  # Tol's
GREY = "#767676"
FORMULA = "formula"  # the gid of the texts that matplotlib typesets as formulas
SCREEN = 96  # pixels per inch in a browser
ENOUGH = 1400  # pixels; up to this width a stored image has twice the resolution, for sharp screens
PAPER = " (paper)"  # ends the label of a method's published curve
DASHED = (PAPER, ", your own")  # the ends of labels whose curves are dashed
STYLES = {  # label of a method: (colour, marker), the same in every figure
    "hand-written": (BLACK, "*"),
    "bare name": (INDIGO, "d"),
    "linear probe": (GREY, "s"),
    "CoOp": (BLUE, "o"),  # M=16, as `shown_name` says in a figure
    "CoOp, class-specific": (VERMILION, "^"),
    "KgCoOp": (GREEN, "D"),
    "CoCoOp": (ORANGE, "v"),
    "CoOp, M=4": (TEAL, "P"),
    "CoOp, name in the middle": (WINE, "X"),
    "CoOp, M=4 from words": (OLIVE, "h"),
    "CoOp, your own": (ROSE, "p"),
}
BAR, RIGHT, LEARNED = SKY, GREEN, PURPLE


def caption(figure: Figure, message: str) -> Figure:
    """Give `figure` its message, the sentence that a notebook shows as text under it.

    >>> figure, axes = new_figure(4.0, 3.0)
    >>> caption(figure, "The loss halves.").message
    'The loss halves.'
    """
    more: Any = figure  # the two attributes are not in matplotlib's class
    more.message = " ".join(message.split())
    more._ipython_display_ = lambda: _show(figure, more.message)  # IPython calls this method to show an object
    texts: Any = figure.findobj(Text)
    for text in texts:  # a class name may contain $; powers of ten on a logarithmic axis are formulas
        ours = text.get_gid() == FORMULA or r"\mathdefault" in text.get_text()
        text.set_parse_math(ours or "$" not in text.get_text())
    return figure


def _show(figure: Figure, message: str) -> None:
    from IPython.display import display

    width = figure.get_figwidth() * SCREEN
    scale = min(2, ENOUGH / width)
    data = png(figure, dpi=SCREEN * scale)
    width = round(Image.open(io.BytesIO(data)).width / scale)  # what was drawn may be wider than planned
    described = {"image/png": {"width": width, "alt": message}}
    text = message or repr(figure)
    display({"image/png": data, "text/plain": text}, metadata=described, raw=True)
    if message:
        plain = re.sub(r"([\\`*_\[\]<>$|~#])", r"\\\1", message)  # a class name may contain Markdown
        display({"text/markdown": f"*Figure.* {plain}", "text/plain": f"Figure. {text}"}, raw=True)


def png(figure: Figure, dpi: float) -> bytes:
    """The figure as the bytes of a PNG file with at most 128 colours: a third of the size, and it looks the same."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight")  # else long words at the edge are cut off
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A closed figure of so many inches, and its axes."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)
    plt.close(figure)  # only pyplot forgets it; it can still be drawn on
    return figure, axes


def check_not_empty(values: Sized, what: str) -> None:
    """ValueError if there is nothing to draw: matplotlib would draw empty axes.

    >>> check_not_empty({}, "method")
    Traceback (most recent call last):
    ...
    ValueError: expected at least one method to show
    """
    if not len(values):
        raise ValueError(f"expected at least one {what} to show")


def draw_image(axis: Axes, image: Any, title: str = "") -> None:
    axis.imshow(load_image(getattr(image, "image", image)))
    axis.set_xticks([])
    axis.set_yticks([])
    if title:
        axis.set_title(title, fontsize=9)


def whole_percent(value: float) -> str:
    """A probability in words.

    >>> whole_percent(31.6), whole_percent(0.2), whole_percent(0.0)
    ('32 %', '< 1 %', '< 1 %')
    """
    return f"{value:.0f} %" if value >= 1 else "< 1 %"


def style_of(label: str) -> tuple[str, str]:
    """The style of a method: from STYLES, otherwise from a hash of its label, so that it is the same in every figure.

    The published curve of a method has the same style, but is dashed.
    """
    label = label.removesuffix(PAPER)
    number = zlib.crc32(label.encode())
    markers = "p", "H", "<", ">", "d", "8"
    return STYLES.get(label, (OTHERS[number % len(OTHERS)], markers[number // len(OTHERS) % len(markers)]))


def shown_name(label: str) -> str:
    """The name of a method in figures and tables: the paper's CoOp is shown with its number of vectors.

    >>> shown_name("CoOp"), shown_name("CoOp (paper)"), shown_name("CoOp, M=4")
    ('CoOp, M=16', 'CoOp, M=16 (paper)', 'CoOp, M=4')
    """
    return label.replace("CoOp", "CoOp, M=16") if label in ("CoOp", f"CoOp{PAPER}") else label


def tidy(axis: Axes, grid: Literal["x", "y", "both"] = "both") -> None:
    """Remove the frame, and draw faint grid lines."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)


def as_array(values: Any) -> np.ndarray:
    return values.detach().cpu().float().numpy() if hasattr(values, "detach") else np.asarray(values)
