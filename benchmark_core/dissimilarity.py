"""Dissimilarities between stimuli: from a representation's inner products, from response patterns, and cross-validated.

Every function returns a representational dissimilarity matrix (RDM): (n, n) float64, symmetric, zero on the diagonal, NaN
where a pair has no dissimilarity. Entries are not divided by the number of features or neuroids: comparisons of RDMs do
not depend on their scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from benchmark_core.errors import InputError

if TYPE_CHECKING:
    from benchmark_core.representation import Representation

Distance = Literal["correlation", "euclidean", "sqeuclidean", "cosine"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 64 * EPS
"""Rounding in an inner product, relative to the largest one."""


def rdm_of_representation(
    representation: Representation, stimulus_ids: Sequence[str], distance: Distance = "correlation"
) -> np.ndarray:
    """Return the RDM of a layer, from inner products between stimuli alone.

    With the kernel K of features centred on their means m over all n stimuli, v_i = x_i . m, the row sums S_i and P features:

    - squared Euclidean: K_ii + K_jj - 2 K_ij (differences do not see the centring);
    - cosine: 1 - G_ij / sqrt(G_ii G_jj) with G_ij = K_ij + v_i + v_j - m . m, the products of the raw features;
    - correlation: 1 - C_ij / sqrt(C_ii C_jj), where C_ij = sum over features of (x_i - mean x_i) (x_j - mean x_j)
      = K_ij - t_i t_j / P + b_i + b_j + m . m - s^2 / P, with s = mean of S, t_i = S_i - s, b_i = v_i - m . m - s t_i / P.
      (No large terms are subtracted from each other unless the mean feature vector itself is nearly constant.)

    Parameters
    ----------
    representation
        A layer; features that are held are used directly.
    stimulus_ids
        Stimuli to return the RDM of, in this order, n of them.
    distance
        ``correlation`` (1 - Pearson r across features), ``euclidean``, ``sqeuclidean`` or ``cosine``.

    Returns
    -------
    (n, n) RDM. Dissimilarities equal but for rounding come out equal (products are rounded to 64 eps of the largest), so
    identical stimuli have 0 and ties stay ties. NaN for pairs with a stimulus whose features are all equal
    (``correlation``) or all zero (``cosine``).

    Raises
    ------
    InputError
        For ids that the representation does not hold.
    """
    rows = np.array(representation.index(stimulus_ids), dtype=np.intp)
    if representation.features is not None:
        return rdm_of_patterns(representation.features[rows].astype(np.float64), distance)
    kernel = representation.kernel
    assert kernel is not None
    products = unless_rounding(kernel[np.ix_(rows, rows)], representation.mean_square)
    diagonal = np.diag(products)
    if distance in ("euclidean", "sqeuclidean"):
        return _euclidean(products, distance)
    mean_square, along = representation.mean_square, representation.mean_products[rows] - representation.mean_square
    floor = ROUNDING * (diagonal + 2 * np.abs(along) + mean_square)
    if distance == "correlation":
        n_features = representation.n_features
        total = float(representation.row_sums.mean())
        sums = representation.row_sums[rows] - total
        along = along - total / n_features * sums
        products = products - np.outer(sums, sums) / n_features
        mean_square = mean_square - total**2 / n_features
    return _angular(products + along[:, None] + along[None, :] + mean_square, floor)


def rdm_of_patterns(patterns: np.ndarray, distance: Distance = "correlation") -> np.ndarray:
    """Return the RDM of patterns held in memory.

    Parameters
    ----------
    patterns
        (n, m) finite values: stimuli by features or neuroids.
    distance
        As for :func:`rdm_of_representation`.

    Returns
    -------
    (n, n) RDM.
    """
    values = np.asarray(patterns, dtype=np.float64)
    if distance in ("euclidean", "sqeuclidean"):
        mean = values.mean(axis=0)
        values = values - mean  # keeps the digits that a large common mean would swallow
        return _euclidean(unless_rounding(values @ values.T, float(mean @ mean)), distance)
    floor = ROUNDING * (values**2).sum(axis=1)
    if distance == "correlation":
        values = values - values.mean(axis=1, keepdims=True)
    return _angular(values @ values.T, floor)


def unless_rounding(products: np.ndarray, mean_square: float) -> np.ndarray:
    """Return inner products of centred features, or zeros where they are what rounding leaves of equal features.

    Parameters
    ----------
    products
        (n, n).
    mean_square
        Square of the mean that was subtracted.
    """
    largest = float(np.diag(products).max(initial=0.0))
    return products if largest > ROUNDING**2 * mean_square else np.zeros(products.shape)


def _euclidean(products: np.ndarray, distance: Distance) -> np.ndarray:
    """Return (squared) Euclidean distances from inner products."""
    diagonal = np.diag(products)
    squares = diagonal[:, None] + diagonal[None, :] - (products + products.T)
    largest = float(diagonal.max(initial=0.0))
    squares = _rounded(squares, ROUNDING * largest) if largest > 0 else squares
    np.fill_diagonal(squares, 0.0)
    squares = np.maximum(squares, 0.0)
    return squares if distance == "sqeuclidean" else np.asarray(np.sqrt(squares))


def _angular(products: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Return 1 - cosine from inner products; NaN for patterns whose square is ``floor`` or less, that is rounding."""
    squares = np.diag(products)
    lengths = np.sqrt(np.where(squares > floor, squares, np.nan))
    cosines = (products + products.T) / 2 / lengths[:, None] / lengths[None, :]
    noise = np.sqrt(np.maximum(floor, ROUNDING * squares)) / lengths
    rdm: np.ndarray = 1.0 - np.clip(_rounded(cosines, np.outer(noise, noise)), -1.0, 1.0)
    np.fill_diagonal(rdm, 0.0)
    return rdm


def _rounded(values: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    """Return values rounded to a power of two: the noise of rounding in them, or the next above it."""
    step = 2.0 ** np.ceil(np.log2(noise))
    return np.asarray(np.round(values / step) * step)


def crossvalidated_rdm(trials: np.ndarray, precision: np.ndarray | None = None) -> np.ndarray:
    """Return cross-validated squared distances: unbiased by trial noise, so around 0 (or below) where there is no difference.

    For stimuli i and j the mean over all pairs of different repetitions r and s of (x_ir - x_jr)' W (x_is - x_js), W being
    the identity or a noise precision (crossnobis: Walther et al. 2016, NeuroImage 137:188). Products within one repetition,
    whose noise may be shared, are never used; single repetitions are the folds. Where a stimulus lacks repetitions,
    products x_ir' W x_js are averaged over the pairs that exist, each for itself, after subtracting the mean over all
    presentations (which then makes a difference, though not on average).

    Parameters
    ----------
    trials
        (n, n_repetitions, m), NaN where a presentation is absent. A presentation that lacks any neuroid counts as absent.
    precision
        (m, m), as :func:`noise_precision` gives it.

    Returns
    -------
    (n, n) squared distances, negative ones kept; NaN for stimuli with fewer than two presentations.
    """
    present = np.isfinite(trials).all(axis=2)
    values = np.where(present[:, :, None], trials, 0.0)
    centre = values.sum(axis=(0, 1)) / max(int(present.sum()), 1)
    values = np.where(present[:, :, None], values - centre, 0.0)  # differences do not see it; keeps digits
    if precision is not None:
        # W = A A': distances in x A are those of W.
        values = values @ np.linalg.cholesky(precision)
    counts = present.astype(np.float64)
    total = values.sum(axis=1)
    products, pairs = total @ total.T, np.outer(counts.sum(axis=1), counts.sum(axis=1)) - counts @ counts.T
    for repetition in range(trials.shape[1]):
        products -= values[:, repetition] @ values[:, repetition].T
    means = np.divide(products, pairs, out=np.full(products.shape, np.nan), where=pairs > 0)
    diagonal = np.diag(means)
    rdm: np.ndarray = diagonal[:, None] + diagonal[None, :] - (means + means.T)
    np.fill_diagonal(rdm, 0.0)
    return rdm


def noise_precision(trials: np.ndarray) -> np.ndarray:
    """Return the inverse of the noise covariance of single presentations, shrunk towards its diagonal.

    Residuals are presentations minus the mean of their stimulus; the covariance S divides by the number of presentations N
    less the number of stimuli (the degrees of freedom f). Correlations are shrunk by lambda = sum of the variances of the
    r_ij / sum of r_ij^2 over i != j, at most 1 (Schaefer & Strimmer 2005, Stat. Appl. Genet. Mol. Biol. 4:32), with
    Var(r_ij) = N / f^3 (sum w^2 - (sum w)^2 / N) for the products w of two neuroids' standardised residuals.

    Parameters
    ----------
    trials
        (n, n_repetitions, m), NaN where a presentation is absent. A presentation that lacks any neuroid counts as absent.

    Returns
    -------
    (m, m) float64.

    Raises
    ------
    InputError
        If no stimulus was presented twice, or a neuroid has no variance between repetitions.
    """
    present = np.isfinite(trials).all(axis=2)
    counts = present.sum(axis=1)
    freedom = int(np.maximum(counts - 1, 0).sum())
    if freedom < 1:
        raise InputError("a noise covariance needs stimuli with two presentations of all neuroids at least")
    values = np.where(present[:, :, None], trials, 0.0)
    means = values.sum(axis=1) / np.maximum(counts, 1)[:, None]
    residuals = (values - means[:, None, :])[present & (counts > 1)[:, None]]
    n = len(residuals)
    deviations = np.sqrt((residuals**2).sum(axis=0) / freedom)
    silent = int((deviations <= 1e-12 * np.abs(values).max(axis=(0, 1), initial=0.0)).sum())
    if silent:
        raise InputError(
            f"{silent} of {len(deviations)} neuroids have no variance between repetitions, so distances cannot be "
            "normalised by it; leave them out, or use target_distance=cv-sqeuclidean"
        )
    standardised = residuals / deviations
    correlations = standardised.T @ standardised / freedom
    squares = (standardised**2).T @ standardised**2
    variances = n / freedom**3 * (squares - (freedom * correlations) ** 2 / n)
    apart = ~np.eye(len(deviations), dtype=bool)
    denominator = float((correlations[apart] ** 2).sum())
    share = min(1.0, max(0.0, float(variances[apart].sum()) / denominator)) if denominator > 0 else 1.0
    shrunk = np.where(apart, (1 - share) * correlations, 1.0)
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(shrunk))
    except np.linalg.LinAlgError:
        raise InputError("the noise covariance is singular: too few repetitions; use cv-sqeuclidean") from None
    return np.asarray(inverse.T @ inverse / np.outer(deviations, deviations))
