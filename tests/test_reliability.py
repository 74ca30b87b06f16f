"""Reliability of measured responses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark_core.reliability import half_means, mean_noise, row_correlations, spearman_brown
from benchmark_core.resampling import pooled_reliability, weighted_statistics


def population(seed: int, n: int, repetitions: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Poisson trials and the true reliability of their means."""
    random = np.random.Generator(np.random.Philox(seed))
    rates = np.exp(random.uniform(-1, 3, m) + 0.5 * random.standard_normal((n, m)))
    trials = random.poisson(rates[:, None, :], (n, repetitions, m)).astype(float)
    return trials, rates.var(axis=0) / (rates.var(axis=0) + rates.mean(axis=0) / repetitions)


def reliability(trials: np.ndarray) -> np.ndarray:
    means = np.nanmean(trials, axis=1)
    ones = np.ones((1, len(trials)))
    return pooled_reliability([weighted_statistics(ones, means, means, mean_noise(trials))])[0]


def test_mean_noise_is_the_squared_standard_error() -> None:
    trials = np.random.Generator(np.random.Philox(1)).standard_normal((6, 5, 3))
    trials[0, 3:, 0] = np.nan
    expected = stats.sem(trials, axis=1, nan_policy="omit") ** 2
    np.testing.assert_allclose(mean_noise(trials), expected)


def test_a_stimulus_seen_once_takes_the_mean_variance_and_unrepeated_neuroids_have_none() -> None:
    trials = np.random.Generator(np.random.Philox(2)).standard_normal((4, 2, 2))
    trials[0, 1, 0] = np.nan
    trials[:, 1, 1] = np.nan
    trials[3, 0, 1] = np.nan
    noise = mean_noise(trials)
    assert noise[0, 0] == pytest.approx(trials[1:, :, 0].var(axis=1, ddof=1).mean())
    assert np.isnan(noise[:, 1]).all()
    empty = np.full((3, 2, 1), np.nan)
    assert np.isnan(mean_noise(empty)).all()


def test_equals_the_formula() -> None:
    trials, _ = population(3, 40, 7, 5)
    means = trials.mean(axis=1)
    noise = (trials.var(axis=1, ddof=1) / 7).mean(axis=0)
    np.testing.assert_allclose(reliability(trials), 1 - noise / means.var(axis=0, ddof=1))


def test_recovers_the_truth_also_with_uneven_repetitions() -> None:
    errors = []
    for seed in range(10):
        trials, truth = population(seed, 400, 10, 30)
        errors.append(np.median(reliability(trials)) - np.median(truth))
    assert abs(np.mean(errors)) < 0.01


def test_spearman_brown() -> None:
    np.testing.assert_allclose(spearman_brown(np.array([0.0, 0.5, 1.0])), [0, 2 / 3, 1])
    assert np.isnan(spearman_brown(np.array([-1.0, np.nan]))).all()


def test_halves_share_out_every_repetition_and_estimate_the_same_reliability() -> None:
    trials, truth = population(4, 300, 10, 20)
    trials[::3, 8:, :] = np.nan
    r = []
    for a, b in half_means(trials, 5, seed=0):
        np.testing.assert_allclose((a + b) / 2, np.nanmean(trials, axis=1))
        r.append([stats.pearsonr(a[:, j], b[:, j])[0] for j in range(20)])
    halves = spearman_brown(np.mean(r, axis=0))
    assert np.median(halves) == pytest.approx(np.median(truth), abs=0.05)
    again = [a for a, _ in half_means(trials, 5, seed=0)]
    np.testing.assert_array_equal(again[4], a)
    assert not np.array_equal(next(half_means(trials, 1, seed=1))[0], again[0])


def test_halves_are_the_same_whether_or_not_neuroids_share_their_presentations() -> None:
    trials, _ = population(5, 20, 7, 3)
    trials[::3, 5:, :] = np.nan
    own = np.concatenate([trials, trials[:, :, :1]], axis=2)
    own[0, 0, 3] = np.nan
    for (a, b), (c, d) in zip(half_means(trials, 3, 0), half_means(own, 3, 0), strict=True):
        np.testing.assert_allclose(a, c[:, :3])
        np.testing.assert_allclose(b, d[:, :3])


def test_an_only_repetition_leaves_the_second_half_empty() -> None:
    trials = np.ones((3, 2, 1))
    trials[1, 0, 0] = np.nan
    a, b = next(half_means(trials, 1, seed=0))
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(np.isnan(b[:, 0]), [False, True, False])


def test_row_correlations_follow_scipy_and_the_rules_for_constants() -> None:
    random = np.random.Generator(np.random.Philox(5))
    a, b = random.standard_normal((5, 8)), random.standard_normal((5, 8))
    a[0, 2] = b[0, 5] = np.nan
    a[1], b[2] = 0.1, 0.1
    b[3, 1:] = np.nan
    r = row_correlations(a, b)
    keep = np.isfinite(a[0]) & np.isfinite(b[0])
    assert r[0] == pytest.approx(stats.pearsonr(a[0, keep], b[0, keep])[0])
    assert r[1] == 0
    assert np.isnan(r[2])
    assert np.isnan(r[3])
    assert r[4] == pytest.approx(stats.pearsonr(a[4], b[4])[0])
