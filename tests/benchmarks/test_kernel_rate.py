"""How near pass 2 comes to the machine's own matrix products: spool to kernel, in both precisions.

Half of each product is computed and counted. The rates are those of a plain product of the same shape by NumPy's library
(OpenBLAS, which computes kernels, too) and torch's (MKL, where torch is built with it), before and after each round:
rates of a shared machine change within seconds, and by half. Two kernels in a row: arrays of plain products are in use
when they are timed, and touching memory for the first time can take a virtual machine as long as a tenth of a kernel.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timing import Stopwatch, row

from benchmark_core.arrays import Backend
from benchmark_core.representation import from_spool
from benchmark_core.spool import BLOCK, Spool

N, P, ROUNDS, PRODUCTS = 3200, 108_000, 5, 6
KERNELS = ("in fresh memory", "again")


class Products:
    """Plain products of a block by each library."""

    def __init__(self, dtype: type) -> None:
        x, y, out = np.ones((N, BLOCK), dtype=dtype), np.ones((BLOCK, N), dtype=dtype), np.empty((N, N), dtype=dtype)
        a, b, c = (torch.from_numpy(values) for values in (x, y, out))
        self.libraries = {"NumPy": lambda: np.matmul(x, y, out=out), "torch": lambda: torch.mm(a, b, out=c)}

    def __call__(self, watch: Stopwatch) -> None:
        """Time some of each."""
        for library, product in self.libraries.items():
            for _ in range(PRODUCTS):
                watch(library, product)
            time.sleep(0.1)  # its threads go on waiting for a while, on a core each


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_share_of_the_product_rate(benchmark: Any, tmp_path: Path, precision: str) -> None:
    """The 3200 stimuli of MajajHong and the widest layer that the paper scores there."""
    random = np.random.default_rng(0)
    exact, dtype = precision == "exact", np.float64 if precision == "exact" else np.float32
    spool = Spool.create(tmp_path / "spool", N, ["layer"], 32, 32, half=not exact)
    for chunk in range(spool.n_chunks):
        spool.write(chunk, {"layer": random.random((32, P), dtype=np.float32)}, 0.0)
    ids = [f"{i:04d}" for i in range(N)]
    products, watches = Products(dtype), []
    products(Stopwatch())

    def kernel() -> None:
        watch = Stopwatch()
        products(watch)
        for what in KERNELS:
            watch(what, lambda: from_spool(spool, "layer", ids, key="", backend=Backend(), exact=exact))
        products(watch)
        watches.append(watch.spent)

    benchmark.pedantic(kernel, rounds=ROUNDS)
    work, of_products = N * N * P, 2 * 2 * N * N * BLOCK * PRODUCTS
    for what, library in itertools.product(KERNELS, ("NumPy", "torch")):
        rates = [of_products / spent[library] for spent in watches]
        shares = [work / spent[what] / rate for spent, rate in zip(watches, rates, strict=True)]
        typical = sorted(range(ROUNDS), key=lambda i, s=shares: s[i][0])[ROUNDS // 2]
        limit = f"{rates[typical][0] / 1e9:.0f} GFLOP/s, {np.dtype(dtype).name} product by {library} (cpu: {shares[typical][1]:.2f})"
        name, size = f"kernel from the spool, {precision}, {what}", f"{N} stimuli x {P} features"
        found = row(name, size, watches[typical][what], limit=limit, share=float(shares[typical][0]))
        benchmark.extra_info.setdefault("rows", []).append(found)
        benchmark.extra_info[f"shares_{library}, {what}"] = np.round(shares, 3).tolist()
