"""Figures: drawn, closed, captioned, and showing the numbers they were given."""

import io
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from coop_edu import mean_and_interval, plots
from coop_edu.data.features import Features
from coop_edu.plots.style import png

matplotlib.use("Agg")

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(5)]
CURVES = {"hand-written": {0: 58.8}, "CoOp": {1: [57, 59, 58], 16: [73, 74, 75]}, "mine": {1: 40.0, 16: 60.0}}
ROWS = {"hand-written": {"IconNet": 80.0, "IconNet-R": 50.0}, "CoOp": {"IconNet": 85.0, "IconNet-R": 61.5}}
GROUPS = {"CoOp": {"A": (3.0, 1.0), "B": (-1.5, 2.0)}, "linear probe": {"A": (0.5, 1.0), "B": (-4.0, 2.0)}}
HISTORY = SimpleNamespace(loss=[2.0, 1.0, 0.5], accuracy=[10.0, 50.0, 90.0], lr=[1e-5, 0.002, 0.001])

BLOBS = Features(torch.eye(8)[torch.arange(12) % 3] + 0.05 * torch.rand(12, 8), torch.arange(12) % 3, tuple("abc"))
WAY = [torch.tensor(0.1 * RNG.normal(size=(3, 8)), dtype=torch.float32) for _ in range(4)] + [torch.eye(8)[:3]]

FIGURES = {
    "feature_map": lambda m: plots.feature_map(BLOBS, BLOBS, WAY, [0, 1, 2], message=m),
    "show_probabilities": lambda m: plots.show_probabilities(IMAGES[0], {"cat": 0.9, "dog": 0.1}, message=m),
    "compare_wordings": lambda m: plots.compare_wordings(
        IMAGES[0], {"{}": {"cat": 0.9, "dog": 0.1}, "a {}.": {"dog": 0.6, "cat": 0.4}}, truth="cat", message=m
    ),
    "show_images": lambda m: plots.show_images(IMAGES, list("abcde"), columns=3, message=m),
    "similarity_matrix": lambda m: plots.similarity_matrix(torch.rand(5, 3), IMAGES, list("abc"), message=m),
    "accuracy_curves": lambda m: plots.accuracy_curves(CURVES, message=m),
    "accuracy_panels": lambda m: plots.accuracy_panels({f"task {i}": CURVES for i in range(5)}, message=m),
    "training_curve": lambda m: plots.training_curve(HISTORY, message=m),
    "training_progress": lambda m: plots.training_progress(
        HISTORY, {1: 50.0, 3: 70.0}, epochs=5, beat=60.0, chance=1.1, title="a title", message=m
    ),
    "ranked_dots": lambda m: plots.ranked_dots({"a {}": 50.0, "{}": 80.0}, message=m),
    "grouped_intervals": lambda m: plots.grouped_intervals(GROUPS, zero="hand-written", message=m),
    "compare_answers": lambda m: plots.compare_answers(
        IMAGES[:2], {"{}": ["cat", "dog"], "a {}.": ["cat", "cat"]}, ["cat", "dog"], message=m
    ),
    "slopes": lambda m: plots.slopes({"M = 1": [50.0, 55.0], "M = 4": [53.0, 54.0]}, message=m),
    "paired_dots": lambda m: plots.paired_dots({"IconFood": {"hand-written": 57.0, "CoOp": [60.0, 62.0]}}, message=m),
    "intervals": lambda m: plots.intervals({"IconFood": (3.0, 1.0), "IconArrows": (-1.5, 2.0)}, message=m),
    "gradient_path": lambda m: plots.gradient_path(["cat", "dog", "key"], IMAGES[0], message=m),
    "contexts": lambda m: plots.contexts(["cat", "dog", "key"], message=m),
    "base_to_new": lambda m: plots.base_to_new(["cat", "dog"], ["key", "tree"], [IMAGES[:2], IMAGES[2:4]], message=m),
    "cocoop": lambda m: plots.cocoop(IMAGES[:2], ["cat", "dog", "key"], message=m),
    "two_towers": lambda m: plots.two_towers(IMAGES[:3], list("abc"), message=m),
}
DIAGRAMS = {"gradient_path", "contexts", "base_to_new", "cocoop"}  # of what is learned


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_closed_readable_and_captioned(name, recwarn):
    before = plt.get_fignums()
    figure = FIGURES[name]("This is what the figure says.")
    figure.canvas.draw()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == before
    assert figure.message == "This is what the figure says."
    width, height = figure.get_size_inches()
    assert 3 <= width <= 9.3 and 1.5 <= height <= 12
    assert not [warning for warning in recwarn if "layout" in str(warning.message)]


def test_every_public_figure_is_tested():
    functions = {name for name in plots.__all__ if callable(getattr(plots, name))}
    assert functions - {"caption", "text_table", "map_of_notebooks", "new_figure", "shown_name"} == set(FIGURES)


def shown(figure, monkeypatch):
    """What a notebook gets: [(data, metadata), ...]."""
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata=None, raw=False: outputs.append((data, metadata))
    )
    figure._ipython_display_()
    return outputs


def test_a_figure_shows_itself_sharp_and_described_and_its_message_as_text(monkeypatch):
    figure = plots.training_curve([2.0, 1.0], message="From “a_{}*” to\n  1.0.")
    (image, described), (message, _) = shown(figure, monkeypatch)
    assert described["image/png"]["alt"] == image["text/plain"] == "From “a_{}*” to 1.0."
    pixels = Image.open(io.BytesIO(image["image/png"]))
    assert pixels.width == pytest.approx(2 * described["image/png"]["width"], abs=2)
    assert pixels.width == pytest.approx(2 * 96 * figure.get_figwidth(), rel=0.05)  # the edge is cut where it is empty
    assert message["text/markdown"] == r"*Figure.* From “a\_{}\*” to 1.0."  # a class name is not Markdown


def test_the_few_colours_of_a_stored_image_are_enough():
    figure = plots.similarity_matrix(np.linspace(-1, 1, 100).reshape(10, 10))
    exact = io.BytesIO()
    figure.savefig(exact, format="png", dpi=100, bbox_inches="tight")
    stored = Image.open(io.BytesIO(png(figure, dpi=100)))
    difference = np.abs(np.asarray(stored.convert("RGB"), float) - np.asarray(Image.open(exact).convert("RGB"), float))
    assert difference.mean() < 2 and len(png(figure, dpi=100)) < len(exact.getvalue()) / 1.5


def test_no_figure_is_wider_than_a_laptop_shows():
    for name, draw in FIGURES.items():
        assert draw("").get_figwidth() <= 9.3, name


def test_probabilities_are_sorted_cut_and_labelled():
    p = {"a": 0.1, "b": 0.6, "c": 0.3}
    shown = texts(plots.show_probabilities(IMAGES[0], p, truth="c", top=2))
    assert "60 %" in shown and "30 %" in shown and "✓ c" in shown and "a" not in shown


def test_curves_show_mean_and_interval():
    axis = plots.accuracy_curves({"CoOp": {1: [50, 60], 2: [70, 70], 4: [71]}}).axes[0]
    assert list(axis.lines[0].get_ydata()) == [55, 70, 71]
    bar = axis.collections[0].get_segments()[0][:, 1]
    half = mean_and_interval([50, 60])[1]
    assert (bar.min(), bar.max()) == pytest.approx((55 - half, 55 + half))
    panel = plots.accuracy_panels({"A": {"CoOp": {1: [50, 60], 2: [70, 70], 4: [71]}}}).axes[0]
    band = panel.collections[0].get_paths()[0].vertices[:, 1]  # not at 4, where one value has no interval
    assert (band.min(), band.max()) == pytest.approx((55 - half, 55 + half))


def test_bars_of_several_methods_stand_apart():
    left, right = plots.accuracy_curves({"CoOp": {1: [50, 60]}, "linear probe": {1: [50, 60]}}).axes[0].lines
    assert left.get_xdata()[0] < 0 < right.get_xdata()[0]


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_the_legend_of_panels_is_inside_the_figure(columns):
    methods = [*plots.STYLES, "CoOp, M=4, name in the middle, class-specific", "KgCoOp, M=4 from words, weight=4"]
    for names in (methods[:4], methods):
        curves = {name: {1: 40.0, 16: 60.0} for name in names}
        figure = plots.accuracy_panels({f"task {i}": curves for i in range(columns)})
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box, panel = legend.get_window_extent(), figure.axes[0].get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert panel.height > 80 and panel.y1 < box.y0  # pixels: there is room for the curves


def test_a_method_has_one_style_whatever_is_drawn_beside_it():
    def look(figure):
        return {line.get_label(): (line.get_color(), line.get_marker()) for line in figure.axes[0].lines}

    points = {1: 40.0, 16: 60.0}
    for label in ("CoOp, M=4", "mine, weight=4"):
        alone = look(plots.accuracy_curves({label: points}))[label]
        beside = look(plots.accuracy_panels({"A": {"CoOp": points, "CoOp, M=2": points, label: points}}))[label]
        assert alone == beside
    both = look(plots.accuracy_curves({"CoOp": points, "CoOp (paper)": points}))
    assert both["CoOp, M=16"] == both["CoOp, M=16 (paper)"]


def test_the_number_of_vectors_is_in_every_figure_of_the_papers_coop():
    figures = [
        plots.accuracy_curves(CURVES), plots.accuracy_panels({"A": CURVES}),
        plots.paired_dots({"A": {"CoOp": 1.0}}), plots.grouped_intervals(GROUPS), plots.intervals({"CoOp": (1.0, 0.5)}),
    ]  # fmt: skip
    for figure in figures:
        assert "CoOp, M=16" in texts(figure) and "CoOp" not in texts(figure)
    assert plots.text_table(ROWS).splitlines()[2].split("  ")[0] == "CoOp, M=16"


def test_what_the_reader_learns_is_told_from_the_librarys_by_colour_and_dashes():
    curves = {"CoOp": {1: 40.0, 16: 60.0}, "CoOp, your own": {1: 41.0, 16: 59.0}}
    library, own = plots.accuracy_curves(curves).axes[0].lines
    assert library.get_linestyle() == "-" and own.get_linestyle() == "--"
    assert library.get_color() != own.get_color()


def test_the_legend_of_curves_is_above_them():
    figure = plots.accuracy_curves(CURVES, title="a title")
    figure.draw_without_rendering()
    (legend,), (axis,) = figure.legends, figure.axes
    box = legend.get_window_extent()
    assert box.y0 > axis.title.get_window_extent().y1 and figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


def test_every_formula_is_typeset_and_no_class_name_is():
    """Text with a backslash in it is a formula of ours; one with a mere $ is somebody's class name."""
    for name, draw in FIGURES.items():
        figure = draw("")
        figure.canvas.draw()
        for text in figure.findobj(matplotlib.text.Text):
            if text.get_text().startswith("$"):
                assert text.get_parse_math(), f"{name} would show {text.get_text()}"
    figure, axis = plots.new_figure(4.0, 3.0)
    axis.semilogx([0.01, 100], [0, 1])
    powers = [label for label in plots.caption(figure, "").axes[0].get_xticklabels() if label.get_text()]
    assert powers and all(label.get_parse_math() for label in powers)
    for figure in (plots.gradient_path(["$5 and $6"], IMAGES[0]), plots.two_towers(IMAGES[:1], ["$5 and $6"])):
        (name,) = [text for text in figure.findobj(matplotlib.text.Text) if "$5" in text.get_text()]
        assert not name.get_parse_math()


def error_bars(figure):
    """The ends of each, along the axis of values."""
    ends = [line.get_segments()[0] for axis in figure.axes for line in axis.collections]
    return sorted(tuple(sorted({round(float(x), 6) for x in np.ptp(end, axis=0) if x})) for end in ends)


def test_bars_over_seeds_have_a_mean_and_an_error_bar():
    ranked = plots.ranked_dots({"CoOp": [84.0, 86.0, 85.0], "hand-written": 80.0}, message="m")
    (length,) = error_bars(ranked)  # hand-written has one number, and so none
    assert length == pytest.approx((2 * mean_and_interval([84, 86, 85])[1],), abs=1e-5)
    assert "85.0" in texts(ranked)
    dots = plots.paired_dots({"IconFood": {"CoOp": [84.0, 86.0, 85.0], "hand-written": 80.0}}, message="m")
    assert error_bars(dots) == [pytest.approx((2 * mean_and_interval([84, 86, 85])[1],), abs=1e-5)]
    assert error_bars(plots.intervals({"IconFood": (3.0, 0.5), "IconArrows": (1.0, 2.0)})) == [(1.0,), (4.0,)]


def test_a_line_for_each_seed_and_one_for_the_mean():
    *seeds, mean = plots.slopes({"end": [50.0, 60.0], "front": [54.0, 58.0]}).axes[0].lines
    assert [list(line.get_ydata()) for line in seeds] == [[50, 54], [60, 58]] and list(mean.get_ydata()) == [55, 56]


def test_the_means_stand_above_the_lines_that_would_cross_them():
    figure = plots.slopes({"end": [50.0, 60.0], "front": [54.0, 58.0]})
    figure.draw_without_rendering()
    (axis,) = figure.axes
    means = [text for text in axis.texts if text.get_text() in ("mean 55.0", "mean 56.0")]
    assert len(means) == 2 and all(text.get_window_extent().y0 >= axis.bbox.y1 for text in means)


def test_an_interval_that_reaches_zero_is_hollow_and_grey():
    clear, close = plots.intervals({"IconFood": (3.0, 1.0), "IconArrows": (-1.5, 2.0)}).axes[0].containers
    assert clear.lines[0].get_color() == clear.lines[0].get_markerfacecolor() == plots.style.BLACK
    assert (close.lines[0].get_color(), close.lines[0].get_markerfacecolor()) == (plots.style.GREY, "white")


def test_intervals_of_several_methods_have_their_colours_and_are_hollow_at_zero():
    figure = plots.grouped_intervals(GROUPS, zero="hand-written")
    found = [(bar.lines[0].get_color(), bar.lines[0].get_markerfacecolor()) for bar in figure.axes[0].containers]
    blue, grey = plots.style.BLUE, plots.style.GREY
    assert found == [(blue, blue), (blue, "white"), (grey, "white"), (grey, grey)]
    assert "hand-written" in texts(figure)


@pytest.mark.parametrize("name", ["intervals", "ranked_dots"])
def test_numbers_stand_right_of_the_lines_that_would_cross_them(name):
    figure = FIGURES[name]("m")
    figure.draw_without_rendering()
    (axis,) = figure.axes
    boxes = [text.get_window_extent() for text in axis.texts]
    assert len(boxes) >= 2 and all(axis.bbox.x1 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    ends = [round(box.x1) for box in boxes]
    assert len(set(ends)) == len(ends) // 2  # in columns: two rows


def test_the_highlighted_dot_tells_a_learned_prompt_from_a_written_one():
    for learned, colour in ((True, plots.style.BLUE), (False, plots.style.BLACK)):
        axis = plots.ranked_dots({"a {}": 50.0, "{}": 80.0}, highlight="a {}", learned=learned).axes[0]
        assert [bar.lines[0].get_color() for bar in axis.containers] == [plots.style.BAR, colour]
        names = axis.get_yticklabels()
        assert [name.get_text() for name in names] == ["{}", "▸ a {}"] and names[1].get_fontweight() == "bold"


def test_answers_stand_below_their_image_with_a_verdict():
    figure = plots.compare_answers(IMAGES[:2], {"{}": ["cat", "cat"]}, ["cat", "dog"])
    assert {"✓ cat", "✗ cat", "“{}”"} <= set(texts(figure))
    with pytest.raises(ValueError, match="longer than"):
        plots.compare_answers(IMAGES[:2], {"{}": ["cat"]}, ["cat", "dog"])


def test_one_colour_means_one_thing_in_every_figure():
    """A bar is light blue, or green where it is the right class; purple is only in diagrams, and is what is learned."""
    colour = matplotlib.colors.to_hex
    bars = {
        colour(patch.get_facecolor())
        for name in ("show_probabilities", "compare_wordings")
        for axis in FIGURES[name]("m").axes
        for patch in axis.patches
    }
    assert bars == {plots.style.BAR.lower(), plots.style.RIGHT.lower()}
    for name, draw in FIGURES.items():
        drawn = io.BytesIO()
        draw("m").savefig(drawn, format="svg")
        assert (plots.style.LEARNED.lower() in drawn.getvalue().decode().lower()) == (name in DIAGRAMS), name
    assert plots.style.LEARNED not in {colour for colour, _ in plots.STYLES.values()}


def test_methods_differ_by_more_than_colour():
    colours, markers = zip(*plots.STYLES.values())
    assert len(set(colours)) == len(set(markers)) == len(plots.STYLES)


def test_one_similarity_is_written_in_each_cell():
    shown = texts(plots.similarity_matrix([[0.25, -0.5]], captions=["a", "b"]))
    assert "0.25" in shown and "-0.50" in shown


def test_map_links_the_notebooks_and_marks_the_place():
    here, nowhere = plots.map_of_notebooks("03").data, plots.map_of_notebooks().data
    assert here.count("you are here") == 1 and "(03_prompt_learner.ipynb)" not in here
    assert "you are here" not in nowhere
    assert all(f"({file}.ipynb)" in nowhere and question in nowhere for file, _, question in plots.NOTEBOOKS)


def test_rows_of_images_have_names():
    assert "first" in texts(plots.show_images(IMAGES, rows=["first", "second"], columns=3))


def test_matrices_side_by_side_share_one_colour_scale():
    figure = plots.similarity_matrix({"before": [[0.1, 0.0]], "after": [[0.9, -0.4]]})
    assert [axis.images[0].get_clim() for axis in figure.axes[:2]] == [(-0.9, 0.9)] * 2
    assert [axis.get_title() for axis in figure.axes[:2]] == ["before", "after"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plots.show_images([]), "at least one image"),
        (lambda: plots.show_images(IMAGES, ["one"]), "is shorter than"),
        (lambda: plots.similarity_matrix([[1.0]], captions=["a", "b"]), "labels"),
    ],
)
def test_errors_teach(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_map_shows_images_and_classes_where_they_are():
    """The images do not move; a class that ends at the mean of its images is drawn among them, and all are right."""
    figure = plots.feature_map(BLOBS, BLOBS, WAY, [2, 0], message="m")
    panels = figure.axes
    assert len({(*panel.get_xlim(), *panel.get_ylim()) for panel in panels}) == 1
    dots = [[c.get_offsets().data for c in panel.collections if len(c.get_offsets()) == 4] for panel in panels]
    assert all(len(of_panel) == 2 for of_panel in dots)
    for later in dots[1:]:
        assert all(np.allclose(a, b) for a, b in zip(dots[0], later))
    drawn = BLOBS.labels != 1
    answers = torch.tensor([2, 0])[(BLOBS.image_features[drawn] @ WAY[0][[2, 0]].T).argmax(dim=1)]
    before = 100 * (answers == BLOBS.labels[drawn]).double().mean()
    assert panels[0].get_title() == f"before: {before:.0f} % right"
    assert panels[1].get_title() == "after 4 epochs: 100 % right"
    ends = [[c.get_offsets().data[0] for c in panel.collections if len(c.get_offsets()) == 1] for panel in panels]
    for own, other, end in zip(dots[1], dots[1][::-1], ends[1]):
        assert np.linalg.norm(end - own.mean(axis=0)) < np.linalg.norm(end - other.mean(axis=0))
    for now, panel in zip(ends, panels):  # a ray from the centre, where the axes cross
        assert sum(panel.get_xlim()) == sum(panel.get_ylim()) == 0
        rays = [ray.get_xydata() for ray in panel.lines if len(ray.get_xdata())]
        assert np.allclose([ray[0] for ray in rays], 0) and np.allclose([ray[-1] for ray in rays], now)


def test_every_wording_has_its_own_bars_and_the_truth_is_marked():
    answers = {"{}": {"cat": 0.9, "dog": 0.1}, "a {}.": {"dog": 0.6, "cat": 0.4}}
    figure = plots.compare_wordings(IMAGES[0], answers, truth="cat", message="m")
    _, left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["✓ cat", "dog"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["dog", "✓ cat"]
    assert {"“a {}.”", "✓ cat", "✗ dog"} <= {text.strip() for text in texts(figure)}
    assert left.get_xlim() == right.get_xlim() and max(left.get_xticks()) == 100


def test_wordings_with_short_bars_share_a_finer_axis():
    answers = {"{}": {"cat": 0.3, "dog": 0.1}, "a {}.": {"dog": 0.4, "cat": 0.2}}
    _, left, right = plots.compare_wordings(IMAGES[0], answers).axes
    assert left.get_xlim() == right.get_xlim() and max(left.get_xticks()) == 50


def test_two_towers_has_a_cell_for_each_pair_and_marks_those_that_belong_together():
    images = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 100, 200)]
    figure = plots.two_towers(images, ["a cat", "a dog", "a key"], message="pairs")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert sum(r"\cdot" in word for word in words) == 9 and "a dog" in words
    bold = [patch for patch in figure.axes[0].patches if patch.get_linewidth() == 2]
    assert len(bold) == 3
    with pytest.raises(ValueError, match="is shorter than"):
        plots.two_towers(images, ["a cat"])


def learned_boxes(figure):
    return [patch for patch in figure.axes[0].patches if patch.get_linewidth() == 2]


def test_gradient_path_has_a_prompt_for_each_class_and_one_context_for_all():
    names = ["hot air balloon", "key", "tree"]
    figure = plots.gradient_path(names, IMAGES[0])
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count("SOS") == words.count("EOT") == 3
    assert {"hot air\nballoon", "key", "tree"} <= set(words)
    assert sum(word.startswith(r"$\mathbf{v}") for word in words) == 3  # v_1, v_2 ... v_M, and dots between
    assert len(learned_boxes(figure)) == 4
    backward = [text for text in figure.axes[0].texts if isinstance(text, matplotlib.text.Annotation)]
    arrive = [arrow for arrow in backward if arrow.xy[0] < 2.2 < arrow.xyann[0]]
    assert len(arrive) == 3 and len({arrow.xy[0] for arrow in arrive}) == 1


def test_class_specific_contexts_differ_in_shade_and_index_and_unified_ones_do_not():
    figure = plots.contexts(["cat", "dog", "key"])
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count(r"$\mathbf{v}_1$") == 3
    assert [words.count(rf"$\mathbf{{v}}^{{\,{i}}}_1$") for i in (1, 2, 3)] == [1, 1, 1]
    left, right = (
        {box.get_facecolor() for box in learned_boxes(figure) if (box.get_x() > 4) == side} for side in (0, 1)
    )
    assert len(left) == 1 and len(right) == 3


def test_cocoop_has_the_prompts_of_coop_and_those_of_each_image():
    words = texts(plots.cocoop(IMAGES[:2], ["cat", "dog"]))
    assert words.count("cat") == 3
    assert [words.count(rf"$\mathbf{{v}}_1{shift}$") for shift in ("", r"\!+\!\mathbf{h}_1", r"\!+\!\mathbf{h}_2")] == [
        1
    ] * 3


def test_base_to_new_shows_images_of_the_base_classes_alone():
    figure = plots.base_to_new(["cat", "dog"], ["key", "tree"], [IMAGES[:2], IMAGES[2:4]], shots=8)
    assert len([axis for axis in figure.findobj(matplotlib.axes.Axes) if axis.images]) == 4
    assert {"cat", "tree", "8 labelled images of each", "only the names, no image"} <= set(texts(figure))


@pytest.mark.parametrize("name", sorted(DIAGRAMS))
def test_no_words_of_a_diagram_overlap_or_leave_it(name):
    figure = FIGURES[name]("")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    for place, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0, name
        assert not any(box.overlaps(other) for other in boxes[:place]), name


def test_answers_of_methods_have_their_names_and_those_of_templates_quotation_marks():
    words = texts(plots.compare_answers(IMAGES[:1], {"CoOp": ["cat"], "a {}.": ["cat"]}, ["cat"]))
    assert {"CoOp, M=16", "“a {}.”"} <= set(words)


def test_a_long_word_at_the_edge_is_not_cut_off():
    answers = {"{}": {"a hot air balloon over a magnifying glass": 0.7, "b": 0.3}}
    figure = plots.compare_wordings(np.zeros((8, 8)), answers, truth="a hot air balloon over a magnifying glass")
    drawn = np.asarray(Image.open(io.BytesIO(png(figure, dpi=60))).convert("L"))
    assert (drawn[:, [0, -1]] > 240).all() and (drawn < 240).any()


def test_the_true_class_is_always_to_be_seen():
    p = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    shown = texts(plots.show_probabilities(IMAGES[0], p, truth="d", top=2))
    assert "✓ d" in shown and "a" in shown and "b" not in shown


@pytest.mark.parametrize("methods", [1, 2, 4, 6])
def test_the_intervals_of_a_group_stay_at_its_place(methods):
    groups = {f"method {n}": {place: (1.0, 0.5) for place in ("a", "b")} for n in range(methods)}
    axis = plots.grouped_intervals(groups).axes[0]
    drawn = [x for bars in axis.containers for x in bars[0].get_xdata()]
    assert len(drawn) == 2 * methods and sorted(round(x) for x in drawn) == [0] * methods + [1] * methods
    assert all(abs(x - round(x)) < 0.48 for x in drawn)
