"""Kernels and ridge regression on a GPU, with torch and with cupy."""

from __future__ import annotations

from typing import Any

import gpu_products
import numpy as np
import pytest
from gpu_timing import gpu_backend, kept

from benchmark_core.arrays import Backend, BackendName
from benchmark_core.representation import from_spool


@pytest.mark.gpu
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["torch", "cupy"])
@pytest.mark.parametrize("exact", [True, False], ids=["float64", "single"])
@pytest.mark.parametrize("n_features", [108_000, 1_080_000])
def test_kernel(benchmark: Any, name: BackendName, exact: bool, n_features: int) -> None:
    """3200 stimuli: TFLOP/s, share of the device's own product rate."""
    backend = gpu_backend(name)
    kept(benchmark, lambda: [gpu_products.kernel(backend, exact, n_features=n_features)[0]])


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "cupy"])
@pytest.mark.parametrize(("exact", "tolerance"), [(True, 1e-12), (False, 1e-3)], ids=["float64", "single"])
def test_kernels_are_those_of_the_cpu(name: BackendName, exact: bool, tolerance: float) -> None:
    """What is timed is right."""
    _, made = gpu_products.kernel(gpu_backend(name), exact, 300, 9000, rate_size=256)
    blocks, ids = gpu_products.MadeUpBlocks(300, 9000), made.stimulus_ids
    expected = from_spool(blocks, "layer", ids, key="", backend=Backend()).gram()
    np.testing.assert_allclose(made.gram(), expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.gpu
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("n_train", "n_test", "n_neuroids"), [(2560, 640, 256), (9000, 872, 8000)], ids=["majajhong", "nsd"]
)
def test_ridge(benchmark: Any, n_train: int, n_test: int, n_neuroids: int) -> None:
    """Both libraries, checked against each other, beside NumPy on the CPU and himalaya on the GPU."""
    backends = [gpu_backend("torch")]
    try:
        backends.append(gpu_backend("cupy"))
    except pytest.skip.Exception as absent:
        benchmark.extra_info["cupy"] = str(absent)
    kept(benchmark, lambda: gpu_products.ridge(backends, n_train, n_test, n_neuroids))


def test_ridge_on_the_cpu(benchmark: Any) -> None:
    """The same in small, himalaya included, so that the test above is known to run."""
    rows = kept(benchmark, lambda: gpu_products.ridge([Backend("torch")], 200, 50, 20))
    assert [row["baseline"] for row in rows] == ["numpy on the CPU", "himalaya KernelRidgeCV, cv=5"]
