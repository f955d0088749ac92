"""A grid of experiments (Section 4.1): data sets x shots x seeds x methods, resumed where it was left.

A cell is one number of the paper's figures before averaging over seeds.  Each finished cell is one JSON line: what it
is, its figures, the recipe, the versions.  How long it took is written beside, in a file of its own, because it differs
from run to run and nothing else does: a grid that was killed and resumed has the bytes of one that was not.

Leaves out: tables and curves from the results (reports.py), the command line (commands.py), training on several GPUs.
"""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from tqdm.auto import tqdm

from coop_edu.clip_models import Clip, load_clip
from coop_edu.datasets import Dataset, Example, load_dataset
from coop_edu.evaluation import accuracy, domain_generalisation
from coop_edu.features import extract_features
from coop_edu.few_shot import sample_train_val
from coop_edu.files import cache_folder
from coop_edu.linear_probe import LinearProbe
from coop_edu.prompt_learner import PromptLearner
from coop_edu.recipe import Recipe
from coop_edu.results import Cell, append, read_results, write
from coop_edu.scales import SCALES
from coop_edu.templates import ZeroShot
from coop_edu.trainer import Trainer

PROTOCOLS = ("few-shot", "domains", "base-to-new")
WITHOUT_TRAINING = ("zero_shot", "ensemble_7", "ensemble_80")
LEARNED = re.compile(r"(?:M(\d+)|(init))_(end|mid|front)(_CSC)?")  # M16_end, M4_mid_CSC; init: "a photo of a"
POSITIONS = {"end": "end", "mid": "middle", "front": "front"}


def make_grid(
    scale: str = "mini",
    *,
    datasets: Sequence[str] | None = None,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: Sequence[int] = (1, 2, 3),
    variants: Sequence[str] = ("zero_shot", "M16_end"),
    protocol: str = "few-shot",
    clip: str | None = None,
) -> list[Cell]:
    """All cells of a grid, sorted.  datasets=None: the eleven tasks, or, for protocol "domains", the source.

    Raises ValueError for a scale, protocol or variant that there is not, and for a variant that the protocol cannot
    have.

    >>> len(make_grid("mini", datasets=["IconFood", "IconArrows"], shots=[1, 16], seeds=[1, 2, 3]))
    14
    """
    if scale not in SCALES or protocol not in PROTOCOLS:
        raise ValueError(
            f"expected a scale of {list(SCALES)} and a protocol of {PROTOCOLS}, got {scale!r} and {protocol!r}"
        )
    if min([*shots, *seeds]) < 1:
        raise ValueError(f"expected shots and seeds of at least 1, got {list(shots)} and {list(seeds)}")
    dial = SCALES[scale]
    for variant in variants:
        learned = LEARNED.fullmatch(variant)
        if not learned and variant not in (*WITHOUT_TRAINING, "linear_probe"):
            raise ValueError(
                f"unknown variant {variant!r}: expected {', '.join(WITHOUT_TRAINING)}, linear_probe, or a prompt such "
                "as M16_end, M4_mid, M16_end_CSC, init_end"
            )
        if protocol == "base-to-new" and (variant == "linear_probe" or (learned and learned[4])):
            raise ValueError(
                f"{variant!r} cannot be tested on new classes: it has no weights, or no context, for them"
            )
    tasks = datasets or ([dial.source] if protocol == "domains" else dial.tasks)
    if protocol == "domains" and list(tasks) != [dial.source]:
        raise ValueError(f"the variants are those of {dial.source}: protocol 'domains' has no other data set")
    return sorted(
        Cell(scale, clip or dial.clip, protocol, task, variant, k, seed)
        for task in tasks
        for variant in variants
        for k, seed in (
            [(0, 0)] if variant in WITHOUT_TRAINING else [(k, seed) for k in shots for seed in seeds]
        )
    )


def run_grid(
    cells: Iterable[Cell],
    results: str | Path,
    *,
    root: str | Path | None = None,
    epochs: int | None = None,
    jobs: int | None = 1,
    progress: bool = True,
) -> list[dict]:
    """Run the cells that `results` does not have yet; returns the lines of all of them, in the order of `cells`.

    root: where the paper's data sets are; epochs: instead of the recipe's.  jobs: processes, which needs joblib; None
    takes backend and number from joblib.parallel_config, for a cluster.  A run that is killed loses the cells in flight
    and no other; in the end the file is sorted.
    Raises ValueError if results are damaged, or if a cell in them had another recipe; RuntimeError, naming the cell, if
    one fails: what is finished stays.
    """
    cells, results = list(dict.fromkeys(cells)), Path(results)
    done = read_results(results)
    for cell in cells:
        recipe = as_json(recipe_of(cell, epochs))
        if cell in done and done[cell]["recipe"] != recipe:
            raise ValueError(
                f"{results} has {cell} with another recipe ({done[cell]['recipe']}, now {recipe}): take another file"
            )
    if results.is_file():
        write(results, done)  # without a line that a crash has cut
    todo = [cell for cell in cells if cell not in done]
    times = results.with_name(f"{results.stem}.seconds.jsonl")
    for cell, line, seconds in tqdm(
        _run_all(todo, root, epochs, jobs), total=len(todo), desc="cells", disable=not progress
    ):
        append(results, line)
        append(times, {"cell": asdict(cell), "seconds": round(seconds, 3)})
        done[cell] = line
    write(results, done)
    return [done[cell] for cell in cells]


# ---------------------------------------------------------------------------------------------------- one cell
def run_cell(cell: Cell, root: str | Path | None = None, epochs: int | None = None) -> dict:
    """The line of one cell: {"cell": ..., "figures": {name: percent}, "recipe": ..., "versions": ...}."""
    clip, dataset = _clip(cell.clip), _dataset(cell.dataset, root)
    cache = cache_folder() / "features"
    half = _base(len(dataset.classnames)) if cell.protocol == "base-to-new" else len(dataset.classnames)
    classifier = _classifier(cell, clip, dataset, half, epochs)
    if cell.protocol == "domains":
        variants = [_dataset(name, root) for name in SCALES[cell.scale].variants]
        figures = domain_generalisation(classifier, dataset, variants, cache=cache, progress=False)
    else:
        figures = {
            "accuracy": accuracy(classifier, relabel(dataset.test, 0, half), cache=cache, progress=False)
        }
    if cell.protocol == "base-to-new":
        new = classifier.with_classnames(dataset.classnames[half:])
        base = figures.pop("accuracy")
        figures["base"] = base
        figures["new"] = accuracy(new, relabel(dataset.test, half), cache=cache, progress=False)
        figures["H"] = 2 * base * figures["new"] / max(base + figures["new"], 1e-9)  # harmonic mean
    return {
        "cell": asdict(cell),
        "figures": {name: round(percent, 4) for name, percent in figures.items()},
        "recipe": as_json(recipe_of(cell, epochs)),
        "versions": versions(),
    }


def _classifier(cell: Cell, clip: Clip, dataset: Dataset, half: int, epochs: int | None):
    """A classifier of the first `half` classes, which are all of them unless the rest is to be new."""
    names = dataset.classnames[:half]
    if cell.variant in WITHOUT_TRAINING:
        return ZeroShot(clip, names, _templates(cell.variant, dataset))
    shots, val = (relabel(part, 0, half) for part in sample_train_val(dataset, cell.shots, cell.seed))
    if cell.variant == "linear_probe":
        train, val = (extract_features(clip, part, progress=False) for part in (shots, val))
        return LinearProbe(clip, names, train, val)
    n_ctx, init, position, specific = LEARNED.fullmatch(cell.variant).groups()
    learner = PromptLearner(
        clip,
        names,
        n_ctx=int(n_ctx or 4),
        class_specific=bool(specific),
        position=POSITIONS[position],
        init="a photo of a" if init else None,
        seed=cell.seed,
    )
    Trainer(learner, recipe_of(cell, epochs), progress=False).fit(shots)
    return learner


def _templates(variant: str, dataset: Dataset) -> list[str]:
    """Hand-written prompts: the data set's own; the seven of the paper's ensemble and that; CLIP's eighty."""
    from coop_edu import templates

    if variant == "ensemble_80":
        return templates.OPENAI_TEMPLATES_80
    own = [dataset.template]
    if variant == "zero_shot":
        return own
    return templates.IMAGENET_TEMPLATES_7 + (own if dataset.name != "ImageNet" else [])


def recipe_of(cell: Cell, epochs: int | None = None) -> Recipe | None:
    """The recipe of the cell's scale, shots and data set, with the cell's seed; None where no prompt is trained."""
    if not LEARNED.fullmatch(cell.variant):
        return None
    recipe = replace(SCALES[cell.scale].recipe(cell.shots, cell.dataset), seed=cell.seed)
    return recipe if epochs is None else replace(recipe, epochs=epochs)


def relabel(examples: Iterable[Example], first: int, end: int | None = None) -> list[Example]:
    """The examples of the classes first, ..., end - 1, with labels from 0: half of a data set for base-to-new."""
    return [
        replace(example, label=example.label - first)
        for example in examples
        if example.label >= first and (end is None or example.label < end)
    ]


def _base(classes: int) -> int:
    return -(-classes // 2)  # the first half of the classes, the larger one


@lru_cache(maxsize=1)
def _clip(name: str) -> Clip:
    return load_clip(name)


@lru_cache(maxsize=8)
def _dataset(name: str, root: str | Path | None) -> Dataset:
    return load_dataset(name, root)


def versions() -> dict[str, str]:
    """What figures may depend on."""
    packages = {name: metadata.version(name) for name in ("torch", "open_clip_torch", "scikit-learn")}
    from coop_edu import __version__

    return {"coop_edu": __version__, "python": platform.python_version(), **packages}


def as_json(recipe: Recipe | None) -> dict | None:
    return None if recipe is None else json.loads(json.dumps(asdict(recipe)))


# ------------------------------------------------------------------------------------------- many cells, one file
def _run_all(
    cells: list[Cell], root: str | Path | None, epochs: int | None, jobs: int | None
) -> Iterator[tuple[Cell, dict, float]]:
    """Each cell with its line and seconds: one after the other, or in rounds of as many as there are processes."""
    if jobs == 1:
        yield from (_timed(cell, root, epochs) for cell in cells)
        return
    from joblib import Parallel, delayed, effective_n_jobs

    count = effective_n_jobs(-1 if jobs is None else jobs)
    for first in range(
        0, len(cells), count
    ):  # rounds, because not every backend hands out results one by one
        some = cells[first : first + count]
        yield from Parallel(n_jobs=jobs)(delayed(_timed)(cell, root, epochs) for cell in some)


def _timed(cell: Cell, root: str | Path | None, epochs: int | None) -> tuple[Cell, dict, float]:
    start = time.perf_counter()
    try:
        line = run_cell(cell, root, epochs)
    except Exception as error:
        raise RuntimeError(f"{cell} failed ({type(error).__name__}): {error}") from error
    return cell, line, time.perf_counter() - start
