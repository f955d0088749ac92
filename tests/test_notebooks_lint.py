"""Every notebook keeps the contract, and every rule of the contract can fail."""

import copy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from coop_edu import plots

from notebook_lint import DIAL, GUARD, problems, unexplained

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("**/*.ipynb"))
NOTEBOOKS = [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts]


def test_the_notebooks_are_the_ones_on_the_map():
    assert [path.stem for path in NOTEBOOKS] == [file for file, _, _ in plots.NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_contract(path):
    assert problems(path) == []


def test_the_notebooks_are_clean_for_nbstripout_too():
    keys = "metadata.widgets cell.metadata.execution"
    command = ["nbstripout", "--verify", "--keep-output", "--keep-count", "--keep-id", "--extra-keys", keys]
    result = subprocess.run([sys.executable, "-m", *command, *map(str, NOTEBOOKS)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", NOTEBOOKS[:-1], ids=lambda path: path.stem)
def test_notebook_leads_to_the_next(path):
    following = NOTEBOOKS[NOTEBOOKS.index(path) + 1].name
    nb = nbformat.read(path, as_version=4)
    last = [cell.source for cell in nb.cells if cell.cell_type == "markdown"][-1]
    assert f"]({following})" in last


# ------------------------------------------------------------------------------ the rules, each seen to fail once

INTRODUCTION = """# 01 · A title

**The claim.** One sentence.

**You will learn to**
- compute
- compare
- explain

**Before this.** Nothing.

**Time.** 5 minutes on a CPU (mini), 10 minutes on a GPU (paper).
"""
SOLUTION = "<details><summary>Solution</summary>\n\n```python\ndef half(x):\n    return x / 2\n```\n</details>"


@pytest.fixture
def good():
    exercise = new_code_cell("def half(x):\n    raise NotImplementedError\n\nchecks.check_half(half)")
    exercise.metadata.tags = ["exercise"]
    cells = [
        new_markdown_cell(INTRODUCTION),
        new_code_cell(f"{GUARD}\nfrom coop_edu import checks\n\n{DIAL}", metadata={"jupyter": {"source_hidden": True}}),
        new_markdown_cell("Predict first.\n\n<details><summary>Answer</summary>\n\nYes.\n</details>"),
        new_code_cell("1 + 1", outputs=[new_output("execute_result", {"text/plain": "2"}, execution_count=2)]),
        new_markdown_cell("## Summary\n\nIt works."),
        new_markdown_cell("## Exercises"),
        exercise,
        new_markdown_cell(SOLUTION),
        new_markdown_cell("## Next\n\nThat was all."),
    ]
    for count, cell in enumerate([cell for cell in cells if cell.cell_type == "code"], start=1):
        cell.execution_count = count
    return new_notebook(cells=cells)


def lint(nb, tmp_path):
    path = tmp_path / "notebook.ipynb"
    nbformat.write(nb, path)
    return problems(path)


def test_a_good_notebook_has_no_problems(good, tmp_path):
    assert lint(good, tmp_path) == []


def text(old, new):
    def change(nb):
        hit = [cell for cell in nb.cells if cell.cell_type == "markdown" and old in cell.source]
        assert hit, old
        hit[0].source = hit[0].source.replace(old, new)

    return change


def set_code(number, source):
    def change(nb):
        [cell for cell in nb.cells if cell.cell_type == "code"][number].source = source

    return change


def tag(name):
    return lambda nb: nb.cells[3].metadata.update(tags=[name])


def output(*arguments, **values):
    return lambda nb: nb.cells[3].outputs.append(new_output(*arguments, **values))


BROKEN = {
    "title": (text("# 01 · A title", "A title"), "title"),
    "claim": (text("**The claim.**", ""), "The claim"),
    "goals": (text("- compare\n- explain\n", ""), "3 to 5"),
    "prerequisites": (text("**Before this.**", ""), "Before this"),
    "minutes": (text("minutes", "hours"), "minutes"),
    "details": (lambda nb: [text("<details>", "")(nb), text("<details>", "")(nb)], "<details>"),
    "summary": (text("## Summary", "Summary"), "'## Summary'"),
    "order": (lambda nb: nb.cells.append(nb.cells.pop(4)), "in this order"),
    "link": (text("That was all.", "[on](02_gone.ipynb)"), "leads nowhere: 02_gone.ipynb"),
    "guard": (set_code(0, f"from coop_edu import choose_scale\n{DIAL}"), "guard"),
    "dial": (set_code(0, GUARD), "dial"),
    "unfolded": (lambda nb: nb.cells[1].metadata.pop("jupyter"), "must be folded"),
    "lost figure": (
        set_code(1, "plots.two_towers([], [], message='m')\nassert True"),
        "does not show it",
    ),
    "scale elsewhere": (set_code(1, 'load_clip("RN50")'), "names the scale 'RN50'"),
    "variant elsewhere": (set_code(1, 'load_dataset("IconNet-R")'), "names the scale 'IconNet-R'"),
    "long cell": (set_code(1, "x = 1\n" * 16), "16 lines"),
    "interact": (set_code(1, "interact(f, x=3)"), "swallows"),
    "output widget": (set_code(1, "out = widgets.Output()"), "swallows"),
    "types for the reader": (set_code(1, 'a = PromptExplorer(c, i, n)\na.template.value = "{}"'), "drive a.copy()"),
    "draws for the reader": (set_code(1, 'p = DrawingExplorer(c, n)\np.buttons["star"].click()'), "drive p.copy()"),
    "no message": (set_code(1, "plots.training_curve(history)"), "without a message"),
    "may raise": (tag("raises-exception"), "raises-exception"),
    "skipped": (tag("skip-execution"), "skip-execution"),
    "no exercise": (lambda nb: nb.cells[6].metadata.pop("tags"), "'exercise'"),
    "no checker": (set_code(2, "def half(x): ..."), "must call a checker"),
    "no solution": (text(SOLUTION, "Think!"), "no ```python solution"),
    "widget state": (lambda nb: nb.metadata.update(widgets={"a": 1}), "widget state"),
    "allow errors": (lambda nb: nb.metadata.update(execution={"allow_errors": True}), "allow_errors"),
    "never run": (lambda nb: nb.cells[3].update(execution_count=None), "not of one clean run"),
    "out of order": (lambda nb: nb.cells[3].update(execution_count=7), "not of one clean run"),
    "timing": (lambda nb: nb.cells[3].metadata.update(execution={"iopub": "2026"}), "timing"),
    "error": (output("error", ename="ValueError", evalue="x", traceback=[]), "ValueError"),
    "warning": (output("stream", name="stderr", text="FutureWarning: soon"), "a warning"),
    "widget view": (
        output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}),
        "stores a widget",
    ),
    "home folder": (output("stream", name="stdout", text="/" + "home/someone/x"), "a path of one machine"),
    "size": (output("stream", name="stdout", text="x" * 500_000), "more than 500,000"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_can_fail(good, tmp_path, name):
    change, words = BROKEN[name]
    broken = copy.deepcopy(good)
    change(broken)
    found = lint(broken, tmp_path)
    assert any(words in problem for problem in found), found


def test_no_word_of_the_glossary_comes_before_its_explanation():
    glossary = (NOTEBOOKS[0].parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert glossary.count("](../notebooks/") > 40
    assert unexplained(NOTEBOOKS, glossary) == []


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("A *seed* decides.", "The seed again.", None),
        ("Seeds differ.", "A *seed* decides.", "is not explained where a.ipynb"),
        ("[Seed](x.ipynb)", "The *seed* decides.", "first used in b.ipynb"),
        ("Sown.", "Reaped.", "no notebook uses 'seed'"),
    ],
)
def test_the_order_of_words_can_fail(first, second, problem, tmp_path):
    for name, words in (("a", first), ("b", second)):
        nbformat.write(
            new_notebook(cells=[new_markdown_cell("# Seed"), new_markdown_cell(words)]), tmp_path / f"{name}.ipynb"
        )
    row = "| **seed** | a number | `seed` | [01](../notebooks/a.ipynb) |"
    found = unexplained([tmp_path / "a.ipynb", tmp_path / "b.ipynb"], row)
    assert (problem in found[0]) if problem else found == []


def test_the_first_notebook_leads_to_the_glossary():
    cells = nbformat.read(NOTEBOOKS[0], as_version=4).cells
    assert any("](../docs/glossary.md)" in cell.source for cell in cells if cell.cell_type == "markdown")


def test_a_lesson_may_be_long_and_a_scale_cell_may_name_scales(good, tmp_path):
    good.cells[3].source = "x = 1\n" * 16
    good.cells[3].metadata.tags = ["lesson"]
    assert lint(good, tmp_path) == []
    good.cells[3].source = 'load_clip("RN50")'
    good.cells[3].metadata.tags = ["scale"]
    assert lint(good, tmp_path) == []


def test_the_guard_is_short_and_says_what_to_do():
    assert len(GUARD.splitlines()) <= 4
    hidden = "import sys; sys.modules['coop_edu'] = None\n"
    result = subprocess.run([sys.executable, "-c", hidden + GUARD], capture_output=True, text=True)
    assert result.returncode == 1
    assert "%pip install coop_edu-*.whl" in result.stderr.splitlines()[-1]
