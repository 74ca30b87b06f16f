"""How near pass 2 comes to the machine's own matrix products: spool to kernel, in both precisions.

Half of each product is computed and counted. The rate is that of a plain product of the same shape, by the better of NumPy's
and torch's library; both in turns, minima over rounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from timing import Stopwatch, product_rates, row

from benchmark_core.arrays import Backend
from benchmark_core.representation import from_spool
from benchmark_core.spool import Spool

pytest.importorskip("pytest_benchmark")

N, P, ROUNDS = 3200, 108_000, 3


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_share_of_the_product_rate(benchmark: Any, tmp_path: Path, precision: str) -> None:
    """The 3200 stimuli of MajajHong and the widest layer that the paper scores there."""
    random = np.random.default_rng(0)
    spool = Spool.create(tmp_path / "spool", N, ["layer"], 32, 32)
    for chunk in range(spool.n_chunks):
        spool.write(chunk, {"layer": random.random((32, P), dtype=np.float32)}, 0.0)
    ids = [f"{i:04d}" for i in range(N)]
    exact, dtype = precision == "exact", np.float64 if precision == "exact" else np.float32
    rates, spent = [], []

    def kernel() -> None:
        watch = Stopwatch()
        watch("kernel", lambda: from_spool(spool, "layer", ids, key="", backend=Backend(), exact=exact))
        spent.append(watch.spent["kernel"])

    benchmark.pedantic(kernel, setup=lambda: rates.append(product_rates(dtype)), rounds=ROUNDS)
    rate, best = np.max(rates, axis=0), np.min(spent, axis=0)
    share = N * N * P / best / rate
    limit = f"{rate[0] / 1e9:.0f} GFLOP/s, {np.dtype(dtype).name} product (cpu: {share[1]:.2f})"
    benchmark.extra_info["rows"] = [
        row(
            f"kernel from the spool, {precision}",
            f"{N} stimuli x {P} features",
            best,
            limit=limit,
            share=float(share[0]),
        )
    ]
    benchmark.extra_info["shares"] = [
        np.round(N * N * P / s / r, 3).tolist() for s, r in zip(spent, rates, strict=True)
    ]
