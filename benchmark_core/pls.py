"""Partial least squares regression of several neuroids at once (PLS2), from coordinates of the stimuli.

The predictions are those of NIPALS (Wold 1975), which scikit-learn's ``PLSRegression(scale=False)`` iterates: component
after component, the weights w are the leading left singular vector of X'Y, the scores t = Xw, and X and Y lose what t
explains of them. Two things are done differently. The singular vector comes from an eigenproblem of the size of the
smaller side of X'Y instead of a power iteration, so there is no tolerance to stop at. And of X and Y only the product
is deflated, X'Y - p q' with the loadings p = X't and q = Y't of scores of unit length, which is the product of the
deflated two.

All of this depends on features only through inner products between stimuli (Rosipal & Trejo 2001, J. Mach. Learn. Res.
2:97), so X may be any coordinates with the same inner products: :meth:`Representation.coordinates` gives n of them in
place of a million features. Working on the kernel itself would square the singular values, and with them lose half of
the digits of small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError
from benchmark_core.profiling import stage
from benchmark_core.representation import Representation
from benchmark_core.spectral import EPS

LARGE = 512
"""From this size on, only the leading eigenvector is computed (where there is a routine for it)."""


@dataclass(frozen=True, eq=False)
class PLSFit:
    """A fitted partial least squares regression.

    Parameters
    ----------
    x_mean
        (p,) training means of the coordinates.
    y_mean
        (m,) training means of the responses.
    rotations
        (p, k) what turns centred coordinates into scores; the scores of the training stimuli are orthonormal.
    loadings
        (m, k) loadings of the responses.
    backend
        Where the arrays live; they are float64.
    """

    x_mean: Any
    y_mean: np.ndarray
    rotations: Any
    loadings: Any
    backend: Backend

    @property
    def n_components(self) -> int:
        """Number of components k, at most as many as were asked for."""
        return int(self.rotations.shape[1])

    def predict_deviations(self, coordinates: np.ndarray) -> np.ndarray:
        """Return predictions minus the training means, (n, m) float64, for coordinates (n, p)."""
        centred = self.backend.asarray(coordinates) - self.x_mean[None, :]
        return self.backend.to_numpy((centred @ self.rotations) @ self.loadings.T)

    def predict(self, coordinates: np.ndarray) -> np.ndarray:
        """Return predictions (n, m) float64, in the unit of the responses, for coordinates (n, p)."""
        return np.asarray(self.y_mean + self.predict_deviations(coordinates))


@stage("decomposition")
def fit_pls(
    coordinates: np.ndarray, responses: np.ndarray, n_components: int, backend: Backend | None = None
) -> PLSFit:
    """Fit a partial least squares regression; nothing is scaled.

    Parameters
    ----------
    coordinates
        (n, p) features of the training stimuli, or coordinates with the same inner products.
    responses
        (n, m) responses to them, finite, in any unit.
    n_components
        Number of components, at least 1. There are fewer where the centred coordinates have a lower rank, and where
        what is left of the responses has no covariance with them that can be told from rounding.
    backend
        Where to compute; numpy unless given.

    Raises
    ------
    InputError
        For arrays that do not fit together, or fewer than two stimuli.
    """
    backend = backend or Backend()
    xp = backend.xp
    given = np.asarray(responses, dtype=np.float64)
    if np.ndim(coordinates) != 2 or given.ndim != 2 or len(coordinates) != len(given) or len(given) < 2:
        raise InputError(
            f"PLS needs two stimuli or more, with coordinates and responses for each; got arrays of shapes "
            f"{np.shape(coordinates)} and {given.shape}"
        )
    if n_components < 1:
        raise InputError(f"PLS needs at least one component, not {n_components}")
    x, y_mean = backend.asarray(coordinates), given.mean(axis=0)
    x_mean = xp.mean(x, axis=0)
    x, y = x - x_mean[None, :], backend.asarray(given - y_mean)
    n, p = x.shape
    length = float(xp.sum(x**2)) ** 0.5
    rounding = n * EPS * length
    cross = x.T @ y
    most = min(n_components, n - 1, p)
    scores, x_loadings = xp.zeros_like(x[:, :0]), xp.zeros_like(x.T[:, :0])
    rotations, loadings = xp.zeros_like(x_loadings), xp.zeros_like(y.T[:, :0])
    covariance = rounding * float(xp.sum(y**2)) ** 0.5
    while rotations.shape[1] < most:
        weights, singular = _leading(backend, cross)
        if not singular > covariance:
            break
        # Scores of deflated coordinates, t = Xw - T(P'w), once more made orthogonal to those before.
        overlap = x_loadings.T @ weights
        t = x @ weights - scores @ overlap
        again = scores.T @ t
        t, overlap = t - scores @ again, overlap + again
        size = float(xp.sum(t**2)) ** 0.5
        if not size > rounding:
            break
        t, rotation = t / size, (weights - rotations @ overlap) / size
        loading, response_loading = x.T @ t, y.T @ t
        cross = cross - loading[:, None] * response_loading[None, :]
        scores, rotations = _beside(xp, scores, t), _beside(xp, rotations, rotation)
        x_loadings, loadings = _beside(xp, x_loadings, loading), _beside(xp, loadings, response_loading)
    return PLSFit(x_mean, y_mean, rotations, loadings, backend)


@stage("prediction")
def predict(
    representation: Representation,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    responses: np.ndarray,
    n_components: int,
) -> np.ndarray:
    """Fit on training stimuli and predict test stimuli, on the backend of the representation.

    Parameters
    ----------
    representation
        The layer.
    train_ids, test_ids
        Ids to fit on and to predict.
    responses
        (n_train, m) responses to the training stimuli, finite, in any unit.
    n_components
        See :func:`fit_pls`.

    Returns
    -------
    Predictions (n_test, m) float64, in the unit of the responses.
    """
    coordinates = representation.coordinates(centred=True)
    train, test = representation.index(train_ids), representation.index(test_ids)
    return fit_pls(coordinates[train], responses, n_components, representation.backend).predict(coordinates[test])


def _beside(xp: Any, columns: Any, column: Any) -> Any:
    return xp.concat([columns, column[:, None]], axis=1)


def _leading(backend: Backend, cross: Any) -> tuple[Any, float]:
    """Return the leading left singular vector (p,) of an array (p, m), and the singular value.

    An eigenvector of cross cross' or of cross' cross, whichever is smaller. That loses no digits, because of all
    singular vectors only the first is asked for.
    """
    xp = backend.xp
    tall = cross.shape[0] > cross.shape[1]
    if min(cross.shape) > LARGE and backend.name == "numpy":
        vector = backend.asarray(_leading_of_many(cross if tall else cross.T))
    else:
        gram = cross.T @ cross if tall else cross @ cross.T
        vector = xp.linalg.eigh(gram)[1][:, -1]
    if not tall:
        return vector, float(xp.sum((cross.T @ vector) ** 2)) ** 0.5
    image = cross @ vector
    singular = float(xp.sum(image**2)) ** 0.5
    return (image / singular if singular > 0 else image), singular


def _leading_of_many(array: np.ndarray) -> np.ndarray:
    """Return the leading eigenvector of array' array, by Lanczos iteration to the last digit."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    m = array.shape[1]
    gram = LinearOperator((m, m), matvec=lambda v: array.T @ (array @ v), dtype=np.float64)
    start = np.random.Generator(np.random.Philox(key=m)).standard_normal(m)
    try:
        return np.asarray(eigsh(gram, k=1, which="LA", v0=start)[1][:, 0])
    except ArpackNoConvergence:  # two leading singular values that are nearly the same
        return np.asarray(np.linalg.eigh(array.T @ array)[1][:, -1])
