"""How much of the variance of measured responses a model could explain at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmark_core.keys import digest
from benchmark_core.resampling import weighted_statistics
from benchmark_core.threads import in_threads

ROWS = 32  # stimuli whose repetitions are worked on at once
HALVES = 2**22  # numbers in the means of all splits that are made in one reading of the trials
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

    def reduce(start: int, stop: int) -> None:
        for first in range(start, stop, ROWS):  # small enough to stay in the processor's cache
            some = slice(first, min(first + ROWS, stop))
            values, present = trials[some], np.isfinite(trials[some])
            whole = present.all()
            counts[some] = present.shape[1] if whole else present.sum(axis=1)
            filled = values if whole else np.where(present, values, 0.0)
            centred = filled - (filled.sum(axis=1) / np.maximum(counts[some], 1))[:, None, :]
            if not whole:
                centred[~present] = 0.0
            squares[some] = np.multiply(centred, centred, out=centred).sum(axis=1)

    in_threads(reduce, len(trials))
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


def half_means(
    trials: np.ndarray, n_splits: int, seed: int, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
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
    rows
        Positions of the stimuli whose halves are wanted, all by default. Their halves do not depend on which.

    Yields
    ------
    Two arrays (n_stimuli or len(rows), n_neuroids), NaN where a half is empty.
    """
    for means in _several_half_means(trials, n_splits, seed, rows):
        for split in range(0, means.shape[1], 2):
            yield means[:, split], means[:, split + 1]


def _several_half_means(
    trials: np.ndarray, n_splits: int, seed: int, rows: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield what :func:`half_means` does for several splits, (n, 2 a split, n_neuroids): in one reading of the trials."""
    key = int(digest({"what": "half_means", "seed": seed})[:32], 16)
    random = np.random.Generator(np.random.Philox(key=key))
    if rows is not None and len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        taken = trials[rows[0] : rows[-1] + 1]  # not copied
    else:
        taken = trials if rows is None else trials[rows]
    n, _, m = taken.shape
    present = np.empty(taken.shape, dtype=bool)
    in_threads(lambda start, stop: np.isfinite(taken[start:stop], out=present[start:stop]), n)
    shared = m > 0 and bool((present == present[:, :, :1]).all())
    at_once = max(1, HALVES // (2 * max(1, n * m)))
    for split in range(0, n_splits, at_once):
        drawn = np.empty((min(at_once, n_splits - split), *taken.shape[:2]))
        for one in drawn:
            every = random.random(trials.shape[:2])
            one[:] = every if rows is None else every[rows]
        means = np.full((n, 2 * len(drawn), m), np.nan)

        def average(start: int, stop: int, drawn: np.ndarray = drawn, means: np.ndarray = means) -> None:
            for first in range(start, stop, ROWS):
                some = slice(first, min(first + ROWS, stop))
                order = np.argsort(drawn[:, some], axis=2).transpose(1, 2, 0)
                filled = np.where(present[some], taken[some], 0.0)
                if shared:
                    chosen = np.stack(_dealt(order, present[some, :, :1]), axis=3).transpose(0, 2, 3, 1)
                    weights = chosen.reshape(len(filled), means.shape[1], -1).astype(np.float64)
                    totals, counts = weights @ filled, weights.sum(axis=2)[:, :, None]
                else:
                    halves = [half for i in range(len(drawn)) for half in _dealt(order[:, :, i : i + 1], present[some])]
                    totals = np.stack([(filled * half).sum(axis=1) for half in halves], axis=1)
                    counts = np.stack([half.sum(axis=1) for half in halves], axis=1)
                np.divide(totals, counts, out=means[some], where=counts > 0)

        in_threads(average, n)
        yield means


def _dealt(order: np.ndarray, present: np.ndarray) -> list[np.ndarray]:
    """Deal the presentations that exist out in a random order, to the first half, the second, the first, ...

    Parameters
    ----------
    order
        (n, n_repetitions, 1 or splits) repetitions of each stimulus in random order.
    present
        (n, n_repetitions, 1 or m) booleans.

    Returns
    -------
    Two boolean arrays (n, n_repetitions, m or splits).
    """
    there = np.take_along_axis(present, order, axis=1)
    odd = np.cumsum(there, axis=1) % 2 == 1
    halves = []
    for dealt in (there & odd, there & ~odd):
        half = np.empty_like(dealt)
        np.put_along_axis(half, order, dealt, axis=1)
        halves.append(half)
    return halves


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
    rows = np.unique(np.concatenate([fold.rows for fold in folds])) if folds else np.arange(0)
    places = [np.searchsorted(rows, fold.rows) for fold in folds]

    def correlate(means: np.ndarray, some: slice) -> None:
        for _, count, first, second in in_folds(means, some):
            r.add(weighted_statistics(count, first, second).r, some)

    def correlate_patterns(means: np.ndarray) -> None:
        for _, count, first, second in in_folds(means):
            pattern.add(_weighted_mean(count, row_correlations(first, second)))

    def correlate_patterns_z(means: np.ndarray) -> None:
        for fold, count, first, second in in_folds(means):
            pattern_z.add(_weighted_mean(count, row_correlations(fold.z(first), fold.z(second))))

    def in_folds(
        means: np.ndarray, some: slice = slice(None)
    ) -> Iterator[tuple[TestedStimuli, np.ndarray, np.ndarray, np.ndarray]]:
        for split in range(0, means.shape[1], 2):
            for fold, place, count in zip(folds, places, counts, strict=True):
                halves = (means[place, half, some] for half in (split, split + 1))
                first, second = (np.where(fold.used[:, some], half, np.nan) for half in halves)
                yield fold, count, first, second

    tasks: list[Callable[[np.ndarray], None]] = [correlate_patterns, correlate_patterns_z]
    tasks += [partial(correlate, some=some) for some in blocks(trials.shape[2], len(counts[0]))]
    for means in _several_half_means(trials, n_splits, seed, rows if len(rows) < len(trials) else None):

        def work(start: int, stop: int, means: np.ndarray = means) -> None:
            for task in tasks[start:stop]:
                task(means)

        in_threads(work, len(tasks))
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
