"""How much of the variance of measured responses a model could explain at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmark_core.keys import digest


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
    present = np.isfinite(trials)
    counts = present.sum(axis=1)
    safe = np.maximum(counts, 1)
    filled = np.where(present, trials, 0.0)
    mean = filled.sum(axis=1) / safe
    squares = (np.where(present, filled - mean[:, None, :], 0.0) ** 2).sum(axis=1)
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
        halves = []
        for odd in (1, 0):
            chosen = (present & (rank % 2 == odd)).astype(np.float64)
            counts = chosen.sum(axis=1)
            total = (chosen.transpose(0, 2, 1) @ filled)[:, 0, :] if shared else (filled * chosen).sum(axis=1)
            halves.append(np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0))
        yield halves[0], halves[1]


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
