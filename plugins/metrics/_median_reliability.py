"""The median reliability of a population, freed of the noise of each estimate.

Noise moves the median of estimates towards where neuroids lie densely. How far, is told by adding as much noise once
and twice more and extrapolating to none (simulation-extrapolation, Cook & Stefanski 1994,
doi:10.1080/01621459.1994.10476871, with the simulation in closed form). All of it on the scale
z = log(variance / noise) = -log(1 - r), on which the errors of all neuroids are nearly normal and alike, and which
leaves medians what they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HALVINGS = 60


def log_ratio_error(
    means: Sequence[np.ndarray], noises: Sequence[np.ndarray], counts: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the standard error that trial-to-trial noise leaves in log(variance of stimulus means / their noise).

    With V the sum of squares of the means about those of their folds and E the sum of their noises e_i = s_i^2 / k_i,
    it is the smaller of two that are hardly ever too small. For normal noise V varies by
    ``4 sum (mu_i - mu)^2 sigma_i^2 / k_i + 2 sum sigma_i^4 / k_i^2`` and E by
    ``2 sum sigma_i^4 / (k_i^2 (k_i - 1))``, powers of sigma replaced by what estimates them without bias; log(V / E) by
    the sum of both over V^2 and E^2. Counts of few spikes are less variable than that, for V and E rise and fall
    together. And what stimuli contribute to log(V / E) varies by the sum of ``((y_i - y)^2 / V - e_i / E)^2``, signal
    included.

    Parameters
    ----------
    means, noises
        For each test fold (n_test, m) stimulus means and the variance of each, NaN where nothing was recorded; see
        :func:`benchmark_core.reliability.mean_noise`.
    counts
        For each test fold (n_test, m) numbers of repetitions.

    Returns
    -------
    (m,), NaN where nothing varies or there is no noise.
    """
    y, e, k = (np.concatenate(parts) for parts in (means, noises, counts))
    known = np.isfinite(y) & np.isfinite(e)
    e, repeated = np.where(known, e, 0.0), known & (k > 1)
    squares = []
    for fold in means:
        there = np.isfinite(fold)
        mean = np.where(there, fold, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        squares.append((fold - mean) ** 2)
    d = np.where(known, np.concatenate(squares), 0.0)
    # Stimuli seen once have the mean s^2 of the others as their own: what each other contributes counts for them, too.
    n_repeated = np.maximum(repeated.sum(axis=0), 1)
    own = np.where(repeated, e * (1 + k * (known & ~repeated).sum(axis=0) / n_repeated), 0.0)
    fourth = np.where(repeated, e**2 * (k - 1) / (k + 1), 0.0)
    fourth = np.where(known & ~repeated, (fourth * k**2).sum(axis=0) / n_repeated, fourth)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_variance = np.maximum((4 * d * e - 2 * fourth).sum(axis=0), 2 * fourth.sum(axis=0)) / d.sum(axis=0) ** 2
        of_noise = (2 * own**2 / (k + 1)).sum(axis=0) / e.sum(axis=0) ** 2
        observed = ((d / d.sum(axis=0) - own / e.sum(axis=0)) ** 2).sum(axis=0)
        return np.asarray(np.sqrt(np.minimum(of_variance + of_noise, observed)))


def corrected_median(reliability: np.ndarray, error: np.ndarray) -> float:
    """Return the median over neuroids as it would be if every reliability had been estimated without noise.

    Parameters
    ----------
    reliability
        (m,) estimates, at most 1; NaN where there is none.
    error
        (m,) standard errors of -log(1 - reliability); NaN is taken for 0.

    Returns
    -------
    The median less what noise has moved it by, within the range of the estimates; NaN if there are none. It is less
    biased than their median, and varies more from recording to recording.
    """
    known = np.isfinite(reliability)
    if not known.any():
        return float("nan")
    with np.errstate(divide="ignore"):
        z = -np.log1p(-np.minimum(reliability[known], 1.0))
    if not np.isfinite(np.median(z)):
        return 1.0
    noise = np.nan_to_num(error[known], nan=0.0, posinf=0.0)
    as_it_is, once, twice = (_median_of_mixture(z, np.sqrt(added) * noise) for added in (0, 1, 2))
    found = np.clip(3 * as_it_is - 3 * once + twice, z.min(), z.max())
    return float(-np.expm1(-found))


def _median_of_mixture(centres: np.ndarray, spreads: np.ndarray) -> float:
    """Return the median of an equal mixture of normal distributions; the middle of it where that is an interval."""
    from scipy.special import ndtr

    finite = np.isfinite(centres)
    widest = 10 * float(spreads[finite].max()) + 1e-9
    outer = float(centres[finite].min()) - widest, float(centres[finite].max()) + widest
    safe = np.maximum(spreads, 1e-12 * (outer[1] - outer[0]))
    ends = []
    for wanted in (0.5 - 1e-9, 0.5 + 1e-9):
        low, high = outer
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if float(ndtr((middle - centres) / safe).mean()) < wanted else (low, middle)
        ends.append((low + high) / 2)
    return (ends[0] + ends[1]) / 2
