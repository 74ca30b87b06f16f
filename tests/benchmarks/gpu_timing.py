"""What the GPU timings share: clocks that wait for the device, its own rates, rows of the table.

Everything here and in the files ``gpu_*.py`` takes a device and sizes, and runs on a CPU just as well: that is how it is
tested where there is no GPU (``tests/test_gpu_timings.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmark_core.arrays import Backend, BackendName
from benchmark_core.extraction import numeric_policy
from benchmark_core.provenance import device_name

NO_GPU = "no CUDA device"
"""The one reason for which GPU timings are skipped."""


def gpu() -> str:
    """Return the first GPU, or skip the test."""
    if not torch.cuda.is_available():
        pytest.skip(NO_GPU)
    return "cuda:0"


def gpu_backend(name: BackendName) -> Backend:
    """Return a backend on the first GPU, or skip the test."""
    device = gpu()
    if name == "cupy":
        pytest.importorskip("cupy", reason="cupy is not installed")
    return Backend(name, device)


def synchronize(device: str) -> None:
    """Wait until a device has done all it was given, by whichever library."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def seconds(device: str, work: Callable[[], Any], rounds: int = 3, warm_up: bool = True) -> float:
    """Return the shortest time of several rounds, after one that does not count (it chooses algorithms)."""
    taken = []
    for _ in range(rounds + warm_up):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - started)
    return min(taken[warm_up:])


def product_rate(device: str, dtype: torch.dtype, fast: bool = False, n: int = 8192) -> float:
    """Return operations a second of a plain (n, n) x (n, n) product: the limit that the device itself sets.

    Parameters
    ----------
    dtype
        Of the operands.
    fast
        Whether float32 operands may be read as TF32.
    """
    with numeric_policy("fast" if fast else "exact"):
        a, b = (torch.rand(n, n, dtype=dtype, device=device) - 0.5 for _ in range(2))
        out = torch.empty(n, n, dtype=dtype, device=device)
        return 2 * n**3 / seconds(device, lambda: torch.mm(a, b, out=out), rounds=5)


def row(
    what: str,
    size: str,
    taken: float,
    device: str,
    *,
    baseline: str | None = None,
    baseline_s: float | None = None,
    limit: str | None = None,
    share: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a row of the table, in the form of the other benchmarks, with the device's name.

    Parameters
    ----------
    taken
        Seconds.
    limit, share
        What cannot be exceeded, and how much of it is reached (0 to 1).
    **more
        Further figures, which the table does not show.
    """
    return {
        "what": what,
        "size": size,
        "ours_s": taken,
        "baseline": baseline,
        "baseline_s": baseline_s,
        "ratio": None if baseline_s is None else round(baseline_s / taken, 2),
        "limit": limit,
        "share_of_limit": None if share is None else round(share, 3),
        "threads": torch.get_num_threads(),
        "device": device_name(device),
        **more,
    }


def rated(rate: float) -> str:
    """Return a product rate as the name of a limit."""
    return f"{rate / 1e12:.3g} TFLOP/s, a plain product of that kind"


def kept(benchmark: Any, work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Run what makes rows once under pytest-benchmark, and leave them for the table."""
    rows: list[dict[str, Any]] = benchmark.pedantic(work, rounds=1, iterations=1)
    benchmark.extra_info["rows"] = rows
    return rows
