"""How well one subject's responses predict another's: what the animal itself, as a model, would score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.representation import Representation
from benchmark_core.ridge import PENALTIES
from benchmark_core.splits import Fold, KFold
from plugins.metrics._ceilings import Ceiling
from plugins.metrics._fitting import Options, fit_fold, training_statistics
from plugins.metrics._predictivity import SubjectScore, mean_of, nanmean, rows_of, score_subject

FOLDS = 5
"""Of the stimuli that subjects have in common, where they saw different ones: 80 % to fit, 20 % to test."""


def between_subjects(
    of_subject: Mapping[str, Responses],
    folds_of: Mapping[str, Sequence[Fold]],
    groups: Mapping[str, str] | None,
    *,
    together: bool,
    n_bootstrap: int,
    seed: int,
) -> tuple[dict[str, Ceiling], dict[str, str]]:
    """Predict each subject's neuroids from other subjects' by ridge, held out by the folds, and score as ``encoding`` does.

    Parameters
    ----------
    of_subject
        Responses of each subject; at least two.
    folds_of
        Of each subject to be predicted.
    groups
        Group of each stimulus_id, or None.
    together
        Predict from all other subjects at once, instead of from each (and average over these).
    n_bootstrap, seed
        Number and seed of the resamples.

    Returns
    -------
    The ceiling of each subject, and for those without one why. ``value`` is ``encoding``'s score; values of neuroids are
    their r. What each pair reached stands in ``beside["pairs"]``, by the names of the subjects predicted from.
    """
    found: dict[str, Ceiling] = {}
    absent: dict[str, str] = {}
    for name, responses in of_subject.items():
        others = {other: of_subject[other] for other in of_subject if other != name}
        sources = [tuple(others)] if together else [(other,) for other in others]
        scores: dict[str, SubjectScore] = {}
        for source in sources:
            folds = _recorded_in_both(responses, [others[s] for s in source], folds_of[name])
            if folds is None:
                absent[name] = f"{name} and {' and '.join(source)} have too few stimuli in common"
                continue
            scores[" + ".join(source)] = _predict(
                responses, [others[s] for s in source], folds, groups, n_bootstrap, seed
            )
        if scores:
            absent.pop(name, None)
            found[name] = _mean_over_sources(scores)
    return found, absent


def on_common_stimuli(
    of_subject: Mapping[str, Responses],
    tested: Mapping[str, frozenset[str]],
    *,
    together: bool,
    n_bootstrap: int,
    seed: int,
) -> tuple[dict[str, Ceiling], dict[str, str]]:
    """Do the same for subjects who saw different stimuli, on the test stimuli that all of them saw, in five folds."""
    common = sorted(frozenset.intersection(*tested.values()))
    if len(of_subject) < 2 or len(common) < 4 * FOLDS:
        reason = f"{len(of_subject)} subjects have {len(common)} test stimuli in common"
        return {}, dict.fromkeys(of_subject, reason)
    folds = KFold(FOLDS).assign(common).folds
    shared = {name: responses.at(common) for name, responses in of_subject.items()}
    return between_subjects(
        shared, dict.fromkeys(shared, folds), None, together=together, n_bootstrap=n_bootstrap, seed=seed
    )


def _recorded_in_both(
    responses: Responses, sources: Sequence[Responses], folds: Sequence[Fold]
) -> tuple[Fold, ...] | None:
    """Return the folds without stimuli that a subject has no response to; None if too few are left in any."""
    seen = [
        {
            i
            for i, any_response in zip(r.stimulus_ids, np.isfinite(r.averages()).any(axis=1), strict=True)
            if any_response
        }
        for r in (responses, *sources)
    ]
    both = set.intersection(*seen)
    kept = [([i for i in f.train if i in both], [i for i in f.test if i in both]) for f in folds]
    if any(len(train) < 3 or len(test) < 2 for train, test in kept):
        return None
    return tuple(Fold(tuple(train), tuple(test)) for train, test in kept)


def _predict(
    responses: Responses,
    sources: Sequence[Responses],
    folds: Sequence[Fold],
    groups: Mapping[str, str] | None,
    n_bootstrap: int,
    seed: int,
) -> SubjectScore:
    """Fit and score the neuroids of one subject from those of others."""
    options = Options(alpha_per_target=False, selection="loo", penalties=PENALTIES, groups=groups)
    averages = responses.averages()
    fits = []
    for fold in folds:
        layers = {"other subjects": _as_features(sources, fold)}
        train = averages[rows_of(responses.stimulus_ids, fold.train)]
        fits.append(fit_fold(layers, train, fold, options))
    predictions = [fit.fold for fit in fits]
    tested = responses.tested([i for fold in folds for i in fold.test])
    return score_subject(tested, predictions, groups, n_bootstrap, seed)


def _as_features(sources: Sequence[Responses], fold: Fold) -> Representation:
    """Return mean responses as features of a fold's stimuli, z-scored by its training stimuli.

    Neuroids that miss one of these stimuli, or never vary in training, are no features.
    """
    ids = sorted({*fold.train, *fold.test})
    columns = []
    for source in sources:
        averages = source.averages()
        values = averages[rows_of(source.stimulus_ids, ids)]
        mean, deviation = training_statistics(averages[rows_of(source.stimulus_ids, fold.train)])
        usable = np.isfinite(values).all(axis=0) & (deviation > 0)
        columns.append((values[:, usable] - mean[usable]) / deviation[usable])
    features = np.concatenate(columns, axis=1)
    if not features.shape[1]:
        features = np.zeros((len(ids), 1))
    return Representation.from_features(features, ids)


def _mean_over_sources(scores: Mapping[str, SubjectScore]) -> Ceiling:
    """Return the mean over the subjects predicted from."""
    usable = [s for s in scores.values() if s.values["score"] is not None]
    table = np.array([[np.nan if r is None else r for r in s.values["r"]] for s in scores.values()], dtype=np.float64)
    draws = [s.resamples["score"] - np.nanmean(s.resamples["score"]) for s in usable]
    names = (
        "score",
        "ci_low",
        "ci_high",
        "r_neuroid",
        "r_neuroid_median",
        "r_pattern",
        "r_pattern_z",
        "n_neuroids_valid",
    )
    pairs = {source: {name: s.values.get(name) for name in names} for source, s in scores.items()}
    beside: dict[str, Any] = {
        name: mean_of([s.values.get(name) for s in scores.values()])
        for name in ("r_neuroid", "r_neuroid_median", "r_pattern", "r_pattern_z")
    }
    value = float(np.mean([s.values["score"] for s in usable])) if usable else np.nan
    return Ceiling(
        value,
        nanmean(table),
        value + np.mean(draws, axis=0) if draws else None,  # the score is corrected for bias already
        max(s.values["n_stimuli"] for s in scores.values()),
        factor=max(s.factor for s in scores.values()),
        beside=beside | {"pairs": pairs},
    )
