"""Comparing RDMs: correlations of their upper triangles, what each pair of stimuli adds to them, ceilings over subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.stats import kendalltau, rankdata

from benchmark_core.errors import InputError

Comparison = Literal["spearman", "pearson", "kendall", "cosine", "whitened-pearson", "whitened-cosine"]
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)

FLAT = 1e-12
"""A standard deviation below this fraction of the largest magnitude is rounding."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """How similar two RDMs (or kernels) are.

    Parameters
    ----------
    value
        From -1 to 1; 0 where only the first (the model's) is constant, NaN where it cannot be computed.
    n_pairs
        Number of pairs of stimuli that it rests on.
    influence
        (n, n), symmetric: by how much each pair (for kernels, on the diagonal, each stimulus) moves the value when its
        weight grows from one to two, to first order; they add up to 0 over the upper triangle with the diagonal. None
        where it was not asked for.
    """

    value: float
    n_pairs: int
    influence: np.ndarray | None = None


def compare_rdms(
    model: np.ndarray, target: np.ndarray, method: Comparison = "spearman", influence: bool = False
) -> Similarity:
    """Compare the upper triangles of two RDMs, over the pairs that both have.

    Parameters
    ----------
    model, target
        (n, n), symmetric; the diagonal is not looked at.
    method
        ``spearman`` (average ranks), ``pearson``, ``kendall`` (tau-a: concordant less discordant pairs of pairs over all of
        them, ties among neither), ``cosine``; ``whitened-cosine`` and ``whitened-pearson`` allow for the covariance of
        dissimilarities that share a stimulus (independent noise of equal variance; Diedrichsen et al. 2021, Neurons, Behavior,
        Data analysis, and Theory 5): the cosine of the doubly centred -D/2, which is what the whitening comes to; for Pearson
        the mean is subtracted from D first.
    influence
        Whether to return what each pair adds.

    Raises
    ------
    InputError
        For an unknown method, or a pair missing where a whitened comparison needs all.
    """
    if method not in COMPARISONS:
        raise InputError(f"unknown comparison of RDMs {method!r}; use {', '.join(COMPARISONS)}")
    upper = ~np.tri(len(model), dtype=bool)
    both = upper & np.isfinite(model) & np.isfinite(target)
    if method.startswith("whitened"):
        if (missing := int(upper.sum() - both.sum())) > 0:
            raise InputError(
                f"compare={method} needs the dissimilarity of every pair, and {missing} are missing; "
                f"use compare={method.removeprefix('whitened-')}"
            )
        centre = method == "whitened-pearson"
        return compare_kernels(_kernel(model, centre), _kernel(target, centre), influence)
    x, y = model[both], target[both]
    value, of_pairs = _COMPARE[method](x, y, influence)
    matrix = None
    if of_pairs is not None:
        matrix = np.zeros(model.shape)
        matrix[both] = of_pairs
        matrix += matrix.T
    return Similarity(value, len(x), matrix)


def _kernel(rdm: np.ndarray, subtract_mean: bool) -> np.ndarray:
    """Return the doubly centred -D/2."""
    n = len(rdm)
    values = rdm - (rdm.sum() - np.trace(rdm)) / (n * (n - 1)) if subtract_mean else rdm.copy()
    np.fill_diagonal(values, 0.0)
    values *= -0.5
    values -= values.mean(axis=0)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def compare_kernels(
    model: np.ndarray, target: np.ndarray, influence: bool = False, diagonal: bool = True
) -> Similarity:
    """Return the cosine of two centred kernels, over all pairs and, unless told otherwise, the diagonal.

    Parameters
    ----------
    model, target
        (n, n), symmetric, rows and columns centred.
    influence
        Whether to return what each pair, and each stimulus by itself, adds.
    diagonal
        Whether the diagonal counts.
    """
    n = len(model)
    a, b = (model, target) if diagonal else (model - np.diag(np.diag(model)), target - np.diag(np.diag(target)))
    length = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    n_pairs = n * (n - 1) // 2
    if not length > 0:
        known = bool(np.linalg.norm(b) > 0)
        return Similarity(0.0 if known else np.nan, n_pairs, np.zeros(a.shape) if influence else None)
    value = float(np.clip(np.vdot(a, b) / length, -1.0, 1.0))
    if not influence:
        return Similarity(value, n_pairs)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    matrix = 2 * (a * b) - value * (a**2 + b**2)
    np.fill_diagonal(matrix, np.diag(matrix) / 2)
    return Similarity(value, n_pairs, matrix)


def _standardised(values: np.ndarray, centre: bool = True) -> np.ndarray | None:
    """Return values of mean 0 and mean square 1 (or only the latter); None where they are constant."""
    if len(values) == 0:
        return None
    centred = values - values.mean() if centre else values
    size = float(np.sqrt(np.mean(centred**2)))
    return centred / size if size > FLAT * float(np.abs(values).max()) else None


def _cosine_of(x: np.ndarray, y: np.ndarray, influence: bool, centre: bool) -> tuple[float, np.ndarray | None]:
    if len(x) < 3:
        return np.nan, None
    a, b = _standardised(x, centre), _standardised(y, centre)
    if a is None or b is None:
        return (np.nan if b is None else 0.0), np.zeros(len(x)) if influence else None
    value = float(np.clip(np.mean(a * b), -1.0, 1.0))
    return value, (a * b - value / 2 * (a**2 + b**2)) / len(x) if influence else None


def _pearson(x: np.ndarray, y: np.ndarray, influence: bool) -> tuple[float, np.ndarray | None]:
    return _cosine_of(x, y, influence, centre=True)


def _cosine(x: np.ndarray, y: np.ndarray, influence: bool) -> tuple[float, np.ndarray | None]:
    return _cosine_of(x, y, influence, centre=False)


def _spearman(x: np.ndarray, y: np.ndarray, influence: bool) -> tuple[float, np.ndarray | None]:
    n = len(x)
    value, _ = _pearson(rankdata(x), rankdata(y), False)
    if not influence or not np.isfinite(value):
        return value, None
    # Ranks as a cumulative distribution, (rank - 1/2) / n - 1/2. A pair that weighs more also moves the ranks of those
    # above it, which is where the terms `above` come from.
    a, b = (rankdata(x) - 0.5) / n - 0.5, (rankdata(y) - 0.5) / n - 0.5
    aa, bb, ab = float(np.mean(a * a)), float(np.mean(b * b)), float(np.mean(a * b))
    if min(aa, bb) <= 0:
        return value, np.zeros(n)
    product = a * b + _above(x, b) + _above(y, a) - 3 * ab
    squares = (a * a + 2 * _above(x, a) - 3 * aa) / aa + (b * b + 2 * _above(y, b) - 3 * bb) / bb
    return value, (product / np.sqrt(aa * bb) - value / 2 * squares) / n


def _above(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each p the mean over all q of values_q where x_q > x_p, half of them where x_q = x_p; (n,)."""
    _, group = np.unique(x, return_inverse=True)
    totals = np.bincount(group, weights=values)
    greater = totals[::-1].cumsum()[::-1] - totals
    return np.asarray((greater + totals / 2)[group] / len(x))


def _kendall(x: np.ndarray, y: np.ndarray, influence: bool) -> tuple[float, np.ndarray | None]:
    n = len(x)
    if n < 3:
        return np.nan, None
    flat_x, flat_y = np.ptp(x) == 0, np.ptp(y) == 0
    if flat_x or flat_y:
        return (np.nan if flat_y else 0.0), np.zeros(n) if influence else None
    if not influence:  # scipy's tau-b is faster than what each pair adds; its denominator leaves out ties
        untied = [1 - float((c * (c - 1.0)).sum()) / (n * (n - 1.0)) for c in (_multiplicities(x), _multiplicities(y))]
        return float(kendalltau(x, y, method="asymptotic").statistic * np.sqrt(untied[0] * untied[1])), None
    agreement = concordance(x, y) / (n - 1)
    value = float(agreement.mean())
    return value, 2 * (agreement - value) / n if influence else None


def _multiplicities(x: np.ndarray) -> np.ndarray:
    """Return how often each value appears."""
    return np.asarray(np.unique(x, return_counts=True)[1])


_COMPARE = {"spearman": _spearman, "pearson": _pearson, "kendall": _kendall, "cosine": _cosine}


def concordance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return for each element the sum over all others of sign(x_p - x_q) sign(y_p - y_q), (n,) int64, in O(n log^2 n).

    Their sum divided by n (n - 1) is Kendall's tau-a.
    """
    n = len(x)
    _, rx, nx = np.unique(x, return_inverse=True, return_counts=True)
    _, ry, ny = np.unique(y, return_inverse=True, return_counts=True)
    _, rxy, nxy = np.unique(rx * np.int64(len(ny)) + ry, return_inverse=True, return_counts=True)
    below_x, below_y = (np.cumsum(nx) - nx)[rx], (np.cumsum(ny) - ny)[ry]
    same_x, same_y, same_both = nx[rx], ny[ry], nxy[rxy]
    # Of equal x (or y) those with a smaller y (or x): rank within the group of ties.
    tied_x = _rank_within(rx, ry)
    tied_y = _rank_within(ry, rx)
    both_below = _both_below(rx, ry)
    x_below_y_above = below_x - both_below - tied_y
    x_above_y_below = below_y - both_below - tied_x
    # The other six regions, and both_above, make up all n.
    both_above = n - (both_below + x_below_y_above + x_above_y_below + same_x + same_y - same_both)
    return np.asarray(both_below + both_above - x_below_y_above - x_above_y_below)


def _rank_within(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each element how many of its group have a smaller value."""
    combined = group * np.int64(values.max() + 1) + values
    order = np.sort(combined)
    return np.asarray(np.searchsorted(order, combined) - np.searchsorted(order, group * np.int64(values.max() + 1)))


def _both_below(rx: np.ndarray, ry: np.ndarray) -> np.ndarray:
    """Return for each element how many others have both a smaller x and a smaller y (dense ranks), by merging."""
    n = len(rx)
    order = np.lexsort((-ry, rx))  # of equal x the larger y first: none of them counts as earlier and smaller
    y = ry[order].astype(np.int64)
    span = np.int64(y.max() + 1)
    counts = np.zeros(n, dtype=np.int64)
    position = np.arange(n)
    width = 1
    while width < n:
        block = position // (2 * width)
        right = (position // width) % 2 == 1
        keys = block * span + y
        left = np.sort(keys[~right])
        counts[right] += np.searchsorted(left, keys[right]) - np.searchsorted(left, block[right] * span)
        width *= 2
    found = np.empty(n, dtype=np.int64)
    found[order] = counts
    return found


def mean_rdm(rdms: Sequence[np.ndarray], method: Comparison = "spearman") -> np.ndarray:
    """Return the RDM most similar to all of several by this comparison, the mean of what they are brought to first.

    That is mean 0 and variance 1 for (whitened) Pearson, average ranks for Spearman and Kendall (for Kendall this is only
    near the best), a mean square of 1 for (whitened) cosine; as rsatoolbox does it. Over the pairs that an RDM has.

    Parameters
    ----------
    rdms
        (n, n) each.

    Returns
    -------
    (n, n), NaN where no RDM has the pair.
    """
    upper = ~np.tri(len(rdms[0]), dtype=bool)
    total, count = np.zeros(upper.sum()), np.zeros(upper.sum())
    for rdm in rdms:
        values = rdm[upper]
        known = np.isfinite(values)
        there = values[known]
        if method in ("spearman", "kendall"):
            there = rankdata(there)
        else:
            scaled = _standardised(there, centre=method.endswith("pearson"))
            there = np.zeros(len(there)) if scaled is None else scaled
        total[known] += there
        count += known
    mean = np.zeros(upper.shape)
    mean[upper] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.asarray(mean + mean.T)


def noise_ceiling(rdms: Sequence[np.ndarray], method: Comparison = "spearman") -> tuple[float, float] | None:
    """Return the lower and upper bound of what the best model could reach on average over subjects.

    Lower: each subject's RDM compared to the mean of the others'; upper: to the mean of all, their own included (Nili et al.
    2014, PLoS Comput. Biol. 10:e1003553). None with fewer than two subjects, or where a bound cannot be computed.

    Parameters
    ----------
    rdms
        (n, n), one for each subject.
    """
    if len(rdms) < 2:
        return None
    everyone = mean_rdm(rdms, method)
    lower, upper = [], []
    for number, rdm in enumerate(rdms):
        others = mean_rdm([*rdms[:number], *rdms[number + 1 :]], method)
        lower.append(compare_rdms(others, rdm, method).value)
        upper.append(compare_rdms(everyone, rdm, method).value)
    bounds = float(np.mean(lower)), float(np.mean(upper))
    return bounds if np.isfinite(bounds).all() else None
