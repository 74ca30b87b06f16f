"""The bootstrap by weighted moments against resampled copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmark_core.resampling import (
    bootstrap_interval,
    fold_factor,
    pooled_reliability,
    pooled_variance,
    resample_counts,
    resamples_key,
    weighted_statistics,
)


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def ids(n: int) -> list[str]:
    return [f"s{i:03d}" for i in range(n)]


def test_counts_are_a_pure_function_of_seed_and_ids() -> None:
    first = resample_counts(ids(30), 200, 0)
    np.testing.assert_array_equal(first, resample_counts(ids(30), 200, 0))
    assert (first.sum(axis=1) == 30).all()
    assert not np.array_equal(first, resample_counts(ids(30), 200, 1))
    assert not np.array_equal(first, resample_counts(ids(31)[1:], 200, 0))
    # Each stimulus is drawn once on average, with variance 1 - 1/n.
    many = resample_counts(ids(30), 5000, 0)
    np.testing.assert_allclose(many.mean(axis=0), 1, atol=5 / np.sqrt(5000))
    np.testing.assert_allclose(many.var(), 1 - 1 / 30, rtol=0.02)


def test_groups_are_drawn_whole() -> None:
    groups = [f"g{i // 4}" for i in range(20)]
    counts = resample_counts(ids(20), 50, 3, groups)
    np.testing.assert_array_equal(counts.reshape(50, 5, 4), counts[:, ::4][:, :, None].repeat(4, axis=2))
    assert (counts[:, ::4].sum(axis=1) == 5).all()


@given(seed=st.integers(0, 1000), missing=st.booleans())
def test_weighted_statistics_equal_those_of_resampled_copies(seed: int, missing: bool) -> None:
    random = rng(seed)
    x, y = random.standard_normal((25, 3)) * 1e3 + 1e5, random.standard_normal((25, 3)) + 50
    noise = random.random((25, 3)) * 0.1
    if missing:
        y[:4, 0] = np.nan
        x[5, 1] = np.nan
    counts = resample_counts(ids(25), 6, seed)
    got = weighted_statistics(counts, x, y, noise)
    reliability = pooled_reliability([got])
    for resample, w in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(25), w)
        for j in range(3):
            take = rows[np.isfinite(x[rows, j]) & np.isfinite(y[rows, j])]
            assert got.r[resample, j] == pytest.approx(stats.pearsonr(x[take, j], y[take, j])[0], abs=1e-9)
            expected = 1 - noise[take, j].mean() / y[take, j].var(ddof=1)
            assert reliability[resample, j] == pytest.approx(expected, rel=1e-9)


def test_rules_for_constants_and_too_few() -> None:
    x, y = rng(1).standard_normal((10, 4)), rng(2).standard_normal((10, 4))
    x[:, 0], y[:, 1] = 0.1, 0.3
    y[2:, 2] = np.nan
    y[:, 3] = 0
    y[4, 3] = 1  # fires once
    weights = np.ones((2, 10))
    weights[1, 4], weights[1, 5] = 0, 2
    r = weighted_statistics(weights, x, y).r
    assert (r[:, 0] == 0).all()
    assert np.isnan(r[:, 1:3]).all()
    assert np.isfinite(r[0, 3])
    assert np.isnan(r[1, 3])


def test_reliability_is_pooled_within_folds() -> None:
    """A shift between folds changes neither r nor reliability."""
    random = rng(4)
    y, noise = random.standard_normal((40, 2)), random.random((40, 2)) * 0.2
    folds = [np.arange(15), np.arange(15, 40)]

    def pooled(values: np.ndarray) -> np.ndarray:
        return pooled_reliability(
            [weighted_statistics(np.ones((1, len(f))), values[f], values[f], noise[f]) for f in folds]
        )

    within = sum(((y[f] - y[f].mean(0)) ** 2).sum(0) for f in folds) / 38
    np.testing.assert_allclose(pooled(y)[0], 1 - noise.mean(0) / within)
    shifted = y.copy()
    shifted[15:] += 7
    np.testing.assert_allclose(pooled(shifted), pooled(y))


def test_resampled_variances_keep_the_sample_variance_as_their_mean() -> None:
    """An unreliable neuroid must not look reliable or unreliable because resamples repeat stimuli."""
    random = rng(6)
    groups = [f"g{i // 4}" for i in range(40)]
    y = random.standard_normal((10, 2)).repeat(4, axis=0) + random.standard_normal((40, 2))
    noise = np.full((40, 2), 0.5)
    (sample,), draws = (
        pooled_variance([weighted_statistics(np.ones((1, 40)), y, y, noise)]),
        [weighted_statistics(resample_counts(ids(40), 500, 0, groups), y, y, noise)],
    )
    np.testing.assert_allclose(sample, y.var(axis=0, ddof=1))
    plain, scaled = pooled_reliability(draws), pooled_reliability(draws, sample)
    assert (pooled_variance(draws).mean(axis=0) < 0.97 * sample).all()
    np.testing.assert_allclose((0.5 / (1 - scaled)).mean(axis=0), sample)
    np.testing.assert_allclose(
        (1 - scaled) / (1 - plain), pooled_variance(draws).mean(axis=0) / sample * np.ones((500, 1))
    )


def test_without_noise_there_is_no_reliability() -> None:
    y = rng(5).standard_normal((10, 2))
    noise = np.ones((10, 2))
    noise[:, 1] = np.nan
    ones = np.ones((1, 10))
    assert np.isnan(pooled_reliability([weighted_statistics(ones, y, y)])).all()
    np.testing.assert_array_equal(
        np.isnan(pooled_reliability([weighted_statistics(ones, y, y, noise)])[0]), [False, True]
    )


def test_standard_error_of_r_covers() -> None:
    """The bootstrap's standard error of r is the spread of r over new samples."""
    errors, found = [], []
    for seed in range(150):
        random = rng(seed)
        x = random.standard_normal((80, 1))
        y = 0.6 * x + 0.8 * random.standard_normal((80, 1))
        draws = weighted_statistics(resample_counts(ids(80), 300, seed), x, y).r[:, 0]
        errors.append(draws.std(ddof=1))
        found.append(stats.pearsonr(x[:, 0], y[:, 0])[0])
    assert np.mean(errors) == pytest.approx(np.std(found, ddof=1), rel=0.15)


def test_interval() -> None:
    draws = np.array([0.5, 0.7, np.nan, 0.9])
    interval = bootstrap_interval(0.6, draws, factor=2.0)
    assert interval is not None
    assert interval.value == pytest.approx(2 * 0.6 - 0.7)
    assert interval.standard_error == pytest.approx(2 * np.std([0.5, 0.7, 0.9], ddof=1))
    assert interval.high - interval.value == pytest.approx(1.96 * interval.standard_error)
    assert interval.bias == pytest.approx(0.1)
    assert bootstrap_interval(np.nan, draws) is None
    assert bootstrap_interval(0.5, np.full(4, np.nan)) is None


def test_fold_factor() -> None:
    assert fold_factor(1) == 1
    assert fold_factor(5) == pytest.approx(1.5)
    assert fold_factor(2) == pytest.approx(np.sqrt(3))


def test_the_key_says_what_is_drawn() -> None:
    folds = [ids(5), ids(8)[5:]]
    groups = {i: i[-1] for i in ids(8)}
    key = resamples_key(folds, 100, 0)
    assert key == resamples_key([tuple(f) for f in folds], 100, 0)
    others = [
        resamples_key(folds[::-1], 100, 0),
        resamples_key([ids(8)], 100, 0),
        resamples_key(folds, 101, 0),
        resamples_key(folds, 100, 1),
        resamples_key(folds, 100, 0, groups),
    ]
    assert len({key, *others}) == 6
