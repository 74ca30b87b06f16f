"""From subjects to one variance partitioning: averages, their standard errors, and the published variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmark_core.banded import exclusive_parts, subsets
from benchmark_core.keys import digest
from benchmark_core.records import Score
from benchmark_core.resampling import fold_factor
from plugins.metrics._partition_scores import LETTERS, NOTHING, label, names, part_name, share_of, split_names
from plugins.metrics._predictivity import SubjectScore, mean_of, nanmean, number


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
        For each model the layer chosen in each fold, subject after subject.
    scored
        Ids of the stimuli that any neuroid was scored on.
    settings
        Details that do not depend on subjects.
    arrays
        Numbers per neuroid, by name.
    """

    scores: Mapping[str, SubjectScore]
    n_folds: Mapping[str, int]
    notes: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    scored: frozenset[str]
    settings: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def average(working: Working) -> Score:
    """Return the score of all subjects: means, and standard errors from the resamples of the means."""
    scores = working.scores
    values = {subject: score.values for subject, score in scores.items()}
    usable = [s for s, v in values.items() if v["score"] is not None]
    n_models = len(working.layers)
    shares = {name: _average_share([scores[s] for s in usable], name) for name in names(n_models)}
    whole = shares[LETTERS[:n_models]]
    warnings = [*working.notes, *(f"{s}: {w}" if len(scores) > 1 else w for s in scores for w in scores[s].warnings)]
    if len(usable) < len(values):
        warnings.append(f"score rests on {len(usable)} of {len(values)} subjects")
    keys = {s: scores[s].resamples_key for s in usable}
    # As encoding names the resamples of a mean over these subjects.
    shared = digest({"what": "mean over subjects", "resamples": keys}) if whole["value"] is not None else None
    details: dict[str, Any] = {
        **split_names(shares),
        **working.settings,
        "paper": _paper([v.get("paper") for v in values.values()], n_models),
        "weights": {s: v["weights"] for s, v in values.items()},
        "layers": {s: v["layers"] for s, v in values.items()},
        "n_folds": dict(working.n_folds),
        "fold_factor": {s: fold_factor(n) for s, n in working.n_folds.items()},
        "n_neuroids_scored": sum(v["n_neuroids_scored"] for v in values.values()),
        "n_subjects": len(values),
        "n_subjects_scored": len(usable),
        "excluded": {
            reason: sum(v["excluded"].get(reason, 0) for v in values.values())
            for reason in sorted({r for v in values.values() for r in v["excluded"]})
        },
    }
    return Score(
        value=whole["value"],
        ci_low=whole["ci_low"],
        ci_high=whole["ci_high"],
        fields={
            "ceiling": mean_of([v["ceiling"] for v in values.values()]),
            "n_neuroids_valid": sum(v["n_neuroids_valid"] for v in values.values()),
            "n_neuroids": sum(v["n_neuroids"] for v in values.values()),
            "n_stimuli": len(working.scored),
        },
        details=details,
        subjects=values,
        layers=tuple((of_model[0],) if len(set(of_model)) == 1 else of_model for of_model in working.layers),
        arrays=working.arrays,
        warnings=tuple(dict.fromkeys(warnings)),
        working=working,
        resamples=None if shared is None else _deviations([scores[s] for s in usable], LETTERS[:n_models]),
        resamples_key=shared,
    )


def _deviations(scores: Sequence[SubjectScore], name: str) -> np.ndarray:
    """Return how far the mean over subjects of a share lies off in each resample, widened for folds."""
    draws = [score.factor * (score.resamples[name] - nanmean(score.resamples[name])) for score in scores]
    return np.asarray(np.mean(draws, axis=0))


def _average_share(scores: Sequence[SubjectScore], name: str) -> dict[str, float | None]:
    """Return the mean over subjects of a share, with the interval of the mean."""
    if not scores:
        return dict(NOTHING)
    of_each = [share_of(score, name) for score in scores]
    value = mean_of([share["value"] for share in of_each])
    mean = _deviations(scores, name)
    mean = mean[np.isfinite(mean)]
    if value is None or len(mean) < 2:
        return dict(NOTHING)
    error = float(mean.std(ddof=1))
    return {
        "value": value,
        "ci_low": value - 1.96 * error,
        "ci_high": value + 1.96 * error,
        "standard_error": error,
        "estimate": mean_of([share["estimate"] for share in of_each]),
    }


def _paper(of_subjects: Sequence[Mapping[str, Any] | None], n_models: int) -> dict[str, Any] | None:
    """Return squares of the grand mean r_pattern of every set of models, and their parts; a mean, without interval."""
    known = [v for v in of_subjects if v is not None]
    if not known:
        return None
    every = subsets(n_models)
    r = {s: mean_of([v["r_pattern"][label(s)] for v in known]) for s in every}
    squares = {s: np.nan if value is None else np.asarray(value**2) for s, value in r.items()}
    parts = {s: number(v) for s, v in exclusive_parts({s: np.asarray(v) for s, v in squares.items()})}
    return {
        "r_pattern": {label(s): value for s, value in r.items()},
        "explained": {label(s): number(v) for s, v in squares.items()},
        "parts": {part_name(s, n_models): v for s, v in parts.items()},
        "components_used": {
            LETTERS[i]: sorted({n for v in known for n in v["components_used"][LETTERS[i]]}) for i in range(n_models)
        },
    }


_PER_NEUROID = ("r2", "reliability", "neuroid_ids", "excluded_neuroids")


def combine_subjects(by_subject: Mapping[str, Score]) -> Score:
    """Average over subjects that were scored apart, because they saw different stimuli.

    Where their test stimuli are the same, so are their resamples. Numbers for single neuroids are left to the arrays:
    subjects of this kind have thousands of them, and a record is a small file.
    """
    parts: list[Working] = [score.working for score in by_subject.values()]
    return average(
        Working(
            scores={
                name: replace(score, values={k: v for k, v in score.values.items() if k not in _PER_NEUROID})
                for part in parts
                for name, score in part.scores.items()
            },
            n_folds={name: n for part in parts for name, n in part.n_folds.items()},
            notes=tuple(f"{s}: {note}" for s, part in zip(by_subject, parts, strict=True) for note in part.notes),
            layers=tuple(
                tuple(layer for part in parts for layer in part.layers[model]) for model in range(len(parts[0].layers))
            ),
            scored=frozenset().union(*(part.scored for part in parts)),
            settings=parts[0].settings,
            arrays={
                f"{s}/{name}": a for s, part in zip(by_subject, parts, strict=True) for name, a in part.arrays.items()
            },
        )
    )
