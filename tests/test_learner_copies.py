"""`make learner`: no solution leaks, and nothing else is lost."""

import importlib.util
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from exercises import is_exercise, solutions
from test_repository import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TELLING = 12  # signs of a line of code, without spaces, from which on it could give a solution away


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("learner_copies", ROOT / "scripts" / "learner_copies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def copies(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies") / "learner"
    assert script.main(copies=folder) == 0
    return folder


def lines(source):
    """The telling lines, without spaces and comments."""
    bare = {re.sub(r"\s+", "", line.split("#")[0]) for line in source.splitlines()}
    return {line for line in bare if len(line) > TELLING}


def leaks(original, copy):
    """Lines of the solutions that the copy has, and that the learner was not given anyway.

    Given are the stubs, and what the lesson before the exercise shows.
    """
    places = [number for number, cell in enumerate(original.cells) if is_exercise(cell)]
    folded, secret = {place + 1 for place in places}, set()
    for place, (solution, _) in zip(places, solutions(original)):
        shown = [cell for n, cell in enumerate(original.cells) if n in places or (n < place and n not in folded)]
        secret |= lines(solution) - lines("\n".join(cell.source for cell in shown))
    return sorted(secret & lines("\n".join(cell.source for cell in copy.cells)))


def read(path):
    return nbformat.read(path, as_version=4)


def test_each_notebook_has_a_copy(copies):
    assert [path.name for path in NOTEBOOKS] == sorted(path.name for path in copies.iterdir())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_copy_has_everything_but_outputs_and_solutions(copies, path):
    original, copy = read(path), read(copies / path.name)
    nbformat.validate(copy)
    assert leaks(original, copy) == []
    assert not any("Solution</summary>" in cell.source for cell in copy.cells)
    exercises = [number for number, cell in enumerate(original.cells) if is_exercise(cell)]
    kept = [cell for number, cell in enumerate(original.cells) if number - 1 not in exercises]
    assert [cell.source for cell in copy.cells] == [cell.source for cell in kept]
    assert [cell.id for cell in copy.cells] == [cell.id for cell in kept]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in copy.cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_is_a_stub_with_its_checker(copies, path):
    stubs = [cell.source for cell in read(copies / path.name).cells if is_exercise(cell)]
    assert len(stubs) == len(solutions(read(path))) > 0
    for stub in stubs:
        assert "raise NotImplementedError" in stub
        assert re.fullmatch(r"checks\.check_\w+\(\w+\)", stub.splitlines()[-1])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_where_they_led(copies, path):
    """learner/ lies where notebooks/ lies."""
    text = "\n".join(cell.source for cell in read(copies / path.name).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        places = (copies / target, ROOT / "notebooks" / target)  # a copy beside it, or a file of the clone
        assert re.match(r"[a-z]+:", target) or any(place.exists() for place in places)


def exercise(after):
    source = "def f(x):\n    raise NotImplementedError\n\nchecks.check_f(f)"
    stub = new_code_cell(source, metadata={"tags": ["exercise"]})
    return new_notebook(cells=[new_markdown_cell("# A"), stub, *after])


SOLUTION = "<details><summary>Solution</summary>\n\n```python\nreturn sorted(x, key=abs)\n```\n\n</details>"


def test_words_around_a_solution_stay(script):
    copy = script.learner_copy(exercise([new_markdown_cell(f"A hint.\n\n{SOLUTION}\n\n## Next")]))
    assert copy.cells[-1].source == "A hint.\n\n## Next"


@pytest.mark.parametrize("after", [[], [new_markdown_cell("No solution.")], [new_code_cell("x = 1  # <details>")]])
def test_an_exercise_without_a_solution_is_an_error(script, after):
    with pytest.raises(ValueError, match="exercise"):
        script.learner_copy(exercise(after))


def test_a_leak_would_be_seen():
    """The test of the test: a copy with the solution's line in some cell, laid out otherwise."""
    original = exercise([new_markdown_cell(SOLUTION)])
    copy = exercise([new_code_cell("y = 1\nreturn  sorted(x,key = abs)  # so")])
    assert leaks(original, copy) == ["returnsorted(x,key=abs)"]
    assert leaks(original, exercise([])) == []


def test_a_learners_work_is_kept(script, tmp_path, capsys):
    """Written twice: what was not touched is written again, what was is not."""
    source, copies = tmp_path / "notebooks", tmp_path / "learner"
    source.mkdir()
    for name in ("a.ipynb", "b.ipynb"):
        nbformat.write(exercise([new_markdown_cell(SOLUTION)]), source / name)
    script.main(source, copies)
    (copies / "a.ipynb").write_text("my answers")
    capsys.readouterr()
    script.main(source, copies)
    assert (copies / "a.ipynb").read_text() == "my answers"
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in printed] == [["[KEPT]", "a.ipynb"], ["[OK]", "b.ipynb"]]
