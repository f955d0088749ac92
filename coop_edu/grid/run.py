"""A grid of experiments (Section 4.1): datasets x shots x seeds x methods, resumed where it was left.

A cell is one number of the paper's figures before averaging over seeds.  Each finished cell is one JSON line: what it
is, its metrics, the recipe, what it was made of, the versions, and which classes had too few examples.  Seconds go to a
separate file, so that a resumed grid writes the same bytes as an uninterrupted one.

Cells that differ in their seed only are computed together (parallel.py), each such group on one core.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from coop_edu.data.datasets import DATASETS
from coop_edu.files import check_replaceable, locked
from coop_edu.grid.cells import made_of, recipe_as_dict, run_cells
from coop_edu.grid.group import group_of
from coop_edu.grid.methods import METHODS, Baseline, Method, find_method, method_from, recipe_of
from coop_edu.grid.parallel import as_finished
from coop_edu.grid.progress import Outcome, with_progress_bar
from coop_edu.grid.results import Cell, add, append, check_same_origin, read_results_file, rewrite_sorted
from coop_edu.grid.workspace import Workspace
from coop_edu.records import whole_number
from coop_edu.scales import SCALES

PROTOCOLS = ("few-shot", "domains", "base-to-new")
SEEDS = {"mini": (1, 2, 3, 4, 5), "paper": (1, 2, 3)}  # by scale: three are the paper's, five carry a verdict


def make_grid(
    scale: str = "mini",
    *,
    datasets: Sequence[str] | None = None,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: Sequence[int] | None = None,
    methods: Sequence[str] = ("zero_shot", "M16_end"),
    protocol: str = "few-shot",
    clip: str | None = None,
) -> list[Cell]:
    """All cells of a grid, sorted.  datasets=None: the eleven tasks, or, for protocol "domains", the source.

    seeds=None: SEEDS of the scale.  methods: names, or "my_file.py:my_method".
    Raises ValueError for an unknown scale, protocol or method, and for a method that the protocol does not support.

    >>> len(make_grid("mini", datasets=["IconFood", "IconArrows"], shots=[1, 16], seeds=[1, 2, 3]))
    14
    """
    if scale not in SCALES or protocol not in PROTOCOLS:
        raise ValueError(
            f"expected a scale of {list(SCALES)} and a protocol of {PROTOCOLS}, got {scale!r} and {protocol!r}"
        )
    for option, value in (("datasets", datasets), ("methods", methods)):
        if isinstance(value, str):
            raise ValueError(f"expected {option} as a list, got the text {value!r}: for one, [{value!r}]")
    shots = [whole_number(k, "shots", at_least=1) for k in shots]
    seeds = [whole_number(seed, "seeds", at_least=1) for seed in (SEEDS[scale] if seeds is None else seeds)]
    if not (shots and seeds and methods) or (datasets is not None and not len(datasets)):
        raise ValueError("expected at least one of each of datasets, shots, seeds and methods")
    defaults = SCALES[scale]
    chosen = [method_from(name) for name in dict.fromkeys(methods)]
    if repeated := [one.name for one, other in combinations(chosen, 2) if one.name == other.name and one != other]:
        raise ValueError(f"two different methods have the name {repeated[0]!r}: give one of them a kind=")
    old_classes_only = [method.name for method in chosen if not method.new_classes]
    if protocol == "base-to-new" and old_classes_only:
        raise ValueError(
            f"{old_classes_only[0]!r} cannot be tested on new classes: it has no weights, or no context, for them"
        )
    # x, ./x and x/ are one folder
    named = None if datasets is None else [name if name in DATASETS else os.path.normpath(name) for name in datasets]
    tasks = named or ([defaults.source] if protocol == "domains" else defaults.tasks)
    if protocol == "domains" and list(tasks) != [defaults.source]:
        raise ValueError(f"the variants are those of {defaults.source}: protocol 'domains' has no other dataset")
    samples = [(k, seed) for k in shots for seed in seeds]
    return sorted(
        Cell(scale, clip or defaults.clip, protocol, task, method.name, k, seed)
        for task in tasks
        for method in chosen
        for k, seed in (samples if method.learned else [(0, 0)])
    )


def run_grid(
    cells: Iterable[Cell],
    results: str | Path,
    *,
    root: str | Path | None = None,
    epochs: int | None = None,
    pretrained: str | Path | None = None,
    templates: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    jobs: int | None = 1,
    progress: bool = True,
) -> list[dict]:
    """Run the cells that `results` does not have yet; returns the lines of all of them, in the order of `cells`.

    root: where the paper's datasets are; epochs: instead of the recipe's; pretrained, templates, names: as Workspace
    takes them.  Datasets and weights are loaded before anything is computed, so that a wrong name is found at once.
    jobs: processes; 1 is this one, with a thread on each core; more need joblib; None takes backend and number from
    joblib.parallel_config, for a cluster.  A run that is killed or interrupted loses what is in flight and no more; in
    the end the file is sorted.  Several grids may write one file at the same time.
    Raises ValueError if results are damaged, or if a cell in them had another recipe, CLIP, dataset or template;
    OSError, before anything is computed, if results are read-only or not a file; RuntimeError, after all others are
    finished, if cells failed, naming them.
    """
    cells, results = list(dict.fromkeys(cells)), Path(results).expanduser()
    if jobs is not None and whole_number(jobs, "jobs") == 0:
        raise ValueError("expected jobs of at least 1, or -1 for one on each core, got 0")
    options: dict[str, Any] = {
        "root": root,
        "epochs": epochs,
        "pretrained": pretrained,
        "templates": templates,
        "names": names,
    }
    workspace = Workspace(**options)
    done = read_results_file(results)
    for cell in cells:
        check_same_origin(cell, done.get(cell, {}), {"recipe": recipe_as_dict(recipe_of(cell, epochs))}, results)
    times = results.with_name(f"{results.stem}.seconds.jsonl")
    for file in (results, times):
        check_replaceable(file).parent.mkdir(parents=True, exist_ok=True)  # fail before computing
    with locked(results):  # fail now, not after an hour, if the file cannot be locked
        pass
    if results.is_file():
        done = rewrite_sorted(results)  # without a line that a crash has cut
    # If one line is missing, recompute the group: another number of seeds in one pass rounds differently.
    todo = [group for group in groups_of(cells) if not done.keys() >= set(group)]
    _load(groups_of(cells), workspace)
    _check_made_of(cells, done, results, workspace)
    failed = []
    for group, lines, seconds in with_progress_bar(todo, _run_all(todo, workspace, options, jobs), workspace, progress):
        if isinstance(lines, Exception):
            failed.append(f"{', '.join(map(str, group))} failed ({type(lines).__name__}): {lines}")
            continue
        new = {cell: line for cell, line in zip(group, lines) if cell not in done}
        done |= add(results, new)
        for cell in new:
            append(times, {"cell": cell.as_json(), "seconds": round(seconds / len(group), 3)})
    done = rewrite_sorted(results, done)
    if failed:
        raise RuntimeError("\n".join(failed))
    warn_of_too_few(done[cell] for cell in cells)
    return [done[cell] for cell in cells]


def _check_made_of(cells: Sequence[Cell], done: Mapping[Cell, dict], results: Path, workspace: Workspace) -> None:
    """Raises ValueError if a cell in the file was made of something else.  Files of version 0.2 do not say of what."""
    for group in groups_of(cell for cell in cells if "made of" in done.get(cell, {})):
        shared = group_of(group, workspace)
        for cell in group:
            check_same_origin(cell, done[cell], {"made of": made_of(cell, shared)}, results)


def _load(todo: Sequence[Sequence[Cell]], workspace: Workspace) -> None:
    """The datasets and the CLIPs of all groups, so that a wrong name is found before anything is computed."""
    for cell in dict.fromkeys(replace(cell, shots=0, seed=0, method="") for group in todo for cell in group):
        workspace.dataset(cell.dataset)
        for variant in SCALES[cell.scale].variants if cell.protocol == "domains" else ():
            workspace.dataset(variant)
    for name in dict.fromkeys(group[0].clip for group in todo):
        workspace.clip(name)


def warn_of_too_few(lines: Iterable[dict]) -> None:
    """Once for the whole grid: the sampler would say it for each cell."""
    short = {
        (line["cell"]["dataset"], part, f"{name} ({count})"): None
        for line in lines
        for part, classes in line["too few"].items()
        for name, count in classes.items()
    }
    if short:
        warnings.warn(
            "some classes have fewer examples than were asked for, and gave all they have: "
            + ", ".join(f"{dataset} {part} {count}" for dataset, part, count in short),
            stacklevel=3,
        )


def groups_of(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Groups of cells that differ only in their seed, longest first, so that none runs alone at the end."""
    groups = groupby(sorted(cells), key=lambda cell: replace(cell, seed=0))
    return sorted((list(group) for _, group in groups), key=lambda group: -group[0].shots)


def _run_all(
    groups: list[list[Cell]], workspace: Workspace, options: dict[str, Any], jobs: int | None
) -> Iterator[Outcome]:
    """Each group with its lines and seconds, as they are finished: on the cores of this process, or in several."""
    if jobs == 1:
        yield from as_finished(lambda group: _timed(group, workspace), groups)
        return
    from joblib import Parallel, delayed, effective_n_jobs

    work = [delayed(_in_worker)(group, find_method(group[0].method), options, os.getpid()) for group in groups]
    try:
        pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
    except ValueError:  # this backend does not hand out results one by one: in rounds, then
        count = effective_n_jobs(-1 if jobs is None else jobs)
        for first in range(0, len(work), count):
            yield from Parallel(n_jobs=jobs)(work[first : first + count])
    else:
        yield from pool(work)


_workspaces: dict[str, Workspace] = {}  # a worker keeps what it has loaded for its next group


def _in_worker(group: list[Cell], method: Method | Baseline, options: dict[str, Any], parent: int) -> Outcome:
    METHODS[method.name] = method  # it may be one that its user registered in the parent
    end_with(parent)
    return _timed(group, _workspaces.setdefault(repr(options), Workspace(**options)))


@cache
def end_with(parent: int) -> None:
    """End this process when its parent ends: otherwise a killed grid would go on computing."""
    if os.getppid() != parent:  # a thread of the parent, or another machine of a cluster
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _timed(group: list[Cell], workspace: Workspace) -> Outcome:
    start = time.perf_counter()
    lines: list[dict] | Exception
    try:
        lines = run_cells(group, workspace)
    except Exception as error:
        lines = error
    return group, lines, time.perf_counter() - start
