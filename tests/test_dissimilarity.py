"""RDMs, plain and cross-validated, against definitions, scipy and what rsatoolbox says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_patterns import generator, ids_of, represent, upper
from reference.rsatoolbox_values import VALUES, world
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ortho_group

from benchmark_core import InputError
from benchmark_core.dissimilarity import (
    DISTANCES,
    Distance,
    crossvalidated_rdm,
    noise_precision,
    rdm_of_patterns,
    rdm_of_representation,
)
from benchmark_core.rdm_comparison import compare_rdms

REFERENCE = json.loads(VALUES.read_text(encoding="utf-8"))

# --- distances ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [1, 7, 20, 500], ids=["one", "features", "square", "kernel"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_from_the_kernel_are_those_of_the_features(
    distance: Distance, offset: float, n_features: int
) -> None:
    """Against scipy, which sees the features; a mean a hundred times the spread costs digits, but not many."""
    random = generator(n_features)
    features = offset + random.standard_normal((20, n_features)) * random.exponential(size=n_features)
    layer = represent(features)
    assert (layer.features is None) == (n_features > 20)
    picked = ids_of(20)[15:2:-2]
    rdm = rdm_of_representation(layer, picked, distance)
    expected = squareform(pdist(features[15:2:-2], distance))
    if n_features == 1 and distance == "correlation":
        assert np.isnan(upper(rdm)).all(), "one feature has no correlation across features"
        return
    tolerance = {"correlation": 1e-9, "cosine": 1e-12}.get(distance, 1e-12 * expected.max())
    assert np.allclose(rdm, expected, rtol=1e-9, atol=tolerance)
    assert np.array_equal(rdm, rdm.T)
    assert not np.diag(rdm).any()
    assert np.allclose(rdm_of_patterns(features[15:2:-2], distance), expected, rtol=1e-9, atol=tolerance)


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
    without_angle: dict[Distance, set[int]] = {"correlation": {3, 5}, "cosine": {5}}
    for distance, missing in without_angle.items():
        rdm = rdm_of_representation(represent(features), ids_of(20), distance)
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
