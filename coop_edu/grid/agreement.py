"""What agrees with the paper?  Each of its statements, its size there and here, and one verdict by one rule.

A statement is a difference in points, such as "with 16 shots, CoOp minus the hand-written prompt".  It is computed by
one function from the paper's numbers (assets/paper_results.json, with their sources) and from the results of a grid.

The rule.  A difference of means over the datasets is taken for each of the n seeds that both methods have.  Its mean
is d, its standard deviation s (divided by n - 1), its standard error SE = s / sqrt(n).  The 95 % interval is d ± h,
where h = t SE, with Student's t for n - 1 degrees of freedom.

    agrees              d has the paper's sign, and |d| > h
    disagrees           d has the other sign, and |d| > h
    too close to call   else
    about equal?        of two methods that should be equal: agrees if |d| + h is at most EQUAL points, disagrees if
                        |d| - h is more

A rule of two standard errors gives 18 % false verdicts with three seeds, because s is then a rough guess.  Student's t
gives 5 % with any number: it is 4.3 for three seeds and 2.8 for five.

The standard error covers the choice of shots and the initial context, not the choice of datasets or of MiniCLIP's
weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from scipy.special import stdtrit  # Student's t; scipy.stats takes a second to import

from coop_edu.files import read_asset
from coop_edu.grid.results import HALVES
from coop_edu.scales import SCALES

EQUAL = 2.0  # points: two methods closer than that are called about equal
EQUALITY = "n"  # the statement that says so
UC, CSC, PROBE, WRITTEN = "M16_end", "M16_end_CSC", "linear_probe", "zero_shot"
PLACES = ("V2", "Sketch", "A", "R")  # the four variants of the source
BySeed: TypeAlias = "pd.Series | float"  # percents, or their differences, by seed; a number for what has no seed
Difference: TypeAlias = "Callable[[Paper | Measured], BySeed]"  # KeyError for what the paper or the grid does not have


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, and with the half width h of its 95 % interval."""

    mean: float = float("nan")
    error: float = float("nan")
    degrees_of_freedom: int = 0  # of Student's t

    @property
    def half_width(self) -> float:
        return float(stdtrit(self.degrees_of_freedom, 0.975) * self.error)


def on_average(numbers: Paper | Measured, method: str) -> BySeed:
    """Mean accuracy over the four variants."""
    return mean_of([numbers.shifted(method, place) for place in PLACES])


def mean_of(columns: list[BySeed]) -> BySeed:
    """Seed by seed.  pandas pairs them by number, and a seed that one column lacks is NaN."""
    return sum(columns) / len(columns)


def statements() -> dict[str, tuple[str, Difference]]:
    """{letter: (what the paper says, the difference in points for each seed)}."""

    def above(one: str, other: str, shots: int) -> Difference:
        return lambda n: n.few_shot(one, shots) - n.few_shot(other, 0 if other == WRITTEN else shots)

    def above_written(method: str, place: str) -> Difference:
        return lambda n: n.shifted(method, place) - n.shifted(WRITTEN, place)

    table = {
        "a": ("16 shots: CoOp above the hand-written prompt", above(UC, WRITTEN, 16)),
        "b": ("2 shots: CoOp above the hand-written prompt", above(UC, WRITTEN, 2)),
        "c": ("1 shot: unified above class-specific", above(UC, CSC, 1)),
        "d": ("16 shots: unified above class-specific", above(UC, CSC, 16)),
        "e": (
            "from 1 shot to 16: class-specific gains more",
            lambda n: n.few_shot(CSC, 16) - n.few_shot(CSC, 1) - n.few_shot(UC, 16) + n.few_shot(UC, 1),
        ),
        "f": ("1 shot: CoOp above the linear probe", above(UC, PROBE, 1)),
        "g": ("16 shots: CoOp above the linear probe", above(UC, PROBE, 16)),
    }
    for letter, place in zip("hijk", PLACES):
        for M in (4, 16):
            method = f"M{M}_end"
            table[f"{letter}{M}"] = (f"{place}: CoOp, M={M}, above hand-written", above_written(method, place))
    table["l"] = ("under shift: M=4 above M=16", lambda n: on_average(n, "M4_end") - on_average(n, UC))
    table["m"] = ("under shift: probe below hand-written", lambda n: on_average(n, WRITTEN) - on_average(n, PROBE))
    table[EQUALITY] = ("16 shots: name at the end about equal to middle", above(UC, "M16_mid", 16))
    return table


WEAKNESS = "o", "gain against hand-written accuracy: correlation"


def verdict(paper: float, here: float, half: float, *, equal: bool = False) -> str:
    """The rule of this file's header, for one statement; half: h, which is NaN for a single seed.

    >>> verdict(14.7, 13.5, 0.4), verdict(2.0, -0.8, 0.9), verdict(2.3, -4.4, 0.5), verdict(0.1, 0.3, 0.2, equal=True)
    ('agrees', 'too close to call', 'disagrees', 'agrees')
    """
    if np.isnan(here):
        return "not measured"
    if equal:
        if abs(here) + half <= EQUAL:
            return "agrees"
        return "disagrees" if abs(here) - half > EQUAL else "too close to call"
    if abs(here) <= half or not np.isfinite(half):
        return "too close to call"
    return "agrees" if here * paper > 0 else "disagrees"


def agreement(results: pd.DataFrame, scale: str = "mini") -> pd.DataFrame:
    """The table: a row for each statement, with its size in the paper and here, and the verdict.

    results: as `read_results` gives them, protocols few-shot and domains.  A statement for which the results lack cells
    is "not measured".

        agreement(shipped_results())
    """
    paper, grid = Paper(), Measured(results, scale)
    sizes = {
        letter: (says, _estimate(difference, paper), _estimate(difference, grid))
        for letter, (says, difference) in statements().items()
    }
    letter, says = WEAKNESS
    sizes[letter] = says, paper.weakness(), grid.weakness()
    rows = {
        letter: {
            "the paper says": says,
            "in the paper": theirs.mean,
            "here": here.mean,
            "standard error": here.error,
            "half width (95 %)": here.half_width,
            "verdict": verdict(theirs.mean, here.mean, here.half_width, equal=letter == EQUALITY),
        }
        for letter, (says, theirs, here) in sizes.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("")


def _estimate(difference: Difference, numbers: Paper | Measured) -> Estimate:
    """Over the seeds that everything in the difference has.  The error of a single one is unknown, NaN."""
    try:
        values = pd.Series(difference(numbers), dtype=float).dropna()
    except KeyError:
        return Estimate()
    return Estimate(float(values.mean()), float(values.sem()), max(len(values) - 1, 0))


# ------------------------------------------------------------------------------------------------ the two sources
class Paper:
    """The published numbers: RN50 for few shots, ViT-B/16 under shift."""

    def __init__(self) -> None:
        content = read_asset("paper_results.json")
        self.curves, self.domains = content["few_shot"], content["domain_generalisation"]

    def by_dataset(self, method: str, shots: int = 0) -> dict[str, float]:
        row = self.curves[method][str(shots)] if shots else self.curves[method]
        return {name: percent for name, percent in sorted(row.items()) if name != "Average"}

    def few_shot(self, method: str, shots: int = 0) -> BySeed:
        """Mean accuracy over the datasets, in percent."""
        return float(np.mean(list(self.by_dataset(method, shots).values())))

    def shifted(self, method: str, place: str) -> BySeed:
        """Accuracy on one of PLACES, learned on the source with 16 shots."""
        label = {WRITTEN: "zero-shot", PROBE: "linear probe", "M4_end": "CoOp M=4", UC: "CoOp M=16"}[method]
        column = self.domains["columns"].index(f"ImageNet{place}" if place == "V2" else f"ImageNet-{place}")
        return self.domains["ViT-B/16"][label][column]

    def weakness(self) -> Estimate:
        """Correlation over the datasets of the hand-written accuracy and CoOp's gain."""
        written, learned = self.by_dataset(WRITTEN), self.by_dataset(UC, 16)
        gain = [learned[name] - written[name] for name in written]
        return Estimate(float(np.corrcoef(list(written.values()), gain)[0, 1]))


class Measured:
    """A grid's results, of one scale and one CLIP.  Differences are paired by seed."""

    def __init__(self, results: pd.DataFrame, scale: str) -> None:
        self.scale = SCALES[scale]
        results = results[results["scale"] == scale]
        if len(clips := sorted(set(results["clip"]))) > 1:
            raise ValueError(f"the results are of several CLIPs ({', '.join(clips)}): choose the cells of one")
        keys = ["protocol", "dataset", "method", "shots", "metric", "seed"]
        self.percent = results.set_index(keys)["percent"].sort_index()

    def values(self, protocol: str, dataset: str, method: str, shots: int, metric: str) -> BySeed:
        """Raises KeyError if the results lack it."""
        by_seed = self.percent.loc[protocol, dataset, method, shots, metric]
        return by_seed if shots else by_seed.item()

    def few_shot(self, method: str, shots: int = 0) -> BySeed:
        return mean_of([self.values("few-shot", name, method, shots, "accuracy") for name in self.scale.tasks])

    def shifted(self, method: str, place: str) -> BySeed:
        dataset = dict(zip(PLACES, self.scale.variants))[place]
        shots = 0 if method == WRITTEN else 16
        return self.values("domains", self.scale.source, method, shots, dataset)

    def weakness(self) -> Estimate:
        """Accuracy and gain use different halves of the test images, so they share no noise.  Both ways round are
        averaged.  The standard error is a jackknife over the datasets."""
        try:
            table = {half: self._written_and_learned(half) for half in HALVES}
        except KeyError:
            return Estimate()

        def correlation(rows: np.ndarray) -> float:
            each_way = []
            for one, other in (HALVES, HALVES[::-1]):
                written, gain = table[one][rows, 0], table[other][rows, 1] - table[other][rows, 0]
                with np.errstate(invalid="ignore"):  # nan where all are equal
                    each_way.append(np.corrcoef(written, gain)[0, 1])
            return float(np.mean(each_way))

        n = len(self.scale.tasks)
        without = np.array([correlation(np.delete(np.arange(n), i)) for i in range(n)])
        error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
        return Estimate(correlation(np.arange(n)), float(error), n - 1)

    def _written_and_learned(self, half: str) -> np.ndarray:
        """(datasets, 2): accuracy on a half of the test images, hand-written and CoOp's with 16 shots."""
        methods = (WRITTEN, 0), (UC, 16)
        rows = [[np.mean(self.values("few-shot", name, *m, half)) for m in methods] for name in self.scale.tasks]
        return np.array(rows)
