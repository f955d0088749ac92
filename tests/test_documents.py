"""Every command and every block of code in README and CONTRIBUTING does what it says.

What needs a network, a browser or hours is not run: of `make` it is checked that the target is there, of pip, conda and
jupyter that the files and extras they name are.  Everything else is run as it stands; a grid is made smaller by options
added at its end, and the paper's recipe, which takes an hour on a laptop, has one epoch.
"""

import itertools
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image

from coop_edu import (
    PromptLearner,
    Recipe,
    Trainer,
    ZeroShot,
    __main__,
    accuracy,
    both_errors,
    extract_features,
    load_clip,
    load_dataset,
    sample_few_shot,
    save_prompt,
)
from coop_edu.files import read_asset
from coop_edu.grid.frame import few_shot, shipped_results
from coop_edu.scales import SCALES

from test_repository import PROJECT, ROOT, read

DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "docs/library.md", "docs/speed.md", "docs/troubleshooting.md"),
    "docs/paper_scale.md",
)
COMMANDS = r"(?:make|python|pip|%pip|conda|jupyter|pre-commit|\.ci/run)\b"
SMALLER = [["--datasets", name, "--shots", "1", "--seeds", "1", "--epochs", "1"] for name in ("IconFood", "Caltech101")]


def blocks(kind):
    return [text for name in DOCUMENTS for text in re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", read(name))]


def commands():
    """Lines of the blocks, and what stands between single backticks, each once."""
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    inline = [found for name in DOCUMENTS for found in re.findall(rf"(?<!`)`({COMMANDS}[^`\n]*)`(?!`)", read(name))]
    return list(dict.fromkeys(line for line in (*lines, *inline) if line))


def test_there_is_something_to_run():
    assert len(commands()) > 15 and len(blocks("python")) == 1
    fenced = re.findall(r"(?m)^```(\w+)$", read("README.md") + read("CONTRIBUTING.md"))
    assert set(fenced) == {"python", "bash"}  # no block of another kind, that nothing here would run


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_code(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    *accuracies, answer = capsys.readouterr().out.splitlines()
    said = re.findall(r"# [a-z -]+: ([\d.]+) %", code)
    assert [float(x) for x in accuracies] == pytest.approx([float(x) for x in said], abs=3)
    assert answer.startswith("{'")


@pytest.mark.slow
def test_the_grid_and_its_report(tmp_path, monkeypatch, capsys):
    """The commands of a grid in their order: the report reads what the run before it wrote."""
    monkeypatch.chdir(tmp_path)
    for n, shade in itertools.product(range(6), (40, 200)):
        place = tmp_path / "my_images" / ("dark" if shade < 100 else "light")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32), shade + n).save(place / f"{n}.png")
    lines = [line for line in commands() if line.startswith("python -m coop_edu ") and " predict " not in line]
    assert [line.split()[3] for line in lines] == ["run", "report", "run", "run"]
    for line in lines:
        arguments = shlex.split(line)[3:]
        at_paper_scale = "paper" in arguments
        small = [] if arguments[0] == "report" else SMALLER[at_paper_scale]
        small = small[2:] if "my_images" in arguments else small
        status = __main__.main([*arguments, *small])
        out, err = capsys.readouterr()
        if at_paper_scale:  # the photographs are not here, and the error says which
            assert status == 1 and "101_ObjectCategories" in err
        else:
            assert status == 0 and "CoOp" in out, err


@pytest.mark.slow
def test_readme_states_the_gain_over_the_bare_name():
    many, few = (float(x) for x in re.findall(r"([\d.]+) above the\s+bare class names", read("README.md")))
    clip, tasks = load_clip("mini"), [load_dataset(name) for name in SCALES["mini"].tasks]
    bare = [accuracy(ZeroShot(clip, task.classnames, "{}"), task.test, progress=False) for task in tasks]
    by_task = few_shot(shipped_results()).query("method == 'M16_end'").groupby("shots")["percent"].mean()
    assert many == pytest.approx(by_task[16] - sum(bare) / len(bare), abs=0.1)
    assert few == pytest.approx(by_task[2] - sum(bare) / len(bare), abs=0.1)


def test_the_run_in_readme_stands_beside_the_mean_of_five():
    said, gain, half = re.search(
        r"five seeds: ([\d.]+), and so \+([\d.]+) ± ([\d.]+) points", read("README.md")
    ).groups()
    found = few_shot(shipped_results()).query("dataset == 'IconFood' and method == 'init_end'")
    five = found.query("shots == 16")["percent"]
    assert len(five) == 5 and float(said) == pytest.approx(five.mean(), abs=0.05)
    food, clip = load_dataset("IconFood"), load_clip("mini")
    test, y = extract_features(clip, food.test), torch.tensor([example.label for example in food.test])
    written = ZeroShot(clip, food.classnames, food.template).logits(test.image_features).argmax(dim=1) == y
    leads = []
    for seed in range(1, 6):
        learner = PromptLearner(clip, food.classnames, init="an icon of a")
        shots = extract_features(clip, sample_few_shot(food.train, 16, seed))
        Trainer(learner, replace(Recipe.mini(), seed=seed), progress=False).fit(shots)
        right = learner.logits(test.image_features).argmax(dim=1) == y
        leads.append(100 * (right.double() - written.double()))
    mean, both = both_errors(torch.stack(leads).mean(dim=1), torch.stack(leads).mean(dim=0))
    assert (float(gain), float(half)) == (pytest.approx(mean, abs=0.6), pytest.approx(both, abs=0.6))


def test_a_saved_prompt_answers_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = [line for line in commands() if line.startswith("python -m coop_edu predict ")]
    (tmp_path / "new_images").mkdir()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "new_images" / "1.png")
    save_prompt(PromptLearner(load_clip("mini"), ["apple", "cake"], n_ctx=4), "food.safetensors")
    assert __main__.main(shlex.split(line)[3:]) == 0
    assert (tmp_path / "answers.csv").read_text().splitlines()[0] == "image,answer,probability"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(line, marks=[pytest.mark.slow] if line.startswith("python ") else [])
        for line in commands()
        if not line.startswith("python -m coop_edu ")
    ],
)
def test_command(command):
    program, *words = shlex.split(command)
    if program == "make":
        done = subprocess.run(["make", "-n", "VENV=.venv-of-nobody", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif program == ".ci/run":
        assert subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT).returncode == 0
    elif program == "python":
        assert subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    else:
        assert program in ("pip", "%pip", "conda", "jupyter", "pre-commit")
        extras = {name for word in words for found in re.findall(r"\[(.*?)\]", word) for name in found.split(",")}
        assert extras <= set(PROJECT["project"]["optional-dependencies"])
        files = [word for word in words if word.endswith((".yml", ".ipynb", ".txt"))]
        assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_minutes_of_a_notebook_are_those_of_the_readme_and_of_its_exercises(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    words = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    reading, exercises = re.search(r"\*\*Time\.\*\* About (\d+) minutes, and (\d+) for the exercises", words).groups()
    each = re.findall(r"\*(?:Easy|Medium|Hard), (\d+)\s+minutes\.\*", words)
    assert len(each) == sum("exercise" in cell["metadata"].get("tags", ()) for cell in cells)
    without_checker = re.findall(r"\*Open, (\d+)\s+minutes\.\*", words)
    assert sum(map(int, [*each, *without_checker])) == int(exercises)
    row = re.search(rf"(?m)^\| \[{path.stem[:2]} .*$", read("README.md"))[0]
    assert f"| {reading} + {exercises} |" in row


def test_readme_says_how_long_all_of_it_takes():
    minutes = re.findall(r"(?m)^\| \[\d\d .*\| (\d+) \+ (\d+) \|", read("README.md"))
    hours = sum(map(int, itertools.chain(*minutes))) / 60
    assert len(minutes) == 13 and round(hours) == 8 and "about eight hours" in read("README.md")


def test_the_sizes_of_downloads_are_those_of_the_package():
    sizes = read_asset("paper_scale.json")["downloads_megabytes"]
    said = re.findall(r"(?m)^\| (\w+) \| ([\d.]+) \| (.*) \|$", read("docs/paper_scale.md"))
    assert {name: (gigabytes, source) for name, gigabytes, source in said} == {
        name: (f"{megabytes / 1000:.1f}", source) for name, (megabytes, source) in sizes.items()
    }
