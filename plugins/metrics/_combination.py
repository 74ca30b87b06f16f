"""From subjects to one score: averages, standard errors of averages, counts, held-out predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.keys import digest
from benchmark_core.records import Score
from benchmark_core.resampling import fold_factor
from benchmark_core.subjects import mean_over_subjects
from plugins.metrics._conventions import average_conventions
from plugins.metrics._neuroid_resampling import FEW_SUBJECTS, over_subjects
from plugins.metrics._predictivity import FoldPredictions, SubjectScore, mean_of, number


@dataclass(frozen=True, eq=False)
class Working:
    """What one or several subjects contribute to a score.

    Parameters
    ----------
    scores
        Of each subject.
    n_folds
        Of each subject.
    notes
        Warnings of the fits.
    layers
        Layer chosen in each fold, subject after subject.
    n_neuroids
        Number of neuroids of all subjects.
    shown, tested, scored
        Ids of the stimuli that there are, of those in test folds, and of those that any neuroid was scored on.
    """

    scores: Mapping[str, SubjectScore]
    n_folds: Mapping[str, int]
    notes: tuple[str, ...]
    layers: tuple[str, ...]
    n_neuroids: int
    shown: frozenset[str]
    tested: frozenset[str]
    scored: frozenset[str]


def combine(
    target: Responses,
    scores: Mapping[str, SubjectScore],
    folds_of: Mapping[str, Sequence[FoldPredictions]],
    notes: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> Score:
    """Average over subjects; standard errors come from the resamples of that average."""
    tested = sorted({i for folds in folds_of.values() for fold in folds for i in fold.test_ids})
    predictions, scored = _held_out(target, folds_of, tested)
    working = Working(
        scores=scores,
        n_folds={subject: len(folds) for subject, folds in folds_of.items()},
        notes=tuple(notes),
        layers=tuple(layers),
        n_neuroids=target.n_neuroids,
        shown=frozenset(target.stimulus_ids),
        tested=frozenset(tested),
        scored=frozenset(scored),
    )
    return _average(working, {s: score.values for s, score in scores.items()}, predictions)


PER_NEUROID = ("r", "reliability", "reliability_split_half", "reliability_given", "alphas_per_neuroid")
"""Values with one number for each neuroid."""


def combine_subjects(by_subject: Mapping[str, Score]) -> Score:
    """Average over subjects that were scored apart, because they saw different stimuli.

    Where their test stimuli are the same, so are their resamples, and standard errors come from the resamples of the
    average, as for subjects who saw the same. Numbers for single neuroids go to the arrays: subjects of this kind have
    thousands of them, and a record is a small file.
    """
    if all(score.working is None for score in by_subject.values()):
        return mean_over_subjects(by_subject, "a recipe of Brain-Score")
    parts: list[Working] = [score.working for score in by_subject.values()]
    scores = {name: score for part in parts for name, score in part.scores.items()}
    arrays = {f"{s}/{name}": array for s, score in by_subject.items() for name, array in score.arrays.items()}
    values: dict[str, dict[str, Any]] = {}
    for name, score in scores.items():
        values[name] = {k: v for k, v in score.values.items() if k not in (*PER_NEUROID, *_NAMED_NEUROIDS)}
        for kind in PER_NEUROID:
            if score.values.get(kind) is not None:
                arrays[f"{name}/{kind}"] = np.array(score.values[kind], dtype=np.float64)
    working = Working(
        scores=scores,
        n_folds={name: n for part in parts for name, n in part.n_folds.items()},
        notes=tuple(f"{s}: {note}" for s, part in zip(by_subject, parts, strict=True) for note in part.notes),
        layers=tuple(layer for part in parts for layer in part.layers),
        n_neuroids=sum(part.n_neuroids for part in parts),
        shown=frozenset().union(*(part.shown for part in parts)),
        tested=frozenset().union(*(part.tested for part in parts)),
        scored=frozenset().union(*(part.scored for part in parts)),
    )
    return _average(working, values, arrays)


_NAMED_NEUROIDS = ("neuroid_ids", "excluded_neuroids")


def _average(working: Working, values: dict[str, dict[str, Any]], arrays: dict[str, np.ndarray]) -> Score:
    """Return the score of all subjects."""
    scores, n_folds, layers = working.scores, working.n_folds, working.layers

    def average(name: str) -> float | None:
        return mean_of([v.get(name) for v in values.values()])

    def deviations(statistic: str, subjects: Sequence[str]) -> np.ndarray:
        """Return how far the mean over subjects lies off in each resample, widened for folds."""
        if any(statistic in scores[s].parts for s in subjects):
            return _with_neuroids(statistic, {s: scores[s] for s in subjects})
        centred = []
        for subject in subjects:
            draws = scores[subject].resamples[statistic]
            finite = np.isfinite(draws)
            centre = draws[finite].mean() if finite.any() else np.nan
            centred.append(scores[subject].factor * (draws - centre))
        return np.asarray(np.mean(centred, axis=0)) if centred else np.zeros(0)

    def standard_error(statistic: str, subjects: Sequence[str]) -> float | None:
        mean = deviations(statistic, subjects)
        mean = mean[np.isfinite(mean)]
        return float(mean.std(ddof=1)) if len(mean) > 1 else None

    def around(value: float | None, error: float | None) -> tuple[float, float] | None:
        return None if value is None or error is None else (value - 1.96 * error, value + 1.96 * error)

    usable = [s for s, v in values.items() if v["score"] is not None]
    value, error = average("score"), standard_error("score", usable)
    shared = None if error is None else _shared_key(scores, usable)
    low, high = around(value, error) or (None, None)
    warnings = [*working.notes, *(f"{s}: {w}" if len(scores) > 1 else w for s in scores for w in scores[s].warnings)]
    warnings += _remarks(scores)
    if len(usable) < len(values):
        warnings.append(f"score rests on {len(usable)} of {len(values)} subjects")
    errors = {
        n: standard_error(n, [s for s, v in values.items() if v[n] is not None]) for n in ("r_neuroid", "r_pattern")
    }
    fields: dict[str, Any] = {
        "r_neuroid": average("r_neuroid"),
        "r_neuroid_median": average("r_neuroid_median"),
        "r_pattern": average("r_pattern"),
        "ceiling": average("ceiling"),
        "n_neuroids_valid": sum(v["n_neuroids_valid"] for v in values.values()),
        "n_neuroids": working.n_neuroids,
        "n_stimuli": len(working.scored),
    }
    details: dict[str, Any] = {
        name: average(name)
        for name in (
            "score_median",
            "score_uncorrected",
            "bias",
            "ceiling_median",
            "ceiling_split_half",
            "r_pattern_intercept",
            "r_pattern_z",
            "r_pattern_ceiling",
            "r_pattern_z_ceiling",
        )
    }
    details |= {
        "n_score_median": sum(v["n_score_median"] for v in values.values()),
        "standard_error": error,
        "r_neuroid_standard_error": errors["r_neuroid"],
        "r_neuroid_ci": around(fields["r_neuroid"], errors["r_neuroid"]),
        "r_pattern_standard_error": errors["r_pattern"],
        "r_pattern_ci": around(fields["r_pattern"], errors["r_pattern"]),
        "fold_factor": {s: fold_factor(n) for s, n in n_folds.items()},
        "n_folds": dict(n_folds),
        "n_stimuli_total": len(working.shown),
        "n_stimuli_test": len(working.tested),
        "n_neuroids_scored": sum(v["n_neuroids_scored"] for v in values.values()),
        "n_subjects": len(values),
        "n_subjects_scored": len(usable),
        "excluded": {
            reason: sum(v["excluded"].get(reason, 0) for v in values.values())
            for reason in sorted({r for v in values.values() for r in v["excluded"]})
        },
    }
    schemes = {score.scheme for score in scores.values()} - {"stimuli"}
    if schemes:
        details["resampled"] = " ".join(sorted(schemes))
    for name in ("ceiling_given", "r_ceiling_given", "optimism", "r_neuroid_chosen_on_test"):
        if any(name in v for v in values.values()):
            details[name] = average(name)
    details["conventions"] = average_conventions([v.get("conventions", {}) for v in values.values()])
    if layers:
        every = [alpha for v in values.values() for alpha in v["alphas"]]
        fields["alpha"] = every[0] if len(set(every)) == 1 else every
        for name in ("alphas", "layers", "criteria", "components_used"):
            if any(name in v for v in values.values()):
                details[name] = {s: v.get(name) for s, v in values.items()}
    return Score(
        value=number(value),
        ci_low=low,
        ci_high=high,
        fields=fields,
        details=details,
        subjects=values,
        layers=() if not layers else ((layers[0],) if len(set(layers)) == 1 else tuple(layers),),
        arrays=arrays,
        warnings=tuple(dict.fromkeys(warnings)),
        working=working,
        resamples=None if shared is None else deviations("score", usable),
        resamples_key=shared,
    )


def _with_neuroids(statistic: str, scores: Mapping[str, SubjectScore]) -> np.ndarray:
    """Return how far the mean over subjects lies off in each resample of neuroids, and of subjects where asked for."""
    parts = {s: score.parts[statistic] for s, score in scores.items()}
    if any(score.scheme == "hierarchical" for score in scores.values()):
        values = {s: float(score.values[statistic]) for s, score in scores.items()}
        return over_subjects(parts, values, str(_shared_key(scores, list(scores))))
    return np.asarray(np.mean([part.whole for part in parts.values()], axis=0))


def _remarks(scores: Mapping[str, SubjectScore]) -> list[str]:
    """Say where resampled subjects are few."""
    if len(scores) >= FEW_SUBJECTS or all(score.scheme != "hierarchical" for score in scores.values()):
        return []
    if len(scores) == 1:
        return ["a single subject: the interval speaks of other neuroids and stimuli of this subject only"]
    return [f"{len(scores)} subjects: intervals that speak of other subjects are too narrow with so few"]


def _shared_key(scores: Mapping[str, SubjectScore], subjects: Sequence[str]) -> str | None:
    """Return what identifies the resamples of a mean over these subjects; over others it is another quantity."""
    if any(scores[s].resamples_key is None for s in subjects):
        return None
    return digest({"what": "mean over subjects", "resamples": {s: scores[s].resamples_key for s in subjects}})


def _held_out(
    target: Responses, folds_of: Mapping[str, Sequence[FoldPredictions]], tested: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the held-out predictions as arrays, and the stimuli that any neuroid was scored on."""
    row = {stimulus_id: i for i, stimulus_id in enumerate(tested)}
    where = {stimulus_id: i for i, stimulus_id in enumerate(target.stimulus_ids)}
    positions = np.array([where[i] for i in tested])
    total = np.zeros((len(tested), target.n_neuroids))
    count = np.zeros_like(total)
    for subject, folds in folds_of.items():
        neuroids = np.flatnonzero([s == subject for s in target.subjects])
        for fold in folds:
            cells = np.ix_(np.array([row[i] for i in fold.test_ids]), neuroids)
            total[cells] += fold.predictions
            count[cells] += 1
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    scored = np.isfinite(mean) & np.isfinite(target.averages()[positions])
    arrays = {"predictions": mean.astype(np.float32), "stimulus": positions.astype(np.int64)}
    return arrays, [i for i, used in zip(tested, scored.any(axis=1), strict=True) if used]
