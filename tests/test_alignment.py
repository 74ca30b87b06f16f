"""Alignment (CKA), biased and debiased, and what each pair of stimuli adds to it, against definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_patterns import generator, ids_of, represent, upper
from scipy.stats import ortho_group

from benchmark_core import InputError
from benchmark_core.alignment import alignment, kernel_of_patterns, kernel_of_representation, linear_cka
from benchmark_core.dissimilarity import rdm_of_patterns
from benchmark_core.pair_resampling import resampled_deviations
from benchmark_core.rdm_comparison import compare_rdms


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
    values: dict[bool, list[float]] = {biased: [] for biased in (True, False)}
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
