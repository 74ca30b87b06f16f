"""Spectral decomposition of a training set: computed once, shared by every penalty, neuroid, region and subject.

Everything happens in the space orthogonal to the constant: with Q an orthonormal basis of that space (a Householder
reflection, never formed), Q'KQ is decomposed instead of the centred kernel. A centred kernel always has a zero
eigenvalue whose eigenvector is the constant; rounding turns it into a small number of either sign, and at small
penalties its reciprocal drowns the fit and makes leave-one-out look perfect. Q'KQ does not have it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark_core import tridiagonal
from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError
from benchmark_core.profiling import stage
from benchmark_core.threads import in_threads

if TYPE_CHECKING:
    from benchmark_core.representation import Representation

EPS = float(np.finfo(np.float64).eps)
LARGE = 2**20  # numbers in a matrix from which LAPACK called directly, in place, is quicker
PANELS = 16  # parts in which a large matrix is worked on, so that what is in between stays small


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Eigenvectors of a training set's centred kernel, orthogonal to the constant.

    With X the training features minus their training means, ``X X' = U diag(eigenvalues) U'``.

    Parameters
    ----------
    stimulus_ids
        Training ids, shape (n,), in the order of the rows of ``eigenvectors``.
    eigenvalues
        (r,) positive, descending; those that rounding cannot tell from zero are left out. Squares of the singular
        values of X.
    eigenvectors
        (n, r) orthonormal columns U, each orthogonal to the constant.
    remainder
        (n,) diagonal of the projection onto what is orthogonal to both U and the constant, ``1 - 1/n - sum U_i^2``;
        zero where rounding cannot tell it from zero, and everywhere if r = n - 1.
    n_features
        Number of features P of the layer.
    backend
        Where the arrays live; they are float64.
    kept
        What others computed of it and keep for the next neuroids.
    """

    stimulus_ids: tuple[str, ...]
    eigenvalues: Any
    eigenvectors: Any
    remainder: Any
    n_features: int
    backend: Backend
    _representation: Representation = field(repr=False)
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)
    _right: Any = field(default=None, repr=False)  # (P, r) right singular vectors, primal only
    _centre: Any = field(default=None, repr=False)  # (P,) training means, or (n,) column means of the training kernel

    @property
    def n_stimuli(self) -> int:
        """Number of training stimuli n."""
        return len(self.stimulus_ids)

    @property
    def rank(self) -> int:
        """Number of eigenvalues r that differ from zero."""
        return int(self.eigenvalues.shape[0])

    @property
    def largest(self) -> float:
        """Largest eigenvalue; 0 for constant features."""
        return float(self.eigenvalues[0]) if self.rank else 0.0

    @property
    def is_full_rank(self) -> bool:
        """Whether no direction was lost: r = min(n - 1, P)."""
        return self.rank == min(self.n_stimuli - 1, self.n_features)

    @property
    def principal_axes(self) -> Any | None:
        """(P, r) right singular vectors of X; None where only inner products are held."""
        return self._right

    def leading(self, n_components: int) -> Decomposition:
        """Return the decomposition of the first principal components, taken as features in the place of all.

        Nothing is decomposed again. The axes are those of this training set, for held-out predictions, too: a stimulus
        that is left out is left out of the map, not of the axes.

        Parameters
        ----------
        n_components
            How many, at least 1; where there are no more than that, the decomposition itself comes back.
        """
        if n_components >= self.rank:
            return self
        vectors = self.eigenvectors[:, :n_components]
        return replace(
            self,
            eigenvalues=self.eigenvalues[:n_components],
            eigenvectors=vectors,
            remainder=_remainder(self.backend, vectors, 0.0),
            n_features=n_components,
            _right=None if self._right is None else self._right[:, :n_components],
            kept={},
        )

    def principal_components(self, stimulus_ids: Sequence[str], weights: Any = None) -> Any:
        """Project stimuli on the principal axes of the training set.

        Parameters
        ----------
        stimulus_ids
            Any stimuli of the representation.
        weights
            (r, m) array of the backend: return the product of the components with it, (len(stimulus_ids), m), which
            costs less than the components themselves if m < len(stimulus_ids).

        Returns
        -------
        Array (len(stimulus_ids), r) of the backend: features minus training means, times the right singular vectors
        of X. For the training stimuli themselves these are ``U diag(sqrt(eigenvalues))``.

        Raises
        ------
        InputError
            Naming ids that the representation does not hold.
        """
        xp, source = self.backend.xp, self._representation
        rows = source.index(stimulus_ids)
        if source.features is not None:
            axes = self._right if weights is None else self._right @ weights
            return (self.backend.asarray(source.features[rows]) - self._centre[None, :]) @ axes
        assert source.kernel is not None
        cross = self.backend.asarray(_submatrix(source.kernel, rows, source.index(self.stimulus_ids)))
        cross = cross - self._centre[None, :]
        lengths = xp.sqrt(self.eigenvalues)
        if weights is None:
            return cross @ self.eigenvectors / lengths[None, :]
        return cross @ (self.eigenvectors @ (weights / lengths[:, None]))


@stage("decomposition")
def decompose(representation: Representation, train_ids: Sequence[str]) -> Decomposition:
    """Decompose the training stimuli of a representation.

    Where the features are held (P <= number of stimuli) by a singular value decomposition of the centred features,
    which keeps twice the digits of their kernel; otherwise by the eigenvalues of Q'KQ.

    Parameters
    ----------
    representation
        The layer.
    train_ids
        At least 2 different training ids.

    Raises
    ------
    InputError
        For fewer than two ids, repeated ids, or ids that the representation does not hold.
    """
    ids = tuple(train_ids)
    if len(ids) < 2 or len(set(ids)) != len(ids):
        raise InputError(f"a training set needs at least two stimuli, each once; got {len(ids)}")
    backend = representation.backend
    xp = backend.xp
    rows = representation.index(ids)
    n = len(ids)
    # Rounding of the features themselves: centring leaves about eps |x| of noise in every entry.
    floor = (64 * EPS) ** 2 * n * max(representation.mean_square, 0.0)
    right = None
    vectors: Callable[[int], Any]
    if representation.features is not None:
        features = backend.asarray(representation.features[rows])
        centre = xp.mean(features, axis=0)
        left, singular, right_transposed = xp.linalg.svd(
            _drop_constant(backend, features - centre[None, :]), full_matrices=False
        )
        eigenvalues, vectors = singular**2, partial(_first_restored, backend, left)
        noise = max(n, representation.n_features) * EPS  # of singular values, relative to the largest
        relative = noise**2
        right = right_transposed.T
    else:
        assert representation.kernel is not None
        kernel = backend.asarray(_submatrix(representation.kernel, rows, rows))
        centre = xp.mean(kernel, axis=0)
        # Each is let go as soon as the next is there: with ten thousand stimuli each is nearly a gigabyte.
        reduced = _without_constant(backend, kernel)
        del kernel
        eigenvalues, vectors = _eigh(backend, reduced)
        del reduced
        relative = noise = max(n, 100) * EPS
    values = backend.to_numpy(eigenvalues)
    largest = float(values[0]) if len(values) else 0.0
    rank = int(np.sum(values > max(relative * largest, floor)))
    eigenvectors = vectors(rank)
    # The span of the eigenvectors is known to noise / gap.
    gap = (values[rank - 1] / largest) ** (0.5 if right is not None else 1.0) if rank else 1.0
    return Decomposition(
        stimulus_ids=ids,
        eigenvalues=eigenvalues[:rank],
        eigenvectors=eigenvectors,
        remainder=_remainder(backend, eigenvectors, noise / gap),
        n_features=representation.n_features,
        backend=backend,
        _representation=representation,
        _right=None if right is None else right[:, :rank],
        _centre=centre,
    )


def _submatrix(matrix: np.ndarray, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
    """Return rows and columns of a matrix; a view where both are runs, as training and test stimuli often are."""

    def is_run(positions: Sequence[int]) -> bool:
        first = positions[0] if positions else 0
        return list(positions) == list(range(first, first + len(positions)))

    if rows and columns and is_run(rows) and is_run(columns):
        return matrix[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(matrix[np.ix_(rows, columns)])


def _panels(n: int) -> list[slice]:
    """Return slices of ``range(n)`` for :data:`PANELS` parts."""
    cuts = [n * part // PANELS for part in range(PANELS + 1)]
    return [slice(*ends) for ends in itertools.pairwise(cuts) if ends[0] < ends[1]]


def _without_constant(backend: Backend, kernel: Any) -> Any:
    """Return Q'KQ, (n - 1, n - 1), for a symmetric kernel K; symmetric but for rounding.

    With the reflection H = I - b v v' it is part of HKH = K - v w' - w v', where w = p - (b / 2) (v'p) v and p = b K v.
    """
    v, b = _reflection(backend, kernel.shape[0])
    p = b * (kernel @ v)
    w = p - (0.5 * b * (v @ p)) * v
    v, w = v[1:], w[1:]
    kernel = kernel[1:, 1:]
    if isinstance(kernel, np.ndarray):
        reduced = np.empty(kernel.shape)

        def subtract(start: int, stop: int) -> None:
            for some in (slice(first, min(first + 32, stop)) for first in range(start, stop, 32)):
                reduced[some] = kernel[some] - (v[some][:, None] * w[None, :] + w[some][:, None] * v[None, :])

        in_threads(subtract, len(reduced))
        return reduced
    reduced = backend.xp.asarray(kernel, copy=True)
    for some in _panels(reduced.shape[0]):
        reduced[some, :] -= v[some][:, None] * w[None, :] + w[some][:, None] * v[None, :]
    return reduced


def _eigh(backend: Backend, reduced: Any) -> tuple[Any, Callable[[int], Any]]:
    """Return the eigenvalues of Q'KQ, descending, and a function that gives Q times the first eigenvectors, once.

    A large matrix is overwritten, which saves two copies of it.
    """
    if isinstance(reduced, np.ndarray) and reduced.size > LARGE:
        if tridiagonal.is_available():
            found = tridiagonal.TridiagonalEigenvectors(reduced, *_reflection(backend, len(reduced) + 1))
            return found.eigenvalues, found.vectors
        from scipy.linalg import eigh

        # The transpose is the same matrix, in the order that is overwritten without a copy.
        values, vectors = eigh(reduced.T, lower=False, overwrite_a=True, check_finite=False, driver="evd")
    else:
        values, vectors = backend.xp.linalg.eigh(reduced)
    xp = backend.xp
    return xp.flip(values, axis=0), partial(_first_restored, backend, xp.flip(vectors, axis=1))


def _first_restored(backend: Backend, vectors: Any, count: int) -> Any:
    return _restore_constant(backend, vectors[:, :count])


def _reflection(backend: Backend, n: int) -> tuple[Any, float]:
    """Return v and b so that H = I - b v v' maps the constant onto the first axis."""
    v = np.full(n, 1 / np.sqrt(n))
    v[0] += 1
    return backend.asarray(v), float(2 / (v @ v))


def _drop_constant(backend: Backend, array: Any) -> Any:
    """Return Q' array, (n - 1, m), for an array (n, m)."""
    v, b = _reflection(backend, array.shape[0])
    return (array - v[:, None] * (b * (v @ array))[None, :])[1:, :]


def _restore_constant(backend: Backend, array: Any) -> Any:
    """Return Q array, (n, m), for an array (n - 1, m)."""
    xp = backend.xp
    n, m = array.shape[0] + 1, array.shape[1]
    v, b = _reflection(backend, n)
    if isinstance(array, np.ndarray):
        # In the order of columns, as LAPACK leaves them, and some at once, so that they stay in the cache.
        found = np.empty((n, m), order="F")

        def restore(start: int, stop: int) -> None:
            for some in (slice(first, min(first + 32, stop)) for first in range(start, stop, 32)):
                found[1:, some] = array[:, some]
                along = b * np.einsum("i,ij->j", v[1:], found[1:, some])
                found[1:, some] -= v[1:, None] * along
                found[0, some] = -v[0] * along

        in_threads(restore, m)
        return found
    padded = xp.concat([backend.asarray(np.zeros((1, m))), array], axis=0)
    return padded - v[:, None] * (b * (v[1:] @ array))[None, :]


def _remainder(backend: Backend, eigenvectors: Any, blur: float) -> Any:
    """Return the diagonal of I - 11'/n - UU', with what is only rounding set to zero."""
    n, rank = eigenvectors.shape
    if rank == n - 1:
        return backend.asarray(np.zeros(n))
    xp = backend.xp
    remainder = (1 - 1 / n) - xp.sum(eigenvectors**2, axis=1)
    tolerance = min(max(10 * n * EPS, blur**2), 1e-3)
    return xp.where(remainder > tolerance, remainder, xp.zeros_like(remainder))
