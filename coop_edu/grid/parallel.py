"""Several small trainings at once, one on each core.

A second core hardly speeds up one small matrix product, but it can do another training meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from coop_edu.data.batches import available_cores

Job = TypeVar("Job")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
    """[function(job) for job in jobs], as many at once as there are cores; one after the other if there is a GPU.

    Each job computes on one core, so that results do not depend on the number of cores.  The first error of a job is
    raised.  The jobs may share a frozen CLIP, but no learner.

    >>> side_by_side(lambda n: n * n, [3, 1, 2])
    [9, 1, 4]
    """
    jobs = list(jobs)
    results = dict(as_finished(lambda place: (place, function(jobs[place])), range(len(jobs))))
    return [results[place] for place in range(len(jobs))]


def as_finished(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """What `side_by_side` computes, each result as soon as it is there, in any order."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():  # one job keeps a GPU busy
        yield from map(function, jobs)
        return
    threads_before = torch.get_num_threads()
    pool = ThreadPoolExecutor(available_cores(), initializer=torch.set_num_threads, initargs=(1,))
    wait = True
    try:
        with threadpool_limits(1, "blas"):  # NumPy's products too
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                yield future.result()
    except (KeyboardInterrupt, GeneratorExit):
        wait = False  # do not wait for running jobs: they may take hours
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)  # cancel jobs that have not started
        torch.set_num_threads(threads_before)
