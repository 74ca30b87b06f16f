"""How time and memory of each stage grow with stimuli, features, neuroids and layers: measured curves, fitted exponents.

    .venv/bin/python -m pytest tests/benchmarks/test_growth.py -o addopts='' -s

Two to four minutes of one core. Seconds are processor time of one thread, so that other work on the machine does little to
them.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from growth_stages import curve
from scipy import stats

CURVES: dict[str, tuple[str, Sequence[int]]] = {
    "extraction_n": ("stimuli", (32, 64, 128, 256, 512, 1024)),
    "extraction_layers": ("layers of 8192 features", (1, 2, 4, 8, 16, 32)),
    "kernel_p": ("features", tuple(4096 * 2**k for k in range(6))),
    "kernel_n": ("stimuli", (100, 200, 400, 800, 1600, 3200)),
    "decomposition_n": ("stimuli", (100, 200, 400, 800, 1600, 3200)),
    "metric_n": ("stimuli", (100, 200, 400, 800, 1600, 3200)),
    "metric_neuroids": ("neuroids", (8, 25, 80, 250, 800, 2500)),
}
SEEN = 4e6  # bytes: growth below it is noise of the allocator


def exponent(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the slope in log-log and half its 95 % interval."""
    fit = stats.linregress(np.log(sizes), np.log(values))
    return float(fit.slope), float(fit.stderr * stats.t.ppf(0.975, len(sizes) - 2))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", CURVES)
def test_growth(benchmark: Any, stage: str) -> None:
    """One curve: exponents over all sizes, and from the two largest alone."""
    against, sizes = CURVES[stage]
    found: list[Any] = []

    def measure() -> None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(curve, stage, sizes).result())

    benchmark.pedantic(measure, rounds=1)
    (points,) = found
    seconds = [p["cpu_s"] for p in points]
    slope, error = exponent(sizes, seconds)
    grown = [(p["size"], p["grown_bytes"]) for p in points if p["grown_bytes"] > SEEN]
    memory = exponent(*zip(*grown, strict=True)) if len(grown) > 3 else None
    benchmark.extra_info |= {
        "against": against,
        "points": points,
        "exponent": [slope, error],
        "last_exponent": float(np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2])),
        "memory_exponent": memory,
        "rows": [
            {
                "what": f"{stage}: grows as {against} to the power {slope:.2f} +- {error:.2f}",
                "size": str(sizes[-1]),
                "ours_s": seconds[-1],
                "baseline": None,
                "baseline_s": None,
                "ratio": None,
                "limit": None,
                "share_of_limit": None,
                "threads": 1,
                "device": "cpu",
            }
        ],
    }
    assert np.isfinite([slope, error]).all()
    print(stage, json.dumps(benchmark.extra_info, indent=1))


def test_exponents_of_known_laws() -> None:
    """Fits find an exponent, and an interval that holds it."""
    random = np.random.default_rng(0)
    sizes = [100, 200, 400, 800, 1600, 3200]
    for power in (1.0, 2.5):
        assert exponent(sizes, [3e-6 * s**power for s in sizes]) == pytest.approx((power, 0), abs=1e-6)
        inside = [
            abs(slope - power) <= error
            for _ in range(400)
            for slope, error in [exponent(sizes, [s**power * np.exp(0.1 * random.standard_normal()) for s in sizes])]
        ]
        assert 0.91 < np.mean(inside) < 0.98
