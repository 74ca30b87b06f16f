"""Noise ceilings of one subject's neuroids, each with its resamples over stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.reliability import (
    SplitHalves,
    TestedStimuli,
    blocks,
    mean_noise,
    repetition_pairs,
    root,
    split_halves,
    stepped_up,
)
from benchmark_core.resampling import pooled_reliability, pooled_variance, resample_counts, weighted_statistics
from benchmark_core.splits import Fold
from plugins.metrics._fitting import training_statistics
from plugins.metrics._median_reliability import corrected_median, log_ratio_error
from plugins.metrics._predictivity import nanmean, rows_of

MOST_PAIRS = 45
"""Pairs of single repetitions to correlate: all of ten repetitions, as many drawn at random of more."""

AVERAGES_ONLY = "the responses are averages, and single repetitions are not at hand"
SHOWN_ONCE = "no stimulus was shown twice"


@dataclass(frozen=True)
class Recipe:
    """How to estimate: see :func:`plugins.metrics._noise_ceiling.compute`."""

    stimuli: Literal["test", "all"]
    n_splits: int
    n_bootstrap: int
    seed: int
    groups: Mapping[str, str] | None


@dataclass(frozen=True, eq=False)
class Ceiling:
    """One kind of ceiling of one subject.

    Parameters
    ----------
    value
        Mean over neuroids (or over stimuli, for the ceilings of r_pattern); NaN where there is none.
    per_neuroid
        (m,) value of each neuroid, NaN where there is none; those of ``pattern`` are split-half reliabilities.
    resamples
        (n_bootstrap,) values over resampled stimuli, or None.
    n_stimuli
        Number of stimuli that it rests on.
    dropped
        Number of values that have no root, because the reliability is negative.
    factor
        What the standard error is multiplied by, for fits in overlapping folds.
    beside
        What else there is to say, as plain data.
    """

    value: float
    per_neuroid: np.ndarray
    resamples: np.ndarray | None
    n_stimuli: int
    dropped: int = 0
    factor: float = 1.0
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def n_valid(self) -> int:
        """Number of neuroids that have a value."""
        return int(np.isfinite(self.per_neuroid).sum())

    @property
    def bias(self) -> float:
        """Mean of the resamples less the value, as far as the bootstrap can tell; 0 where there are no resamples."""
        if self.resamples is None or not np.isfinite(self.resamples).any():
            return 0.0
        return float(np.nanmean(self.resamples) - self.value)

    def deviations(self) -> np.ndarray | None:
        """(n_bootstrap,) resamples less their mean, widened for folds; None where there are none."""
        if self.resamples is None or not np.isfinite(self.resamples).any():
            return None
        return np.asarray(self.factor * (self.resamples - np.nanmean(self.resamples)))


def ceilings_within(
    responses: Responses, folds: Sequence[Fold], recipe: Recipe
) -> tuple[dict[str, Ceiling], dict[str, str]]:
    """Return the ceilings that one subject's repetitions give, by kind, and for the others why there are none.

    Parameters
    ----------
    responses
        Of one subject.
    folds
        Of that subject.
    recipe
        How to estimate.
    """
    found: dict[str, Ceiling] = {}
    absent: dict[str, str] = {}
    if responses.reliability is None:
        absent["given"] = "the data come with no reliabilities of their own"
    else:
        given = responses.reliability
        roots = root(given)
        beside = {"r": _number(nanmean(roots)), "n_negative": int((given < 0).sum())}
        n = int(np.isfinite(responses.averages()).any(axis=1).sum())
        found["given"] = Ceiling(float(nanmean(given)), given, None, n, beside=beside)
    repeated = responses if responses.has_trials else responses.trials
    reason = AVERAGES_ONLY if repeated is None else ""
    if repeated is not None and int(np.isfinite(repeated.values).sum(axis=1).max(initial=0)) < 2:
        reason = SHOWN_ONCE
    if repeated is None or reason:
        absent |= dict.fromkeys(("anova", "split-half", "paper-halves", "paper-pairs", "pattern", "pattern-z"), reason)
        return found, absent
    whole = [_all_of(repeated)]
    whole_counts = [_counts(repeated.stimulus_ids, recipe)]
    tested, counts = whole, whole_counts
    source: Responses | None = repeated
    if recipe.stimuli == "test":
        source = responses.tested([i for fold in folds for i in fold.test])
        if source.has_trials:
            tested = [_of_fold(source, responses, fold) for fold in folds]
            counts = [_counts(fold.test, recipe) for fold in folds]
        else:
            source = None
            absent |= dict.fromkeys(
                ("anova", "split-half", "pattern", "pattern-z"),
                "single repetitions are not at hand for all test stimuli (stimuli=all takes those that are)",
            )
    if source is not None:
        found["anova"] = anova(source, tested, counts)
        found |= _of_halves(source, tested, counts, recipe)
    found["paper-halves"] = paper_halves(repeated, whole, whole_counts, recipe)
    found["paper-pairs"] = paper_pairs(repeated, whole_counts[0], recipe)
    return found, absent


def repetitions(responses: Responses) -> dict[str, Any]:
    """Return how often stimuli were shown: fewest, median and most over stimuli, and the share of odd counts."""
    trials = responses if responses.has_trials else responses.trials
    if trials is None:
        return {"fewest": None, "median": None, "most": None, "odd": None}
    counts = np.isfinite(trials.values).any(axis=2).sum(axis=1)
    counts = counts[counts > 0]
    if not len(counts):
        return {"fewest": 0, "median": 0, "most": 0, "odd": None}
    return {
        "fewest": int(counts.min()),
        "median": float(np.median(counts)),
        "most": int(counts.max()),
        "odd": float((counts % 2 == 1).mean()),
    }


def anova(responses: Responses, tested: Sequence[TestedStimuli], counts: Sequence[np.ndarray]) -> Ceiling:
    """Return the reliability by analysis of variance, as ``encoding`` defines it.

    1 - mean over stimuli of (s^2 / n_repetitions) / variance of the stimulus means, about the mean of each test fold.
    """
    averages, noise = responses.averages(), mean_noise(responses.values)
    measured = [averages[t.rows] for t in tested]
    noises = [noise[t.rows] for t in tested]
    sample = [weighted_statistics(np.ones((1, len(y))), y, y, e) for y, e in zip(measured, noises, strict=True)]
    reliability, variance = pooled_reliability(sample)[0], pooled_variance(sample)[0]
    total, number = np.zeros(len(counts[0])), np.zeros(len(counts[0]))
    for some in blocks(len(reliability), len(total)):
        resampled = [
            weighted_statistics(w, y[:, some], y[:, some], e[:, some])
            for w, y, e in zip(counts, measured, noises, strict=True)
        ]
        share = pooled_reliability(resampled, variance[some])
        use = np.isfinite(share) & np.isfinite(reliability[some])
        total += np.where(use, share, 0.0).sum(axis=1)
        number += use.sum(axis=1)
    means = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    known = reliability[np.isfinite(reliability)]
    repetitions = np.isfinite(responses.values).sum(axis=1)
    error = log_ratio_error(measured, noises, [repetitions[t.rows] for t in tested])
    beside = {
        "median": _number(np.median(known)) if len(known) else None,
        "median_corrected": _number(corrected_median(reliability, error)),
    }
    return Ceiling(float(nanmean(reliability)), reliability, means, _n_stimuli(averages, tested), beside=beside)


def _of_halves(
    responses: Responses, tested: Sequence[TestedStimuli], counts: Sequence[np.ndarray], recipe: Recipe
) -> dict[str, Ceiling]:
    """Return what the random halves of the repetitions give: reliability, and the ceilings of r_pattern."""
    sample, resampled = _halves(responses, tested, counts, recipe, recipe.n_splits)
    n = _n_stimuli(responses.averages(), tested)
    reliability = sample.reliability[0]
    return {
        "split-half": Ceiling(float(nanmean(reliability)), reliability, nanmean(resampled.reliability, axis=1), n),
        "pattern": Ceiling(float(sample.pattern_ceiling[0]), reliability, resampled.pattern_ceiling, n),
        "pattern-z": Ceiling(float(sample.pattern_z_ceiling[0]), reliability, resampled.pattern_z_ceiling, n),
    }


def paper_halves(
    responses: Responses, whole: Sequence[TestedStimuli], counts: Sequence[np.ndarray], recipe: Recipe
) -> Ceiling:
    """Return the published recipe for MajajHong: one random split over all stimuli, the root of 2r / (1 + r)."""
    sample, resampled = _halves(responses, whole, counts, recipe, 1)
    reliability = sample.reliability[0]
    roots = root(reliability)
    value = float(nanmean(roots))
    return Ceiling(
        value,
        roots,
        _around(value, nanmean(root(resampled.reliability), axis=1)),
        _n_stimuli(responses.averages(), whole),
        dropped=int((reliability < 0).sum()),
    )


def paper_pairs(responses: Responses, counts: np.ndarray, recipe: Recipe) -> Ceiling:
    """Return the published recipe for NSD: correlations of two single repetitions, stepped up to k, and the root.

    k is the harmonic mean over stimuli of the number of repetitions, which is the number where all have the same.
    Repetitions that most stimuli lack are left out: their correlations would rest on a few stimuli.
    """
    trials = responses.values
    shown = np.isfinite(trials).sum(axis=1)
    inverse = np.where(shown > 0, 1 / np.maximum(shown, 1), np.nan)
    k = 1 / nanmean(inverse)
    present = np.isfinite(trials).any(axis=2)
    common = np.flatnonzero(present.sum(axis=0) >= present.any(axis=1).sum() / 2)
    common = common if len(common) > 1 else np.arange(trials.shape[1])
    pairs = [(common[i], common[j]) for i, j in repetition_pairs(len(common), MOST_PAIRS, recipe.seed)]
    roots, dropped = [], 0
    total, number = np.zeros(len(counts)), np.zeros(len(counts))
    for i, j in pairs:
        one, other = trials[:, i], trials[:, j]
        reliability = stepped_up(weighted_statistics(np.ones((1, len(one))), one, other).r[0], k)
        roots.append(root(reliability))
        dropped += int((reliability < 0).sum())
        for some in blocks(trials.shape[2], len(counts)):
            r = weighted_statistics(counts, one[:, some], other[:, some]).r
            resampled = root(stepped_up(r, k[None, some]))
            total += np.where(np.isfinite(resampled), resampled, 0.0).sum(axis=1)
            number += np.isfinite(resampled).sum(axis=1)
    table = np.array(roots)
    means = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    value = float(nanmean(table.ravel()))
    return Ceiling(
        value,
        nanmean(table),
        _around(value, means),
        _n_stimuli(responses.averages(), [_all_of(responses)]),
        dropped=dropped,
        beside={"k": _number(nanmean(k)), "n_pairs": len(pairs), "n_values": int(np.isfinite(table).sum())},
    )


def _halves(
    responses: Responses,
    tested: Sequence[TestedStimuli],
    counts: Sequence[np.ndarray],
    recipe: Recipe,
    n_splits: int,
) -> tuple[SplitHalves, SplitHalves]:
    """Return the correlations of halves in the sample, and in each resample."""
    sample = split_halves(responses.values, tested, n_splits, recipe.seed)
    return sample, split_halves(responses.values, tested, n_splits, recipe.seed, counts)


def _all_of(responses: Responses) -> TestedStimuli:
    """Return all stimuli as one fold; neuroids are z-scored by all of them."""
    averages = responses.averages()
    return TestedStimuli(np.arange(len(averages)), np.isfinite(averages), *training_statistics(averages))


def _of_fold(source: Responses, responses: Responses, fold: Fold) -> TestedStimuli:
    """Return the test stimuli of a fold among those of ``source``; neuroids are z-scored by training stimuli."""
    train = responses.averages()[rows_of(responses.stimulus_ids, fold.train)]
    rows = np.asarray(rows_of(source.stimulus_ids, fold.test))
    return TestedStimuli(rows, np.ones((len(rows), source.n_neuroids), dtype=bool), *training_statistics(train))


def _counts(stimulus_ids: Sequence[str], recipe: Recipe) -> np.ndarray:
    groups = None if recipe.groups is None else [recipe.groups[i] for i in stimulus_ids]
    return resample_counts(stimulus_ids, recipe.n_bootstrap, recipe.seed, groups)


def _n_stimuli(averages: np.ndarray, tested: Sequence[TestedStimuli]) -> int:
    """Return the number of stimuli that any neuroid has a response to."""
    rows = sorted({int(i) for t in tested for i in t.rows})
    return int(np.isfinite(averages[rows]).any(axis=1).sum())


def _around(value: float, resamples: np.ndarray) -> np.ndarray:
    """Return resamples with the value as their mean: what a published recipe leaves out is no bias to correct."""
    known = resamples[np.isfinite(resamples)]
    return np.asarray(resamples - known.mean() + value) if len(known) else resamples


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
