"""The verdicts on invented results, where the right ones are known by hand; and the paper's own numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from coop_edu.files import read_asset
from coop_edu.grid import agreement as module
from coop_edu.grid.agreement import EQUAL, Measured, Paper, statements, verdict
from coop_edu.grid.frame import as_frame, shipped_results
from coop_edu.grid.results import Cell
from coop_edu.scales import SCALES

MINI = SCALES["mini"]
METHODS = ("M16_end", "M16_end_CSC", "linear_probe", "M16_mid")


def agreement(lines, scale="mini"):
    return module.agreement(as_frame(lines), scale)


def invented(levels, *, seeds=(1, 2, 3), noise=0.0):
    """Results whose accuracy on every task is levels[method, shots], plus noise * (-1, 0, 1) for the three seeds."""
    results = {}
    for task, name in enumerate(MINI.tasks):
        for (method, shots), level in levels.items():
            for seed in (0,) if method == "zero_shot" else seeds:
                percent = level + noise * (seed - 2 if seed else 0)
                figures = {"accuracy": percent, "even": percent + task, "odd": percent + task}
                results[Cell("mini", "mini", "few-shot", name, method, shots, seed)] = {"figures": figures}
    return results


LEVELS = {("zero_shot", 0): 50.0, ("M16_end", 16): 60.0, ("M16_end", 2): 49.0, ("M16_end", 1): 40.0,
          ("M16_end_CSC", 16): 59.5, ("M16_end_CSC", 1): 30.0, ("linear_probe", 16): 70.0, ("linear_probe", 1): 20.0,
          ("M16_mid", 16): 60.5}  # fmt: skip


@pytest.mark.parametrize(
    ("paper", "here", "half", "expected"),
    [
        (5, 3.0, 2.9, "agrees"),
        (5, 3.0, 3.0, "too close to call"),  # the interval ends at 0
        (5, 0.0, 0.0, "too close to call"),
        (5, -3.0, 2.9, "disagrees"),
        (-5, -3.0, 2.9, "agrees"),
        (5, 3.0, float("nan"), "too close to call"),  # one seed says nothing of the others
    ],
)
def test_the_rule(paper, here, half, expected):
    assert verdict(paper, here, half) == expected


@pytest.mark.parametrize(
    ("here", "half", "expected"),
    [(1.0, 1.0, "agrees"), (-1.0, 0.8, "agrees"), (1.5, 1.0, "too close to call"), (-4.0, 1.0, "disagrees")],
)
def test_the_rule_for_about_equal(here, half, expected):
    assert EQUAL == 2.0 and verdict(0.1, here, half, equal=True) == expected


@pytest.mark.parametrize(("n", "t", "two_errors"), [(3, 4.303, 0.184), (5, 2.776, 0.116)])
def test_five_in_a_hundred_verdicts_on_differences_of_zero_are_wrong(n, t, two_errors):
    draws = np.random.default_rng(0).standard_normal((2000, n))
    sizes = [module._estimate(lambda _, row=row: row, None) for row in draws]
    assert sizes[0].half_width == pytest.approx(t * sizes[0].error, rel=1e-3)

    def called(half):
        return np.mean([verdict(1, size.mean, half(size)) != "too close to call" for size in sizes])

    assert called(lambda size: size.half_width) == pytest.approx(0.05, abs=0.015)
    assert called(lambda size: 2 * size.error) == pytest.approx(two_errors, abs=0.025)


def test_invented_results_get_the_verdicts_that_are_known_by_hand():
    table = agreement(invented(LEVELS))
    known = {"a": 10, "b": -1, "c": 10, "d": 0.5, "e": 9.5, "f": 20, "g": -10, "n": -0.5}
    assert table["here"].dropna().to_dict() == pytest.approx(known)
    words = table["verdict"].to_dict()
    assert [words[x] for x in "abcdefgn"] == ["agrees", "disagrees", *["agrees"] * 4, "disagrees", "agrees"]
    assert words["h4"] == words["k16"] == words["l"] == words["m"] == "not measured"


def test_noise_common_to_all_methods_cancels_and_noise_of_one_does_not():
    common = agreement(invented(LEVELS, noise=5.0))
    assert common.loc["d", "standard error"] == pytest.approx(0) and common.loc["d", "verdict"] == "agrees"
    # against the hand-written prompt, which has no seed, 5 * (-1, 0, 1) stays: s = 5, SE = 5 / sqrt(3)
    assert common.loc["a", "standard error"] == pytest.approx(5 / 3**0.5)
    assert common.loc["a", "half width (95 %)"] == pytest.approx(4.3027 * 5 / 3**0.5, rel=1e-4)
    assert common.loc["a", "verdict"] == "too close to call"  # 10 points: more than two standard errors, and not enough
    assert common.loc["b", "verdict"] == "too close to call"


def test_one_seed_is_too_close_to_call_and_no_common_seed_is_not_measured():
    assert set(agreement(invented(LEVELS, seeds=(1,))).loc[list("abcdefg"), "verdict"]) == {"too close to call"}
    some = invented(LEVELS)
    for seed in (1, 2, 3):  # each is missing on another task
        some.pop(Cell("mini", "mini", "few-shot", MINI.tasks[seed], "M16_end", 16, seed))
    words = agreement(some)["verdict"]
    assert words["a"] == words["d"] == words["g"] == "not measured" and words["c"] == "agrees"


def test_seeds_are_paired_by_their_number_and_not_by_their_place():
    """CoOp is 0.5 ahead for every seed; the seeds differ by 10 points, and class-specific has other ones."""
    both = invented({("M16_end", 16): 60.0, ("zero_shot", 0): 50.0}, noise=10.0)
    both |= invented({("M16_end_CSC", 16): 59.5}, seeds=(2, 3, 4), noise=10.0)
    assert agreement(both).loc["d", "here"] == pytest.approx(0.5)  # seeds 2 and 3
    assert agreement(both).loc["d", "standard error"] == pytest.approx(0)
    few = {cell: line for cell, line in both.items() if cell.seed != 3 or cell.method == "M16_end"}
    assert agreement(few).loc["d", "here"] == pytest.approx(0.5)
    assert agreement(few).loc["d", "verdict"] == "too close to call"  # seed 2 alone


def test_five_seeds_of_one_method_and_three_of_another_are_compared_on_three():
    both = invented({("M16_end", 16): 60.0, ("zero_shot", 0): 50.0}, seeds=(1, 2, 3, 4, 5), noise=1.0)
    both |= invented({("M16_end_CSC", 16): 59.5}, seeds=(1, 2, 3), noise=1.0)
    table = agreement(both)
    assert table.loc["d", "here"] == pytest.approx(0.5) and table.loc["d", "verdict"] == "agrees"
    assert table.loc["a", "here"] == pytest.approx(61 - 50)  # the five seeds have 59, ..., 63


def test_another_metric_changes_no_verdict():
    lines = invented(LEVELS, noise=1.0)
    more = {cell: {"figures": {**line["figures"], "macro_f1": 3.0}} for cell, line in lines.items()}
    pd.testing.assert_frame_equal(agreement(more), agreement(lines))


def test_results_of_two_clips_are_not_one():
    results = invented(LEVELS)
    results |= {replace(cell, clip="RN50"): line for cell, line in results.items()}
    with pytest.raises(ValueError, match=r"several CLIPs \(RN50, mini\)"):
        agreement(results)
    assert agreement(results, scale="paper").loc["a", "verdict"] == "not measured"


def test_the_gain_does_not_share_noise_with_what_it_is_compared_with():
    """Hand-written accuracies that are pure noise, another in each half, and a learned one that is always the same."""
    generator, honest = np.random.default_rng(0), []
    for _ in range(40):
        results = {}
        for name in MINI.tasks:
            even, odd = 50 + 10 * generator.standard_normal(2)
            written = {"accuracy": (even + odd) / 2, "even": even, "odd": odd}
            learned = {"accuracy": 60.0, "even": 60.0, "odd": 60.0}
            results[Cell("mini", "mini", "few-shot", name, "zero_shot", 0, 0)] = {"figures": written}
            results[Cell("mini", "mini", "few-shot", name, "M16_end", 16, 1)] = {"figures": learned}
        honest.append(Measured(as_frame(results), "mini").weakness().mean)
    assert abs(np.mean(honest)) < 0.15  # with the same images for both it would be -1 each time


def test_the_papers_sizes_are_those_of_its_own_tables():
    """Averages over the eleven data sets as the authors' sheet has them: 58.77 zero-shot, 73.42 with 16 shots."""
    paper = Paper()
    sizes = {letter: difference(paper) for letter, (_, difference) in statements().items()}
    expected = {"a": 14.7, "b": 3.6, "c": 14.7, "d": 2.0, "e": 12.7, "f": 22.9, "g": 2.3, "n": 0.1, "l": 0.9, "m": 10.9}
    assert {letter: round(sizes[letter], 1) for letter in expected} == expected
    assert paper.weakness().mean == pytest.approx(-0.55, abs=0.005)


def test_published_numbers_agree_where_two_tables_have_them():
    """On ImageNet itself: the eleven-panel figure and the table of shifts, RN50."""
    curves, shifts = Paper().curves, Paper().domains["RN50"]
    assert shifts["zero-shot"][0] == curves["zero_shot"]["ImageNet"]
    assert shifts["linear probe"][0] == curves["linear_probe"]["16"]["ImageNet"]


def test_the_shipped_results_have_every_statement():
    table = module.agreement(shipped_results())
    assert list(table.index) == [*statements(), "o"]
    assert "not measured" not in set(table["verdict"])
    assert table.drop(index="o").notna().all(axis=None) and table["verdict"].notna().all()


def test_the_published_harmonic_means_are_those_of_the_averages():
    for method, facts in read_asset("base_to_new.json")["methods"].items():
        H = 2 * facts["base"] * facts["new"] / (facts["base"] + facts["new"])
        assert abs(H - facts["H"]) < 0.02, method
