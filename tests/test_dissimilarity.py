"""RDMs, comparisons, alignment and their resamples against definitions, scipy and what rsatoolbox says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.rsatoolbox_values import METHODS, VALUES, world
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, ortho_group, rankdata, spearmanr

from benchmark_core import InputError
from benchmark_core.alignment import alignment, kernel_of_patterns, kernel_of_representation, linear_cka
from benchmark_core.dissimilarity import (
    DISTANCES,
    crossvalidated_rdm,
    noise_precision,
    rdm_of_patterns,
    rdm_of_representation,
)
from benchmark_core.pair_resampling import (
    independent_variance,
    resampled_deviations,
    small_sample_factor,
    standard_error,
)
from benchmark_core.rdm_comparison import COMPARISONS, compare_rdms, concordance, mean_rdm, noise_ceiling
from benchmark_core.representation import Representation
from benchmark_core.resampling import resample_counts

REFERENCE = json.loads(VALUES.read_text(encoding="utf-8"))


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def upper(rdm: np.ndarray) -> np.ndarray:
    return rdm[np.triu_indices(len(rdm), 1)]


def ids_of(n: int) -> tuple[str, ...]:
    return tuple(f"s{i:03d}" for i in range(n))


def represent(features: np.ndarray) -> Representation:
    return Representation.from_features(features, ids_of(len(features)))


# --- distances ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [1, 7, 20, 500], ids=["one", "features", "square", "kernel"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_from_the_kernel_are_those_of_the_features(distance: str, offset: float, n_features: int) -> None:
    """Against scipy, which sees the features; a mean a hundred times the spread costs digits, but not many."""
    random = generator(n_features)
    features = offset + random.standard_normal((20, n_features)) * random.exponential(size=n_features)
    layer = represent(features)
    assert (layer.features is None) == (n_features > 20)
    picked = ids_of(20)[15:2:-2]
    rdm = rdm_of_representation(layer, picked, distance)  # type: ignore[arg-type]
    expected = squareform(pdist(features[15:2:-2], distance))  # type: ignore[call-overload]
    if n_features == 1 and distance == "correlation":
        assert np.isnan(upper(rdm)).all(), "one feature has no correlation across features"
        return
    tolerance = {"correlation": 1e-9, "cosine": 1e-12}.get(distance, 1e-12 * expected.max())
    assert np.allclose(rdm, expected, rtol=1e-9, atol=tolerance)
    assert np.array_equal(rdm, rdm.T)
    assert not np.diag(rdm).any()
    assert np.allclose(rdm_of_patterns(features[15:2:-2], distance), expected, rtol=1e-9, atol=tolerance)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_features", [9, 200])
def test_equal_stimuli_have_no_distance_and_ties_stay_ties(n_features: int) -> None:
    random = generator(3)
    categories = np.arange(30) % 3
    features = (1000.0 + random.standard_normal((3, n_features)))[categories]
    for distance in DISTANCES:
        rdm = rdm_of_representation(represent(features), ids_of(30), distance)
        assert not rdm[categories[:, None] == categories].any()
        assert len(np.unique(upper(rdm))) == 4, "0, and one distance for each pair of categories"


@pytest.mark.parametrize("n_features", [9, 200])
def test_patterns_without_an_angle(n_features: int) -> None:
    random = generator(4)
    features = random.standard_normal((20, n_features))
    features[3] = 0.7
    features[5] = 0.0
    for distance, missing in (("correlation", {3, 5}), ("cosine", {5})):
        rdm = rdm_of_representation(represent(features), ids_of(20), distance)  # type: ignore[arg-type]
        absent = np.isnan(rdm)
        apart = ~np.eye(20, dtype=bool)
        rows = {i for i in range(20) if absent[i][apart[i]].all()}
        assert rows == missing
        assert absent.sum() == 2 * sum(19 - k for k in range(len(missing)))
    same = rdm_of_representation(represent(np.tile(features[0], (20, 1))), ids_of(20), "euclidean")
    assert not same.any()
    assert not rdm_of_representation(represent(np.tile(features[0] / 3, (20, 1))), ids_of(20), "sqeuclidean").any()


def test_distances_as_rsatoolbox_gives_them() -> None:
    features = world()["features"]
    ours = upper(rdm_of_representation(represent(features), ids_of(12), "sqeuclidean")) / features.shape[1]
    assert np.allclose(ours, REFERENCE["euclidean"], rtol=1e-10)
    ours = upper(rdm_of_representation(represent(features), ids_of(12), "correlation"))
    assert np.allclose(ours, REFERENCE["correlation"], rtol=1e-10)


# --- cross-validated distances -----------------------------------------------------------------------------------------


def literal_crossvalidated(trials: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Return the distances as they are defined, pair by pair of repetitions that exist."""
    n, repetitions, _ = trials.shape
    there = np.isfinite(trials).all(axis=2)
    trials = trials - trials[there].mean(axis=0)

    def product(i: int, j: int) -> float:
        values = [
            trials[i, r] @ metric @ trials[j, s]
            for r in range(repetitions)
            for s in range(repetitions)
            if r != s and there[i, r] and there[j, s]
        ]
        return float(np.mean(values)) if values else np.nan

    return np.array([[product(i, i) + product(j, j) - 2 * product(i, j) for j in range(n)] for i in range(n)])


def test_crossvalidated_distances_as_rsatoolbox_gives_them() -> None:
    data = world()
    n_neuroids = data["trials"].shape[2]
    assert np.allclose(upper(crossvalidated_rdm(data["trials"])) / n_neuroids, REFERENCE["crossvalidated"], atol=1e-10)
    ours = upper(crossvalidated_rdm(data["trials"], data["metric"])) / n_neuroids
    assert np.allclose(ours, REFERENCE["crossnobis"], atol=1e-9)
    precision = noise_precision(data["trials"].reshape(1, -1, n_neuroids))
    # The same but for N or N - 1 in one place of the variance of correlations.
    assert np.allclose(precision, REFERENCE["precision"], rtol=0, atol=0.002 * np.abs(precision).max())


def test_crossvalidated_distances_with_missing_repetitions() -> None:
    data = world()
    trials, metric = 50 + data["trials"].copy(), data["metric"]
    trials[0, 3:] = np.nan
    trials[1, :2] = np.nan
    trials[4, 2, 6] = np.nan
    assert np.allclose(crossvalidated_rdm(trials, metric), literal_crossvalidated(trials, metric), atol=1e-8)
    trials[7, 1:] = np.nan
    rdm = crossvalidated_rdm(trials)
    assert np.isnan(np.delete(rdm[7], 7)).all()
    assert np.isfinite(np.delete(np.delete(rdm, 7, 0), 7, 1)).all()


def test_crossvalidated_distances_are_unbiased_by_noise() -> None:
    """Ten stimuli of which the last five are the same: their distances are 0 on average, plain ones far from it."""
    random = generator(5)
    rates = random.standard_normal((10, 20))
    rates[5:] = rates[5]
    true = squareform(pdist(rates, "sqeuclidean"))
    found, plain = [], []
    for _ in range(300):
        trials = rates[:, None] + 2 * random.standard_normal((10, 4, 20))
        found.append(crossvalidated_rdm(trials))
        plain.append(rdm_of_patterns(trials.mean(axis=1), "sqeuclidean"))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    apart = ~np.eye(10, dtype=bool)
    z = (np.mean(found, axis=0) - true)[apart] / error[apart]
    assert np.abs(z).max() < 4.5
    assert np.mean(plain, axis=0)[5:, 5:][~np.eye(5, dtype=bool)].min() > 30


def test_noise_precision() -> None:
    """Many trials: the inverse of the true covariance. Fewer trials than neuroids: still an inverse."""
    random = generator(6)
    mixed = random.standard_normal((6, 6))
    covariance = mixed @ mixed.T + np.eye(6)
    trials = 10 * random.standard_normal((200, 1, 6)) + random.multivariate_normal(np.zeros(6), covariance, (200, 20))
    assert np.allclose(np.linalg.inv(noise_precision(trials)), covariance, atol=0.08 * covariance.max())
    few = noise_precision(random.standard_normal((5, 3, 40)))
    assert np.linalg.eigvalsh(few)[0] > 0
    silent = trials.copy()
    silent[:, :, 2] = silent[:, :1, 2]
    with pytest.raises(InputError, match="1 of 6 neuroids have no variance between repetitions"):
        noise_precision(silent)
    with pytest.raises(InputError, match="two presentations"):
        noise_precision(trials[:, :1])


# --- comparisons -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["rdms", "tied"])
def test_comparisons_as_rsatoolbox_gives_them(method: str, kind: str) -> None:
    rdms = [squareform(v) for v in world()[kind]]
    ours = [[compare_rdms(a, b, method).value for b in rdms] for a in rdms]  # type: ignore[arg-type]
    with_influence = [[compare_rdms(a, b, method, True).value for b in rdms] for a in rdms]  # type: ignore[arg-type]
    assert np.allclose(ours, REFERENCE["compare"][method][kind], rtol=0, atol=1e-10)
    assert np.allclose(with_influence, ours, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_noise_ceilings_as_rsatoolbox_gives_them(method: str) -> None:
    rdms = [squareform(v) for v in world()["rdms"]]
    bounds = noise_ceiling(rdms, method)  # type: ignore[arg-type]
    assert bounds == pytest.approx(REFERENCE["ceiling"][method], abs=1e-10)
    assert bounds is not None
    assert bounds[0] < bounds[1]
    assert noise_ceiling(rdms[:1], method) is None  # type: ignore[arg-type]


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
        compare_rdms(a, b, "kendal")  # type: ignore[arg-type]


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


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(DISTANCES), st.sampled_from([8, 60]))
def test_invariances_of_distances(seed: int, distance: Any, n_features: int) -> None:
    """Rotation and scale of features change no comparison; translation none of Euclidean distances."""
    random = generator(seed)
    features = random.standard_normal((12, n_features))
    target = squareform(random.random(66))

    def value(changed: np.ndarray) -> float:
        return compare_rdms(rdm_of_representation(represent(changed), ids_of(12), distance), target, "pearson").value

    plain = value(features)
    assert value(7.5 * features) == pytest.approx(plain, abs=1e-10)
    if distance == "correlation":  # across features: a stimulus may be shifted and scaled
        assert value(features * random.uniform(1, 2, (12, 1)) + random.standard_normal((12, 1))) == pytest.approx(plain)
    else:
        rotation = ortho_group.rvs(n_features, random_state=np.random.RandomState(seed % 1000))
        assert value(features @ rotation) == pytest.approx(plain, abs=1e-10)
    if distance.endswith("euclidean"):
        assert value(features + random.standard_normal(n_features)) == pytest.approx(plain, abs=1e-9)


def test_mean_rdm_skips_what_is_missing() -> None:
    a, b = (squareform(generator(s).random(15)) for s in (1, 2))
    holed = b.copy()
    holed[0, 1] = holed[1, 0] = np.nan
    mean = mean_rdm([a, holed], "spearman")
    assert mean[0, 1] == rankdata(upper(a))[0]
    assert mean[2, 3] == (rankdata(upper(a))[9] + rankdata(upper(holed)[1:])[8]) / 2
    assert np.isnan(mean_rdm([holed, holed], "pearson")[0, 1])


# --- alignment ---------------------------------------------------------------------------------------------------------


def literal_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Return Song et al.'s unbiased HSIC as they write it."""
    n, one = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    cross = (
        np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    )
    return float(cross / (n * (n - 3)))


@pytest.mark.parametrize("n_features", [4, 100])
def test_alignment_is_its_definition(n_features: int) -> None:
    random = generator(10)
    x = 5 + random.standard_normal((15, n_features))
    y = x[:, :3] + random.standard_normal((15, 3))
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(xc.T @ yc) ** 2 / np.linalg.norm(xc.T @ xc) / np.linalg.norm(yc.T @ yc)
    layers = represent(x), represent(y)
    assert linear_cka(*layers) == pytest.approx(expected, abs=1e-13)
    k, m = x @ x.T, y @ y.T
    debiased = literal_hsic(k, m) / np.sqrt(literal_hsic(k, k) * literal_hsic(m, m))
    assert linear_cka(*layers, debiased=True) == pytest.approx(debiased, abs=1e-11)
    kernel = kernel_of_representation(layers[0], ids_of(15)[3:9])
    assert np.allclose(kernel, kernel_of_patterns(x[3:9]), atol=1e-11)
    # Kernels of squared Euclidean distances: whitened cosine of RDMs (Diedrichsen et al.).
    rdms = [rdm_of_patterns(v, "sqeuclidean") for v in (x, y)]
    assert compare_rdms(rdms[0], rdms[1], "whitened-cosine").value == pytest.approx(expected, abs=1e-11)


def test_debiased_alignment_of_independent_features_is_zero_on_average() -> None:
    """As many stimuli as features: biased CKA of nothing is about .5."""
    random = generator(11)
    values = {biased: [] for biased in (True, False)}  # type: ignore[var-annotated]
    for _ in range(200):
        k, m = (kernel_of_patterns(random.standard_normal((30, p))) for p in (30, 40))
        for biased, found in values.items():
            found.append(alignment(k, m, debiased=not biased).value)
    error = np.std(values[False]) / np.sqrt(200)
    assert abs(np.mean(values[False])) < 4 * error < 0.02
    assert np.mean(values[True]) > 0.4


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([5, 40]))
def test_invariances_of_alignment(seed: int, debiased: bool, n_features: int) -> None:
    random = generator(seed)
    x, y = random.standard_normal((10, n_features)), random.standard_normal((10, 3))
    value = linear_cka(represent(x), represent(y), debiased)
    rotation = ortho_group.rvs(n_features, random_state=np.random.RandomState(seed % 1000))
    shift = random.standard_normal(n_features)
    for same in (x @ rotation, 30 * x, x + shift):
        assert linear_cka(represent(same), represent(y), debiased) == pytest.approx(value, abs=1e-10)
    order = random.permutation(10)
    assert linear_cka(represent(x[order]), represent(y[order]), debiased) == pytest.approx(value, abs=1e-10)
    assert linear_cka(represent(x), represent(x), debiased) == pytest.approx(1)
    assert linear_cka(represent(y), represent(x), debiased) == pytest.approx(value, abs=1e-12)


def test_alignment_of_what_never_varies() -> None:
    x = generator(12).standard_normal((8, 20))
    still = np.tile(1000 + x[0] / 3, (8, 1))
    assert linear_cka(represent(still), represent(x)) == 0
    assert linear_cka(represent(still), represent(x), debiased=True) == 0
    assert np.isnan(linear_cka(represent(x), represent(still)))
    with pytest.raises(InputError, match="CKA needs 3 stimuli at least, not 2"):
        alignment(np.eye(2), np.eye(2))
    with pytest.raises(InputError, match="debiased CKA needs 4 stimuli at least, not 3"):
        alignment(np.eye(3), np.eye(3), debiased=True)
    with pytest.raises(InputError, match="stimulus_id 's007' missing"):
        linear_cka(represent(x), represent(x[:7]))


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


@pytest.mark.parametrize("debiased", [False, True])
def test_influence_on_an_alignment(debiased: bool) -> None:
    """It adds up to 0, and leaving a stimulus out changes the value as its pairs say."""
    random = generator(14)
    x = random.standard_normal((100, 6))
    y = x[:, :3] + random.standard_normal((100, 3))
    k, m = kernel_of_patterns(x), kernel_of_patterns(y)
    found = alignment(k, m, debiased, influence=True)
    assert found.influence is not None
    assert upper(found.influence).sum() + np.trace(found.influence) == pytest.approx(0, abs=1e-12)
    assert debiased != found.influence.diagonal().any()
    changes, expected = [], []
    for i in range(0, 100, 5):
        rest = np.delete(np.arange(100), i)
        changes.append(alignment(k[np.ix_(rest, rest)], m[np.ix_(rest, rest)], debiased).value - found.value)
        counts = np.ones((1, 100))
        counts[0, i] = 0
        expected.append(resampled_deviations(found.influence, counts)[0])
    assert np.corrcoef(changes, expected)[0, 1] > 0.99
    assert np.std(expected) == pytest.approx(np.std(changes), rel=0.1)


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
