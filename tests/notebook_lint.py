"""The contract of a notebook, as a list of what breaks it. `problems(path)` is empty for a notebook that keeps it.

tests/test_notebooks_lint.py applies it to every notebook, and shows that each rule can fail. CONTRIBUTING.md tells the
same in words.
"""

import ast
import inspect
import json
import re
import statistics
from pathlib import Path

import nbformat

from coop_edu import plots
from coop_edu.scales import SCALES

from exercises import is_exercise, solutions

GUARD = """\
try:
    from coop_edu import choose_scale
except ModuleNotFoundError:
    raise ImportError("coop_edu is missing: put its wheel here, then run  %pip install coop_edu-*.whl") from None
"""
DIAL = 'scale = choose_scale("mini")'
HEADINGS = ("Summary", "Next")
INTRODUCTION = ("**The claim.**", "**You will learn to**", "**Before this.**", "**Time.**")
FORBIDDEN_TAGS = {"raises-exception", "skip-execution"}
# they hide exceptions from every test
SWALLOWERS = {"interact", "interactive", "interactive_output", "Output"}
LARGEST = 500_000  # bytes
LONGEST = 15  # lines of a code cell
MEDIAN = 6
SCALE_WORDS = {
    word for scale in SCALES.values() for word in (scale.name, scale.clip, scale.source, *scale.variants)
}  # fmt: skip
HOME = re.compile(r"(?:/(?:home|Users|root)/|[A-Z]:\\\\?Users)[\w.-]*|/tmp/[\w.-]+")
CAPTIONED = {
    name
    for name in plots.__all__
    if callable(getattr(plots, name)) and "message" in inspect.signature(getattr(plots, name)).parameters
} - {"caption"}


def problems(path: Path) -> list[str]:
    """Every way in which the notebook breaks the contract, as sentences."""
    text = path.read_text(encoding="utf-8")
    nb = nbformat.reads(text, as_version=4)
    nbformat.validate(nb)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    found = [*_text(nb, path), *_set_up(code), *_code(code), *_widgets(code), *_exercises(nb), *_outputs(nb, code)]
    if len(text.encode()) > LARGEST:
        found.append(f"the file has {len(text.encode()):,} bytes, more than {LARGEST:,}")
    found += [f"a path of one machine: {match}" for match in sorted(set(HOME.findall(json.dumps(nb.cells))))]
    return found


def unexplained(paths: list[Path], glossary: str) -> list[str]:
    """Words of the glossary that the course, read from its first notebook on, uses before it explains them.

    The glossary's last column links the notebook that explains a word: in the cell where the course first uses it, and
    there the word is set apart, as *word* or **word**. A notebook's first cell, which says what will come, and links to
    others do not count.
    """
    cells = [
        (path.name, re.sub(r"\[[^]]*\]\([^)]*\)", "", cell.source))
        for path in paths
        for cell in nbformat.read(path, as_version=4).cells[1:]
        if cell.cell_type == "markdown"
    ]
    found = []
    for names, place in re.findall(r"(?m)^\| \*\*(.+?)\*\* \|.*\| \[\d\d\]\(\.\./notebooks/(.+?)\) \|$", glossary):
        for name in re.findall(r"[^,()]+", names):
            word = rf"(?<![\w`-]){re.escape(name.strip())}s?(?![\w`])"
            uses = [(file, text) for file, text in cells if re.search(word, text, re.IGNORECASE)]
            if not uses:
                found.append(f"no notebook uses {name.strip()!r}")
            elif uses[0][0] != place:
                found.append(f"{name.strip()!r} is explained in {place}, and first used in {uses[0][0]}")
            elif not re.search(rf"\*{word}\*", uses[0][1], re.IGNORECASE):
                found.append(f"{name.strip()!r} is not explained where {place} first uses it: {uses[0][1][:60]!r}")
    return found


def _text(nb, path):
    words = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    if not nb.cells or nb.cells[0].cell_type != "markdown" or not nb.cells[0].source.startswith("# "):
        yield "the first cell must be Markdown and start with the title, '# ...'"
    start = "\n".join(words[:2])
    for part in INTRODUCTION:
        if part not in start:
            yield f"the introduction has no {part!r}"
    goals = re.search(r"\*\*You will learn to\*\*\s*\n((?:\s*[-*] .*\n?)+)", start)
    if goals and not 3 <= len(re.findall(r"(?m)^\s*[-*] ", goals.group(1))) <= 5:
        yield "'You will learn to' must list 3 to 5 things"
    if not re.search(r"\*\*Time\.\*\*.*\bminutes?\b", start):
        yield "'Time.' must say how many minutes"
    if not any("<details>" in text for text in words):
        yield "no question is answered in <details>"
    places = [next((i for i, text in enumerate(words) if re.search(rf"(?m)^## {h}", text)), None) for h in HEADINGS]
    for heading, place in zip(HEADINGS, places):
        if place is None:
            yield f"no section '## {heading}'"
    if None not in places and places != sorted(places):
        yield f"the last sections must be {', '.join(HEADINGS)}, in this order"
    for target in re.findall(r"\]\(([^)#\s]+)", "\n".join(words)):
        if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
            yield f"a link leads nowhere: {target}"


def _set_up(code):
    first = code[0].source if code else ""
    if not first.startswith(GUARD):
        yield "the first code cell must start with the guard in tests/notebook_lint.py, word for word"
    if not re.search(rf"(?m)^{re.escape(DIAL)}", first):
        yield f"the first code cell must hold the dial, {DIAL}"
    if not (code and code[0].metadata.get("jupyter", {}).get("source_hidden")):
        yield "the first code cell must be folded: its metadata.jupyter.source_hidden is true"
    for number, cell in enumerate(code[1:], start=2):
        if "scale" in cell.metadata.get("tags", ()):
            continue  # a cell that is about the scales themselves
        for node in ast.walk(_tree(cell)):
            if isinstance(node, ast.Constant) and node.value in SCALE_WORDS:
                yield f"code cell {number} names the scale {node.value!r}; only the first may"


def _code(code):
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code]
    for number, (cell, length) in enumerate(zip(code, lengths), start=1):
        tags = set(cell.metadata.get("tags", ()))
        if number > 1 and length > LONGEST and "lesson" not in tags:  # the first is folded
            yield f"code cell {number} has {length} lines, more than {LONGEST}, and is not tagged 'lesson'"
        if tags & FORBIDDEN_TAGS:
            yield f"code cell {number} has the tag {sorted(tags & FORBIDDEN_TAGS)}"
        tree = _tree(cell)
        for statement in tree.body[:-1]:
            if isinstance(statement, ast.Expr) and _called(statement.value) in CAPTIONED | {"caption", "figure"}:
                yield f"code cell {number} draws {_called(statement.value)} and does not show it: make it the last line"
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = _called(node)
            if name in SWALLOWERS:
                yield f"code cell {number} uses {name}, which swallows exceptions; see coop_edu/teaching/widgets"
            if name in CAPTIONED and "message" not in {keyword.arg for keyword in node.keywords}:
                yield f"code cell {number} draws {name} without a message under it"
    if lengths and statistics.median(lengths) > MEDIAN:
        yield f"half of the code cells have more than {MEDIAN} lines"


def _widgets(code):
    """ "Run all" neither types into a widget that the reader has nor draws on it; a copy may be driven."""
    trees = [_tree(cell) for cell in code]
    made = {
        target.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _called(node.value).endswith("Explorer")
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for number, tree in enumerate(trees, start=1):
        for node in ast.walk(tree):
            set_here = isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store)
            clicked = isinstance(node, ast.Call) and _called(node) == "click" and isinstance(node.func, ast.Attribute)
            if (set_here or clicked) and (name := _root(node)) in made:
                yield f"code cell {number} drives the reader's widget {name}: drive {name}.copy()"


def _root(node):
    """The name at which an expression such as a.b["c"].d() begins; None for others."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _exercises(nb):
    if not any(is_exercise(cell) for cell in nb.cells):
        yield "no code cell is tagged 'exercise'"
    try:
        solutions(nb)
    except ValueError as error:
        yield str(error)


def _outputs(nb, code):
    if nb.metadata.get("widgets"):
        yield "widget state is stored; run `make outputs`"
    if nb.metadata.get("execution", {}).get("allow_errors"):
        yield "allow_errors: the notebook could never fail"
    counts = [cell.execution_count for cell in code if cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        yield f"the stored outputs are not of one clean run: execution counts {counts}"
    for number, cell in enumerate(code, start=1):
        if "execution" in cell.metadata:
            yield f"code cell {number} stores its timing"
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {number} shows an error: {output.ename}"
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
                yield f"code cell {number} stores a widget, which no reader of the file can see"
            if output.get("name") == "stderr" and "Warning" in output.text:
                yield f"code cell {number} shows a warning: {output.text.strip()[:100]}"


def _called(node):
    """The last name of what is called; empty if nothing is."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", ""))


def _tree(cell):
    """The cell's syntax tree, without IPython's own commands."""
    lines = [line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    return ast.parse("\n".join(lines))
