"""Reliability of measured responses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark_core.reliability import (
    TestedStimuli,
    blocks,
    half_means,
    mean_noise,
    repetition_pairs,
    root,
    row_correlations,
    spearman_brown,
    split_halves,
    stepped_up,
)
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


def two_folds(trials: np.ndarray) -> list[TestedStimuli]:
    """Return two folds of the stimuli, z-scored by made-up training statistics; one neuroid never varied in training."""
    n, _, m = trials.shape
    deviations = np.linspace(0.5, 2, m)
    deviations[1] = 0
    folds = []
    for rows in (np.arange(0, n, 2), np.arange(1, n, 2)):
        used = np.ones((len(rows), m), dtype=bool)
        used[:, 2] = False
        folds.append(TestedStimuli(rows, used, np.linspace(1, 5, m), deviations))
    return folds


def naive_halves(trials: np.ndarray, folds: list[TestedStimuli], repeat: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return mean correlations of halves, with scipy, one stimulus at a time; ``repeat`` draws rows of each fold."""
    r, pattern, pattern_z = [], [], []
    for a, b in half_means(trials, 4, seed=7):
        for fold, drawn in zip(folds, repeat, strict=True):
            first, second = a[fold.rows][drawn], b[fold.rows][drawn]
            columns = [j for j in range(trials.shape[2]) if fold.used[0, j]]
            r.append(
                [
                    stats.pearsonr(first[:, j], second[:, j])[0] if j in columns else np.nan
                    for j in range(trials.shape[2])
                ]
            )
            pattern.append(
                np.mean([stats.pearsonr(x[columns], y[columns])[0] for x, y in zip(first, second, strict=True)])
            )
            good = [j for j in columns if fold.deviations[j] > 0]
            one, other = ((v[:, good] - fold.means[good]) / fold.deviations[good] for v in (first, second))
            pattern_z.append(np.mean([stats.pearsonr(x, y)[0] for x, y in zip(one, other, strict=True)]))
    return np.mean(r, axis=0), np.mean(pattern), np.mean(pattern_z)


def test_split_halves_are_what_a_loop_gives_also_in_resamples() -> None:
    trials, _ = population(6, 24, 6, 5)
    folds = two_folds(trials)
    whole = [np.arange(12)] * 2
    found = split_halves(trials, folds, 4, seed=7)
    r, pattern, pattern_z = naive_halves(trials, folds, whole)
    np.testing.assert_allclose(found.r[0], r, atol=1e-12)
    assert np.isnan(found.r[0, 2])
    assert (found.pattern[0], found.pattern_z[0]) == pytest.approx((pattern, pattern_z), abs=1e-12)
    assert found.pattern_ceiling[0] == pytest.approx(np.sqrt(2 * pattern / (1 + pattern)))
    assert found.pattern_z_ceiling[0] == pytest.approx(np.sqrt(2 * pattern_z / (1 + pattern_z)))
    drawn = [np.array([0, 0, 1, 2, 3, 3, 3, 6, 8, 9, 10, 11]), np.array([1, 1, 2, 4, 4, 5, 6, 7, 8, 9, 9, 11])]
    weights = [np.array([np.ones(12), np.bincount(d, minlength=12)]) for d in drawn]
    both = split_halves(trials, folds, 4, 7, weights)
    r, pattern, pattern_z = naive_halves(trials, folds, drawn)
    np.testing.assert_allclose(both.r[0], found.r[0], atol=1e-12)
    np.testing.assert_allclose(both.r[1], r, atol=1e-12)
    assert (both.pattern[1], both.pattern_z[1]) == pytest.approx((pattern, pattern_z), abs=1e-12)
    assert both.reliability.shape == (2, 5)


def test_stepping_up_two_repetitions_is_spearman_brown_and_k_gives_the_reliability_of_k() -> None:
    r = np.array([-0.4, 0.0, 0.3, 1.0])
    np.testing.assert_allclose(stepped_up(r, 2), spearman_brown(r))
    signal, noise = 2.0, 3.0
    np.testing.assert_allclose(stepped_up(np.array([signal / (signal + noise)]), 5), signal / (signal + noise / 5))
    assert np.isnan(stepped_up(np.array([-0.5, np.nan]), 3)).all()


def test_a_negative_reliability_has_no_root() -> None:
    np.testing.assert_array_equal(root(np.array([0.25, 0.0, -0.1, np.nan])), [0.5, 0.0, np.nan, np.nan])


def test_pairs_of_repetitions() -> None:
    assert repetition_pairs(3, 45, seed=0) == [(0, 1), (0, 2), (1, 2)]
    assert len(repetition_pairs(10, 45, seed=0)) == 45
    many = repetition_pairs(40, 45, seed=0)
    assert len(set(many)) == 45
    assert all(0 <= i < j < 40 for i, j in many)
    assert many == repetition_pairs(40, 45, seed=0) == sorted(many)
    assert many != repetition_pairs(40, 45, seed=1)
    assert repetition_pairs(1, 45, seed=0) == []


@pytest.mark.parametrize(("neuroids", "resamples"), [(0, 100), (1, 10**7), (1001, 1000), (500, 1000)])
def test_blocks_cover_every_neuroid_once(neuroids: int, resamples: int) -> None:
    found = [j for some in blocks(neuroids, resamples) for j in range(neuroids)[some]]
    assert found == list(range(neuroids))
