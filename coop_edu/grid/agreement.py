"""What agrees with the paper?  Each of its statements, its size there and here, and one verdict by one rule.

A statement is a difference in points, such as "with 16 shots, CoOp minus the hand-written prompt".  It is computed by
one function from the paper's numbers (assets/paper_results.json, with their sources) and from the results of a grid.

The rule.  Here a difference is taken for each seed, of the means over the data sets; d is the mean over the n seeds,
and its standard error is s / sqrt(n), with the standard deviation s over seeds (divided by n - 1).

    agrees              d has the paper's sign and is more than two standard errors from 0
    disagrees           d has the other sign and is more than two standard errors from 0
    too close to call   else
    about equal?        of two methods that should be equal: agrees if |d| + 2 SE is at most EQUAL points, disagrees
                        if |d| - 2 SE is more

The standard error knows the draw of the shots and the start of the context.  It does not know which data sets there
are, or that another MiniCLIP would give other numbers.

Leaves out: running the grid (run.py); how the shipped results were made (scripts/measure.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pandas as pd

from coop_edu.files import read_asset
from coop_edu.grid.results import HALVES
from coop_edu.scales import SCALES

EQUAL = 2.0  # points: two methods closer than that are called about equal
UC, CSC, PROBE, WRITTEN = "M16_end", "M16_end_CSC", "linear_probe", "zero_shot"
PLACES = ("V2", "Sketch", "A", "R")  # the four variants of the source


class Numbers(Protocol):
    """Where accuracies come from: the paper, or a grid.  KeyError for what is not there."""

    def few_shot(self, method: str, shots: int = 0) -> np.ndarray:
        """(seeds,): mean accuracy over the data sets, in percent; (1,) for what has no seed."""

    def shifted(self, method: str, place: str) -> np.ndarray:
        """(seeds,): accuracy on one of PLACES, learned on the source with 16 shots."""

    def weakness(self) -> tuple[float, float]:
        """Correlation over the data sets of the hand-written accuracy and CoOp's gain, and its standard error."""


def on_average(numbers: Numbers, method: str) -> np.ndarray:
    """(seeds,): mean accuracy over the four variants."""
    return np.mean([numbers.shifted(method, place) for place in PLACES], axis=0)


def statements() -> dict[str, tuple[str, Callable[[Numbers], np.ndarray]]]:
    """{letter: (what the paper says, the difference in points for each seed)}."""

    def above(one: str, other: str, shots: int) -> Callable[[Numbers], np.ndarray]:
        return lambda n: n.few_shot(one, shots) - n.few_shot(other, 0 if other == WRITTEN else shots)

    def above_written(method: str, place: str) -> Callable[[Numbers], np.ndarray]:
        return lambda n: n.shifted(method, place) - n.shifted(WRITTEN, place)

    found = {
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
            found[f"{letter}{M}"] = (
                f"{place}: CoOp, M={M}, above hand-written",
                above_written(method, place),
            )
    found["l"] = ("under shift: M=4 above M=16", lambda n: on_average(n, "M4_end") - on_average(n, UC))
    found["m"] = (
        "under shift: probe below hand-written",
        lambda n: on_average(n, WRITTEN) - on_average(n, PROBE),
    )
    found["n"] = ("16 shots: name at the end about equal to middle", above(UC, "M16_mid", 16))
    return found


WEAKNESS = "o", "gain against hand-written accuracy: correlation"


def verdict(paper: float, here: float, error: float, *, equal: bool = False) -> str:
    """The rule of this file's header, for one statement.

    >>> verdict(14.7, 13.5, 0.4), verdict(2.0, -0.8, 0.9), verdict(2.3, -4.4, 0.5), verdict(0.1, 0.3, 0.2, equal=True)
    ('agrees', 'too close to call', 'disagrees', 'agrees')
    """
    if equal:
        if abs(here) + 2 * error <= EQUAL:
            return "agrees"
        return "disagrees" if abs(here) - 2 * error > EQUAL else "too close to call"
    if abs(here) <= 2 * error or not np.isfinite(error):
        return "too close to call"
    return "agrees" if here * paper > 0 else "disagrees"


def agreement(results: pd.DataFrame, scale: str = "mini") -> pd.DataFrame:
    """The table: a row for each statement, with `in the paper`, `here`, `standard error` (points) and `verdict`.

    results: as `read_results` gives them, protocols few-shot and domains.  A statement for which the results lack cells
    is "not measured"; one for which no published number could be verified has the verdict "no verified number".

        agreement(shipped_results())
    """
    paper, here = Paper(), Measured(results, scale)
    rows = []
    for letter, (says, difference) in statements().items():
        theirs, ours = _or_nothing(difference, paper), _or_nothing(difference, here)
        d, error = _mean_and_error(ours)
        rows.append((letter, says, _mean_and_error(theirs)[0], d, error, letter == "n"))
    rows.append((*WEAKNESS, paper.weakness()[0], *here.weakness(), False))
    table = pd.DataFrame(
        [
            {"": letter, "the paper says": says, "in the paper": theirs, "here": d, "standard error": error,
             "verdict": _word(theirs, d, error, equal)}
            for letter, says, theirs, d, error, equal in rows
        ]
    )  # fmt: skip
    return table.set_index("")


def _word(theirs: float, d: float, error: float, equal: bool) -> str:
    if np.isnan(d):
        return "not measured"
    return "no verified number" if np.isnan(theirs) else verdict(theirs, d, error, equal=equal)


def _or_nothing(difference: Callable[[Numbers], np.ndarray], numbers: Numbers) -> np.ndarray:
    try:
        return difference(numbers)
    except KeyError:
        return np.array([])


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error over seeds; the error of a single one is unknown, nan."""
    n = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return (float(np.mean(values)) if n else float("nan")), error


# ------------------------------------------------------------------------------------------------ the two sources
class Paper:
    """The published numbers: RN50 for few shots, ViT-B/16 under shift, where they could be verified."""

    def __init__(self) -> None:
        content = read_asset("paper_results.json")
        self.curves, self.domains = content["few_shot"], content["domain_generalisation"]

    def by_dataset(self, method: str, shots: int = 0) -> dict[str, float]:
        row = self.curves[method][str(shots)] if shots else self.curves[method]
        return {name: percent for name, percent in sorted(row.items()) if name != "Average"}

    def few_shot(self, method: str, shots: int = 0) -> np.ndarray:
        return np.array([np.mean(list(self.by_dataset(method, shots).values()))])

    def shifted(self, method: str, place: str) -> np.ndarray:
        label = {WRITTEN: "zero-shot", "M4_end": "CoOp M=4", "M16_end": "CoOp M=16"}[method]
        column = self.domains["columns"].index(f"ImageNet{place}" if place == "V2" else f"ImageNet-{place}")
        return np.array([self.domains["ViT-B/16"][label][column]])

    def weakness(self) -> tuple[float, float]:
        written, learned = self.by_dataset(WRITTEN), self.by_dataset(UC, 16)
        gain = [learned[name] - written[name] for name in written]
        return float(np.corrcoef(list(written.values()), gain)[0, 1]), float("nan")


class Measured:
    """A grid's results, of one scale and one CLIP.

    Differences are paired by seed: a method that lacks one of the protocol's seeds somewhere counts as not measured.
    """

    def __init__(self, results: pd.DataFrame, scale: str) -> None:
        self.scale = SCALES[scale]
        results = results[results["scale"] == scale]
        if len(clips := sorted(set(results["clip"]))) > 1:
            raise ValueError(f"the results are of several CLIPs ({', '.join(clips)}): choose the cells of one")
        trained = results[results["shots"] > 0]
        self.seeds = trained.groupby("protocol")["seed"].agg(set)
        keys = ["protocol", "dataset", "method", "shots", "metric", "seed"]
        self.percent = results.set_index(keys)["percent"].sort_index()

    def values(self, protocol: str, dataset: str, method: str, shots: int, figure: str) -> np.ndarray:
        """(seeds,) in the order of the seeds; KeyError if one is missing."""
        by_seed = self.percent.loc[protocol, dataset, method, shots, figure]
        if shots and set(by_seed.index) != self.seeds[protocol]:
            raise KeyError(f"{dataset}, {method}, {shots} shots: seeds {sorted(by_seed.index)}")
        return by_seed.to_numpy()

    def few_shot(self, method: str, shots: int = 0) -> np.ndarray:
        columns = [self.values("few-shot", name, method, shots, "accuracy") for name in self.scale.tasks]
        return np.mean(columns, axis=0)

    def shifted(self, method: str, place: str) -> np.ndarray:
        dataset = dict(zip(PLACES, self.scale.variants))[place]
        shots = 0 if method == WRITTEN else 16
        return self.values("domains", self.scale.source, method, shots, dataset)

    def weakness(self) -> tuple[float, float]:
        """The gain must not share noise with the accuracy it is compared with, so each comes from another half of the
        test images; both ways are averaged.  The standard error is the jackknife's, over the data sets."""
        try:
            table = {half: self._written_and_learned(half) for half in HALVES}
        except KeyError:
            return float("nan"), float("nan")

        def correlation(kept: np.ndarray) -> float:
            both = []
            for one, other in (HALVES, HALVES[::-1]):
                written, gain = table[one][kept, 0], table[other][kept, 1] - table[other][kept, 0]
                with np.errstate(invalid="ignore"):  # nan where all are equal
                    both.append(np.corrcoef(written, gain)[0, 1])
            return float(np.mean(both))

        n = len(self.scale.tasks)
        without = np.array([correlation(np.delete(np.arange(n), i)) for i in range(n)])
        error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
        return correlation(np.arange(n)), float(error)

    def _written_and_learned(self, half: str) -> np.ndarray:
        """(data sets, 2): accuracy on a half of the test images, hand-written and CoOp's with 16 shots."""
        methods = (WRITTEN, 0), (UC, 16)
        rows = [[self.values("few-shot", name, *m, half).mean() for m in methods] for name in self.scale.tasks]
        return np.array(rows)
