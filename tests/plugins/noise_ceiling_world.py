"""Subjects who read the same hidden features with noise, and ``noise-ceiling`` on them, for its tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark_core import KFold, Responses, Score
from benchmark_core.splits import Splits
from plugins.metrics._noise_ceiling import compute

N = 60
IDS = tuple(f"s{i:03d}" for i in range(N))
FOLDS = KFold(3).assign(IDS)


def generator(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(s << (32 * i) for i, s in enumerate(seed))))


def trials_of(seed: int, neuroids: int, repetitions: int = 4, noise: float = 1.0, common: int = 3) -> np.ndarray:
    """Return trials (N, repetitions, neuroids): all subjects read the same hidden features, with noise."""
    hidden = generator(1).standard_normal((N, common))
    random = generator(2, seed)
    rates = hidden @ random.standard_normal((common, neuroids)) + 0.3 * random.standard_normal((N, neuroids))
    rates = 5 * random.random(neuroids) + rates / rates.std(axis=0)
    return rates[:, None, :] + noise * random.standard_normal((N, repetitions, neuroids))


def recorded(*of_subject: np.ndarray, **others: Any) -> Responses:
    subjects = [chr(ord("A") + s) for s, trials in enumerate(of_subject) for _ in range(trials.shape[-1])]
    values = np.concatenate(of_subject, axis=-1)
    return Responses(IDS, values, tuple(f"n{j}" for j in range(len(subjects))), tuple(subjects), "V4", **others)


def ceiling(target: Responses, splits: Splits = FOLDS, **options: Any) -> Score:
    return compute([], target, splits, **{"n_bootstrap": 100, **options})
