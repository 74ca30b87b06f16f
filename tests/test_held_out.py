"""Held-out predictions for many penalties from products for a few of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_core.held_out import PenaltyWeights, held_out
from benchmark_core.representation import Representation
from benchmark_core.ridge import PENALTIES
from benchmark_core.spectral import Decomposition, decompose


def decomposed(decades: float, n: int = 120, p: int = 300, seed: int = 0) -> Decomposition:
    """Return the decomposition of n stimuli with eigenvalues that spread over so many decades."""
    random = np.random.default_rng(seed)
    left = np.linalg.qr(random.standard_normal((n, n)))[0]
    right = np.linalg.qr(random.standard_normal((p, n)))[0]
    x = left * 10 ** (np.linspace(decades, 0, n) / 2) @ right.T
    ids = tuple(f"{i:03d}" for i in range(n))
    return decompose(Representation.from_features(x, ids), ids)


@settings(max_examples=40, deadline=None)
@given(
    decades=st.floats(0, 12),
    exponents=st.lists(st.floats(-10, 14), min_size=1, max_size=25),
    seed=st.integers(0, 3),
)
def test_weights_of_all_penalties_are_sums_of_those_of_some(decades: float, exponents: list[float], seed: int) -> None:
    decomposition = decomposed(decades, n=40, p=60, seed=seed)
    penalties = [10.0**exponent for exponent in exponents]
    weights = PenaltyWeights.of(decomposition, penalties)
    each = np.stack(weights.each, axis=1)
    s = decomposition.eigenvalues
    for column, penalty in zip(each.T, penalties, strict=True):
        added = s / (s + penalty)
        np.testing.assert_allclose(column, added if penalty > s.max() else 1 - added, rtol=1e-12, atol=1e-15)
    made = each[:, weights.columns] @ weights.shares
    assert np.abs((made - each) / each.max(axis=0)).max() < 2e-13
    assert np.abs(weights.shares * each.max(axis=0)[weights.columns][:, None] / each.max(axis=0)).max() < 20


@pytest.mark.parametrize(("decades", "fewest", "most"), [(1, 8, 11), (4, 12, 16), (12, 13, 20)])
def test_as_many_products_as_eigenvalues_spread(decades: float, fewest: int, most: int) -> None:
    weights = PenaltyWeights.of(decomposed(decades), PENALTIES)
    assert fewest <= len(weights.columns) == len(set(weights.columns)) <= most


@pytest.mark.parametrize("decades", [1, 4, 9])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_penalty_gives_the_same_alone_and_among_others(decades: float, grouped: bool) -> None:
    decomposition = decomposed(decades)
    groups = [f"{i % 30}" for i in range(120)] if grouped else None
    y = np.random.default_rng(1).standard_normal((120, 3)) * [1, 1e6, 1e-6]
    together = list(held_out(decomposition, y, PENALTIES, groups))
    for penalty, fit in zip(PENALTIES, together, strict=True):
        (alone,) = held_out(decomposition, y, [penalty], groups)
        assert fit.resolved == alone.resolved
        scale = np.abs(alone.deviations).max(axis=0)
        np.testing.assert_allclose(fit.deviations / scale, alone.deviations / scale, atol=1e-11)


def test_what_is_kept_of_a_decomposition_does_not_keep_it() -> None:
    """A decomposition is large, and goes when nobody asks for it any more, without a collection of cycles."""
    import weakref

    decomposition = decomposed(2)
    list(held_out(decomposition, np.eye(120)[:, :2], PENALTIES))
    gone = weakref.ref(decomposition)
    del decomposition
    assert gone() is None
