"""Several small trainings at once, one core each.

A small prompt's step is hundreds of small matrix products: a second core hardly speeds one of them up, but it can do
another training meanwhile.  The results are those of one after the other, whatever the number of cores, because each
training has random numbers of its own and computes on a single core.

Leaves out: grids of experiments in several processes, resumed where they stopped (experiments.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Job, Result = TypeVar("Job"), TypeVar("Result")


def side_by_side(function: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
    """[function(job) for job in jobs], as many at once as there are cores; one after the other if there is a GPU.

    The first error of a job is raised.  The jobs may share a frozen CLIP, but no learner.

    >>> side_by_side(lambda n: n * n, [3, 1, 2])
    [9, 1, 4]
    """
    if torch.cuda.is_available() or torch.backends.mps.is_available():  # it is busy with one
        return [function(job) for job in jobs]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads_before = torch.get_num_threads()
    try:
        with (
            threadpool_limits(1, "blas"),  # NumPy's products too
            ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            return list(pool.map(function, jobs))
    finally:
        torch.set_num_threads(threads_before)
