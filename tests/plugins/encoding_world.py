"""Recordings that a linear map of the features explains in part, and ``encoding`` run on them, for its tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.splits import KFold, Splits
from plugins.metrics._encoding import compute

N_BOOTSTRAP = 100


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> list[str]:
    return [f"s{i:04d}" for i in range(n)]


def recording(
    seed: int = 0, n: int = 90, p: int = 12, m: int = 6, repetitions: int = 5, noise: float = 1.0
) -> tuple[np.ndarray, Responses]:
    """Return features and responses that a linear map of them explains in part."""
    random = rng(seed)
    x = random.standard_normal((n, p))
    signal = x[:, : p // 2] @ random.standard_normal((p // 2, m)) / np.sqrt(p // 2)
    trials = signal[:, None, :] + noise * random.standard_normal((n, repetitions, m)) + np.arange(m)
    return x, responses_of(trials)


def responses_of(values: np.ndarray, subjects: Any = "A") -> Responses:
    return Responses(tuple(ids(len(values))), values, tuple(f"n{j}" for j in range(values.shape[-1])), subjects, "V4")


def layer(x: np.ndarray, name: str = "output") -> Representation:
    return Representation.from_features(x, ids(len(x)), name)


def run(x: np.ndarray, target: Responses, splits: Splits | None = None, **options: Any) -> Score:
    splits = splits or KFold(3).assign(ids(len(x)))
    return compute([{"output": layer(x)}], target, splits, **{"n_bootstrap": N_BOOTSTRAP, **options})


def held_out(score: Score) -> np.ndarray:
    return score.arrays["predictions"].astype(float)
