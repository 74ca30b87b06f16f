"""Eigenvectors of a large symmetric matrix on the CPU, by way of a tridiagonal one, as LAPACK does but for the last step.

LAPACK reduces the matrix to a tridiagonal one by reflections and decomposes that (divide and conquer). Turning its
eigenvectors back, 2 n^3 operations, it applies reflections in small blocks, at half of the rate of a matrix product. Here
blocks are larger, and each core turns vectors of its own.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from benchmark_core.threads import in_threads

BLOCK = 128  # reflections applied in one product
VECTORS = 128  # turned at once by a core
_LIMIT = threading.Lock()  # BLAS has one number of threads: who limits it must be the only one who does
SAFE = 1e100  # matrices with larger numbers, or only smaller ones than its reciprocal, are scaled


def is_available() -> bool:
    """Whether SciPy (from 1.16) has what this needs of LAPACK."""
    from scipy.linalg import lapack

    return hasattr(lapack, "dstevd")


class TridiagonalEigenvectors:
    """The eigenvalues of a symmetric matrix of m rows, and its eigenvectors after a reflection I - b v v' of m + 1 rows.

    Parameters
    ----------
    symmetric
        (m, m) float64, finite, m >= 2, contiguous; overwritten.
    v, b
        (m + 1,) and a number. The reflection is applied to eigenvectors with a zero put before them.

    Raises
    ------
    numpy.linalg.LinAlgError
        If LAPACK does not converge.
    """

    def __init__(self, symmetric: np.ndarray, v: np.ndarray, b: float) -> None:
        from scipy.linalg import lapack

        m = len(symmetric)
        size = max(float(symmetric.max()), -float(symmetric.min()))
        scale = 1.0 if size == 0 or 1 / SAFE < size < SAFE else size
        if scale != 1:
            symmetric /= scale
        # The transpose is the same matrix, in the order that is overwritten without a copy.
        self._reflections, d, e, tau, failed = lapack.dsytrd(symmetric.T, lower=1, lwork=64 * m, overwrite_a=1)
        if not failed:
            ascending, self._vectors, failed = lapack.dstevd(d, e, overwrite_d=1, overwrite_e=1)
        if failed:
            raise np.linalg.LinAlgError("eigenvalues did not converge")
        self.eigenvalues = ascending[::-1] * scale
        """(m,) descending."""
        self._v = v
        self._tau = np.concatenate([[b], tau[: m - 2]])  # the last reflection of LAPACK does nothing

    def vectors(self, count: int) -> np.ndarray:
        """Return the first ones, (m + 1, count), one after the other in memory; once, for they take the place of others."""
        from threadpoolctl import threadpool_limits

        rows = np.empty((count, len(self._v)))
        rows[:, 0] = 0.0

        def copy(start: int, stop: int) -> None:
            rows[start:stop, 1:] = self._vectors.T[::-1][start:stop]

        in_threads(copy, count)
        del self._vectors
        with _LIMIT, threadpool_limits(1, user_api="blas"):
            for first in reversed(range(0, len(self._tau), BLOCK)):
                left, right, start = self._block(first)

                def reflect(begin: int, end: int, left: Any = left, right: Any = right, start: int = start) -> None:
                    for part in range(begin, end):  # cut at the same places for any number of threads
                        some = rows[part * VECTORS : (part + 1) * VECTORS, start:]
                        some -= (some @ left) @ right

                in_threads(reflect, -(-count // VECTORS))
        return rows.T

    def _block(self, first: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return V (rows, k), T' V' and the first of its rows, where I - V T V' is the product of k reflections.

        Schreiber & Van Loan (1989), SIAM J. Sci. Stat. Comput. 10:53. The inverse of the triangular T is the upper triangle
        of V'V, with the reciprocals of the factors tau on its diagonal (Puglisi 1992, ibid. 13:1).
        """
        from scipy.linalg import solve_triangular

        tau = self._tau[first : first + BLOCK]
        k = len(tau)
        # The reflection c of LAPACK is the one with the number c + 1 here; its first entry, 1, is in the row c + 2.
        own = self._reflections[max(first - 1, 0) :, max(first - 1, 0) : first + k - 1]
        unit = np.arange(own.shape[1])
        below = np.tril(own[1:], -1)
        below[unit, unit] = 1.0
        start = first + 1
        if first == 0:
            start, below = 0, np.concatenate([np.zeros((2, k - 1)), below])
            below = np.concatenate([self._v[:, None], below], axis=1)
        below[:, tau == 0] = 0.0
        inverse = np.triu(below.T @ below, 1)
        inverse[np.diag_indices(k)] = 1 / np.where(tau == 0, 1.0, tau)
        return below, solve_triangular(inverse, below.T, trans="T", check_finite=False), start
