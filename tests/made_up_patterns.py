"""Made-up patterns for the tests of RDMs and alignment: seeded numbers, identifiers, representations, upper triangles."""

from __future__ import annotations

import numpy as np

from benchmark_core.representation import Representation


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def upper(rdm: np.ndarray) -> np.ndarray:
    return rdm[np.triu_indices(len(rdm), 1)]


def ids_of(n: int) -> tuple[str, ...]:
    return tuple(f"s{i:03d}" for i in range(n))


def represent(features: np.ndarray) -> Representation:
    return Representation.from_features(features, ids_of(len(features)))
