"""Figures: drawn, closed, captioned, and showing the numbers they were given."""

from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from coop_edu import plots

matplotlib.use("Agg")

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(5)]
CURVES = {"zero-shot": {0: 58.8}, "CoOp": {1: [57, 59, 58], 16: [73, 74, 75]}, "mine": {1: 40.0, 16: 60.0}}
ROWS = {"zero-shot": {"IconNet": 80.0, "IconNet-R": 50.0}, "CoOp": {"IconNet": 85.0, "IconNet-R": 61.5}}
HISTORY = SimpleNamespace(loss=[2.0, 1.0, 0.5], accuracy=[10.0, 50.0, 90.0], lr=[1e-5, 0.002, 0.001])
PATH = torch.tensor(RNG.normal(size=(6, 4, 8)))

FIGURES = {
    "show_probabilities": lambda m: plots.show_probabilities(PICTURES[0], {"cat": 0.9, "dog": 0.1}, message=m),
    "compare_wordings": lambda m: plots.compare_wordings(
        PICTURES[0], {"{}": {"cat": 0.9, "dog": 0.1}, "a {}.": {"dog": 0.6, "cat": 0.4}}, truth="cat", message=m
    ),
    "show_images": lambda m: plots.show_images(PICTURES, list("abcde"), columns=3, message=m),
    "similarity_matrix": lambda m: plots.similarity_matrix(torch.rand(5, 3), PICTURES, list("abc"), message=m),
    "accuracy_curves": lambda m: plots.accuracy_curves(CURVES, message=m),
    "accuracy_panels": lambda m: plots.accuracy_panels({f"task {i}": CURVES for i in range(5)}, message=m),
    "training_curve": lambda m: plots.training_curve(HISTORY, message=m),
    "domain_table": lambda m: plots.domain_table(ROWS, source="IconNet", message=m),
    "template_bars": lambda m: plots.template_bars({"a {}": 50.0, "{}": 80.0}, message=m),
    "prompt_layout": lambda m: plots.prompt_layout(message=m),
    "context_path": lambda m: plots.context_path(PATH, {"a photo of a": PATH[0] + 1}, message=m),
}


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_closed_readable_and_captioned(name, recwarn):
    before = plt.get_fignums()
    figure = FIGURES[name]("This is what the picture says.")
    figure.canvas.draw()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == before
    assert figure.get_supxlabel() == "This is what the picture says."
    width, height = figure.get_size_inches()
    assert 3 <= width <= 13 and 1.5 <= height <= 12
    assert not [warning for warning in recwarn if "layout" in str(warning.message)]


def test_every_public_figure_is_tested():
    functions = {name for name in plots.__all__ if callable(getattr(plots, name))}
    assert functions - {"caption", "text_table", "map_of_notebooks"} == set(FIGURES)


def test_long_messages_are_wrapped():
    lines = plots.training_curve([1.0], message="word " * 80).get_supxlabel().splitlines()
    assert len(lines) > 3


def test_probabilities_are_sorted_cut_and_labelled():
    p = {"a": 0.1, "b": 0.6, "c": 0.3}
    shown = texts(plots.show_probabilities(PICTURES[0], p, truth="c", top=2))
    assert "60.0" in shown and "30.0" in shown and "c (true)" in shown and "a" not in shown


def test_curves_show_mean_and_population_std():
    axis = plots.accuracy_curves({"CoOp": {1: [50, 60], 2: [70, 70]}}).axes[0]
    assert list(axis.lines[0].get_ydata()) == [55, 70]
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (50, 70)


def test_methods_differ_by_more_than_colour():
    styles = list(plots.STYLES.values())
    for part in range(3):
        assert len({style[part] for style in styles}) == len(styles)


@pytest.mark.parametrize(
    ("position", "class_specific", "shared"),
    [("end", False, 5), ("middle", False, 3), ("front", False, 1), ("end", True, 1)],
)
def test_layout_shares_exactly_what_precedes_the_first_difference(position, class_specific, shared):
    figure = plots.prompt_layout(("cat", "dog"), n_ctx=4, position=position, class_specific=class_specific)
    sky = matplotlib.colors.to_rgba(plots.OKABE_ITO[2])
    boxes = [box for box in figure.axes[0].patches if box.get_facecolor() == sky]
    assert len(boxes) == 2 * shared


def test_one_similarity_is_written_in_each_cell():
    shown = texts(plots.similarity_matrix([[0.25, -0.5]], captions=["a", "b"]))
    assert "0.25" in shown and "-0.50" in shown


def test_map_marks_the_place():
    assert any("you are here" in text for text in texts(plots.map_of_notebooks("03")))
    assert not any("you are here" in text for text in texts(plots.map_of_notebooks()))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plots.show_images([]), "at least one picture"),
        (lambda: plots.show_images(PICTURES, ["one"]), "one title a picture"),
        (lambda: plots.similarity_matrix([1.0]), "shape"),
        (lambda: plots.similarity_matrix([[1.0]], captions=["a", "b"]), "as many captions"),
        (lambda: plots.context_path(PATH, {"a photo": torch.zeros(2, 8)}), "n_ctx"),
        (lambda: plots.prompt_layout(position="back"), "position"),
        (lambda: plots.map_of_notebooks("42"), "no notebook"),
        (lambda: plots.domain_table({"a": {"x": 1.0}, "b": {"y": 1.0}}), "in every row"),
    ],
)
def test_errors_teach(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_every_wording_has_its_own_bars_and_the_truth_is_marked():
    answers = {"{}": {"cat": 0.9, "dog": 0.1}, "a {}.": {"dog": 0.6, "cat": 0.4}}
    figure = plots.compare_wordings(PICTURES[0], answers, truth="cat", message="m")
    _, left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["cat (true)", "dog"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["dog", "cat (true)"]
    assert "“a {}.”" in texts(figure)
