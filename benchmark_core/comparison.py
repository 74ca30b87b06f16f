"""Comparing scores on shared resamples: paired differences, and which models cannot be told from the best.

Scores of one benchmark rest on the same stimuli, and their resamples on the same draws of them (same folds, same
correction), so the resamples of a difference are the differences of the resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmark_core.errors import InputError

if TYPE_CHECKING:
    from benchmark_core.records import Score

ALPHA = 0.05
SAME = 1e-6  # a standard error below this share of the scores' own is that of two equal predictions (float32 is kept)
FEWEST = 0.9  # share of the resamples that must have a value


@dataclass(frozen=True)
class Difference:
    """The paired difference of two scores.

    Parameters
    ----------
    first, second
        Names; the first has the higher score.
    difference
        First minus second.
    standard_error
        Standard deviation of the resampled differences.
    ci_low, ci_high
        difference -+ 1.96 standard errors, 95 %.
    p
        Two-sided, of difference / standard error against the normal distribution: below .05 where the interval leaves
        out 0. 1 for equal predictions; None where scores differ and their resamples do not.
    p_adjusted
        The same for all pairs together (single-step max-T): the share of resamples in which the largest studentised
        deviation of any pair is at least this pair's, never below ``p``.
    """

    first: str
    second: str
    difference: float
    standard_error: float
    ci_low: float
    ci_high: float
    p: float | None
    p_adjusted: float | None


@dataclass(frozen=True)
class Comparison:
    """Scores compared with each other.

    Parameters
    ----------
    names
        Best first, ties by name.
    values
        The score of each.
    best_set
        Those that all-pairs max-T does not reject against the best, which is among them.
    differences
        Of all pairs, in the order of the names.
    alpha
        Probability of any false rejection among all pairs.
    n_resamples
        Number of shared resamples.
    """

    names: tuple[str, ...]
    values: tuple[float, ...]
    best_set: tuple[str, ...]
    differences: tuple[Difference, ...]
    alpha: float
    n_resamples: int


def compare(scores: Mapping[str, Score], alpha: float = ALPHA) -> Comparison:
    """Compare scores of one benchmark in pairs, on the resamples that they share.

    Parameters
    ----------
    scores
        Scores by name, as :func:`benchmark_core.score` returns them; at least one.
    alpha
        Level of the best set, between 0 and 1.

    Returns
    -------
    Differences of all pairs with standard errors, 95 % intervals and p values, and the best set.

    Raises
    ------
    InputError
        If a score has no value or no resamples, or theirs are not shared (other stimuli, subjects, seeds or numbers
        of resamples).

    Notes
    -----
    The statistic of a pair is its difference divided by the standard deviation of its resampled differences; its
    distribution under equality is that of the resampled differences, centred, divided by the same. The largest over
    all pairs controls the probability of any false rejection (Westfall and Young 1993, Resampling-based multiple
    testing; Romano and Wolf 2005, JASA 100:94). All pairs, not those with the best only: which model came out best is
    chance, too.

    Examples
    --------
    >>> from benchmark_core import compare, score
    >>> names = ("pixels", "efficientnet-lite0")
    >>> compare({name: score(name, "simulated.V4") for name in names}).best_set  # doctest: +SKIP
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha {alpha} is not allowed; use a number between 0 and 1")
    names = _in_order(scores)
    values = np.array([float(scores[name].value or 0.0) for name in names])
    z = _shared_resamples({name: scores[name] for name in names})
    pairs = _Pairs(values, z)
    differences = []
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            d, error = values[i] - values[j], pairs.errors[i, j]
            differences.append(
                Difference(
                    first,
                    names[j],
                    float(d),
                    float(error),
                    float(d - 1.96 * error),
                    float(d + 1.96 * error),
                    *pairs.p_values(i, j),
                )
            )
    return Comparison(
        names, tuple(map(float, values)), pairs.best_set(names, alpha), tuple(differences), alpha, z.shape[1]
    )


def best_set(scores: Mapping[str, Score], alpha: float = ALPHA) -> tuple[str, ...]:
    """Return the names of the scores that cannot be told from the best, best first; see :func:`compare`."""
    names = _in_order(scores)
    values = np.array([float(scores[name].value or 0.0) for name in names])
    return _Pairs(values, _shared_resamples({name: scores[name] for name in names})).best_set(names, alpha)


def _in_order(scores: Mapping[str, Score]) -> tuple[str, ...]:
    """Return the names, best first, of scores that have a value."""
    if not scores:
        raise InputError("there are no scores to compare; give at least one")
    missing = [name for name, score in scores.items() if score.value is None]
    if missing:
        raise InputError(f"{_listed(missing)} has no score: leave it out of the comparison")
    return tuple(sorted(scores, key=lambda name: (-float(scores[name].value or 0.0), name)))


def _shared_resamples(scores: Mapping[str, Score]) -> np.ndarray:
    """Return the resamples of all scores that every one of them has, centred, (n_scores, n_resamples).

    Raises
    ------
    InputError
        If scores have none, or do not share them.
    """
    without = [name for name, score in scores.items() if score.resamples is None or score.resamples_key is None]
    if without:
        raise InputError(
            f"{_listed(without)} has no resamples: its metric gives none, or its record is older than they are "
            "(bench run --force computes it again)"
        )
    first = next(iter(scores))
    kept = {name: np.asarray(score.resamples, dtype=np.float64) for name, score in scores.items()}
    other = [
        name
        for name, score in scores.items()
        if score.resamples_key != scores[first].resamples_key or kept[name].shape != kept[first].shape
    ]
    if other:
        raise InputError(
            f"{_listed(other)} does not share its resamples with {first}: scores can be compared in pairs where test "
            "stimuli, groups, subjects, seed and number of resamples are the same"
        )
    sparse = [name for name, draws in kept.items() if not comparable(draws)]
    if sparse:
        raise InputError(f"{_listed(sparse)} has no value in many of its resamples and cannot be compared")
    z = np.array(list(kept.values()))
    z = z[:, np.isfinite(z).all(axis=0)]
    return np.asarray(z - z.mean(axis=1, keepdims=True))


def comparable(resamples: np.ndarray) -> bool:
    """Whether enough of the resamples have a value."""
    return bool(np.isfinite(resamples).mean() >= FEWEST)


def _listed(names: Iterable[str]) -> str:
    several = list(names)
    return ", ".join(several[:5]) + (f" and {len(several) - 5} more" if len(several) > 5 else "")


class _Pairs:
    """Standard errors of all pairs, and the largest studentised deviation of any pair in each resample.

    Parameters
    ----------
    values
        (m,) scores.
    z
        (m, n_resamples) centred resamples.
    """

    def __init__(self, values: np.ndarray, z: np.ndarray) -> None:
        m, n = z.shape
        self.values = values
        self.own = z.std(axis=1, ddof=1)
        self.errors = np.zeros((m, m))
        largest = np.zeros(n)
        for i in range(m - 1):
            deviations = z[i] - z[i + 1 :]
            errors = deviations.std(axis=1, ddof=1)
            errors[errors <= SAME * np.maximum(self.own[i], self.own[i + 1 :])] = 0.0
            self.errors[i, i + 1 :] = self.errors[i + 1 :, i] = errors
            varying = errors > 0
            if varying.any():
                np.maximum(largest, np.abs(deviations[varying] / errors[varying, None]).max(axis=0), out=largest)
        self.largest = np.sort(largest)

    def p_values(self, i: int, j: int) -> tuple[float | None, float | None]:
        """Return the p value of a pair, raw and adjusted for all pairs."""
        difference, error = abs(self.values[i] - self.values[j]), self.errors[i, j]
        if error == 0:
            scale = max(self.own[i], self.own[j])
            return (1.0, 1.0) if difference <= SAME * scale else (None, None)
        t = float(difference / error)
        raw = math.erfc(t / math.sqrt(2))
        exceeding = len(self.largest) - int(np.searchsorted(self.largest, t, side="left"))
        return raw, max(raw, (1 + exceeding) / (1 + len(self.largest)))

    def best_set(self, names: Sequence[str], alpha: float) -> tuple[str, ...]:
        """Return the names of those that are not told apart from the first, all pairs considered."""
        adjusted = [None if j == 0 else self.p_values(0, j)[1] for j in range(len(names))]
        return tuple(name for name, p in zip(names, adjusted, strict=True) if p is None or p > alpha)
