"""The median reliability without the noise of each estimate: its errors, its bias, and what it does at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark_core.reliability import mean_noise
from plugins.metrics._median_reliability import corrected_median, log_ratio_error

COUNTS = {"2": (2, 2), "3": (3, 3), "2 to 7": (2, 7), "1 to 4": (1, 4)}


def in_two_folds(trials: np.ndarray) -> list[list[np.ndarray]]:
    counts = np.isfinite(trials).sum(axis=1)
    means = np.nansum(trials, axis=1) / counts
    return [np.array_split(values, 2) for values in (means, mean_noise(trials), counts)]


def log_ratio(means: list[np.ndarray], noises: list[np.ndarray]) -> np.ndarray:
    return np.asarray(
        np.log(sum(((y - y.mean(axis=0)) ** 2).sum(axis=0) for y in means) / sum(e.sum(axis=0) for e in noises))
    )


def absent(random: np.random.Generator, n: int, kind: str) -> np.ndarray:
    """Return (n, most) booleans: the repetitions that stimuli lack."""
    fewest, most = COUNTS[kind]
    return np.asarray(np.arange(most)[None, :] >= random.integers(fewest, most + 1, n)[:, None])


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize("signal", [0.0, 0.5, 3.0])
def test_errors_are_those_of_normal_noise(kind: str, signal: float) -> None:
    """2000 recordings of one neuroid: how its log ratio varies, against what each recording says of that."""
    random = np.random.default_rng(0)
    n = 200
    expected = signal * random.standard_normal((n, 1, 1))
    deviations = np.exp(0.3 * random.standard_normal((n, 1, 1)))
    trials = expected + deviations * random.standard_normal((n, COUNTS[kind][1], 2000))
    trials[absent(random, n, kind)] = np.nan
    means, noises, counts = in_two_folds(trials)
    found = log_ratio_error(means, noises, counts)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(log_ratio(means, noises).std(), rel=0.12)


@pytest.mark.parametrize("rate", [0.3, 1.0, 10.0])
def test_errors_of_counts_are_hardly_too_small(rate: float) -> None:
    random = np.random.default_rng(1)
    rates = rate * np.exp(0.5 * random.standard_normal((300, 1, 1)))
    means, noises, counts = in_two_folds(random.poisson(rates, (300, 3, 2000)).astype(float))
    ratio = np.sqrt(np.mean(log_ratio_error(means, noises, counts) ** 2)) / log_ratio(means, noises).std()
    assert 0.95 < ratio < 1.25


def test_noise_no_longer_moves_the_median() -> None:
    """14 neuroids lie densely below a gap and 16 loosely above it."""
    random = np.random.default_rng(2)
    true = np.concatenate([np.linspace(0.1, 0.2, 14), np.linspace(0.3, 0.9, 16)])
    medians = []
    for _ in range(500):
        z = true + 0.13 * random.standard_normal(30)
        estimates = 1 - np.exp(-z)
        medians.append((np.median(estimates), corrected_median(estimates, np.full(30, 0.13))))
    measured, corrected = np.mean(medians, axis=0) - np.median(1 - np.exp(-true))
    assert abs(measured) > 0.01
    assert abs(corrected) < 0.007


@given(arrays(float, st.integers(1, 12), elements=st.floats(-3, 1, width=32)), st.data())
def test_it_lies_within_the_estimates_in_any_order(estimates: np.ndarray, data: st.DataObject) -> None:
    errors = data.draw(arrays(float, len(estimates), elements=st.floats(0, 2, width=32)))
    found = corrected_median(estimates, errors)
    assert estimates.min() - 1e-9 <= found <= estimates.max() + 1e-9
    order = data.draw(st.permutations(range(len(estimates))))
    assert corrected_median(estimates[order], errors[order]) == pytest.approx(found, abs=1e-9)


@given(arrays(float, st.integers(1, 12), elements=st.floats(-3, 0.96875, width=32)))
def test_without_noise_it_is_the_median(estimates: np.ndarray) -> None:
    middle = np.sort(estimates)[[(len(estimates) - 1) // 2, len(estimates) // 2]]
    expected = 1 - np.sqrt(np.prod(1 - middle))  # the middle of two on the logarithmic scale
    for errors in (np.zeros(len(estimates)), np.full(len(estimates), np.nan)):
        assert corrected_median(estimates, errors) == pytest.approx(expected, abs=1e-8)


def test_edges() -> None:
    assert np.isnan(corrected_median(np.array([np.nan]), np.array([0.1])))
    assert corrected_median(np.array([np.nan, 0.5]), np.array([0.1, 0.1])) == pytest.approx(0.5)
    assert corrected_median(np.array([1.0, 1.0, 0.5]), np.array([np.nan, np.nan, 0.1])) == 1.0
    assert 0.6 < corrected_median(np.array([1.0, 0.8, 0.5]), np.array([np.nan, 0.1, 0.1])) < 1.0
    constant, noise, counts = np.ones((10, 1)), np.zeros((10, 1)), np.full((10, 1), 3)
    assert np.isnan(log_ratio_error([constant], [noise], [counts])).all()
