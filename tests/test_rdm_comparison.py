"""Comparisons of RDMs, their noise ceilings and resamples, against definitions, scipy and what rsatoolbox says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_patterns import generator, ids_of, upper
from reference.rsatoolbox_values import METHODS, VALUES, world
from scipy.spatial.distance import squareform
from scipy.stats import kendalltau, rankdata, spearmanr

from benchmark_core import InputError
from benchmark_core.dissimilarity import rdm_of_patterns
from benchmark_core.pair_resampling import (
    independent_variance,
    resampled_deviations,
    small_sample_factor,
    standard_error,
)
from benchmark_core.rdm_comparison import COMPARISONS, Comparison, compare_rdms, concordance, mean_rdm, noise_ceiling
from benchmark_core.resampling import resample_counts

REFERENCE = json.loads(VALUES.read_text(encoding="utf-8"))

# --- comparisons -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["rdms", "tied"])
def test_comparisons_as_rsatoolbox_gives_them(method: Comparison, kind: str) -> None:
    rdms = [squareform(v) for v in world()[kind]]
    ours = [[compare_rdms(a, b, method).value for b in rdms] for a in rdms]
    with_influence = [[compare_rdms(a, b, method, True).value for b in rdms] for a in rdms]
    assert np.allclose(ours, REFERENCE["compare"][method][kind], rtol=0, atol=1e-10)
    assert np.allclose(with_influence, ours, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_noise_ceilings_as_rsatoolbox_gives_them(method: Comparison) -> None:
    rdms = [squareform(v) for v in world()["rdms"]]
    bounds = noise_ceiling(rdms, method)
    assert bounds == pytest.approx(REFERENCE["ceiling"][method], abs=1e-10)
    assert bounds is not None
    assert bounds[0] < bounds[1]
    assert noise_ceiling(rdms[:1], method) is None


@given(st.integers(0, 10**6), st.integers(3, 40), st.sampled_from([2, 5, 1000]))
def test_concordance(seed: int, n: int, n_values: int) -> None:
    random = generator(seed)
    x = random.integers(0, n_values, n).astype(float)
    y = np.where(random.random(n) < 0.5, x, random.integers(0, n_values, n))
    each = (np.sign(x[:, None] - x) * np.sign(y[:, None] - y)).sum(axis=1)
    assert np.array_equal(concordance(x, y), each)


def test_rank_correlations_against_scipy() -> None:
    random = generator(7)
    a, b = (squareform(random.random(190)) for _ in range(2))
    assert compare_rdms(a, b, "spearman").value == pytest.approx(spearmanr(upper(a), upper(b)).statistic, abs=1e-14)
    assert compare_rdms(a, b, "kendall").value == pytest.approx(kendalltau(upper(a), upper(b)).statistic, abs=1e-14)


def test_missing_pairs_are_left_out() -> None:
    random = generator(8)
    a, b = (squareform(random.random(45)) for _ in range(2))
    holed = a.copy()
    holed[2, 5] = holed[5, 2] = holed[0, 9] = holed[9, 0] = np.nan
    there = np.isfinite(upper(holed))
    found = compare_rdms(holed, b, "spearman", True)
    assert found.n_pairs == 43
    assert found.value == pytest.approx(spearmanr(upper(a)[there], upper(b)[there]).statistic)
    assert found.influence is not None
    assert found.influence[2, 5] == 0
    with pytest.raises(InputError, match="2 are missing; use compare=pearson"):
        compare_rdms(holed, b, "whitened-pearson")
    with pytest.raises(InputError, match="unknown comparison"):
        compare_rdms(a, b, "kendal")


@pytest.mark.parametrize("method", COMPARISONS)
def test_constant_rdms(method: Any) -> None:
    random = generator(9)
    rdm, nothing = squareform(random.random(45)), np.zeros((10, 10))
    assert compare_rdms(nothing, rdm, method).value == 0
    assert compare_rdms(nothing, rdm, method, True).value == 0
    assert np.isnan(compare_rdms(rdm, nothing, method).value)
    empty = np.where(np.eye(10, dtype=bool), 0.0, np.nan)
    if not method.startswith("whitened"):
        assert np.isnan(compare_rdms(empty, rdm, method, True).value)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(COMPARISONS), st.sampled_from([0.01, 3.0, 50.0]), st.floats(0.0, 3.0))
def test_invariances_of_comparisons(seed: int, method: Any, scale: float, shift: float) -> None:
    random = generator(seed)
    a, b = (squareform(random.random(45)) for _ in range(2))
    value = compare_rdms(a, b, method).value
    order = random.permutation(10)
    assert compare_rdms(a[np.ix_(order, order)], b[np.ix_(order, order)], method).value == pytest.approx(
        value, abs=1e-12
    )
    assert compare_rdms(scale * a, b, method).value == pytest.approx(value, abs=1e-9)
    assert compare_rdms(b, a, method).value == pytest.approx(value, abs=1e-12)
    assert compare_rdms(a, a, method).value == pytest.approx(1)
    if method in ("pearson", "spearman", "kendall", "whitened-pearson"):
        assert compare_rdms(a + shift, b, method).value == pytest.approx(value, abs=1e-9)
    if method in ("spearman", "kendall"):
        assert compare_rdms(np.exp(a), b, method).value == pytest.approx(value, abs=1e-12)


def test_mean_rdm_skips_what_is_missing() -> None:
    a, b = (squareform(generator(s).random(15)) for s in (1, 2))
    holed = b.copy()
    holed[0, 1] = holed[1, 0] = np.nan
    mean = mean_rdm([a, holed], "spearman")
    assert mean[0, 1] == rankdata(upper(a))[0]
    assert mean[2, 3] == (rankdata(upper(a))[9] + rankdata(upper(holed)[1:])[8]) / 2
    assert np.isnan(mean_rdm([holed, holed], "pearson")[0, 1])


# --- resamples ---------------------------------------------------------------------------------------------------------


def related_rdms(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = generator(seed)
    x = random.standard_normal((n, 4))
    y = x + random.standard_normal((n, 4))
    return rdm_of_patterns(x, "euclidean"), rdm_of_patterns(y, "euclidean")


@pytest.mark.parametrize("method", ["pearson", "cosine", "spearman", "kendall"])
@pytest.mark.parametrize("rounded", [False, True], ids=["continuous", "ties"])
def test_influence_is_the_derivative_by_the_weight_of_a_pair(method: Any, rounded: bool) -> None:
    a, b = related_rdms(10, 13)
    if rounded:
        a, b = np.round(a), np.round(b)
    influence = compare_rdms(a, b, method, True).influence
    assert influence is not None
    assert np.array_equal(influence, influence.T)
    assert upper(influence).sum() == pytest.approx(0, abs=1e-12)
    x, y, copies = upper(a), upper(b), 300

    def with_weights(weights: np.ndarray) -> float:
        if method == "kendall":
            signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
            return float(weights @ signs @ weights / (weights.sum() ** 2 - (weights**2).sum()))
        p, q = np.repeat(x, weights), np.repeat(y, weights)
        if method == "spearman":
            return float(spearmanr(p, q).statistic)
        return float(p @ q / np.sqrt(p @ p * (q @ q)) if method == "cosine" else np.corrcoef(p, q)[0, 1])

    for pair in (0, 40):
        more = np.full(len(x), copies)
        more[pair] += 1
        change = copies * (with_weights(more) - with_weights(np.full(len(x), copies)))
        assert change == pytest.approx(upper(influence)[pair], abs=1e-4)


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_resamples_against_resampled_rdms(method: Any) -> None:
    """To first order only, but 40 stimuli are enough: the same spread, resample by resample nearly the same value."""
    a, b = related_rdms(40, 15)
    found = compare_rdms(a, b, method, True)
    assert found.influence is not None
    counts = resample_counts(ids_of(40), 150, 0)
    ours = resampled_deviations(found.influence, counts)
    literal = []
    for row in counts.astype(int):
        drawn = np.repeat(np.arange(40), row)
        apart = upper(drawn[:, None] != drawn)
        x, y = upper(a[np.ix_(drawn, drawn)])[apart], upper(b[np.ix_(drawn, drawn)])[apart]
        literal.append(
            {"pearson": lambda x, y: np.corrcoef(x, y)[0, 1], "spearman": lambda x, y: spearmanr(x, y).statistic}.get(
                method, lambda x, y: kendalltau(x, y).statistic
            )(x, y)
        )
    assert np.corrcoef(ours, literal)[0, 1] > 0.97
    assert ours.std() == pytest.approx(np.std(literal), rel=0.1)
    assert abs(np.mean(ours)) < 0.01


def test_a_resample_of_one_stimulus_changes_nothing() -> None:
    influence = generator(16).standard_normal((4, 4))
    counts = np.array([[4.0, 0, 0, 0], [1, 1, 1, 1]])
    symmetric = influence + influence.T
    assert resampled_deviations(symmetric, counts)[0] == 0
    assert resampled_deviations(symmetric, counts)[1] == pytest.approx(upper(symmetric).sum() + np.trace(symmetric))


def test_small_samples_have_the_spread_of_the_jackknife() -> None:
    """For a mean over pairs, leaving stimuli out one by one gives just the linear part times the factor."""
    n = 9
    values = squareform(generator(19).standard_normal(n * (n - 1) // 2))
    mean = upper(values).mean()
    left_out = np.array([upper(np.delete(np.delete(values, i, 0), i, 1)).mean() for i in range(n)])
    jackknife = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    influence = squareform(upper(values) - mean, checks=False) / (n * (n - 1) / 2)
    linear = np.sqrt((influence.sum(axis=1) ** 2).sum())
    assert jackknife == pytest.approx(small_sample_factor(n) * linear)


def test_standard_errors_are_not_inflated() -> None:
    """RDMs of independent noise: plain resamples are sqrt(3) too wide, the corrected error is right."""
    random = generator(17)
    plain, corrected, values = [], [], []
    counts = resample_counts(ids_of(25), 400, 0)
    for _ in range(150):
        a, b = (squareform(random.standard_normal(300)) for _ in range(2))
        found = compare_rdms(a, b, "pearson", True)
        assert found.influence is not None
        deviations = resampled_deviations(found.influence, counts)
        values.append(found.value)
        plain.append(deviations.std(ddof=1))
        corrected.append(standard_error(deviations, independent_variance(found.influence)))
    assert np.mean(plain) / np.std(values) == pytest.approx(np.sqrt(3), rel=0.15)
    assert np.mean(corrected) / np.std(values) == pytest.approx(1, abs=0.2)


def test_standard_errors_where_stimuli_have_much_in_common() -> None:
    """Euclidean distances in a few dimensions: what stimuli share dominates, and nothing much is taken off."""
    counts = resample_counts(ids_of(30), 300, 0)
    values, corrected = [], []
    for seed in range(150):
        a, b = related_rdms(30, 1000 + seed)
        found = compare_rdms(a, b, "spearman", True)
        assert found.influence is not None
        values.append(found.value)
        corrected.append(
            standard_error(resampled_deviations(found.influence, counts), independent_variance(found.influence))
        )
    assert np.mean(corrected) / np.std(values) == pytest.approx(1, abs=0.2)


def test_groups_are_the_units_of_independence() -> None:
    influence = squareform(generator(18).standard_normal(15))
    groups = ["a", "a", "b", "b", "c", "c"]
    blocks = [influence[i : i + 2, j : j + 2].sum() for i in (0, 2) for j in (2, 4) if j > i]
    assert independent_variance(influence, groups) == pytest.approx(sum(v**2 for v in blocks))
    assert independent_variance(influence, list("abcdef")) == pytest.approx(independent_variance(influence))
