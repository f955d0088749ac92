"""The rows of CONTRIBUTING's table that bring something into a grid, followed to the letter."""

import json
from types import SimpleNamespace

import pytest

from coop_edu import PromptConfig, PromptLearner, __main__, load_dataset, load_prompt, read_results, save_prompt
from coop_edu.coop.prompt_layout import POSITIONS
from coop_edu.data.paper_places import PAPER_DATASETS, Place
from coop_edu.evaluate.accuracy import METRICS, macro_f1
from coop_edu.grid import workspace
from coop_edu.grid.methods import METHODS, Method, find_method, method_from, register_method, standard_methods
from coop_edu.grid.progress import work_of
from coop_edu.grid.report import figure
from coop_edu.grid.results import Cell, read_results_file
from coop_edu.grid.run import make_grid, run_grid
from coop_edu.plots import STYLES

from tiny_clip import tiny_clip
from tiny_images import make_dataset

CLASSES = ("cat", "dog", "eel", "fox")


@pytest.fixture(autouse=True)
def nothing_stays():
    tables = METHODS, STYLES, METRICS, POSITIONS, PAPER_DATASETS
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before):
        table.clear()
        table.update(old)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command, on the data set Zoo and a CLIP that nobody trained; returns what it printed."""
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "cache"))
    clip = tiny_clip()
    monkeypatch.setattr(workspace, "load_clip", lambda name, pretrained=None: clip)
    make_dataset(tmp_path, "Zoo", CLASSES, train=2, val=2, test=2)
    PAPER_DATASETS["Zoo"] = Place("Zoo", "images", "4 classes", "none", "a test", template="a drawing of a {}.")
    options = ["--datasets", "Zoo", "--root", str(tmp_path), "--shots", "1", "--seeds", "1", "2", "--epochs", "2"]

    def run(*more):
        assert __main__.main(["run", "--results", str(tmp_path / "r.jsonl"), *options, *more]) == 0
        return capsys.readouterr().out

    run.clip, run.results, run.folder = clip, tmp_path / "r.jsonl", tmp_path
    return run


def show(run, capsys, *options):
    assert __main__.main(["report", str(run.results), *options]) == 0
    return capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------- a data set
def test_a_data_set_is_one_entry(run):
    zoo = load_dataset("Zoo", run.folder)
    assert zoo.classnames == CLASSES and zoo.template == "a drawing of a {}." and "Zoo" in run()


# --------------------------------------------------------------------------------------------------------- a position
def test_a_position_is_one_line(run):
    POSITIONS["quarter"] = lambda M: M // 4
    METHODS.update(standard_methods())  # as when the line stands in the file
    assert find_method("M8_quarter_CSC").label == "CoOp, M=8, position quarter, class-specific"
    assert "CoOp, M=4, position quarter 1" in run("--methods", "M4_quarter")
    learner = PromptLearner(run.clip, CLASSES, n_ctx=4, position="quarter")
    assert learner.prompts()[0] == "X cat X X X."
    save_prompt(learner, run.folder / "prompt.safetensors")
    assert load_prompt(run.folder / "prompt.safetensors", run.clip).position == "quarter"
    zoo = SimpleNamespace(classnames=range(4), train=range(100))
    work = {place: work_of([Cell("mini", "mini", "few-shot", "Zoo", f"M8_{place}", 1, 1)], zoo) for place in
            ("front", "quarter", "mid", "end")}  # fmt: skip
    assert list(work) == sorted(work, key=work.__getitem__, reverse=True) and len(set(work.values())) == 4


# ------------------------------------------------------------------------------------------------------------ a metric
def test_a_metric_is_a_function_and_its_line(run, capsys):
    printed = run("--methods", "zero_shot")
    run.results.unlink()
    METRICS["macro_f1"] = macro_f1
    assert run("--methods", "zero_shot") == printed
    (line,) = read_results_file(run.results).values()
    assert set(line["figures"]) == {"accuracy", "macro_f1", "even", "odd"}
    assert f" {line['figures']['macro_f1']:.1f}\n" in show(run, capsys, "--metric", "macro_f1")


# ------------------------------------------------------------------------------------------------------------ a method
MY_FILE = '''
import torch
from torch.nn import functional as F

from coop_edu import PromptConfig, PromptLearner, Trainer, ZeroShot
from coop_edu.grid.methods import Method, find_method


class ProGrad(Trainer):
    """Zhu et al., ICCV 2023: no step goes against what the hand-written prompt knows."""

    steps = 0

    def step(self, image_features, labels):
        learner = self.learner
        self.optimizer.zero_grad()
        loss, logits = learner.objective(image_features, learner(learner.ctx), labels)
        known = ZeroShot(learner.clip, learner.classnames, "a {}.").logits(image_features).softmax(dim=1)
        general = F.kl_div(logits.log_softmax(dim=1), known, reduction="batchmean")
        (g,) = torch.autograd.grad(loss, [learner.ctx], retain_graph=True)
        (d,) = torch.autograd.grad(general, [learner.ctx])
        learner.ctx.grad = g - ((g * d).sum() / d.square().sum()).clamp(max=0) * d
        self.optimizer.step()
        ProGrad.steps += 1
        return loss.detach(), logits.detach()


class Short(PromptLearner):
    """Another loss: the context stays short."""

    def __init__(self, clip, classnames, *, pull=0.1, **options):
        super().__init__(clip, classnames, **options)
        self.pull = pull

    def objective(self, image_features, text_features, labels):
        loss, logits = super().objective(image_features, text_features, labels)
        return loss + self.pull * self.ctx.square().sum(), logits

    def options(self):
        return {**super().options(), "pull": self.pull}


prograd = Method(PromptConfig(n_ctx=4), trainer=ProGrad, colour="#123456")
light = find_method("KgCoOp_M4_end").with_options(weight=4)
short = Method(PromptConfig(n_ctx=2, position="middle"), learner=Short, options={"pull": 0.5})
number = 3
'''


@pytest.fixture
def my_file(tmp_path):
    (tmp_path / "my_file.py").write_text(MY_FILE)
    return tmp_path / "my_file.py"


def test_two_methods_of_one_name_are_refused_and_a_recipe_keeps_the_seed(my_file):
    code = """
from coop_edu import PromptConfig, Recipe
from coop_edu.grid.methods import Method

slow, fast = (Method(PromptConfig(4), recipe=lambda r, lr=lr: Recipe(lr=lr), kind="Mine") for lr in (1e-4, 0.1))
"""
    my_file.write_text(code)
    with pytest.raises(ValueError, match="two different methods have the name 'Mine_M4_end'"):
        make_grid(datasets=["IconFood"], methods=[f"{my_file}:slow", f"{my_file}:fast"])
    cells = make_grid(datasets=["IconFood"], methods=[f"{my_file}:slow"] * 2, shots=[1], seeds=[1, 2])
    assert [find_method(cell.method).recipe_of(cell).seed for cell in cells] == [1, 2]
    with pytest.raises(ValueError, match="from_words=True"):
        Method(PromptConfig(init="a photo of a"))


LABELS = {
    "prograd": "ProGrad, M=4",
    "light": "KgCoOp, M=4, weight=4",
    "short": "Short, M=2, name in the middle, pull=0.5",
}


def test_a_method_enters_from_its_users_file_with_label_and_colour(run, my_file, capsys):
    texts = [f"{my_file}:{name}" for name in LABELS]
    printed = run("--methods", "M4_end", *texts)
    assert all(label in printed for label in LABELS.values())
    results = read_results(run.results)
    names = ["ProGrad_M4_end", "KgCoOp_M4_end_weight=4", "Short_M2_mid_pull=0.5"]
    assert set(results["method"]) == {"M4_end", *names} and len(read_results_file(run.results)) == 8
    lines = {line.get_label(): line for line in figure(results).axes[0].lines}
    assert lines["ProGrad, M=4"].get_color() == STYLES["ProGrad, M=4"][0] == "#123456"
    for name in names:  # somebody else's machine does not have the file
        del METHODS[name]
    assert "ProGrad_M4_end" in show(run, capsys) and "ProGrad, M=4" in show(run, capsys, "--methods", texts[0])


def test_the_step_and_the_hyperparameter_are_those_of_the_method(run, my_file, monkeypatch):
    weights, real = {}, Method.make

    def make(self, group):
        learners = real(self, group)
        weights[self.name] = [getattr(learner, "weight", None) for learner in learners]
        return learners

    monkeypatch.setattr(Method, "make", make)
    run("--methods", "KgCoOp_M4_end", f"{my_file}:prograd", f"{my_file}:light", "--epochs", "3")
    assert find_method("ProGrad_M4_end").trainer.steps == 2 * 3  # two seeds, and of few images each epoch is one step
    assert weights == {"KgCoOp_M4_end": [8, 8], "KgCoOp_M4_end_weight=4": [4, 4], "ProGrad_M4_end": [None, None]}


def test_a_method_of_ones_own_is_named_apart_from_the_librarys(my_file):
    with pytest.raises(ValueError, match=r"'M16_end' is a method of the library.*kind="):
        register_method(Method(recipe=lambda recipe: recipe))
    mine = register_method(Method(recipe=lambda recipe: recipe, kind="CoOp-slow"))
    assert find_method("CoOp-slow_M16_end") is mine and mine.label == "CoOp-slow"
    with pytest.raises(ValueError, match="no method 'number'"):
        method_from(f"{my_file}:number")
    same, other = my_file.parent / "same.py", my_file.parent / "other.py"
    same.write_text("from coop_edu.grid.methods import Method\nmine = Method()")
    other.write_text("from coop_edu.grid.methods import Method\nmine = Method(recipe=lambda recipe: recipe)")
    assert method_from(f"{same}:mine") is METHODS["M16_end"]
    with pytest.raises(ValueError, match="is a method of the library"):  # else the library's would be run
        method_from(f"{other}:mine")
    with pytest.raises(FileNotFoundError):
        method_from(f"{my_file.parent}/nowhere.py:prograd")
    with pytest.raises(AttributeError):
        mine.kind = "other"


@pytest.mark.slow
def test_processes_give_the_same_bytes_and_find_a_method_of_ones_own(my_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    methods = ["zero_shot", f"{my_file}:prograd", f"{my_file}:light"]
    cells = make_grid("mini", datasets=["IconAnimals"], shots=[4], seeds=[1], methods=methods)
    run_grid(cells, tmp_path / "one.jsonl", epochs=20, progress=False)
    run_grid(cells, tmp_path / "two.jsonl", epochs=20, jobs=2, progress=False)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert len({json.dumps(line["figures"]) for line in read_results_file(tmp_path / "two.jsonl").values()}) == 3
