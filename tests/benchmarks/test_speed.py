"""Timings of the main steps: ``make bench`` (CPU), ``pytest tests/benchmarks -m gpu`` on a machine with a GPU.

Sizes are those of real use: the MajajHong shapes (3200 stimuli, 2560 to train, 256 neuroids, 20 penalties) and a
layer of 10 800 features.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark_core.arrays import Backend
from benchmark_core.representation import Representation, from_spool
from benchmark_core.ridge import PENALTIES, penalty_criteria, predicted_deviations
from benchmark_core.spectral import decompose
from benchmark_core.spool import Spool

BACKENDS = [
    pytest.param(Backend("numpy", "cpu"), id="numpy-cpu"),
    pytest.param(Backend("torch", "cpu"), id="torch-cpu"),
    pytest.param(Backend("torch", "cuda:0"), id="torch-cuda", marks=pytest.mark.gpu),
    pytest.param(Backend("cupy", "cuda:0"), id="cupy-cuda", marks=pytest.mark.gpu),
]


def available(backend: Backend) -> Backend:
    """Return the backend, or skip where it cannot run."""
    if backend.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    if backend.name == "cupy":
        pytest.importorskip("cupy", reason="cupy is not installed")
    return backend


def test_list(benchmark: Any) -> None:
    """``bench list`` as a whole process."""
    benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-m", "benchmark_core", "list"], check=True, capture_output=True),
        rounds=5,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_kernel(benchmark: Any, backend: Backend, tmp_path: Path) -> None:
    """Pass 2: 3200 stimuli x 10 800 features from the spool to the kernel."""
    available(backend)
    random = np.random.default_rng(0)
    spool = Spool.create(tmp_path / "spool", 3200, ["layer"], 32, 32)
    for chunk in range(spool.n_chunks):
        spool.write(chunk, {"layer": random.random((32, 10_800), dtype=np.float32)}, 0.0)
    ids = [f"{i:04d}" for i in range(3200)]
    result = benchmark.pedantic(
        lambda: from_spool(spool, "layer", ids, key="", backend=backend), rounds=2, warmup_rounds=1
    )
    benchmark.extra_info["gflop"] = 3200 * 3200 * 10_800 / 1e9  # a symmetric product needs half of 2 n n P
    assert result.kernel.shape == (3200, 3200)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ridge(benchmark: Any, backend: Backend) -> None:
    """Decomposition of 2560 training stimuli, 20 penalties by leave-one-out, prediction of 640; 256 neuroids."""
    available(backend)
    random = np.random.default_rng(0)
    ids = [f"{i:04d}" for i in range(3200)]
    representation = Representation.from_features(random.normal(size=(3200, 4000)), ids, backend=backend)
    responses = random.normal(size=(2560, 256))

    def fit() -> Any:
        decomposition = decompose(representation, ids[:2560])
        table = penalty_criteria(decomposition, responses, PENALTIES, None, "loo")
        return table, predicted_deviations(decomposition, ids[2560:], responses, np.full(256, 1e3))

    table, predicted = benchmark.pedantic(fit, rounds=2, warmup_rounds=1)
    assert table.shape == (20, 256)
    assert predicted.shape == (640, 256)


def test_ridge_scikit_learn(benchmark: Any) -> None:
    """What users do today: RidgeCV over the same penalties on the features, then predict."""
    from sklearn.linear_model import RidgeCV

    random = np.random.default_rng(0)
    features, responses = random.normal(size=(3200, 4000)), random.normal(size=(2560, 256))

    def fitted() -> np.ndarray:
        return np.asarray(RidgeCV(alphas=PENALTIES).fit(features[:2560], responses).predict(features[2560:]))

    assert benchmark.pedantic(fitted, rounds=1).shape == (640, 256)
