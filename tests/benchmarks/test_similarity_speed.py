"""Timings of RSA and CKA with 1000 resamples: ``make bench``. 92 stimuli are those of kriegeskorte92, 640 of cowley2023.V4."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark_core import KFold, Responses
from benchmark_core.representation import Representation
from plugins.metrics import _cka, _rsa


def world(n: int) -> tuple[Representation, Responses]:
    """Return a layer of 5000 features and averages of 50 neuroids."""
    random = np.random.Generator(np.random.Philox(n))
    ids = tuple(f"s{i:04d}" for i in range(n))
    features, values = random.standard_normal((n, 5000)), random.standard_normal((n, 50))
    return (
        Representation.from_features(features, ids),
        Responses(ids, values, tuple(f"n{i}" for i in range(50)), "A"),
    )


@pytest.mark.parametrize("n", [92, 640])
@pytest.mark.parametrize("compare", ["spearman", "pearson", "kendall", "whitened-cosine"])
def test_rsa(benchmark: Any, n: int, compare: Any) -> None:
    """All pairs (4186 or 204 480), and the test stimuli of five folds beside them."""
    layer, target = world(n)
    splits = KFold(k=5).assign(target.stimulus_ids)
    result = benchmark.pedantic(
        lambda: _rsa.compute([{"layer": layer}], target, splits, compare=compare, stimuli="all"),
        rounds=3,
        warmup_rounds=1,
    )
    assert result.resamples.shape == (1000,)


@pytest.mark.parametrize("n", [92, 640, 3200])
def test_cka(benchmark: Any, n: int) -> None:
    """All stimuli, and the test stimuli of five folds beside them."""
    layer, target = world(n)
    splits = KFold(k=5).assign(target.stimulus_ids)
    result = benchmark.pedantic(
        lambda: _cka.compute([{"layer": layer}], target, splits, debiased=True, stimuli="all"),
        rounds=3,
        warmup_rounds=1,
    )
    assert result.resamples.shape == (1000,)
