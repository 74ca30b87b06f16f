"""Eigenvectors of large matrices, against LAPACK's own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from benchmark_core import spectral, tridiagonal
from benchmark_core.representation import Representation
from benchmark_core.spectral import decompose

pytestmark = pytest.mark.skipif(
    not tridiagonal.is_available(), reason="SciPy before 1.16 does not offer LAPACK's dstevd"
)
NONE = 0.0  # the reflection I - 0 v v'


def symmetric(m: int, kind: str, seed: int = 0) -> np.ndarray:
    """Return a symmetric (m, m) matrix with eigenvalues of some kind."""
    random = np.random.default_rng(seed)
    vectors = np.linalg.qr(random.standard_normal((m, m)))[0]
    values = {
        "spread": 10.0 ** np.linspace(6, -6, m),
        "few": np.where(np.arange(m) < m // 2, np.linspace(1, 2, m), 0.0),
        "repeated": np.repeat([3.0, 1.0], [m // 2, m - m // 2]),
        "signs": np.linspace(-1, 1, m),
    }[kind]
    found = vectors * values @ vectors.T
    return (found + found.T) / 2


@pytest.mark.parametrize("kind", ["spread", "few", "repeated", "signs"])
@pytest.mark.parametrize("m", [2, 3, 5, 40, 129, 130, 300])
@pytest.mark.parametrize("unit", [1.0, 1e-120, 1e140])
def test_values_and_vectors(m: int, kind: str, unit: float) -> None:
    given = symmetric(m, kind) * unit
    found = tridiagonal.TridiagonalEigenvectors(given.copy(), np.zeros(m + 1), NONE)
    values = found.eigenvalues
    np.testing.assert_allclose(
        values, scipy.linalg.eigvalsh(given / unit)[::-1] * unit, atol=1e-13 * np.abs(values).max()
    )
    vectors = found.vectors(m)
    assert (vectors[0] == 0).all()
    rest = vectors[1:]
    np.testing.assert_allclose(rest.T @ rest, np.eye(m), atol=1e-13)
    np.testing.assert_allclose(given / unit @ rest, rest * (values / unit), atol=1e-13 * np.abs(values / unit).max())


@pytest.mark.parametrize(("m", "count"), [(2, 2), (140, 140), (140, 7), (300, 1)])
def test_the_reflection_comes_last_and_only_some_are_turned(m: int, count: int) -> None:
    given = symmetric(m, "spread")
    v = np.random.default_rng(1).standard_normal(m + 1)
    b = float(2 / (v @ v))
    plain = tridiagonal.TridiagonalEigenvectors(given.copy(), np.zeros(m + 1), NONE).vectors(m)
    reflected = tridiagonal.TridiagonalEigenvectors(given.copy(), v, b).vectors(count)
    assert reflected.shape == (m + 1, count)
    assert reflected.flags.f_contiguous
    np.testing.assert_allclose(reflected, (plain - b * np.outer(v, v @ plain))[:, :count], atol=1e-13)


def test_constant_and_zero_matrices() -> None:
    zero = tridiagonal.TridiagonalEigenvectors(np.zeros((50, 50)), np.zeros(51), NONE)
    np.testing.assert_array_equal(zero.eigenvalues, 0)
    diagonal = tridiagonal.TridiagonalEigenvectors(np.diag(np.arange(50.0)), np.zeros(51), NONE)
    np.testing.assert_array_equal(diagonal.eigenvalues, np.arange(50.0)[::-1])
    np.testing.assert_array_equal(np.abs(diagonal.vectors(50)[1:]), np.eye(50)[:, ::-1])


@pytest.mark.parametrize("n_features", [90, 400])
def test_a_decomposition_is_the_same_as_with_lapack_alone(monkeypatch: pytest.MonkeyPatch, n_features: int) -> None:
    """With fewer dimensions than stimuli, too, and to the last digit however many threads turn vectors."""
    random = np.random.default_rng(2)
    x = random.standard_normal((150, n_features)) + 5
    wide = np.concatenate([x, x @ random.standard_normal((n_features, 200))], axis=1)  # more features than stimuli
    ids = tuple(f"{i:03d}" for i in range(150))
    monkeypatch.setattr(spectral, "LARGE", 100)
    monkeypatch.setattr(tridiagonal, "VECTORS", 16)
    found = {}
    for name, available, threads in (("ours", True, 3), ("one", True, 1), ("lapack", False, 3)):
        monkeypatch.setattr("benchmark_core.threads.n_threads", lambda threads=threads: threads)
        monkeypatch.setattr(tridiagonal, "is_available", lambda available=available: available)
        found[name] = decompose(Representation.from_features(wide, ids), ids)
    ours, one, lapack = found["ours"], found["one"], found["lapack"]
    assert ours.rank == lapack.rank == min(n_features, 149)
    np.testing.assert_allclose(ours.eigenvalues, lapack.eigenvalues, rtol=1e-9)
    np.testing.assert_array_equal(ours.eigenvectors, one.eigenvectors)
    for power in (0, 1):
        projections = [(d.eigenvectors * d.eigenvalues**power) @ d.eigenvectors.T for d in (ours, lapack)]
        np.testing.assert_allclose(*projections, atol=1e-11 * ours.largest**power)
    np.testing.assert_allclose(ours.eigenvectors.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(ours.remainder, lapack.remainder, atol=1e-12)
