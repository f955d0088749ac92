"""Several small trainings at once: packed into one pass, and one pass a core.

A step of a small prompt is hundreds of small matrix products, and most of its time goes into starting them.  Trainings
that differ in their seed only (in the start of the context, in the pictures, in the order of the batches) can share
them: their contexts are stacked, the text encoder runs once over all of them, and each has a loss of its own.  Nothing
of one reaches another, so each learns what it would have learned alone, up to the rounding of the products.

A second core hardly speeds up one small product, but it can do another training meanwhile.

Leaves out: grids of experiments in several processes, resumed where they stopped (experiments.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import nn

from coop_edu.datasets import Example
from coop_edu.features import Features
from coop_edu.trainer import EpochSums, History, Trainer

Job, Result = TypeVar("Job"), TypeVar("Result")


def train_together(
    trainers: Sequence[Trainer], data: Sequence[Sequence[Example] | Features]
) -> list[History]:
    """[trainer.fit(some) for trainer, some in zip(trainers, data)], in one pass over all of them.

    The learners must share CLIP, class names and layout, the recipes all but the seed, the data their number of
    pictures: else ValueError.  Checkpoints, callbacks and progress bars of the trainers are left aside.  Where one
    training fills the machine already (fresh views, groups of classes) or scales its gradients (float16), they are
    fitted one by one after all.

        trainers = [Trainer(PromptLearner(clip, names, seed=s), Recipe(seed=s, views=None)) for s in (1, 2, 3)]
        histories = train_together(trainers, [shots_of_seed[s] for s in (1, 2, 3)])
    """
    _check(trainers, data)
    for trainer, some in zip(trainers, data):
        trainer.count_epochs(len(some))
    first, recipe = trainers[0], trainers[0].recipe
    big = recipe.views == "fresh" or first.learner.max_classes_at_once is not None
    if big or recipe.precision == "float16":
        return [trainer.fit(some) for trainer, some in zip(trainers, data)]
    ctx = nn.Parameter(
        torch.stack([trainer.learner.ctx.detach() for trainer in trainers])
    )  # (S, M, D) or (S, K, M, D)
    optimizer = recipe.optimizer(ctx)
    batches = zip(*(trainer.batches(some) for trainer, some in zip(trainers, data)))
    histories = [History() for _ in trainers]
    for epoch in range(recipe.epochs):
        sums = [EpochSums(first.device) for _ in trainers]
        lr = optimizer.param_groups[0]["lr"] = recipe.learning_rate(epoch)
        for _ in range(recipe.steps_per_epoch(len(data[0]))):
            optimizer.zero_grad()
            with first.autocast():
                text_features = first.learner(ctx)  # (S, K, E)
            total = 0
            for trainer, own, (images, labels), own_sums in zip(trainers, text_features, next(batches), sums):
                loss, logits = trainer.loss(images, own, labels)
                total = total + loss
                own_sums.add(loss.detach(), logits.detach(), labels)
            total.backward()  # each loss depends on one context: the gradient of the sum is all their gradients
            optimizer.step()
        for trainer, history, own_sums, own in zip(trainers, histories, sums, ctx):
            trainer.check_finite(own_sums, epoch, own)
            history.add(own_sums, lr)
    for trainer, own in zip(trainers, ctx.detach()):
        trainer.learner.ctx.data.copy_(own)
        trainer.check_usable(recipe.epochs - 1)
    return histories


def _check(trainers: Sequence[Trainer], data: Sequence[Sequence[Example] | Features]) -> None:
    first = trainers[0]
    for trainer, some in zip(trainers, data, strict=True):
        trainer.check(some)
        a, b = first.learner, trainer.learner
        same = {
            "CLIP": a.clip is b.clip,
            "class names": a.classnames == b.classnames,
            "n_ctx": a.n_ctx == b.n_ctx,
            "class_specific": a.class_specific == b.class_specific,
            "position": a.position == b.position,
            "recipe": replace(first.recipe, seed=0) == replace(trainer.recipe, seed=0),
            "number of pictures": len(data[0]) == len(some),
        }
        if not all(same.values()):
            raise ValueError(
                "trainings in one pass may differ in their seed only, these differ in "
                f"{', '.join(name for name, equal in same.items() if not equal)}: train them one by one"
            )


def side_by_side(function: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
    """[function(job) for job in jobs], as many at once as there are cores; one after the other if there is a GPU.

    Each job computes on one core, so that the results do not depend on their number.  The first error of a job is
    raised.  The jobs may share a frozen CLIP, but no learner.

    >>> side_by_side(lambda n: n * n, [3, 1, 2])
    [9, 1, 4]
    """
    jobs = list(jobs)
    results = dict(as_finished(lambda place: (place, function(jobs[place])), range(len(jobs))))
    return [results[place] for place in range(len(jobs))]


def as_finished(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """What `side_by_side` computes, each result as soon as it is there, in any order."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():  # it is busy with one
        yield from map(function, jobs)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads_before = torch.get_num_threads()
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    wait = True
    try:
        with threadpool_limits(1, "blas"):  # NumPy's products too
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                yield future.result()
    except (KeyboardInterrupt, GeneratorExit):
        wait = False  # nobody wants the rest, and what runs may take hours
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)  # after an error, what has not begun is not begun
        torch.set_num_threads(threads_before)
