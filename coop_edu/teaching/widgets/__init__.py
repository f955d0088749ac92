"""Interactive widgets: type a prompt, draw, watch a training, with live numbers.

A widget here is a small class: `compute` is a pure function of its arguments, `refresh` writes the result into an HTML
or Image widget, and `.observe` connects the two. `interact` and `Output` are not used, because they swallow exceptions:
an error here is an error in the cell. A notebook also drives a copy of each widget in code (`mine = explorer.copy()`,
`mine.template.value = "..."`, then `mine.result`), so that a test run covers it, and "Run all" leaves the reader's
widget alone. The keyboard can do what the mouse can do, and text beside an image says what it shows.

A stored notebook shows no widget, so each has a still figure from plots/ beside it: `.figure()`.
"""

from coop_edu.teaching.widgets.drawing import DrawingExplorer
from coop_edu.teaching.widgets.live_training import LiveTraining
from coop_edu.teaching.widgets.parts import bars_html
from coop_edu.teaching.widgets.prompt_explorer import PromptExplorer

__all__ = ["DrawingExplorer", "LiveTraining", "PromptExplorer", "bars_html"]
