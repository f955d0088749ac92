"""Every figure: one function, one figure, one message under it. Nothing is trained or evaluated in here.

A function takes plain numbers (or what the package returns) and returns a closed matplotlib Figure, so that a long
notebook keeps no open figures. It is shown as the last expression of a cell; anywhere else, call `display(figure)`.
`message` is the sentence that says what the figure shows; it stands under it.

architecture draws CLIP and CoOp as a whole, prompts what is learned and where it is used, boxes is what these two draw
with, curves accuracy against shots, comparisons choices side by side, training a
training, feature_map how classes move towards their images, predictions what CLIP makes of images, course the
notebooks; style has what all share.
"""

from coop_edu.plots.architecture import gradient_path, two_towers
from coop_edu.plots.comparisons import grouped_intervals, intervals, paired_dots, ranked_dots, slopes
from coop_edu.plots.course import NOTEBOOKS, map_of_notebooks
from coop_edu.plots.curves import accuracy_curves, accuracy_panels, text_table
from coop_edu.plots.feature_map import feature_map
from coop_edu.plots.predictions import (
    compare_answers,
    compare_wordings,
    show_images,
    show_probabilities,
    similarity_matrix,
)
from coop_edu.plots.prompts import base_to_new, cocoop, contexts
from coop_edu.plots.style import OKABE_ITO, STYLES, caption, new_figure, shown_name
from coop_edu.plots.training import training_curve, training_progress

__all__ = [
    "NOTEBOOKS", "OKABE_ITO", "STYLES", "accuracy_curves", "accuracy_panels", "base_to_new", "caption", "cocoop",
    "compare_answers", "compare_wordings", "contexts", "feature_map", "gradient_path",
    "grouped_intervals", "intervals", "map_of_notebooks", "new_figure", "paired_dots", "ranked_dots", "show_images",
    "show_probabilities", "shown_name", "similarity_matrix", "slopes", "text_table", "training_curve",
    "training_progress", "two_towers",
]  # fmt: skip
