"""Shares of the reliable variance of one subject that sets of models explain, and their parts, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.banded import Subset, exclusive_parts, subsets
from benchmark_core.reliability import mean_noise
from benchmark_core.resampling import bootstrap_interval, fold_factor, resample_counts, resamples_key
from plugins.metrics._predictivity import BLOCK, SubjectScore, nanmean, number, numbers, rows_of

LETTERS = "ABC"
MINIMUM_TEST = 3  # stimuli
CONSTANT = 1e-12  # a spread below this fraction of the magnitude is rounding


def label(subset: Subset) -> str:
    """Name a set of models: A, B, AB."""
    return "".join(LETTERS[i] for i in subset)


def part_name(subset: Subset, n_models: int) -> str:
    """Name what exactly these models explain: unique_A; shared (of two models), shared_AB (of three)."""
    if len(subset) == 1:
        return f"unique_{label(subset)}"
    return "shared" if n_models == 2 else f"shared_{label(subset)}"


@dataclass(frozen=True, eq=False)
class FoldPartition:
    """Predictions of one fold's test stimuli for the neuroids of one subject, by every set of models.

    Parameters
    ----------
    test_ids
        Ids, shape (n_test,).
    train_means
        (m,) mean training response, NaN for neuroids that were not fitted.
    deviations
        For each set of models (n_test, m) predictions minus ``train_means``.
    """

    test_ids: tuple[str, ...]
    train_means: np.ndarray
    deviations: Mapping[Subset, np.ndarray]


def score_partition(
    responses: Responses,
    folds: Sequence[FoldPartition],
    groups: Mapping[str, str] | None,
    n_bootstrap: int,
    seed: int,
) -> SubjectScore:
    """Score the predictions of one subject's neuroids.

    R^2 of a neuroid is 1 - (sum of squared errors) / (sum of squared deviations from the training mean of the fold),
    both over the test stimuli of all folds; its reliability is 1 - (sum of noise variances) / (the same). A subject's
    share is the sum of the R^2 over the sum of the reliabilities. All of them are resampled together.

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

    Returns
    -------
    Estimates and resamples of the share of every set of models (``A``, ``AB``), of every part (``unique_A``,
    ``shared``), and of ``reliability_sum``.
    """
    sums = _Sums(responses, folds)
    n_models = max(len(s) for s in sums.sets)
    weights = [
        resample_counts(f.test_ids, n_bootstrap, seed, None if groups is None else [groups[i] for i in f.test_ids])
        for f in folds
    ]
    ones = [np.ones((1, len(f.test_ids))) for f in folds]
    every = np.arange(responses.n_neuroids)
    sample = sums.shares(ones, every)
    r2 = {s: np.where(sums.valid, sample[s][0], np.nan) for s in sums.sets}
    reliability = np.where(sums.valid, sample[()][0], np.nan)
    counted = sums.valid & np.isfinite(reliability)
    columns = np.flatnonzero(counted)
    estimates = _statistics({s: values[:, columns] for s, values in sample.items()}, n_models)
    totals: dict[Subset, np.ndarray] = {s: np.zeros(n_bootstrap) for s in sample}
    width = max(1, BLOCK // n_bootstrap)
    for start in range(0, len(columns), width):
        for s, values in sums.shares(weights, columns[start : start + width]).items():
            totals[s] += np.where(np.isfinite(values), values, 0.0).sum(axis=1)
    resamples = _statistics({s: total[:, None] for s, total in totals.items()}, n_models)
    factor = fold_factor(len(folds))
    warnings: list[str] = []
    result = SubjectScore(
        {},
        {name: float(v[0]) if len(columns) else np.nan for name, v in estimates.items()},
        resamples,
        factor,
        warnings,
        resamples_key([f.test_ids for f in folds], n_bootstrap, seed, groups),
    )
    total = bootstrap_interval(result.estimates["reliability_sum"], resamples["reliability_sum"])
    reliable = bool(len(columns)) and (not responses.has_trials or (total is not None and total.low > 0))
    if len(columns) and not reliable:
        warnings.append("no score: the interval of the summed reliability includes 0")
    if groups is not None and min(len({groups[i] for i in f.test_ids}) for f in folds) < 2:
        warnings.append("a test fold holds a single group: its resamples do not vary and intervals are too narrow")
    shares = {name: share_of(result, name) if reliable else dict(NOTHING) for name in names(n_models)}
    whole = shares[label(max(sums.sets, key=len))]
    result.values.update(
        {
            "score": whole["value"],
            "ci_low": whole["ci_low"],
            "ci_high": whole["ci_high"],
            **split_names(shares),
            "ceiling": number(nanmean(reliability)) if responses.has_trials else None,
            "reliability_sum": number(result.estimates["reliability_sum"]) if responses.has_trials else None,
            "reliability_sum_ci": [total.low, total.high] if responses.has_trials and total is not None else None,
            "n_neuroids": responses.n_neuroids,
            "n_neuroids_valid": int(sums.valid.sum()),
            "n_neuroids_scored": len(columns),
            "n_stimuli": len(sums.seen),
            "excluded": dict(sorted(Counter(sums.reasons(reliability).values()).items())),
            "excluded_neuroids": sums.reasons(reliability),
            "neuroid_ids": list(responses.neuroid_ids),
            "r2": {label(s): numbers(values) for s, values in r2.items()},
            "reliability": numbers(reliability) if responses.has_trials else None,
        }
    )
    return result


NOTHING = {"value": None, "ci_low": None, "ci_high": None, "standard_error": None, "estimate": None}


def names(n_models: int) -> list[str]:
    """Return the names of all shares: first of the sets of models, then of the parts."""
    every = subsets(n_models)
    return [*(label(s) for s in every), *(part_name(s, n_models) for s in every)]


def split_names(shares: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return shares of sets of models and parts apart."""
    return {
        "explained": {name: v for name, v in shares.items() if "_" not in name and name != "shared"},
        "parts": {name: v for name, v in shares.items() if "_" in name or name == "shared"},
    }


def _statistics(shares: Mapping[Subset, np.ndarray], n_models: int) -> dict[str, np.ndarray]:
    """Return every share from values per neuroid (n_resamples, m); those of the empty set are reliabilities."""
    reliable = shares[()].sum(axis=1)
    explained = {
        s: np.divide(v.sum(axis=1), reliable, out=np.full(len(v), np.nan), where=reliable != 0)
        for s, v in shares.items()
        if s
    }
    return (
        {label(s): v for s, v in explained.items()}
        | {part_name(s, n_models): v for s, v in exclusive_parts(explained)}
        | {"reliability_sum": reliable}
    )


def share_of(score: SubjectScore, name: str) -> dict[str, float | None]:
    """Return one share of a subject with its interval."""
    interval = score.interval(name)
    if interval is None:
        return dict(NOTHING)
    return {
        "value": number(interval.value),
        "ci_low": number(interval.low),
        "ci_high": number(interval.high),
        "standard_error": number(interval.standard_error),
        "estimate": number(interval.estimate),
    }


class _Sums:
    """Squared errors, squared deviations from the training mean, and noise variances of one subject's test stimuli."""

    def __init__(self, responses: Responses, folds: Sequence[FoldPartition]) -> None:
        self.responses = responses
        self.sets = list(folds[0].deviations)
        averages = responses.averages()
        noise = mean_noise(responses.values) if responses.has_trials else None
        rows = [rows_of(responses.stimulus_ids, fold.test_ids) for fold in folds]
        measured = [np.where(np.isfinite(f.train_means), averages[r], np.nan) for f, r in zip(folds, rows, strict=True)]
        stacked = np.concatenate(measured)
        present = np.isfinite(stacked)
        self.averages, self.present = averages, present
        self.fitted = np.any([np.isfinite(f.train_means) for f in folds], axis=0)
        self.seen = {
            i
            for f, y in zip(folds, measured, strict=True)
            for i, k in zip(f.test_ids, y, strict=True)
            if np.isfinite(k).any()
        }
        high, low = np.where(present, stacked, -np.inf).max(axis=0), np.where(present, stacked, np.inf).min(axis=0)
        with np.errstate(invalid="ignore"):
            self.constant = high - low <= CONSTANT * np.maximum(np.abs(high), np.abs(low))
        self.valid = (present.sum(axis=0) >= MINIMUM_TEST) & ~self.constant
        # In units of each neuroid's largest deviation, so that squares of any unit stay in range.
        deviating = [np.abs(np.nan_to_num(y - f.train_means)) for f, y in zip(folds, measured, strict=True)]
        size = np.concatenate(deviating).max(axis=0)
        size = np.where(self.valid & (size > 0), size, 1.0)
        self.totals, self.errors, self.noises = [], [], []
        for fold, y, take in zip(folds, measured, rows, strict=True):
            off = np.nan_to_num((y - fold.train_means) / size)
            self.totals.append(off**2)
            here = np.isfinite(y)
            self.errors.append({s: np.where(here, off - d / size, 0.0) ** 2 for s, d in fold.deviations.items()})
            self.noises.append(None if noise is None else np.where(here, noise[take] / size / size, 0.0))

    def shares(self, weights: Sequence[np.ndarray], columns: np.ndarray) -> dict[Subset, np.ndarray]:
        """Return R^2 of every set of models in each resample, (n_resamples, len(columns)); reliabilities under ().

        NaN where a resample has no variance. Without repetitions reliabilities are 1.
        """

        def summed(arrays: Sequence[np.ndarray]) -> np.ndarray:
            return np.asarray(sum(w @ a[:, columns] for w, a in zip(weights, arrays, strict=True)))

        totals = summed(self.totals)
        safe = np.where(totals > 0, totals, np.nan)
        found = {s: 1 - summed([e[s] for e in self.errors]) / safe for s in self.sets}
        if self.responses.has_trials:
            noise = summed([n for n in self.noises if n is not None])
            found[()] = 1 - noise / safe
        else:
            found[()] = np.where(np.isfinite(safe), 1.0, np.nan)
        return found

    def reasons(self, reliability: np.ndarray) -> dict[str, str]:
        """Say, by neuroid_id, why a neuroid has no R^2 or no reliability."""
        reasons = {}
        for j in np.flatnonzero(~np.isfinite(reliability)):
            if not np.isfinite(self.averages[:, j]).any():
                reason = "no responses"
            elif not self.fitted[j]:
                reason = "too few training stimuli"
            elif self.present[:, j].sum() < MINIMUM_TEST:
                reason = "too few test stimuli"
            else:
                reason = "constant response" if self.constant[j] else "no repetitions"
            reasons[self.responses.neuroid_ids[j]] = reason
        return reasons
