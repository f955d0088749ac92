"""Every figure: one function, one figure, one message under it. Nothing is computed in here.

A function takes plain numbers (or what the package returns) and gives a matplotlib Figure that is already closed: as
the last expression of a cell it is shown once (anywhere else: `display(figure)`), and a long notebook keeps no open
figures. `message` is the sentence that reads the figure; it is drawn under it, and so travels with it.

architecture draws CLIP and CoOp as a whole, curves accuracies, training a training, diagrams how prompts are built,
predictions what CLIP makes of images; style is what all of them share.

Leaves out: the numbers (evaluate/, coop/trainer.py), what moves (teaching/widgets/).
"""

from coop_edu.plots.architecture import gradient_path, two_towers
from coop_edu.plots.curves import (
    accuracy_curves,
    accuracy_panels,
    domain_table,
    gain_bars,
    template_bars,
    text_table,
)
from coop_edu.plots.diagrams import (
    NOTEBOOKS,
    context_path,
    map_of_notebooks,
    positions_to_scale,
    prompt_layout,
)
from coop_edu.plots.predictions import compare_wordings, show_images, show_probabilities, similarity_matrix
from coop_edu.plots.style import OKABE_ITO, STYLES, caption, new_figure
from coop_edu.plots.training import training_curve, training_progress

__all__ = [
    "NOTEBOOKS",
    "OKABE_ITO",
    "STYLES",
    "accuracy_curves",
    "accuracy_panels",
    "caption",
    "compare_wordings",
    "context_path",
    "domain_table",
    "gain_bars",
    "gradient_path",
    "map_of_notebooks",
    "new_figure",
    "positions_to_scale",
    "prompt_layout",
    "show_images",
    "show_probabilities",
    "similarity_matrix",
    "template_bars",
    "text_table",
    "training_curve",
    "training_progress",
    "two_towers",
]
