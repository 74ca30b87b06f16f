"""What the benchmarks share: stopwatches, the machine's own rates, and rows of the table that ``make bench`` prints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class Stopwatch:
    """Notes wall time and processor time (all threads) of what is called through it, under a name."""

    def __init__(self) -> None:
        self.laps: dict[str, list[np.ndarray]] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        before = np.array([time.perf_counter(), time.process_time()])
        result = work()
        spent = np.array([time.perf_counter(), time.process_time()]) - before
        self.laps.setdefault(name, []).append(spent)
        return result

    @property
    def spent(self) -> dict[str, np.ndarray]:
        """[wall, processor] seconds of everything, all calls of a name together."""
        return {name: np.sum(laps, axis=0) for name, laps in self.laps.items()}

    def median(self, *names: str) -> np.ndarray:
        """Return the median of the calls of a name, by the clock and in processor time; of several names, added up call by call."""
        return np.asarray(np.median(np.sum([self.laps[name] for name in names], axis=0), axis=0))

    def seconds(self) -> dict[str, list[float]]:
        """Return [wall, processor] seconds of everything."""
        return {name: [round(float(s), 2) for s in spent] for name, spent in self.spent.items()}


def row(
    what: str,
    size: str,
    ours: np.ndarray,
    baseline: str | None = None,
    theirs: np.ndarray | None = None,
    limit: str | None = None,
    share: float | None = None,
) -> dict[str, Any]:
    """Return a row of the table.

    Parameters
    ----------
    ours, theirs
        (2,) wall and processor seconds.
    limit, share
        What cannot be exceeded, and how much of it is reached (0 to 1).
    """
    has = theirs is not None
    return {
        "what": what,
        "size": size,
        "ours_s": round(float(ours[0]), 2),
        "ours_cpu_s": round(float(ours[1]), 2),
        "baseline": baseline,
        "baseline_s": round(float(theirs[0]), 2) if has else None,
        "baseline_cpu_s": round(float(theirs[1]), 2) if has else None,
        "ratio": round(float(theirs[0] / ours[0]), 2) if has else None,
        "ratio_cpu": round(float(theirs[1] / ours[1]), 2) if has else None,
        "limit": limit,
        "share_of_limit": None if share is None else round(share, 2),
        "threads": torch.get_num_threads(),
        "device": "cpu",
        "load": round(os.getloadavg()[0], 1),
    }


def product_rates(dtype: type, n: int = 3200, b: int = 4096) -> np.ndarray:
    """Return operations a second, by the clock and of processor time, of a plain (n, b) x (b, n) matrix product.

    The better of NumPy's (OpenBLAS) and torch's (MKL), best of three each: what the machine itself can do.
    """
    x = np.ones((n, b), dtype=dtype)
    y = np.ones((b, n), dtype=dtype)
    out = np.empty((n, n), dtype=dtype)
    watches = []
    for _ in range(3):
        watch = Stopwatch()
        watch("numpy", lambda: np.matmul(x, y, out=out))
        watch("torch", lambda: torch.mm(torch.from_numpy(x), torch.from_numpy(y), out=torch.from_numpy(out)))
        watches += list(watch.spent.values())
    return np.asarray(2 * n * n * b / np.min(watches, axis=0))
