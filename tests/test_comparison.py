"""Paired differences and best sets against formulas; what must not be compared is refused."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import benchmark_core
from benchmark_core.comparison import best_set, compare
from benchmark_core.errors import InputError
from benchmark_core.records import Score


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def scores_of(values: list[float], seed: int = 0, n: int = 1000, common: float = 1.0) -> dict[str, Score]:
    """Scores whose resamples share a part, as those on the same stimuli do."""
    random = rng(seed)
    shared = common * random.standard_normal(n)
    return {
        f"m{i}": Score(v, resamples=0.01 * (shared + random.standard_normal(n)), resamples_key="k")
        for i, v in enumerate(values)
    }


def resamples_of(score: Score) -> np.ndarray:
    assert score.resamples is not None
    return score.resamples


def test_differences_are_paired() -> None:
    scores = scores_of([0.40, 0.43])
    (found,) = compare(scores).differences
    z = np.array([scores[name].resamples for name in ("m1", "m0")])
    error = (z[0] - z[1]).std(ddof=1)
    assert (found.first, found.second) == ("m1", "m0")
    assert found.difference == pytest.approx(0.03)
    assert found.standard_error == pytest.approx(error)
    assert found.standard_error < np.hypot(z[0].std(), z[1].std())
    assert (found.ci_low, found.ci_high) == pytest.approx((0.03 - 1.96 * error, 0.03 + 1.96 * error))
    assert found.p == pytest.approx(2 * stats.norm.sf(0.03 / error))


@given(st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=6), st.integers(0, 1000))
def test_max_t_by_loops(values: list[float], seed: int) -> None:
    """Adjusted p values and the best set, written out; and what always holds."""
    scores = scores_of(values, seed, n=200)
    comparison = compare(scores)
    centred = {name: resamples_of(score) - resamples_of(score).mean() for name, score in scores.items()}
    pairs = list(itertools.combinations(comparison.names, 2))
    errors = {(a, b): (centred[a] - centred[b]).std(ddof=1) for a, b in pairs}
    largest = np.max([np.abs(centred[a] - centred[b]) / errors[a, b] for a, b in pairs], axis=0)
    assert [(d.first, d.second) for d in comparison.differences] == pairs
    for d in comparison.differences:
        t = d.difference / errors[d.first, d.second]
        assert d.p_adjusted == pytest.approx(max(2 * stats.norm.sf(t), (1 + (largest >= t).sum()) / 201), abs=1 / 201)
        assert d.p is not None
        assert d.p_adjusted is not None
        assert d.difference >= 0
        assert d.p_adjusted >= d.p
        assert (d.p < 0.05) == (d.ci_low > 0) or abs(d.ci_low) < 1e-4
    from_best = {d.second: d.p_adjusted for d in comparison.differences if d.first == comparison.names[0]}
    assert comparison.best_set == (comparison.names[0], *(n for n, p in from_best.items() if p is None or p > 0.05))
    assert best_set(scores) == comparison.best_set


def test_order_of_the_scores_does_not_matter() -> None:
    scores = scores_of([0.4, 0.41, 0.39, 0.41])
    assert compare(dict(reversed(scores.items()))) == compare(scores)
    assert compare(scores).names == ("m1", "m3", "m0", "m2")


def test_equal_predictions_cannot_be_told_apart() -> None:
    one = scores_of([0.4])["m0"]
    rounded = dataclasses.replace(one, value=0.4 + 1e-12, resamples=resamples_of(one) * (1 + 1e-9))
    comparison = compare({"a": one, "b": one, "c": rounded})
    assert [(d.p, d.p_adjusted) for d in comparison.differences] == [(1.0, 1.0)] * 3
    assert len(comparison.best_set) == 3
    dead = Score(0.0, resamples=np.zeros(1000), resamples_key="k")
    (found,) = compare({"a": dead, "b": dead}).differences
    assert found.p == 1


def test_a_difference_without_any_spread_has_no_p() -> None:
    """Where a test fold holds a single group, resamples do not vary: nothing is rejected."""
    scores = {name: Score(v, resamples=np.zeros(1000), resamples_key="k") for name, v in (("a", 0.3), ("b", 0.2))}
    comparison = compare(scores)
    assert comparison.differences[0].p is None
    assert comparison.best_set == ("a", "b")


def test_one_model_far_ahead_is_alone_where_holm_could_not_say_so() -> None:
    scores = scores_of([0.9, *[0.1] * 9])
    assert best_set(scores) == ("m0",)
    # The smallest p that counts of 1000 resamples can give, both tails counted, times the 45 pairs of ten models.
    assert 45 * 2 / 1001 > 0.05


def test_a_single_score_is_the_best() -> None:
    assert best_set(scores_of([0.1])) == ("m0",)


def test_resamples_without_a_value_are_left_out_of_all() -> None:
    scores = scores_of([0.4, 0.41])
    holes = resamples_of(scores["m0"]).copy()
    holes[:50] = np.nan
    comparison = compare(scores | {"m0": dataclasses.replace(scores["m0"], resamples=holes)})
    assert comparison.n_resamples == 950
    holes[:500] = np.nan
    with pytest.raises(InputError, match="m0 has no value in many of its resamples"):
        compare(scores | {"m0": dataclasses.replace(scores["m0"], resamples=holes)})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"resamples_key": "other"}, "m1 does not share its resamples with m0: scores can be compared"),
        ({"resamples": np.zeros(500)}, "m1 does not share its resamples"),
        ({"resamples": None}, "m1 has no resamples: .* --force"),
        ({"value": None}, "m1 has no score"),
    ],
)
def test_what_cannot_be_compared(changed: dict[str, Any], message: str) -> None:
    scores = scores_of([0.5, 0.4])
    with pytest.raises(InputError, match=message):
        compare(scores | {"m1": dataclasses.replace(scores["m1"], **changed)})


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="no scores to compare"):
        compare({})
    with pytest.raises(InputError, match="alpha 2 is not allowed"):
        benchmark_core.compare(scores_of([0.1]), alpha=2)
