"""Resampling the score of a subject of NSD's size: 872 test stimuli, 8000 voxels, 1000 resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark_core.comparison import compare
from benchmark_core.records import Score
from benchmark_core.resampling import resample_counts
from plugins.metrics._neuroid_resampling import NeuroidDraws
from plugins.metrics._predictivity import FoldPredictions, _resample

N, M, RESAMPLES = 872, 8000, 1000


@pytest.mark.parametrize("scheme", ["stimuli", "both", "hierarchical"])
def test_resampling(benchmark: Any, scheme: Any) -> None:
    """r and reliability of every voxel in every resample; with neuroids resampled, too."""
    random = np.random.default_rng(0)
    ids = tuple(f"s{i:03d}" for i in range(N))
    y = random.standard_normal((N, M))
    x = y + 2 * random.standard_normal((N, M))
    fold = FoldPredictions(ids, x, np.zeros(M), np.zeros(M), np.ones(M))
    valid = np.ones(M, dtype=bool)

    def run() -> dict[str, np.ndarray]:
        draws = None
        if scheme != "stimuli":
            draws = NeuroidDraws(scheme, [f"n{j}" for j in range(M)], valid, RESAMPLES, 0)
        weights = resample_counts(ids, RESAMPLES, 0)
        return _resample([fold], [y], [np.full((N, M), 0.2)], [weights], valid, valid, y.var(axis=0, ddof=1), draws)

    found = benchmark.pedantic(run, rounds=1, warmup_rounds=0)
    assert np.isfinite(found["score"]).all()


def test_best_set_of_many(benchmark: Any) -> None:
    """All pairs of 300 models."""
    random = np.random.default_rng(0)
    scores = {
        f"m{i}": Score(i / 1000, resamples=0.01 * random.standard_normal(RESAMPLES), resamples_key="k")
        for i in range(300)
    }
    assert benchmark.pedantic(lambda: compare(scores), rounds=1).n_resamples == RESAMPLES
