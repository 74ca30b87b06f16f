"""Bootstrap over stimuli by weighted moments: resamples are counts, and statistics are matrix products with them.

No resampled copy of the data is ever made: a resample in which stimulus i appears w_i times has the weighted mean
``sum w_i x_i / sum w_i``, so a thousand resamples of a thousand neuroids are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark_core.keys import digest

FLAT = 1e-12  # a variance below this fraction of the whole sample's is rounding
MINIMUM_STIMULI = 3  # two points always correlate perfectly


def resample_counts(
    stimulus_ids: Sequence[str], n_resamples: int, seed: int, groups: Sequence[str] | None = None
) -> np.ndarray:
    """Draw stimuli (or whole groups of stimuli) with replacement.

    A pure function of its arguments, so every model meets the same resamples.

    Parameters
    ----------
    stimulus_ids
        Ids of the stimuli to draw from, shape (n,).
    n_resamples
        Number of resamples.
    seed
        Of a Philox generator whose key is a hash of seed, ids and groups.
    groups
        Group of each stimulus; all stimuli of a group are drawn together.

    Returns
    -------
    (n_resamples, n) float64: how often each stimulus appears in each resample. Without groups each row sums to n.
    """
    units = list(groups) if groups is not None else list(stimulus_ids)
    names = sorted(set(units))
    position = {name: i for i, name in enumerate(names)}
    document = {"what": "bootstrap", "seed": seed, "ids": list(stimulus_ids), "groups": units}
    random = np.random.Generator(np.random.Philox(key=int(digest(document)[:32], 16)))
    drawn = random.random((n_resamples, len(names)))
    drawn *= len(names)
    flat = drawn.astype(np.int64)
    flat += len(names) * np.arange(n_resamples)[:, None]
    counts = np.bincount(flat.ravel(), minlength=flat.size).reshape(flat.shape).astype(np.float64)
    return counts if units == names else counts[:, [position[unit] for unit in units]]


def resamples_key(
    folds: Sequence[Sequence[str]], n_resamples: int, seed: int, groups: Mapping[str, str] | None = None
) -> str:
    """Return what identifies the resamples of some test folds: a hash of all that :func:`resample_counts` draws from.

    Scores with the same key were resampled together, so their differences can be, too.

    Parameters
    ----------
    folds
        Test ids of each fold.
    n_resamples, seed
        Number and seed of the resamples.
    groups
        Group of each stimulus_id where groups are drawn.
    """
    drawn = [{"ids": list(ids), "groups": None if groups is None else [groups[i] for i in ids]} for ids in folds]
    return digest({"what": "resamples", "folds": drawn, "n": n_resamples, "seed": seed})


def standardise(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and scale the columns over the stimuli present.

    Parameters
    ----------
    values
        (n, m).
    present
        (n, m) booleans.

    Returns
    -------
    Standardised values (0 where absent or constant), the standard deviations (m,) with divisor n, and whether each
    column is constant (m,): a standard deviation below 1e-12 of the largest magnitude.
    """
    counts = np.maximum(present.sum(axis=0), 1)
    filled = np.where(present, values, 0.0)
    centred = np.where(present, filled - filled.sum(axis=0) / counts, 0.0)
    peak = np.abs(centred).max(axis=0, initial=0.0)
    scaled = centred / np.where(peak > 0, peak, 1.0)
    deviation = np.sqrt((scaled**2).sum(axis=0) / counts)
    flat = deviation * peak <= 1e-12 * np.abs(filled).max(axis=0, initial=0.0)
    scaled = np.where(flat, 0.0, scaled / np.where(flat, 1.0, deviation))
    return scaled, deviation * peak, flat


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of one test fold in each resample, all (n_resamples, m).

    Parameters
    ----------
    r
        Pearson r. 0 for a constant prediction; NaN for a constant response or fewer than three stimuli.
    total
        Number of stimuli, counted as often as they were drawn; 0 for fewer than three.
    squares
        Sum of squared deviations of the responses from their mean in this fold and resample.
    noise
        Sum of the noise variances; NaN where they are not known.
    """

    r: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    noise: np.ndarray


def weighted_statistics(
    weights: np.ndarray, predicted: np.ndarray, measured: np.ndarray, noise: np.ndarray | None = None
) -> Statistics:
    """Return what r and reliability of each neuroid need, in each resample of one test fold.

    Parameters
    ----------
    weights
        (n_resamples, n) counts; a single row of ones gives the sample itself.
    predicted, measured
        (n, m); stimuli where either is NaN are left out of that neuroid.
    noise
        (n, m) variance of the noise in ``measured`` (see :func:`benchmark_core.reliability.mean_noise`), or None
        where trials are not at hand.
    """
    present = np.isfinite(predicted) & np.isfinite(measured)
    x, _, x_flat = standardise(predicted, present)
    y, deviation, y_flat = standardise(measured, present)
    total = weights.sum(axis=1, keepdims=True) if present.all() else weights @ present.astype(np.float64)
    total = np.broadcast_to(total, (len(weights), x.shape[1]))
    enough = total >= MINIMUM_STIMULI
    safe = np.maximum(total, 1.0)
    mean_x, mean_y = weights @ x / safe, weights @ y / safe
    variance_x = weights @ x**2 / safe - mean_x**2
    variance_y = weights @ y**2 / safe - mean_y**2
    silent = y_flat[None, :] | (variance_y < FLAT) | ~enough
    still = x_flat[None, :] | (variance_x < FLAT)
    product = np.where(silent | still, 1.0, variance_x * variance_y)
    r = np.where(still, 0.0, np.clip((weights @ (x * y) / safe - mean_x * mean_y) / np.sqrt(product), -1.0, 1.0))
    if noise is None:
        noises = np.full(r.shape, np.nan)
    else:
        unknown = (present & ~np.isfinite(noise)).any(axis=0)
        noises = np.where(unknown[None, :], np.nan, weights @ np.where(present & np.isfinite(noise), noise, 0.0))
    return Statistics(
        r=np.where(silent, np.nan, r),
        total=np.where(enough, total, 0.0),
        squares=np.where(silent, 0.0, variance_y * safe) * deviation[None, :] ** 2,
        noise=np.where(enough, noises, 0.0),
    )


def pooled_variance(folds: Sequence[Statistics]) -> np.ndarray:
    """Return the variance of the stimulus means about the mean of their test fold, (n_resamples, m).

    The sum of squares divided by the number of stimuli less the number of folds; 0 without any stimulus.
    """
    squares = sum(f.squares for f in folds)
    freedom = sum(np.maximum(f.total - 1.0, 0.0) for f in folds)
    return np.asarray(np.divide(squares, freedom, out=np.zeros(np.shape(freedom)), where=freedom > 0))


def pooled_reliability(folds: Sequence[Statistics], variance: np.ndarray | None = None) -> np.ndarray:
    """Return 1 - mean noise variance / variance of the stimulus means, (n_resamples, m).

    The mean runs over all test stimuli; the variance is that of :func:`pooled_variance`, within folds as r is. NaN for
    responses that are constant in every fold, or whose noise is not known.

    Parameters
    ----------
    folds
        Statistics of each test fold.
    variance
        (m,) variance of the sample, for resamples: they repeat stimuli, so their variance is smaller than the sample's
        by about a share of 1/n (more where whole groups are drawn). That is no bias of the estimate, which divides by
        n - 1, and must not be corrected as one; resampled variances are scaled to have the sample's as their mean.
    """
    total = sum(f.total for f in folds)
    noise = sum(f.noise for f in folds)
    spread = pooled_variance(folds)
    if variance is not None:
        mean = spread.mean(axis=0)
        spread = spread * np.divide(variance, mean, out=np.ones_like(mean), where=mean > 0)
    known = (spread > 0) & np.isfinite(noise)
    return np.asarray(1.0 - np.divide(noise, total * spread, out=np.full(np.shape(total), np.nan), where=known))


@dataclass(frozen=True)
class Interval:
    """A bootstrap estimate.

    Parameters
    ----------
    value
        Bias-corrected: 2 estimate - mean of the resamples.
    low, high
        value -+ 1.96 standard errors.
    standard_error
        Standard deviation of the resamples, times the factor for folds.
    estimate
        The uncorrected estimate.
    bias
        mean of the resamples - estimate, which was subtracted.
    """

    value: float
    low: float
    high: float
    standard_error: float
    estimate: float
    bias: float


def fold_factor(n_folds: int) -> float:
    """Return sqrt(1 + k / (k - 1)), by which k overlapping training sets widen a standard error; 1 for a fixed split.

    Nadeau and Bengio (2003), Machine Learning 52:239, with a test-to-training ratio of 1 / (k - 1).
    """
    return 1.0 if n_folds == 1 else float(np.sqrt(1 + n_folds / (n_folds - 1)))


def bootstrap_interval(estimate: float, resamples: np.ndarray, factor: float = 1.0) -> Interval | None:
    """Return the bias-corrected estimate and its 95 % interval, or None if the estimate or all resamples are NaN."""
    finite = resamples[np.isfinite(resamples)]
    if not np.isfinite(estimate) or len(finite) < 2:
        return None
    bias = float(finite.mean()) - estimate
    error = float(finite.std(ddof=1)) * factor
    value = estimate - bias
    return Interval(value, value - 1.96 * error, value + 1.96 * error, error, float(estimate), bias)
