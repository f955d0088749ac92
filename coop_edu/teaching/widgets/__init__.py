"""What moves: type a prompt, slide the temperature, draw, watch a training, with the numbers live.

A widget here is a small class: `compute` is a pure function of its arguments, `refresh` writes what it gives into an
HTML or Image widget, and `.observe` ties the two together. `interact` and `Output` are left alone, because they swallow
exceptions: an error here is an error in the cell. A notebook drives a widget in code as well (`explorer.template.value
= "..."`, then `explorer.result`), so that a test run covers what a reader's hand would do. What a hand can do with a
mouse it can do with the keyboard, and what stands in an image stands beside it as text.

Still figures are in plots/. A stored notebook shows no widget, so each has one beside it: `.figure()`.
"""

from coop_edu.teaching.widgets.domains import DomainExplorer
from coop_edu.teaching.widgets.drawing import DrawingExplorer
from coop_edu.teaching.widgets.live_training import LiveTraining
from coop_edu.teaching.widgets.parts import bars_html
from coop_edu.teaching.widgets.prompt_explorer import PromptExplorer
from coop_edu.teaching.widgets.seeds import SeedExplorer
from coop_edu.teaching.widgets.temperature import TemperatureExplorer
from coop_edu.teaching.widgets.weights import KgCoOpExplorer

__all__ = [
    "DomainExplorer",
    "DrawingExplorer",
    "KgCoOpExplorer",
    "LiveTraining",
    "PromptExplorer",
    "SeedExplorer",
    "TemperatureExplorer",
    "bars_html",
]
