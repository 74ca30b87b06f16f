"""Partial least squares against scikit-learn's, iterated until it stands still, and against least squares."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression

from benchmark_core import pls
from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError
from benchmark_core.pls import fit_pls, predict
from benchmark_core.representation import Representation

SHAPES = {"narrow": (60, 30), "wide": (40, 130), "square": (45, 44)}
KINDS = ("plain", "ill_conditioned", "duplicates", "constant_features", "large_means")
N_TEST = 9


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> list[str]:
    return [f"s{i:04d}" for i in range(n)]


def case(shape: str, kind: str, neuroids: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of training and test stimuli, responses of the training stimuli."""
    n, p = SHAPES[shape]
    random = rng(2, list(SHAPES).index(shape), KINDS.index(kind), neuroids)
    x = random.standard_normal((n + N_TEST, p)) * np.arange(1, p + 1) ** -0.5
    if kind == "ill_conditioned":
        x *= np.logspace(0, -6, p)
    if kind == "duplicates":
        x[3:6] = x[:3]
    if kind == "constant_features":
        x[:, ::3] = 17.3
    if kind == "large_means":
        x += 1e3 * random.standard_normal(p)
    y = x[:n, :6] @ random.standard_normal((6, neuroids)) + random.standard_normal((n, neuroids)) + 5
    return x, y


def scikit_learn(x: np.ndarray, y: np.ndarray, new: np.ndarray, n_components: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of not reaching the last digit
        fitted = PLSRegression(n_components, scale=False, tol=1e-28, max_iter=20_000).fit(x, y)
    return np.asarray(fitted.predict(new)).reshape(len(new), -1)


def from_kernel(x: np.ndarray, y: np.ndarray, n_components: int, backend: Backend | None = None) -> np.ndarray:
    names = ids(len(x))
    layer = Representation.from_features(x, names, backend=backend)
    return predict(layer, names[: len(y)], names[len(y) :], y, n_components)


@pytest.mark.parametrize("neuroids", [1, 7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_predictions_equal_those_of_scikit_learn(shape: str, kind: str, neuroids: int) -> None:
    x, y = case(shape, kind, neuroids)
    n = len(y)
    for n_components in (1, 4, 12):
        expected = scikit_learn(x[:n], y, x[n:], n_components)
        np.testing.assert_allclose(from_kernel(x, y, n_components), expected, rtol=0, atol=2e-6 * np.ptp(y))
        features = fit_pls(x[:n], y, n_components)
        assert features.n_components == n_components
        np.testing.assert_allclose(features.predict(x[n:]), expected, rtol=0, atol=2e-6 * np.ptp(y))


def test_more_neuroids_than_features_or_stimuli() -> None:
    x, y = case("wide", "plain", 150)
    np.testing.assert_allclose(from_kernel(x, y, 10), scikit_learn(x[:40], y, x[40:], 10), rtol=0, atol=1e-8)


def test_twenty_five_components_of_many_features() -> None:
    random = rng(3)
    x = random.standard_normal((120, 900)) * np.arange(1, 901) ** -0.5
    y = x @ random.standard_normal((900, 20)) + random.standard_normal((120, 20))
    expected = scikit_learn(x[:100], y[:100], x[100:], 25)
    np.testing.assert_allclose(from_kernel(x, y[:100], 25), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("p", [20, 200])
def test_a_lower_rank_gives_fewer_components(p: int) -> None:
    random = rng(4, p)
    x = random.standard_normal((50, 3)) @ random.standard_normal((3, p))
    y = x[:40, :2] @ random.standard_normal((2, 5)) + random.standard_normal((40, 5))
    layer = Representation.from_features(x, ids(50))
    fit = fit_pls(layer.coordinates(centred=True)[:40], y, 25)
    assert fit.n_components == 3
    expected = scikit_learn(x[:40], y, x[40:], 3)
    np.testing.assert_allclose(from_kernel(x, y, 25), expected, atol=1e-9)
    # With all components there are, it is least squares.
    np.testing.assert_allclose(expected, LinearRegression().fit(x[:40, :3], y).predict(x[40:, :3]), atol=1e-8)


def test_all_components_give_least_squares() -> None:
    x, y = case("narrow", "plain", 4)
    n = len(y)
    fit = fit_pls(x[:n], y, 1000)
    assert fit.n_components == x.shape[1]
    np.testing.assert_allclose(fit.predict(x[n:]), LinearRegression().fit(x[:n], y).predict(x[n:]), atol=1e-8)


def test_nothing_to_explain_gives_the_mean() -> None:
    x, y = case("wide", "plain", 3)
    n = len(y)
    for features, responses in ((np.full_like(x, 0.1), y), (x, np.full_like(y, 0.3))):
        fit = fit_pls(features[:n], responses, 5)
        assert fit.n_components == 0
        np.testing.assert_allclose(fit.predict(features[n:]), np.tile(responses.mean(axis=0), (N_TEST, 1)))


def test_responses_that_are_explained_at_once_need_no_more_components() -> None:
    x, _ = case("narrow", "plain", 1)
    y = 3 * np.linalg.svd(x[:60] - x[:60].mean(axis=0), full_matrices=False)[0][:, :1] + 1
    fit = fit_pls(x[:60], y, 25)
    assert fit.n_components == 1
    np.testing.assert_allclose(fit.predict(x[:60]), y, atol=1e-10)


def test_a_constant_neuroid_changes_nothing_for_the_others() -> None:
    x, y = case("wide", "plain", 4)
    with_constant = np.insert(y, 2, 0.7, axis=1)
    found = from_kernel(x, with_constant, 8)
    np.testing.assert_allclose(found[:, 2], 0.7, rtol=1e-12)
    np.testing.assert_allclose(np.delete(found, 2, axis=1), from_kernel(x, y, 8), atol=1e-10)


def test_the_leading_vector_of_many_neuroids_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = case("wide", "plain", 30)
    expected = from_kernel(x, y, 10)
    monkeypatch.setattr(pls, "LARGE", 3)
    np.testing.assert_allclose(from_kernel(x, y, 10), expected, atol=1e-10)


@pytest.mark.parametrize("shape", ["narrow", "wide"])
def test_torch_gives_the_same(shape: str) -> None:
    x, y = case(shape, "plain", 7)
    np.testing.assert_allclose(from_kernel(x, y, 12, Backend("torch", "cpu")), from_kernel(x, y, 12), atol=1e-10)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(sorted(SHAPES)), scale=st.floats(1e-3, 1e3))
def test_invariances(seed: int, shape: str, scale: float) -> None:
    x, y = case(shape, "plain", 5)
    n, p = len(y), x.shape[1]
    random = rng(5, seed)
    expected = from_kernel(x, y, 6)
    rotation = np.linalg.qr(random.standard_normal((p, p)))[0]
    moved = scale * (x @ rotation) + random.standard_normal(p)
    np.testing.assert_allclose(from_kernel(moved, y, 6), expected, atol=1e-7)
    order = random.permutation(y.shape[1])
    np.testing.assert_allclose(from_kernel(x, y[:, order], 6), expected[:, order], atol=1e-7)
    turned = np.linalg.qr(random.standard_normal((y.shape[1],) * 2))[0]
    np.testing.assert_allclose(from_kernel(x, y @ turned, 6), expected @ turned, atol=1e-7)
    stimuli = random.permutation(n)
    fit = fit_pls(x[:n][stimuli], y[stimuli], 6)
    np.testing.assert_allclose(fit.predict(x[n:]), expected, atol=1e-7)


def test_bad_input_is_named() -> None:
    x, y = case("narrow", "plain", 2)
    for features, responses in ((x[:5], y[:4]), (x[:1], y[:1]), (x[0], y[:1]), (x[:5], y[:5, 0])):
        with pytest.raises(InputError, match="shapes"):
            fit_pls(features, responses, 2)
    with pytest.raises(InputError, match="at least one component"):
        fit_pls(x[:5], y[:5], 0)
