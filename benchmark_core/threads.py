"""Work on large arrays in several threads: NumPy lets others run while it computes, but uses one core by itself."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

MOST = 16
"""Threads that still help: what is done here waits for memory."""


def n_threads() -> int:
    """Return how many threads to use: ``OMP_NUM_THREADS``, as matrix products do, or the cores of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, min(MOST, cores, int(asked) if asked.isdigit() and int(asked) > 0 else cores))


def in_threads(work: Callable[[int, int], object], n: int) -> None:
    """Call ``work(start, stop)`` for parts of ``range(n)``, each in a thread of its own.

    What the parts give must not depend on where they are cut, or scores would depend on the number of threads.

    Raises
    ------
    Exception
        Whatever a call raised, after all have ended.
    """
    parts = min(n_threads(), n)
    if parts < 2:
        work(0, n)
        return
    cuts = [n * part // parts for part in range(parts + 1)]
    # Threads of a pool that is kept would be missing in forked processes; starting some takes a tenth of a millisecond.
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [pool.submit(work, *ends) for ends in itertools.pairwise(cuts[1:])]
        work(cuts[0], cuts[1])
    for other in others:
        other.result()
