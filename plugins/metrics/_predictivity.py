"""Scoring predictions against measured responses: correlations, reliability, ceilings and bootstrap intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.profiling import stage
from benchmark_core.reliability import TestedStimuli, mean_noise, row_correlations, split_halves
from benchmark_core.resampling import (
    Interval,
    bootstrap_interval,
    fold_factor,
    pooled_reliability,
    pooled_variance,
    resample_counts,
    resamples_key,
    weighted_statistics,
)
from benchmark_core.stimuli import name_ids
from plugins.metrics._neuroid_resampling import Deviations, NeuroidDraws, Resample, deviations_of

N_SPLITS = 20  # random split-halves to average
MEDIAN_RELIABILITY = 0.1  # neuroids below it have no meaningful ratio of their own
BLOCK = 500_000  # numbers in one resamples-by-neuroids array


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """Predictions of one fold's test stimuli for the neuroids of one subject.

    Parameters
    ----------
    test_ids
        Ids, shape (n_test,).
    deviations
        (n_test, m) predictions, or predictions minus a constant per neuroid; NaN for neuroids without a prediction.
    intercepts
        (m,) what to add to ``deviations`` to get predictions.
    train_means, train_deviations
        (m,) mean and standard deviation (divisor n) of the training responses.
    """

    test_ids: tuple[str, ...]
    deviations: np.ndarray
    intercepts: np.ndarray
    train_means: np.ndarray
    train_deviations: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """(n_test, m) predictions in the unit of the responses."""
        return np.asarray(self.deviations + self.intercepts[None, :])


@dataclass(frozen=True, eq=False)
class SubjectScore:
    """Everything that one subject contributes.

    Parameters
    ----------
    values
        Plain data for people and records.
    estimates
        Uncorrected estimate of each statistic.
    resamples
        (n_bootstrap,) resampled values of each statistic.
    factor
        What standard errors are multiplied by, for the folds.
    warnings
        One line each.
    resamples_key
        What identifies the resamples (:func:`benchmark_core.resampling.resamples_key`).
    parts
        Deviations of statistics whose intervals speak of other neuroids, too.
    scheme
        What was resampled.
    """

    values: dict[str, Any]
    estimates: dict[str, float]
    resamples: dict[str, np.ndarray]
    factor: float
    warnings: list[str]
    resamples_key: str | None = None
    parts: dict[str, Deviations] = field(default_factory=dict)
    scheme: Resample = "stimuli"

    def interval(self, statistic: str) -> Interval | None:
        """Return the bias-corrected interval of a statistic."""
        found = bootstrap_interval(self.estimates[statistic], self.resamples[statistic], self.factor)
        if found is None or statistic not in self.parts:
            return found
        # Neither value nor bias depends on what else is resampled.
        whole = self.parts[statistic].whole
        error = float(whole[np.isfinite(whole)].std(ddof=1))
        low, high = found.value - 1.96 * error, found.value + 1.96 * error
        return replace(found, low=low, high=high, standard_error=error)


def number(value: Any) -> float | None:
    """Return a finite float, or None."""
    return float(value) if value is not None and np.isfinite(value) else None


def numbers(values: Any) -> list[float | None]:
    """Return a list of finite floats and None."""
    return [number(v) for v in np.asarray(values, dtype=np.float64).ravel()]


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is not None, or None."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def nanmean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean over finite entries, NaN (silently) where there are none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    total = np.where(finite, values, 0.0).sum(axis=axis)
    return np.asarray(np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0))


def signed_square(r: np.ndarray) -> np.ndarray:
    """Return sign(r) r^2."""
    return np.asarray(np.sign(r) * r**2)


def score_subject(
    responses: Responses,
    folds: Sequence[FoldPredictions],
    groups: Mapping[str, str] | None,
    n_bootstrap: int,
    seed: int,
    resample: Resample = "stimuli",
) -> SubjectScore:
    """Score the predictions of one subject's neuroids.

    Parameters
    ----------
    responses
        Of one subject.
    folds
        Predictions for the test stimuli of each fold.
    groups
        Group of each stimulus_id, to be resampled together, or None.
    n_bootstrap, seed
        Number and seed of the resamples.
    resample
        What intervals of score and r_neuroid speak of; see :mod:`plugins.metrics._neuroid_resampling`.
    """
    rows = [rows_of(responses.stimulus_ids, fold.test_ids) for fold in folds]
    averages = responses.averages()
    noise = mean_noise(responses.values) if responses.has_trials else None
    measured = [averages[r] for r in rows]
    noises = [None if noise is None else noise[r] for r in rows]
    weights = [
        resample_counts(f.test_ids, n_bootstrap, seed, None if groups is None else [groups[i] for i in f.test_ids])
        for f in folds
    ]
    samples = [
        weighted_statistics(np.ones((1, len(y))), f.deviations, y, e)
        for f, y, e in zip(folds, measured, noises, strict=True)
    ]
    r = nanmean(np.array([s.r[0] for s in samples]))
    reliability = pooled_reliability(samples)[0]
    counted = np.isfinite(r)
    if responses.has_trials:
        counted &= np.isfinite(reliability)

    variance = pooled_variance(samples)[0]
    neuroids = None
    if resample != "stimuli":
        neuroids = NeuroidDraws(resample, responses.neuroid_ids, np.isfinite(r), n_bootstrap, seed)
    resamples = _resample(
        folds, measured, noises, weights, np.isfinite(r), counted, variance if responses.has_trials else None, neuroids
    )
    explained = float(signed_square(r[counted]).sum()) if counted.any() else np.nan
    denominator = float(reliability[counted].sum()) if responses.has_trials else float(counted.sum())
    estimates = {
        "score": explained / denominator if counted.any() and denominator != 0 else np.nan,
        "r_neuroid": float(nanmean(r)),
        "reliability_sum": denominator,
    }
    warnings: list[str] = []
    factor = fold_factor(len(folds))
    patterns, pattern_resamples = _patterns(responses, folds, rows, measured, weights)
    estimates["r_pattern"] = patterns.pop("r_pattern")
    resamples["r_pattern"] = pattern_resamples
    key = resamples_key([f.test_ids for f in folds], n_bootstrap, seed, groups)
    result = SubjectScore({}, estimates, resamples, factor, warnings, key)
    if neuroids is not None:
        if resample == "neuroids":
            share = reliability if responses.has_trials else np.ones(len(r))
            parts = np.where(counted, signed_square(r), 0.0), np.where(counted, share, 0.0), r
            neuroids.add(np.arange(len(r)), *(part[None, :] for part in parts))
        result = replace(
            result,
            resamples_key=neuroids.key(key),
            scheme=resample,
            parts={
                name: deviations_of(resample, resamples[name], draws, factor)
                for name, draws in neuroids.statistics().items()
            },
        )

    total = bootstrap_interval(denominator, resamples["reliability_sum"]) if responses.has_trials else None
    reliable = not responses.has_trials or (total is not None and total.low > 0)
    interval = result.interval("score") if reliable else None
    if counted.any() and not reliable:
        warnings.append("no score: the interval of the summed reliability includes 0")
    if groups is not None:
        fewest = min(len({groups[i] for i in f.test_ids}) for f in folds)
        if fewest < 2:
            warnings.append("a test fold holds a single group: its resamples do not vary and intervals are too narrow")
    r_interval, pattern_interval = result.interval("r_neuroid"), result.interval("r_pattern")
    good = counted & (reliability >= MEDIAN_RELIABILITY) if responses.has_trials else np.zeros(len(r), dtype=bool)
    ratios = signed_square(r[good]) / reliability[good]
    reasons = _reasons(responses, averages, folds, rows, r, reliability)
    result.values.update(
        {
            "score": None if interval is None else number(interval.value + 0.0),
            "ci_low": None if interval is None else number(interval.low),
            "ci_high": None if interval is None else number(interval.high),
            "standard_error": None if interval is None else number(interval.standard_error),
            "score_uncorrected": number(estimates["score"]) if reliable else None,
            "bias": None if interval is None else number(interval.bias),
            "score_median": number(np.median(ratios)) if good.any() else None,
            "n_score_median": int(good.sum()),
            "r_neuroid": number(estimates["r_neuroid"]),
            "r_neuroid_standard_error": None if r_interval is None else r_interval.standard_error,
            "r_neuroid_median": number(np.median(r[np.isfinite(r)])) if np.isfinite(r).any() else None,
            "r_pattern": number(estimates["r_pattern"]),
            "r_pattern_standard_error": None if pattern_interval is None else pattern_interval.standard_error,
            **{name: number(value) for name, value in patterns.items()},
            "ceiling": number(nanmean(reliability)),
            "ceiling_median": number(np.median(reliability[np.isfinite(reliability)]))
            if np.isfinite(reliability).any()
            else None,
            "reliability_sum": number(denominator) if responses.has_trials else None,
            "reliability_sum_ci": None if total is None else [total.low, total.high],
            "n_neuroids": responses.n_neuroids,
            "n_neuroids_valid": int(np.isfinite(r).sum()),
            "n_neuroids_scored": int(counted.sum()),
            "n_stimuli": len({i for f, y in zip(folds, measured, strict=True) for i in _seen(f, y)}),
            "excluded": dict(sorted(Counter(reasons.values()).items())),
            "excluded_neuroids": reasons,
            "neuroid_ids": list(responses.neuroid_ids),
            "r": numbers(r),
            "reliability": numbers(reliability) if responses.has_trials else None,
        }
    )
    if responses.has_trials:
        result.values.update(_split_halves(responses, folds, rows, seed))
    if responses.reliability is not None:
        result.values.update(_given_ceiling(responses.reliability))
    return result


def _given_ceiling(reliability: np.ndarray) -> dict[str, Any]:
    """Return what is known of ceilings from elsewhere: reported, and no score is divided by it."""
    good = reliability[np.isfinite(reliability) & (reliability >= 0)]
    return {
        "ceiling_given": number(nanmean(reliability)),
        "r_ceiling_given": number(np.sqrt(good).mean()) if len(good) else None,
        "reliability_given": numbers(reliability),
    }


def _seen(fold: FoldPredictions, measured: np.ndarray) -> list[str]:
    """Return the test stimuli that at least one neuroid is scored on."""
    used = (np.isfinite(measured) & np.isfinite(fold.deviations)).any(axis=1)
    return [i for i, keep in zip(fold.test_ids, used, strict=True) if keep]


@stage("bootstrap")
def _resample(
    folds: Sequence[FoldPredictions],
    measured: Sequence[np.ndarray],
    noises: Sequence[np.ndarray | None],
    weights: Sequence[np.ndarray],
    valid: np.ndarray,
    counted: np.ndarray,
    variance: np.ndarray | None,
    neuroids: NeuroidDraws | None = None,
) -> dict[str, np.ndarray]:
    """Resample r and reliability together; statistics that are means and sums over neuroids, (n_bootstrap,) each."""
    n = len(weights[0])
    explained, reliable, total_r, count_r = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    columns = np.flatnonzero(valid)
    width = max(1, BLOCK // n)
    for start in range(0, len(columns), width):
        block = columns[start : start + width]
        both = [
            weighted_statistics(w, f.deviations[:, block], y[:, block], None if e is None else e[:, block])
            for w, f, y, e in zip(weights, folds, measured, noises, strict=True)
        ]
        r = nanmean(np.array([b.r for b in both]))
        finite = np.isfinite(r)
        total_r += np.where(finite, r, 0.0).sum(axis=1)
        count_r += finite.sum(axis=1)
        share = np.ones_like(r) if variance is None else pooled_reliability(both, variance[block])
        use = finite & np.isfinite(share) & counted[block][None, :]
        numerator, denominator = np.where(use, signed_square(np.where(use, r, 0.0)), 0.0), np.where(use, share, 0.0)
        explained += numerator.sum(axis=1)
        reliable += denominator.sum(axis=1)
        if neuroids is not None and neuroids.scheme != "neuroids":
            neuroids.add(block, numerator, denominator, r)
    missing = np.full(n, np.nan)
    return {
        "score": np.divide(explained, reliable, out=missing.copy(), where=reliable != 0),
        "reliability_sum": reliable,
        "r_neuroid": np.divide(total_r, count_r, out=missing.copy(), where=count_r > 0),
    }


@stage("bootstrap")
def _patterns(
    responses: Responses,
    folds: Sequence[FoldPredictions],
    rows: Sequence[Sequence[int]],
    measured: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
) -> tuple[dict[str, float], np.ndarray]:
    """Return r across neuroids, averaged over test stimuli: of the predictions, of the intercepts alone, z-scored."""
    full, intercept, scored = [], [], []
    for fold, y in zip(folds, measured, strict=True):
        y = np.where(np.isfinite(fold.deviations), y, np.nan)
        full.append(row_correlations(fold.predictions, y))
        intercept.append(row_correlations(np.broadcast_to(fold.train_means, y.shape), y))
        scored.append(row_correlations(_z(fold.predictions, fold), _z(y, fold)))
    values = np.concatenate(full)
    present = np.isfinite(values).astype(np.float64)
    counts = np.concatenate(weights, axis=1)
    total = counts @ present
    resampled = np.divide(
        counts @ np.where(present > 0, values, 0.0), total, out=np.full(len(counts), np.nan), where=total > 0
    )
    return {
        "r_pattern": float(nanmean(values)),
        "r_pattern_intercept": float(nanmean(np.concatenate(intercept))),
        "r_pattern_z": float(nanmean(np.concatenate(scored))),
    }, resampled


def _z(values: np.ndarray, fold: FoldPredictions) -> np.ndarray:
    """z-score neuroids by training statistics; NaN for neuroids constant in training."""
    spread = np.where(fold.train_deviations > 0, fold.train_deviations, np.nan)
    return np.asarray((values - fold.train_means) / spread)


def _split_halves(
    responses: Responses, folds: Sequence[FoldPredictions], rows: Sequence[Sequence[int]], seed: int
) -> dict[str, Any]:
    """Return split-half reliabilities (Spearman-Brown), and ceilings of r_pattern and r_pattern_z (their roots)."""
    tested = [
        TestedStimuli(np.asarray(take), np.isfinite(fold.deviations), fold.train_means, fold.train_deviations)
        for fold, take in zip(folds, rows, strict=True)
    ]
    halves = split_halves(responses.values, tested, N_SPLITS, seed)
    reliability = halves.reliability[0]
    return {
        "ceiling_split_half": number(nanmean(reliability)),
        "reliability_split_half": numbers(reliability),
        "r_pattern_ceiling": number(halves.pattern_ceiling[0]),
        "r_pattern_z_ceiling": number(halves.pattern_z_ceiling[0]),
    }


def _reasons(
    responses: Responses,
    averages: np.ndarray,
    folds: Sequence[FoldPredictions],
    rows: Sequence[Sequence[int]],
    r: np.ndarray,
    reliability: np.ndarray,
) -> dict[str, str]:
    """Say, by neuroid_id, why a neuroid has no r or no reliability."""
    tested = averages[sorted({i for take in rows for i in take})]
    fitted = {int(j) for f in folds for j in np.flatnonzero(np.isfinite(f.deviations).any(axis=0))}
    missing = ~np.isfinite(r)
    if responses.has_trials:
        missing |= ~np.isfinite(reliability)
    reasons: dict[str, str] = {}
    for j in np.flatnonzero(missing):
        if not np.isfinite(averages[:, j]).any():
            reason = "no responses"
        elif int(j) not in fitted:
            reason = "too few training stimuli"
        elif not np.isfinite(r[j]):
            values = tested[np.isfinite(tested[:, j]), j]
            constant = len(values) >= 2 and np.ptp(values) <= 1e-12 * np.abs(values).max()
            reason = "constant response" if constant else "too few or constant responses in every test fold"
        else:
            reason = "no repetitions"
        reasons[responses.neuroid_ids[j]] = reason
    return reasons


def rows_of(stimulus_ids: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the positions of ids among the ids of the responses.

    Raises
    ------
    InputError
        Naming the ids that are not there.
    """
    row = {stimulus_id: i for i, stimulus_id in enumerate(stimulus_ids)}
    missing = [i for i in wanted if i not in row]
    if missing:
        raise InputError(f"the splits name stimulus_id {name_ids(missing)}, which was not recorded")
    return [row[i] for i in wanted]


def check_groups(groups: Mapping[str, str] | None, stimulus_ids: Sequence[str]) -> None:
    """Check that every stimulus has a group.

    Raises
    ------
    InputError
        Naming the ids without one.
    """
    missing = [i for i in stimulus_ids if groups is not None and i not in groups]
    if missing:
        raise InputError(f"stimulus_id {name_ids(missing)} has no group")
