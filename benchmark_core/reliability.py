"""How much of the variance of measured responses a model could explain at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark_core.keys import digest
from benchmark_core.resampling import weighted_statistics

ROWS = 32  # stimuli whose repetitions are worked on at once
AT_ONCE = 500_000  # numbers in one resamples-by-neuroids array


def mean_noise(trials: np.ndarray) -> np.ndarray:
    """Return the variance that trial-to-trial noise leaves in each stimulus mean, s^2 / n_repetitions.

    Parameters
    ----------
    trials
        (n_stimuli, n_repetitions, n_neuroids), NaN where a presentation is absent.

    Returns
    -------
    (n_stimuli, n_neuroids), in squared units of the responses. A stimulus seen once has no variance of its own and
    takes the neuroid's mean s^2. NaN where nothing was recorded, and for neuroids without any repeated stimulus.
    """
    shape = (trials.shape[0], trials.shape[2])
    counts, squares = np.empty(shape, dtype=np.int64), np.empty(shape)
    for first in range(0, len(trials), ROWS):  # small enough to stay in the processor's cache
        some = slice(first, first + ROWS)
        present = np.isfinite(trials[some])
        counts[some] = present.sum(axis=1)
        filled = np.where(present, trials[some], 0.0)
        mean = filled.sum(axis=1) / np.maximum(counts[some], 1)
        squares[some] = (np.where(present, filled - mean[:, None, :], 0.0) ** 2).sum(axis=1)
    safe = np.maximum(counts, 1)
    repeated = counts >= 2
    variance = np.where(repeated, squares / np.maximum(counts - 1, 1), 0.0)
    n_repeated = repeated.sum(axis=0)
    pooled = np.where(n_repeated > 0, variance.sum(axis=0) / np.maximum(n_repeated, 1), np.nan)
    return np.asarray(np.where(counts > 0, np.where(repeated, variance, pooled) / safe, np.nan))


def spearman_brown(r: np.ndarray) -> np.ndarray:
    """Return the reliability of the whole from the correlation of its halves, 2r / (1 + r)."""
    r = np.asarray(r, dtype=np.float64)
    return np.asarray(np.divide(2 * r, 1 + r, out=np.full(r.shape, np.nan), where=(r > -1)))


def half_means(trials: np.ndarray, n_splits: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield mean responses over two random halves of the repetitions of every stimulus.

    Simultaneously recorded neuroids share their halves. Of an odd number of repetitions the first half has one more.

    Parameters
    ----------
    trials
        (n_stimuli, n_repetitions, n_neuroids), NaN where a presentation is absent.
    n_splits
        How many random splits to draw.
    seed
        Of the splits.

    Yields
    ------
    Two arrays (n_stimuli, n_neuroids), NaN where a half is empty.
    """
    key = int(digest({"what": "half_means", "seed": seed})[:32], 16)
    random = np.random.Generator(np.random.Philox(key=key))
    present = np.isfinite(trials)
    filled = np.where(present, trials, 0.0)
    shared = bool((present == present[:, :, :1]).all())
    if shared:
        present = present[:, :, :1]
    for _ in range(n_splits):
        order = np.argsort(random.random(trials.shape[:2]), axis=1)[:, :, None]
        # Deal the presentations that exist out in random order: first half, second half, first half, ...
        rank = np.cumsum(np.take_along_axis(present, order, axis=1), axis=1)
        rank = np.take_along_axis(rank, np.argsort(order, axis=1), axis=1)
        odd = rank % 2 == 1
        halves = [present & odd, present & ~odd]
        if shared:  # both in one reading of the trials
            chosen = np.stack([half[:, :, 0] for half in halves], axis=1).astype(np.float64)
            total, counts = chosen @ filled, chosen.sum(axis=2)[:, :, None]
        else:
            total = np.stack([(filled * half).sum(axis=1) for half in halves], axis=1)
            counts = np.stack([half.sum(axis=1) for half in halves], axis=1)
        means = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
        yield means[:, 0], means[:, 1]


def row_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Pearson r of each row of two (n, m) arrays over the columns present in both, (n,).

    NaN for fewer than two such columns or where ``b`` is constant; 0 where only ``a`` (the prediction) is.
    """
    present = np.isfinite(a) & np.isfinite(b)
    counts = np.maximum(present.sum(axis=1), 1)

    def standardised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        filled = np.where(present, values, 0.0)
        size = np.abs(filled).max(axis=1)
        centred = np.where(present, filled - (filled.sum(axis=1) / counts)[:, None], 0.0)
        length = np.sqrt((centred**2).sum(axis=1))
        flat = length <= 1e-12 * size * np.sqrt(counts)
        return centred / np.where(flat, 1.0, length)[:, None], flat

    x, x_flat = standardised(a)
    y, y_flat = standardised(b)
    r = np.where(x_flat, 0.0, np.clip((x * y).sum(axis=1), -1, 1))
    return np.asarray(np.where(y_flat | (present.sum(axis=1) < 2), np.nan, r))


@dataclass(frozen=True, eq=False)
class TestedStimuli:
    """The test stimuli of one fold, for one subject's m neuroids.

    Parameters
    ----------
    rows
        (n_test,) positions among the stimuli of the trials.
    used
        (n_test, m) booleans: responses to leave out are False.
    means, deviations
        (m,) each neuroid's mean and standard deviation over the training stimuli, by which it is z-scored; those with
        a deviation of 0 are left out where neuroids are z-scored.
    """

    __test__ = False  # no class of tests

    rows: np.ndarray
    used: np.ndarray
    means: np.ndarray
    deviations: np.ndarray

    def z(self, values: np.ndarray) -> np.ndarray:
        """Return responses (n_test, m) z-scored by training statistics; NaN for neuroids constant in training."""
        spread = np.where(self.deviations > 0, self.deviations, np.nan)
        return np.asarray((values - self.means) / spread)


@dataclass(frozen=True, eq=False)
class SplitHalves:
    """Correlations between random halves of the repetitions: means over splits and test folds, one entry a resample.

    Parameters
    ----------
    r
        (n_resamples, m) of each neuroid across stimuli; NaN for neuroids that have none.
    pattern, pattern_z
        (n_resamples,) across neuroids, averaged over stimuli: of responses as they are, and z-scored.
    """

    r: np.ndarray
    pattern: np.ndarray
    pattern_z: np.ndarray

    @property
    def reliability(self) -> np.ndarray:
        """(n_resamples, m) Spearman-Brown-corrected ``r``."""
        return spearman_brown(self.r)

    @property
    def pattern_ceiling(self) -> np.ndarray:
        """(n_resamples,) what a perfect model's r_pattern would be; NaN where the halves correlate negatively."""
        return root(spearman_brown(self.pattern))

    @property
    def pattern_z_ceiling(self) -> np.ndarray:
        """(n_resamples,) the same of r_pattern_z."""
        return root(spearman_brown(self.pattern_z))


def split_halves(
    trials: np.ndarray,
    folds: Sequence[TestedStimuli],
    n_splits: int,
    seed: int,
    weights: Sequence[np.ndarray] | None = None,
) -> SplitHalves:
    """Correlate the mean responses of two random halves of the repetitions, within each test fold.

    Parameters
    ----------
    trials
        (n_stimuli, n_repetitions, m), NaN where a presentation is absent.
    folds
        Test stimuli; correlations are averaged over folds and splits.
    n_splits, seed
        Number and seed of the splits; see :func:`half_means`.
    weights
        For each fold (n_resamples, n_test) how often each stimulus appears in each resample; without it the sample
        itself, as a single resample.
    """
    counts = [np.ones((1, len(fold.rows))) for fold in folds] if weights is None else list(weights)
    r = _Mean((len(counts[0]), trials.shape[2]))
    pattern, pattern_z = _Mean((len(counts[0]),)), _Mean((len(counts[0]),))
    for a, b in half_means(trials, n_splits, seed):
        for fold, count in zip(folds, counts, strict=True):
            first, second = (np.where(fold.used, half[fold.rows], np.nan) for half in (a, b))
            for some in blocks(trials.shape[2], len(count)):
                r.add(weighted_statistics(count, first[:, some], second[:, some]).r, some)
            pattern.add(_weighted_mean(count, row_correlations(first, second)))
            pattern_z.add(_weighted_mean(count, row_correlations(fold.z(first), fold.z(second))))
    return SplitHalves(r.value, pattern.value, pattern_z.value)


def blocks(n_neuroids: int, n_resamples: int) -> list[slice]:
    """Return slices of the neuroids, so many at once that an array of resamples by neuroids stays small."""
    width = max(1, AT_ONCE // n_resamples)
    return [slice(first, min(first + width, n_neuroids)) for first in range(0, n_neuroids, width)]


def repetition_pairs(n_repetitions: int, most: int, seed: int) -> list[tuple[int, int]]:
    """Return all pairs of repetitions, or ``most`` of them drawn at random where there are more; sorted."""
    pairs = [(i, j) for i in range(n_repetitions) for j in range(i + 1, n_repetitions)]
    if len(pairs) <= most:
        return pairs
    key = int(digest({"what": "repetition_pairs", "seed": seed})[:32], 16)
    drawn = np.random.Generator(np.random.Philox(key=key)).permutation(len(pairs))[:most]
    return [pairs[i] for i in sorted(drawn)]


def stepped_up(r: np.ndarray, k: float | np.ndarray) -> np.ndarray:
    """Return the reliability of the mean of k repetitions from the correlation of two, k r / (1 + (k - 1) r).

    The Spearman-Brown formula for k instead of 2. NaN where the denominator is not positive.
    """
    r = np.asarray(r, dtype=np.float64)
    denominator = 1 + (k - 1) * r
    return np.asarray(np.divide(k * r, denominator, out=np.full(r.shape, np.nan), where=denominator > 0))


def root(reliability: np.ndarray) -> np.ndarray:
    """Return the square root, NaN where there is none; that of a reliability is a ceiling of r."""
    values = np.asarray(reliability, dtype=np.float64)
    return np.asarray(np.sqrt(np.where(values >= 0, values, np.nan)))


class _Mean:
    """Running mean of arrays of one shape over their finite entries."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.total, self.count = np.zeros(shape), np.zeros(shape)

    def add(self, values: np.ndarray, some: slice = slice(None)) -> None:
        finite = np.isfinite(values)
        self.total[..., some] += np.where(finite, values, 0.0)
        self.count[..., some] += finite

    @property
    def value(self) -> np.ndarray:
        missing = np.full(self.total.shape, np.nan)
        return np.asarray(np.divide(self.total, self.count, out=missing, where=self.count > 0))


def _weighted_mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the means (n_resamples,) of the finite entries of ``values`` (n,), weighted by each row of ``weights``."""
    finite = np.isfinite(values)
    total = weights @ finite.astype(np.float64)
    missing = np.full(total.shape, np.nan)
    return np.asarray(np.divide(weights @ np.where(finite, values, 0.0), total, out=missing, where=total > 0))
