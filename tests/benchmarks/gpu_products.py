"""Pass 2 and ridge regression on a device, against the CPU and against himalaya."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gpu_timing import product_rate, rated, row, seconds

from benchmark_core import spool as spools
from benchmark_core.arrays import Backend
from benchmark_core.representation import Representation, from_spool
from benchmark_core.ridge import PENALTIES, penalty_criteria, predicted_deviations
from benchmark_core.spectral import decompose


class MadeUpBlocks:
    """Features in memory, read by blocks like a spool: a disk plays no part in what is timed.

    Every block holds the same numbers, shifted by a row for each.
    """

    def __init__(self, n: int, n_features: int) -> None:
        self.n, self.features = n, n_features
        self.block = np.random.default_rng(0).random((n, min(spools.BLOCK, n_features)), dtype=np.float32)

    def n_features(self, layer: str) -> int:
        """Number of features."""
        return self.features

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first feature, float32 array (n, up to BLOCK))."""
        for number, first in enumerate(range(0, self.features, spools.BLOCK)):
            yield first, np.roll(self.block, number, axis=0)[:, : self.features - first]


def kernel(
    backend: Backend, exact: bool, n: int = 3200, n_features: int = 108_000, rate_size: int = 8192
) -> tuple[dict[str, Any], Representation]:
    """Time the kernel of features that lie in the memory of the host; return it, too.

    A symmetric product counts once, n^2 P; reaching the rate of a plain product therefore takes using the symmetry or not:
    a share above one half of it is only reached by using it.
    """
    blocks, ids, made = MadeUpBlocks(n, n_features), [f"{i:05d}" for i in range(n)], []

    def reduce() -> None:
        made[:] = [from_spool(blocks, "layer", ids, key="", backend=backend, exact=exact)]

    taken = seconds(backend.device, reduce, rounds=1, warm_up=n_features <= 108_000)
    rate = product_rate(backend.device, torch.float64 if exact else torch.float32, fast=not exact, n=rate_size)
    work = float(n) ** 2 * n_features
    dtype = "float64" if exact else "float32" if backend.device == "cpu" else "TF32 or float32"
    found = row(
        f"kernel, {dtype} products, {backend.name}",
        f"{n} stimuli x {n_features} features: {work / taken / 1e12:.3g} TFLOP/s",
        taken,
        backend.device,
        limit=rated(rate),
        share=work / taken / rate,
        tflops=work / taken / 1e12,
        product_tflops=rate / 1e12,
        gb_per_s=4 * n * n_features / taken / 1e9,
    )
    return found, made[0]


def ridge(
    backends: list[Backend], n_train: int = 2560, n_test: int = 640, n_neuroids: int = 256, baselines: bool = True
) -> list[dict[str, Any]]:
    """Time ridge regression from a kernel on several backends: decomposition, 20 penalties by leave-one-out, prediction.

    All are checked against the first, and compared with the CPU (NumPy) and, where it is installed, himalaya's
    ``KernelRidgeCV`` (five folds, a penalty for each neuroid) on the same kernel and device.
    """
    n, random = n_train + n_test, np.random.default_rng(0)
    x = random.standard_normal((n, n + 100)) / np.sqrt(np.arange(1, n + 101))
    ids = [f"{i:05d}" for i in range(n)]
    held = Representation.from_features(x, ids)
    responses = x[:, :50] @ random.standard_normal((50, n_neuroids)) + random.standard_normal((n, n_neuroids))
    del x
    size = f"{n_train} training and {n_test} test stimuli x {n_neuroids} neuroids"
    penalty = np.full(n_neuroids, 10.0)
    found: dict[str, np.ndarray] = {}

    def fit(backend: Backend) -> None:
        representation = Representation(**{**_fields(held), "backend": backend})
        decomposition = decompose(representation, ids[:n_train])
        table = penalty_criteria(decomposition, responses[:n_train], PENALTIES, None, "loo")
        predicted = predicted_deviations(decomposition, ids[n_train:], responses[:n_train], penalty)
        found[backend.name + backend.device] = np.concatenate([table, predicted])

    taken = {backend: seconds(backend.device, lambda b=backend: fit(b), rounds=1) for backend in backends}
    cpu = seconds("cpu", lambda: fit(Backend()), rounds=1, warm_up=False) if baselines else None
    first = next(iter(found.values()))
    for values in found.values():
        np.testing.assert_allclose(values, first, rtol=1e-6, atol=1e-6)
    rows = []
    for backend, ours in taken.items():
        what, where = f"ridge, 20 penalties, {backend.name}", backend.device
        rows.append(row(what, size, ours, where, baseline="numpy on the CPU", baseline_s=cpu))
        theirs = himalaya_seconds(where, held, responses, n_train) if baselines else None
        if theirs is not None:
            rows.append(row(what, size, ours, where, baseline="himalaya KernelRidgeCV, cv=5", baseline_s=theirs))
    return rows


def himalaya_seconds(device: str, held: Representation, responses: np.ndarray, n_train: int) -> float | None:
    """Return how long himalaya takes on a device, data there beforehand; None where it is not installed."""
    try:
        from himalaya.backend import set_backend
        from himalaya.kernel_ridge import KernelRidgeCV
    except ImportError:
        return None
    backend = set_backend("torch" if device == "cpu" else "torch_cuda", on_error="raise")
    try:
        kernel, y = backend.asarray(held.gram()), backend.asarray(responses)
        train, across = kernel[:n_train, :n_train].contiguous(), kernel[n_train:, :n_train].contiguous()
        model = KernelRidgeCV(alphas=np.array(PENALTIES), kernel="precomputed", cv=5)

        def fit() -> None:
            model.fit(train, y[:n_train])
            backend.to_numpy(model.predict(across))

        return seconds(device, fit, rounds=1)
    finally:
        set_backend("numpy")


def _fields(held: Representation) -> dict[str, Any]:
    names = ("layer", "stimulus_ids", "n_features", "features", "kernel", "row_sums", "mean_products", "mean_square")
    return {name: getattr(held, name) for name in names}
