"""How far a grid is, and about how long it still takes: groups are weighed by their work, not counted."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

from coop_edu.bars import progress_bar
from coop_edu.data.dataset import Dataset
from coop_edu.grid.methods import Method, find_method
from coop_edu.grid.results import Cell
from coop_edu.grid.workspace import Workspace

Outcome = tuple[list[Cell], list[dict] | Exception, float]  # a group, its result lines or the exception, seconds


def with_progress_bar(
    todo: Sequence[Sequence[Cell]], finished: Iterable[Outcome], workspace: Workspace, progress: bool
) -> Iterator[Outcome]:
    """The groups as they are finished, with a bar that counts work, and so knows about how long it still takes."""
    work = {group[0]: work_of(group, workspace.dataset(group[0].dataset)) for group in todo}
    trainings = {first: amount for first, amount in work.items() if isinstance(find_method(first.method), Method)}
    if trainings:  # they take so long that the others do not count
        work = {first: trainings.get(first, 0) for first in work}
    cells, done = sum(map(len, todo)), 0
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, about {remaining} left"
    # smoothing=0: the time left follows from all that is done; the bar moves once a group, and its clock every second
    with ticking(progress_bar(total=sum(work.values()), smoothing=0, bar_format=form, show=progress)) as bar:
        bar.set_description_str(f"0 of {cells} cells")
        for group, lines, seconds in finished:
            yield group, lines, seconds
            if not isinstance(lines, Exception):
                done += len(group)
                bar.set_description_str(f"{done} of {cells} cells", refresh=False)
                bar.update(work[group[0]])


def work_of(group: Sequence[Cell], dataset: Dataset) -> float:
    """About how much there is to compute, for the time that is left: groups differ a hundredfold."""
    first, classes = group[0], len(dataset.classnames)
    method = find_method(first.method)
    if not isinstance(method, Method):  # no prompt is trained
        return len(group) * classes * (first.shots + 1)
    images = max(1, min(classes * first.shots, len(dataset.train)))
    recipe = method.recipe_of(first).for_images(images)
    # The context before the name is computed once for all classes, unless each has its own.
    shared = 0 if method.config.class_specific else method.config.before_and_after()[0]
    tokens = shared + classes * (4 + method.config.n_ctx - shared)  # of the name and what encloses it: about 4
    return len(group) * recipe.epochs * recipe.steps_per_epoch(images) * tokens


@contextmanager
def ticking(bar: tqdm) -> Iterator[tqdm]:
    """The bar, its clock drawn every second: a group can take minutes."""
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(1):
            bar.refresh()

    clock = threading.Thread(target=tick, daemon=True)
    if not bar.disable:
        clock.start()
    try:
        with bar:
            yield bar
    finally:
        stop.set()
