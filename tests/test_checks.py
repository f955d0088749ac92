"""Every checker against a zoo: it must say *right* to right solutions, and name the mistake of each wrong one."""

import inspect
import math
import random
from pathlib import Path

import nbformat
import pytest
import torch
from scipy.special import stdtrit
from test_checks_building import PIECES
from test_checks_building import ZOO as ZOO_OF_LATER
from torch.nn.functional import normalize

from coop_edu import checks, mean_and_interval
from coop_edu.teaching.checks import solutions

from exercises import solutions as solutions_in


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def by_class(labels):
    groups = {}
    for i, label in enumerate(labels):
        groups.setdefault(label, []).append(i)
    return groups.values()


def sample(labels, k, draw):
    return [i for group in by_class(labels) for i in (draw(group, k) if len(group) >= k else group)]


def seeded_global(labels, k, seed):
    random.seed(seed)
    return sample(labels, k, random.sample)


def block(labels, k, generator):
    drawn = []
    for group in by_class(labels):
        start = generator.randrange(max(1, len(group) - k + 1))
        drawn += group[start : start + k]
    return drawn


def right_rate(epoch, epochs):
    return 1e-5 if epoch == 0 else 0.001 * (1 + math.cos(math.pi * (epoch - 1) / epochs))


def gap(p, q, tau):
    return tau * math.log(p / q)


def others(t, i):
    return torch.cat([t[:i], t[i + 1 :]])


def loop_probabilities(f, w, tau):
    rows = []
    for x in f:
        e = [math.exp(float(x @ y / x.norm() / y.norm()) / tau) for y in w]
        rows.append([v / sum(e) for v in e])
    return rows


RIGHT = [
    (checks.check_prompts, lambda t, names: [t.format(n.replace("_", " ")) for n in names]),
    (checks.check_prompts, lambda t, names: tuple(t.replace("{}", " ".join(n.split("_"))) for n in names)),
    (checks.check_class_probabilities, lambda f, w, tau: torch.softmax(unit(f) @ unit(w).T / tau, dim=1)),
    (checks.check_class_probabilities, loop_probabilities),
    (checks.check_cosine_gap, gap),
    (checks.check_cosine_gap, lambda p, q, t: t * (math.log(p) - math.log(q))),
    (checks.check_leave_one_out, lambda t: torch.stack([unit(unit(others(t, i)).mean(0)) for i in range(len(t))])),
    (checks.check_leave_one_out, lambda t: unit(unit(t).sum(0) - unit(t))),
    (checks.check_prompt_assembly, lambda sos, ctx, name, eot: torch.vstack([sos, ctx, name, eot])),
    (checks.check_sampler, lambda y, k, s: sample(y, k, random.Random(s).sample)),
    (checks.check_sampler, lambda y, k, s: torch.tensor(sample(y, k, random.Random(s).sample))),
    (checks.check_learning_rate, right_rate),
    (checks.check_average, lambda a: mean_and_interval(table(a).mean(0).tolist())),
    (checks.check_average, lambda a: [table(a).mean(), torch.tensor(interval(table(a).mean(0)))]),
]

P, E, A, S = (
    checks.check_class_probabilities,
    checks.check_leave_one_out,
    checks.check_prompt_assembly,
    checks.check_sampler,
)
L, G = checks.check_learning_rate, checks.check_cosine_gap
V = checks.check_average


def table(accuracies):
    return torch.tensor(list(accuracies.values()))  # (tasks, seeds)


def interval(values):
    return mean_and_interval(values.tolist())[1]


def averaged(accuracies, t=None, root=0.5, power=1, by_n=False, n=5):
    by_seed = table(accuracies).mean(0)
    s = by_seed.std(correction=0 if by_n else 1).item()
    t = float(stdtrit(len(by_seed) - 1, 0.975)) if t is None else t
    return by_seed.mean(), t * s**power / n**root


F = checks.check_prompts

LATER = {
    **ZOO_OF_LATER,
    **{f"{check.__name__}, {n}": (check, *wrong) for check, (_, zoo) in PIECES.items() for n, wrong in zoo.items()},
}

ZOO = {  # name: (checker, wrong solution, words of the diagnosis)
    "underscores": (F, lambda t, names: [t.format(n) for n in names], "underscores"),
    "not filled": (F, lambda t, names: [t for _ in names], "not filled in"),
    "names only": (F, lambda t, names: [n.replace("_", " ") for n in names], "words around"),
    "name behind": (F, lambda t, names: [t + " " + n.replace("_", " ") for n in names], "behind the template"),
    "one string": (F, lambda t, names: t.format(names[0]), "a list with one sentence"),
    "first class": (F, lambda t, names: [t.format(names[0])], "6 sentences"),
    "first underscore": (F, lambda t, names: [t.format(n.replace("_", " ", 1)) for n in names], "only the first"),
    "small letters": (F, lambda t, names: [t.format(n.replace("_", " ").lower()) for n in names], "small letters"),
    "no hyphens": (F, lambda t, names: [t.format(n.replace("_", " ").replace("-", " ")) for n in names], "hyphens"),
    "template without underscores": (
        F,
        lambda t, names: [t.format(n).replace("_", " ") for n in names],
        "of the template",
    ),
    "articles": (
        F,
        lambda t, names: [t.format(n.replace("_", " ")).replace("a airplane", "an airplane") for n in names],
        "“an”",
    ),
    "sorted names": (F, lambda t, names: [t.format(n.replace("_", " ")) for n in sorted(names)], "another order"),
    "a set": (F, lambda t, names: {t.format(n.replace("_", " ")) for n in names}, "a list with one sentence"),
    "forgotten return": (P, lambda f, w, t: None, "return missing"),
    "templates along the classes": (E, lambda t: unit(normalize(t).sum(0) - normalize(t)), "dim=1"),
    "no pi": (L, lambda e, n: 1e-5 if e == 0 else 0.001 * (1 + math.cos((e - 1) / n)), "pi is missing"),
    "no 0.002": (L, lambda e, n: 1e-5 if e == 0 else right_rate(e, n) / 0.002, "0.002 is missing"),
    "shouting": (F, lambda t, names: [t.format(n.replace("_", " ")).upper() for n in names], "it should be"),
    "features along the wrong axis": (
        P,
        lambda f, w, t: (normalize(f, dim=0) @ normalize(w, dim=0).T / t).softmax(1),
        "wrong axis",
    ),
    "repair as given": (P, lambda f, w, t: (unit(f) @ normalize(w, dim=0).T / t).softmax(0), "two mistakes are left"),
    "a dictionary": (P, lambda f, w, t: {"p": 1}, "a tensor was expected"),
    "context detached": (A, lambda s, c, n, e: torch.cat([s, c.detach(), n, e]), "no gradient"),
    "context copied": (
        A,
        lambda s, c, n, e: torch.tensor([*s.tolist(), *c.tolist(), *n.tolist(), *e.tolist()]),
        "no gradient",
    ),
    "sizes typed in": (A, lambda s, c, n, e: torch.cat([s, c[:3], n[:2], e]), "typed in"),
    "a generator for each class": (
        S,
        lambda y, k, s: [i for g in by_class(y) for i in random.Random(s).sample(g, min(k, len(g)))],
        "the same places",
    ),
    "a block": (S, lambda y, k, s: block(y, k, random.Random(s)), "neighbours"),
    "fifty typed in": (L, lambda e, n: right_rate(e, 50), "50 epochs only"),
    "raw features": (P, lambda f, w, t: (f @ w.T / t).softmax(1), "not normalised"),
    "raw images": (P, lambda f, w, t: (f @ unit(w).T / t).softmax(1), "image features are not"),
    "raw texts": (P, lambda f, w, t: (unit(f) @ w.T / t).softmax(1), "text features are not"),
    "softmax over images": (P, lambda f, w, t: (unit(f) @ unit(w).T / t).softmax(0), "over the images"),
    "no temperature": (P, lambda f, w, t: (unit(f) @ unit(w).T).softmax(1), "temperature is missing"),
    "times temperature": (P, lambda f, w, t: (unit(f) @ unit(w).T * t).softmax(1), "multiplied"),
    "no softmax": (P, lambda f, w, t: unit(f) @ unit(w).T / t, "softmax is still missing"),
    "transposed": (P, lambda f, w, t: (unit(f) @ unit(w).T / t).softmax(1).T, "swapped"),
    "bad shapes": (P, lambda f, w, t: f @ w, "RuntimeError"),
    "a word": (P, lambda f, w, t: "cat", "a tensor was expected"),
    "all of them": (E, lambda t: torch.stack([unit(unit(t).mean(0))] * len(t)), "every template takes part"),
    "mean first": (E, lambda t: unit(t.sum(0) - t), "before normalising"),
    "no last normalise": (E, lambda t: (unit(t).sum(0) - unit(t)) / (len(t) - 1), "not normalised again"),
    "nothing normalised": (E, lambda t: (t.sum(0) - t) / (len(t) - 1), "nothing is normalised"),
    "without a class": (E, lambda t: unit(unit(t).sum(1, keepdim=True) - unit(t)), "a class is left out"),
    "sum": (E, lambda t: unit(t).sum(0) - unit(t), "added up"),
    "the one alone": (E, unit, "the one to leave out"),
    "from the mean": (E, lambda t: unit(unit(t).mean(0) - unit(t)), "from the sum"),
    "gap without temperature": (G, lambda p, q, t: math.log(p / q), "temperature is missing"),
    "gap over temperature": (G, lambda p, q, t: math.log(p / q) / t, "undone"),
    "gap, other sign": (G, lambda p, q, t: gap(q, p, t), "sign"),
    "gap in bits": (G, lambda p, q, t: t * math.log2(p / q), "base 2"),
    "gap to base 10": (G, lambda p, q, t: t * math.log10(p / q), "base 10"),
    "gap, a ratio": (G, lambda p, q, t: t * p / q, "logarithm is missing"),
    "gap, subtracted": (G, lambda p, q, t: t * (p - q), "are subtracted"),
    "name first": (A, lambda s, c, n, e: torch.cat([s, n, c, e]), "name stands before"),
    "context last": (A, lambda s, c, n, e: torch.cat([s, n, e, c]), "after EOT"),
    "context before SOS": (A, lambda s, c, n, e: torch.cat([c, s, n, e]), "before SOS"),
    "no EOT": (A, lambda s, c, n, e: torch.cat([s, c, n]), "EOT is missing"),
    "no SOS": (A, lambda s, c, n, e: torch.cat([c, n, e]), "SOS is missing"),
    "reversed": (A, lambda s, c, n, e: torch.cat([s, c.flip(0), n, e]), "reverse"),
    "averaged": (A, lambda s, c, n, e: torch.cat([s, c.mean(0)[None], n, e]), "averaged"),
    "global generator": (S, lambda y, k, s: sample(y, k, random.sample), "the same seed"),
    "seeds the global": (S, seeded_global, "global generator"),
    "one seed for all": (S, lambda y, k, s: sample(y, k, random.Random(0).sample), "seed is not used"),
    "first k": (S, lambda y, k, s: sample(y, k, lambda g, n: g[:n]), "first k"),
    "with replacement": (S, lambda y, k, s: sample(y, k, lambda g, n: [g[0]] * n), "twice"),
    "k in all": (S, lambda y, k, s: random.Random(s).sample(range(len(y)), k), "in all"),
    "labels": (S, lambda y, k, s: [y[i] for i in sample(y, k, random.Random(s).sample)], "labels"),
    "drops thin classes": (
        S,
        lambda y, k, s: [i for g in by_class(y) if len(g) >= k for i in random.Random(s).sample(g, k)],
        "class 3",
    ),
    "lists of classes": (S, lambda y, k, s: [[i for i, c in enumerate(y) if c == d][:k] for d in set(y)], "extend"),
    "a dictionary of classes": (S, lambda y, k, s: {c: [y.index(c)] for c in set(y)}, "returned a dict"),
    "places": (
        S,
        lambda y, k, s: [i for c in set(y) for i in random.Random(s + c).sample(range(y.count(c)), min(k, y.count(c)))],
        "within each class",
    ),
    "length of all": (P, lambda f, w, tau: ((f / f.norm()) @ (w / w.norm()).T / tau).softmax(1), "all rows together"),
    "half first": (V, lambda a: averaged(a)[::-1], "swapped"),
    "two ends": (V, lambda a: (averaged(a)[0] - averaged(a)[1], sum(averaged(a))), "two ends"),
    "interval over tasks": (V, lambda a: (table(a).mean(), interval(table(a).mean(1))), "over tasks"),
    "interval of all": (V, lambda a: (table(a).mean(), interval(table(a).flatten())), "all numbers at once"),
    "mean of intervals": (
        V,
        lambda a: (table(a).mean(), sum(interval(row) for row in table(a)) / len(a)),
        "the tasks' own",
    ),
    "squares by n": (V, lambda a: averaged(a, by_n=True), "divided by n; take n - 1"),
    "standard deviation": (V, lambda a: averaged(a, t=1, root=0), "single seeds"),
    "standard error": (V, lambda a: averaged(a, t=1), "a standard error"),
    "not by the root of n": (V, lambda a: averaged(a, root=0), "divide by the root of n"),
    "by n": (V, lambda a: averaged(a, root=1), "divide by its root"),
    "no root of the variance": (V, lambda a: averaged(a, power=2), "variance is missing"),
    "two standard errors": (V, lambda a: averaged(a, t=2), "many seeds"),
    "one side": (V, lambda a: averaged(a, t=float(stdtrit(4, 0.95))), "0.975"),
    "n degrees": (V, lambda a: averaged(a, t=float(stdtrit(5, 0.975))), "degrees of freedom"),
    "1.96 errors": (V, lambda a: averaged(a, t=1.96), "1.96"),
    "number of tasks": (V, lambda a: averaged(a, t=float(stdtrit(3, 0.975)), n=4), "number of tasks"),
    "all numbers": (V, lambda a: averaged(a, n=20), "all accuracies"),
    "2.8": (V, lambda a: averaged(a, t=2.8), "t is rounded"),
    "None": (V, lambda a: (50.0, None), "the second should be one number"),
    "of each seed": (V, lambda a: (table(a).mean(0), 1.0), "the first should be one number"),
    "low and high": (V, lambda a: (50.0, (49.0, 51.0)), "one number"),
    "whole interval": (V, lambda a: averaged(a, t=2 * float(stdtrit(4, 0.975))), "half of it"),
    "mean only": (V, lambda a: table(a).mean().item(), "two numbers"),
    "first seed": (V, lambda a: (table(a)[:, 0].mean(), interval(table(a).mean(0))), "it should be"),
    "no warm-up": (L, lambda e, n: 0.001 * (1 + math.cos(math.pi * e / n)), "warm-up is missing"),
    "cosine too early": (L, lambda e, n: 1e-5 if e == 0 else 0.001 * (1 + math.cos(math.pi * e / n)), "too early"),
    "reaches zero": (
        L,
        lambda e, n: 1e-5 if e == 0 else 0.001 * (1 + math.cos(math.pi * (e - 1) / (n - 1))),
        "never does",
    ),
    "constant": (L, lambda e, n: 1e-5 if e == 0 else 0.002, "cosine is missing"),
    "not halved": (L, lambda e, n: 1e-5 if e == 0 else 0.002 * math.cos(math.pi * (e - 1) / n), "negative"),
    "in degrees": (L, lambda e, n: 1e-5 if e == 0 else 0.001 * (1 + math.cos(180 * (e - 1) / n)), "should be"),
}

CHECKERS = [getattr(checks, name) for name in dir(checks) if name.startswith("check_")]


@pytest.mark.parametrize(("check", "solution"), RIGHT)
def test_right_is_called_right(check, solution):
    assert check(solution).status == "right", check(solution)


@pytest.mark.parametrize("name", ZOO)
def test_wrong_is_named(name):
    check, solution, words = ZOO[name]
    verdict = check(solution)
    assert verdict.status == "wrong", verdict
    assert words in verdict.message, verdict


def raises(*arguments, **options):
    raise NotImplementedError


@pytest.mark.parametrize("check", CHECKERS)
def test_empty_is_not_attempted(check):
    assert check(raises).status == "not attempted"


@pytest.mark.parametrize("check", CHECKERS)
def test_an_answer_that_is_not_returned_is_named(check):
    assert "return missing" in check(lambda *_, **__: None).message


def test_an_error_of_torch_is_shown_with_its_line():
    def report(on_val, right, given):
        return given, right[given] - right[given], 1.0  # torch raises NotImplementedError for truth values

    verdict = checks.check_honest_report(report)
    assert verdict.status == "wrong" and "right[given] - right[given]" in verdict.message, verdict


@pytest.mark.parametrize("check", CHECKERS)
def test_strict_mode_demands_right(check, monkeypatch):
    monkeypatch.setenv("COOP_EDU_STRICT", "1")
    with pytest.raises(AssertionError, match="not attempted"):
        check(raises)
    with pytest.raises(AssertionError, match="wrong"):
        check(lambda *_, **__: "nonsense")
    for checker, solution in RIGHT:
        if checker is check:
            assert check(solution).status == "right"


def test_every_checker_has_a_zoo():
    for check in CHECKERS:
        wrong = [name for name, (checker, _, _) in {**ZOO, **LATER}.items() if checker is check]
        assert len(wrong) >= 3, f"{check.__name__} is tested with {wrong} only"
        assert check.__doc__


def test_what_later_cells_compute_with_is_the_readers_own_as_soon_as_it_is_right(capsys):
    def sample(labels, k, seed):
        raise NotImplementedError

    assert checks.finished(sample) is solutions.sample and "until yours is right" in capsys.readouterr().out

    def sample(labels, k, seed):
        return [i for group in by_class(labels) for i in random.Random(seed).sample(group, min(k, len(group)))]

    assert checks.finished(sample) is solutions.sample  # a generator for each class: wrong

    def sample(labels, k, seed):
        return sorted(solutions.sample(labels, k, seed))

    assert checks.finished(sample) is sample and capsys.readouterr().out.endswith("sample: yours\n")


@pytest.mark.parametrize("name", solutions.SOLVED)
def test_the_solutions_are_those_folded_in_the_notebooks(name):
    check, solution = solutions.SOLVED[name]
    assert check(solution).status == "right"
    folder = Path(__file__).resolve().parents[1] / "notebooks"
    folded = [text for path in folder.glob("*.ipynb") for text, _ in solutions_in(nbformat.read(path, 4))]
    assert inspect.getsource(solution).strip() in [text.strip() for text in folded]


def test_checkers_leave_the_global_generators_alone():
    before = random.getstate(), torch.get_rng_state()
    for check, solution in RIGHT:
        check(solution)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
