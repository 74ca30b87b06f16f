"""The spectral decomposition of a training set."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark_core import spectral
from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError
from benchmark_core.representation import Representation
from benchmark_core.spectral import decompose


def features(n: int, p: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal((n, p)) + 3


def ids(n: int) -> list[str]:
    return [f"s{i:03d}" for i in range(n)]


@pytest.mark.parametrize("backend", [Backend(), Backend("torch")], ids=["numpy", "torch"])
@pytest.mark.parametrize("p", [1, 5, 19, 24, 30, 500])
def test_decomposes_the_centred_training_kernel(p: int, backend: Backend) -> None:
    x = features(30, p)
    train, rest = ids(30)[:20], ids(30)[20:]
    d = decompose(Representation.from_features(x, ids(30), backend=backend), train)
    u, eigenvalues = backend.to_numpy(d.eigenvectors), backend.to_numpy(d.eigenvalues)
    centred = x[:20] - x[:20].mean(0)
    assert d.rank == min(19, p)
    assert d.is_full_rank
    np.testing.assert_allclose((u * eigenvalues) @ u.T, centred @ centred.T, atol=1e-10 * eigenvalues[0])
    np.testing.assert_allclose(u.T @ u, np.eye(d.rank), atol=1e-12)
    np.testing.assert_allclose(u.sum(axis=0), 0, atol=1e-13)
    assert (np.diff(eigenvalues) <= 0).all()
    np.testing.assert_allclose(
        eigenvalues, np.linalg.svd(centred, compute_uv=False)[: d.rank] ** 2, rtol=1e-8, atol=1e-11
    )
    hat = np.eye(20) - 1 / 20 - u @ u.T
    np.testing.assert_allclose(backend.to_numpy(d.remainder), np.diag(hat), atol=1e-12)

    own, new = backend.to_numpy(d.principal_components(train)), backend.to_numpy(d.principal_components(rest))
    np.testing.assert_allclose(own, u * np.sqrt(eigenvalues), atol=1e-9)
    # Inner products of test with training stimuli about the training mean are kept.
    np.testing.assert_allclose(new @ own.T, (x[20:] - x[:20].mean(0)) @ centred.T, atol=1e-9 * eigenvalues[0])


@pytest.mark.parametrize("p", [10, 400])
def test_lost_directions_are_left_out(p: int) -> None:
    x = features(30, p)
    x[5:9] = x[:4]
    if p == 10:
        x[:, 7:] = x[:, :3]
    d = decompose(Representation.from_features(x, ids(30)), ids(30)[:20])
    assert d.rank == (7 if p == 10 else 15)
    assert not d.is_full_rank
    if p == 400:
        # Four pairs of equal stimuli: each pair's difference is what is left.
        np.testing.assert_allclose(d.remainder, [0.5] * 4 + [0] + [0.5] * 4 + [0] * 11, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("p", [4, 100])
def test_constant_features_have_rank_zero_at_any_scale(scale: float, p: int) -> None:
    d = decompose(Representation.from_features(np.full((20, p), 0.1 * scale), ids(20)), ids(20)[3:])
    assert d.rank == 0
    assert d.largest == 0
    assert d.principal_components(ids(20)[:3]).shape == (3, 0)


def test_cached_once_for_each_training_set() -> None:
    representation = Representation.from_features(features(12, 3), ids(12))
    first = representation.decomposition(ids(12)[:8])
    assert representation.decomposition(tuple(ids(12)[:8])) is first
    assert representation.decomposition(ids(12)[:9]) is not first


def test_bad_training_sets_are_named() -> None:
    representation = Representation.from_features(features(12, 3), ids(12))
    with pytest.raises(InputError, match="at least two"):
        decompose(representation, ["s000"])
    with pytest.raises(InputError, match="each once"):
        decompose(representation, ["s000", "s000"])
    with pytest.raises(InputError, match="'nowhere'"):
        decompose(representation, ["s000", "nowhere"])


@pytest.mark.parametrize("p", [30, 500])
def test_large_matrices_are_decomposed_in_place(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, train = features(30, p), ids(30)[:20]
    copied = decompose(Representation.from_features(x, ids(30)), train)
    whole = Representation.from_features(x, ids(30))
    kernel = whole.gram().copy()
    monkeypatch.setattr(spectral, "LARGE", 1)
    in_place = decompose(whole, train)
    assert in_place.rank == copied.rank
    np.testing.assert_allclose(in_place.eigenvalues, copied.eigenvalues, rtol=1e-9)
    products = np.sum(in_place.eigenvectors * copied.eigenvectors, axis=0)
    np.testing.assert_allclose(np.abs(products), 1, atol=1e-7)
    assert np.array_equal(whole.gram(), kernel)  # what is overwritten is nobody else's
