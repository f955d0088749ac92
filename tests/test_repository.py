"""The repository agrees with itself: dependencies, version, README, layers, import time, paths."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import coop_edu
from coop_edu import environment, plots

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest on Python 3.10

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"torch": "pytorch", "open_clip_torch": "open-clip-torch"}

# Imports run downwards only: a module may import from a lower layer, or from its own, without a circle.
LAYERS = (
    {"files", "probability", "augmentation", "clip_models", "datasets", "safe_pickle", "results"},
    {"prompt_encoder", "templates", "prompt_learner", "few_shot", "pictures", "features", "checkpoints"}
    | {"authors_checkpoints"},
    {"recipe", "trainer", "distributed", "parallel", "evaluation", "linear_probe"},
    {"scales", "plots", "verdicts", "environment"},
    {"widgets", "checks", "cells", "experiments", "reports", "agreement", "commands"},
    {"__init__", "__main__"},
)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def package_files():
    return sorted(path for path in (ROOT / "coop_edu").rglob("*.py"))


def tracked_files():
    """What is, or would be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:  # not a clone: a copy of the files
        return [
            p for p in ROOT.rglob("*") if p.is_file() and not set(p.parts) & {".venv", ".git", "__pycache__"}
        ]
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# ------------------------------------------------------------------------------------------------- dependencies


def requirements(lines):
    """{name: bounds} of "name>=1,<2" lines."""
    pairs = (re.fullmatch(r"([\w.-]+)\s*(.*)", line).groups() for line in lines)
    return {name: bounds.replace(" ", "") for name, bounds in pairs}


def test_environment_yml_equals_pyproject():
    project = PROJECT["project"]
    wanted = requirements([*project["dependencies"], *project["optional-dependencies"]["test"]])
    wanted = {CONDA_NAMES.get(name, name): bounds for name, bounds in wanted.items()}
    wanted |= {"python": project["requires-python"], "pip": ""}
    conda = yaml.safe_load(read("environment.yml"))
    assert requirements(entry for entry in conda["dependencies"] if isinstance(entry, str)) == wanted
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    assert conda["dependencies"][-1] == {"pip": ["-e ."]}
    assert conda["name"] == project["name"]


@pytest.mark.parametrize(
    ("file", "line"), [("pyproject.toml", r'    "[\w-]+[><=].*'), ("environment.yml", r"  - .*\d.*")]
)
def test_every_dependency_has_a_reason(file, line):
    lines = re.findall(rf"(?m)^{line}$", read(file))
    assert len(lines) >= 18
    assert [entry for entry in lines if not re.search(r"# .{10,}", entry)] == []


def test_the_environment_check_knows_the_dependencies():
    wanted = requirements(PROJECT["project"]["dependencies"])
    known = {name: f">={oldest}" for name, (_, oldest) in environment.REQUIREMENTS.items()}
    assert known == {name: bounds.split(",")[0] for name, bounds in wanted.items()}
    assert PROJECT["project"]["requires-python"] == ">=" + ".".join(map(str, environment.OLDEST_PYTHON))


def test_nothing_is_pinned_to_a_host():
    for name in ("pyproject.toml", "environment.yml"):
        assert not re.search(r"https?://|index-url|==", read(name)), name


# ------------------------------------------------------------------------------------------- version and papers


def test_one_version():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == coop_edu.__version__
    assert citation["license"] == PROJECT["project"]["license"] == "MIT"
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message", "references"} <= set(citation)


# ------------------------------------------------------------------------------------------------------- README


def test_readme_table_lists_every_notebook_in_order():
    listed = re.findall(r"(?m)^\| \[.*?\]\(notebooks/(\w+)\.ipynb\) \| (.*?) \|", read("README.md"))
    assert listed == [(file, question) for file, _, question in plots.NOTEBOOKS]
    assert [file for file, _ in listed] == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_readme_names_every_component():
    text = read("README.md")
    missing = [name for name in coop_edu.PUBLIC if f"`{name}" not in text]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)#\s]+)|(?:src|href)=\"([^\"#]+)\"", read(name))
    targets = [a or b for a, b in targets]
    assert [t for t in targets if not re.match(r"[a-z]+:", t) and not (ROOT / t).exists()] == []


def test_every_notebook_is_collected():
    notebooks = [path.name for path in (ROOT / "notebooks").glob("*.ipynb")]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "notebooks"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    collected = {line.split("::")[0].rsplit("/", 1)[-1] for line in listed.splitlines() if "::" in line}
    assert notebooks and collected == set(notebooks)


def test_plain_pytest_runs_notebooks_and_docstrings():
    options = PROJECT["tool"]["pytest"]["ini_options"]
    assert {"--nbmake", "--doctest-modules"} <= set(options["addopts"].split())
    assert set(options["testpaths"]) == {"tests", "coop_edu", "notebooks"}


# ---------------------------------------------------------------------------------------------------- structure


def module_of(path):
    """The name of a file in LAYERS: a package counts as one."""
    return path.relative_to(ROOT / "coop_edu").parts[0].removesuffix(".py")


def imported(path):
    """The coop_edu modules that a file imports anywhere, in functions too; those for type hints apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hints = {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.dump(guard.test)
        for node in ast.walk(guard)
    }
    for node in ast.walk(tree):
        if node in hints:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "coop_edu":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("coop_edu.")
            )


def test_imports_run_downwards():
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    graph = {}
    for path in package_files():
        name = module_of(path)
        assert name in level, f"{name} has no layer: add it to LAYERS"
        found = {other for other in imported(path) if other not in (name, "__version__")}
        upwards = [other for other in found if level.get(other, 99) > level[name]]
        assert not upwards, f"{name} imports {upwards}, which stand above it"
        graph.setdefault(name, set()).update(found)
    for start in graph:
        seen, todo = set(), list(graph[start])
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += graph.get(name, ())
        assert start not in seen, f"{start} imports itself in a circle"


def test_the_public_surface_is_true():
    for module, names in coop_edu.PUBLIC.items():
        assert getattr(coop_edu, module).__name__ == f"coop_edu.{module}"
        for name in names:
            assert getattr(coop_edu, name) == getattr(getattr(coop_edu, module), name)
    assert set(dir(coop_edu)) == set(coop_edu.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = coop_edu.nonsense


def test_import_is_instant_and_brings_no_torch():
    code = """
import sys, time
start = time.perf_counter()
import coop_edu
print(time.perf_counter() - start, sorted({"torch", "open_clip", "torchvision", "matplotlib"} & set(sys.modules)))
"""
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        for _ in range(3)
    ]
    seconds, loaded = zip(*(run.stdout.split(maxsplit=1) for run in runs))
    assert min(map(float, seconds)) < 0.3
    assert loaded[0].strip() == "[]"


def test_every_module_says_what_it_leaves_out():
    missing = []
    for path in package_files():
        header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.name not in ("__init__.py", "__main__.py") and "Leaves out:" not in " ".join(header.split()):
            missing.append(path.name)
    assert missing == []


# -------------------------------------------------------------------------------------------- nothing of one machine


def test_no_absolute_paths_in_any_file():
    first = "/" + ROOT.parts[1] + "/"
    patterns = [re.escape(first), "/home" + r"/\w", "/Users" + r"/\w", "/root" + "/", r"[A-Z]:\\Users"]
    pattern = re.compile("|".join(patterns if first not in ("/tmp/", "/usr/") else patterns[1:]))
    hits = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        hits += [f"{path.relative_to(ROOT)}: {match.group()}" for match in pattern.finditer(text)]
    assert hits == []


def test_nothing_is_left_behind_by_a_run():
    allowed_large = {"assets"}
    large = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if os.path.getsize(path) > 1_000_000 and not set(path.relative_to(ROOT).parts) & allowed_large
    ]
    assert large == []


def test_continuous_integration_runs_the_tests_and_the_lint():
    script = read(".ci/run")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "set -euo pipefail" in script and "make test" in script and "make lint" in script
