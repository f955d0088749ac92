"""The repository agrees with itself: dependencies, version, README, rooms, import time, paths."""

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import coop_edu
from coop_edu import plots
from coop_edu.grid.agreement import agreement
from coop_edu.grid.frame import shipped_results
from coop_edu.plots import course
from coop_edu.teaching import environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest on Python 3.10

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"torch": "pytorch", "open_clip_torch": "open-clip-torch", "playwright": "playwright-python"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def package_files():
    return sorted(path for path in (ROOT / "coop_edu").rglob("*.py"))


def tracked_files():
    """What is, or would be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:  # not a clone: a copy of the files
        return [p for p in ROOT.rglob("*") if p.is_file() and not set(p.parts) & {".venv", ".git", "__pycache__"}]
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


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


def test_the_oldest_python_is_one():
    assert PROJECT["project"]["requires-python"] == ">=" + ".".join(map(str, environment.OLDEST_PYTHON))


def test_nothing_is_pinned_to_a_host():
    for name in ("pyproject.toml", "environment.yml"):
        text = re.sub(r"(?s)\[project.urls\].*?\n\n", "", read(name))
        assert not re.search(r"https?://|index-url|==", text), name


def test_the_constraints_say_what_outputs_were_made_with():
    lines = requirements(line for line in read("constraints.txt").splitlines() if not line.startswith("#"))
    project = PROJECT["project"]
    wanted = requirements([*project["dependencies"], *project["optional-dependencies"]["test"]])
    assert set(lines) == set(wanted)
    versions = {name: line.removeprefix("==") for name, line in lines.items()}
    assert [name for name, bounds in wanted.items() if versions[name] not in SpecifierSet(bounds)] == []


def test_the_oldest_versions_are_those_of_the_bounds():
    printed = subprocess.run([sys.executable, ".ci/oldest.py"], cwd=ROOT, capture_output=True, text=True).stdout
    oldest = requirements(printed.splitlines())
    for name, bounds in requirements(PROJECT["project"]["dependencies"]).items():
        assert oldest[name] == bounds.split(",")[0].replace(">=", "==") + ".*"
    assert "pytest" in oldest and "ruff" not in oldest


def test_the_workflow_calls_ci_run_on_the_oldest_and_a_newer_python():
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["run"]
    runs = workflow["strategy"]["matrix"]["include"]
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert [(run["python"], run["command"]) for run in runs if run["packages"] == "oldest"] == [(oldest, "make test")]
    newest = {run["python"]: run["command"] for run in runs if run["packages"] == "newest"}
    assert newest.keys() > {oldest} and set(newest.values()) == {".ci/run"}
    assert any(step.get("run", "").startswith("${{ matrix.command }}") for step in workflow["steps"])


def test_pre_commit_runs_what_lint_runs():
    hooks = [hook["entry"] for hook in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"][0]["hooks"]]
    linted = re.findall(r"\$\(BIN\)/(?:python -m )?(.*)", re.search(r"(?ms)^lint:.*?\n\n", read("Makefile"))[0])
    assert [hook.removeprefix(".venv/bin/") for hook in hooks] == [line.removesuffix(" .") for line in linted]


def test_one_version():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == coop_edu.__version__
    assert re.search(r"(?m)^## (\S+)", read("CHANGELOG.md"))[1] == coop_edu.__version__
    assert citation["license"] == PROJECT["project"]["license"] == "MIT"
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message", "references"} <= set(citation)


def test_readme_table_lists_every_notebook_in_order():
    listed = re.findall(r"(?m)^\| \[.*?\]\(notebooks/(\w+)\.ipynb\) \| (.*?) \|", read("README.md"))
    assert listed == [(file, question) for file, _, question in plots.NOTEBOOKS]
    rows = re.findall(r"(?m)^\| (\*\*[IV]+\..*?\*\*) \|.*\n\| \[(\d\d) ", read("README.md"))
    assert {number: part for part, number in rows} == course.PARTS
    assert [file for file, _ in listed] == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_the_rooms_are_described_in_their_own_words():
    listed = re.findall(r"(?m)^\| `coop_edu/(\w+)/` \| (.*?) \|", read("docs/library.md"))
    assert listed == list(rooms().items())


def test_readme_states_the_sizes_that_were_measured_and_published():
    sentence = r"sixteen images.*?([\d.]+)\s+points\s.*?\(([\d.]+) .*?two\s+images.*?([\d.]+)\s+points\s.*?\(([\d.]+)\)"
    said = re.search(sentence, read("README.md"), re.S)
    table = agreement(shipped_results())
    known = [table.loc[letter, column] for letter in "ab" for column in ("here", "in the paper")]
    assert said.groups() == tuple(f"{points:.1f}" for points in known)
    assert (
        "level with a linear probe" in " ".join(read("README.md").split())
        and table.loc["g", "verdict"] == "too close to call"
    )


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")], ids=str)
def test_links_lead_somewhere(page):
    found = re.findall(r"\]\(([^)#\s]+)|(?:src|href)=\"([^\"#]+)\"", page.read_text(encoding="utf-8"))
    targets = [a or b for a, b in found]
    assert [t for t in targets if not re.match(r"[a-z]+:", t) and not (page.parent / t).exists()] == []


@pytest.mark.slow
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


def rooms():
    """{folder: the first sentences of its __init__.py}, in the order of the contract on imports, from below."""
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    names = [name for layer in reversed(layers) for name in layer.split(" | ")]
    return {name: header(name).splitlines()[0] for name in names if (ROOT / "coop_edu" / name).is_dir()}


def header(room):
    return ast.get_docstring(ast.parse(read(f"coop_edu/{room}/__init__.py")))


def test_every_file_is_in_a_room_that_the_contract_on_imports_knows():
    folders = {path.parent.relative_to(ROOT / "coop_edu").parts[:1] for path in package_files()} - {()}
    assert {folder for (folder,) in folders} == set(rooms())
    alone = {path.stem for path in (ROOT / "coop_edu").glob("*.py")} - {"__init__", "__main__"}
    (contract,) = PROJECT["tool"]["importlinter"]["contracts"]
    assert alone <= {name for layer in contract["layers"] for name in layer.split(" | ")}


def test_a_room_names_all_its_files():
    for room in rooms():
        files = {path.stem for path in (ROOT / "coop_edu" / room).glob("*.py")} - {"__init__"}
        assert sorted(name for name in files if not re.search(rf"\b{name}\b", header(room))) == [], room


def test_every_file_that_a_header_names_exists():
    missing = []
    for path in package_files():
        for name in re.findall(r"[\w/]+\.py\b", path.read_text(encoding="utf-8")):
            if not any((place / name).exists() for place in (path.parent, ROOT / "coop_edu", ROOT)):
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert [entry for entry in missing if not entry.endswith((" train.py", " my_file.py"))] == []  # the reader's own


def test_the_public_surface_is_true():
    for module, names in coop_edu.PUBLIC.items():
        for name in names:
            assert getattr(coop_edu, name) == getattr(import_module(f"coop_edu.{module}"), name)
    for name, module in coop_edu.MODULES.items():
        assert getattr(coop_edu, name) is import_module(f"coop_edu.{module}")
    assert set(dir(coop_edu)) == set(coop_edu.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = coop_edu.nonsense


def test_import_brings_nothing_that_is_slow():
    slow = {"torch", "torchvision", "open_clip", "matplotlib", "pandas", "numpy", "sklearn", "jaxtyping"}
    code = f"import sys, coop_edu; print(sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


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
    files = [path.relative_to(ROOT) for path in tracked_files() if os.path.getsize(path) > 1_000_000]
    assert [path for path in files if "assets" not in path.parts] == []


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_continuous_integration_runs_lint_site_and_tests_and_stops_at_an_error(tmp_path):
    """With a make that only notes down what it is asked for, and fails at the tests."""
    fake = tmp_path / "make"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$1" != "$FAILS" ]\n')
    fake.chmod(0o755)
    (tmp_path / "chromium").symlink_to(fake)  # there already: nothing is to be installed
    whole = ["lint", "site", "test"]
    for fails, asked in (("test", whole), ("lint", whole[:1]), ("site", whole[:2]), ("", whole)):
        (tmp_path / "asked").unlink(missing_ok=True)
        variables = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "FAILS": fails}
        done = subprocess.run([ROOT / ".ci" / "run", "PIP_FLAGS=-q"], env=variables, cwd=tmp_path)
        lines = (tmp_path / "asked").read_text().splitlines()
        assert [line.split()[0] for line in lines] == asked and (done.returncode != 0) == bool(fails)
        assert all(line.endswith("PIP_FLAGS=-q") for line in lines)


def test_a_file_of_the_library_has_at_most_300_lines():
    assert [path.name for path in package_files() if len(path.read_text(encoding="utf-8").splitlines()) > 300] == []
