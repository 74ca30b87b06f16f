"""The metric ``encoding``: fit on training stimuli, choose there, predict test stimuli, score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.ridge import PENALTIES, Selection
from benchmark_core.splits import Splits
from benchmark_core.stimuli import match_stimuli
from plugins.metrics._brainscore import compute_preset
from plugins.metrics._combination import combine
from plugins.metrics._conventions import conventions
from plugins.metrics._fitting import Fit, Options, choices, fit_fold, training_statistics
from plugins.metrics._neuroid_resampling import Resample
from plugins.metrics._optimism import chosen_on_test, compare_choices
from plugins.metrics._predictivity import FoldPredictions, SubjectScore, check_groups, rows_of, score_subject


def compute(
    representations: Sequence[Mapping[str, Representation]],
    target: Responses,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    alpha_per_target: bool = False,
    selection: Selection = "loo",
    components: int | None = None,
    choose_components: bool = False,
    standardise: bool = False,
    optimism: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
    preset: str | None = None,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    resample: Resample = "stimuli",
) -> Score:
    """Score one model's representation against neural responses.

    Parameters
    ----------
    representations
        One mapping from layer to representation, in order from input to output. Of several layers the one with the
        best criterion on the training stimuli is chosen in each fold of each subject; ties go to the earlier layer.
    target
        Responses; their mean over repetitions is fitted.
    splits
        One fold or several.
    groups
        Group of each stimulus_id where stimuli come in groups: penalties and layers are then chosen by leaving out
        groups, and groups are resampled.
    alpha_per_target
        Choose a penalty for each neuroid instead of one for all neuroids of a subject.
    selection
        Criterion of the choice; see :func:`benchmark_core.ridge.penalty_criteria`.
    components
        Fit on this many leading principal components of the training stimuli instead of the features; all there are,
        where there are fewer. Held-out predictions of training stimuli, by which penalty and layer are chosen, keep
        these axes.
    choose_components
        Choose their number by the same criterion among 1, 10, 100, ... and ``components`` (without that, all features).
    standardise
        Divide features by their deviation over the training stimuli of each fold, before anything else.
    optimism
        Report how much higher r would be, had everything been chosen by the test stimuli; see
        :mod:`plugins.metrics._optimism`.
    n_bootstrap, seed
        Number and seed of the bootstrap resamples.
    penalties
        The grid.
    resample
        What intervals of score and r_neuroid speak of: other ``stimuli``; other ``neuroids`` of these subjects, on the same
        stimuli; ``both``; or ``hierarchical``, other subjects as well.
    preset, metadata
        A recipe of Brain-Score instead of all this; see :func:`plugins.metrics._brainscore.compute_preset`.

    Returns
    -------
    The score, as ``docs/statistics.md`` defines it. ``layers`` runs over subjects and, within each, folds.
    ``arrays`` holds the held-out ``predictions`` (n_test, n_neuroids) float32, NaN where there are none, and
    ``stimulus`` (n_test,), the position of each row among the target's sorted stimulus ids.

    Raises
    ------
    InputError
        Where stimulus ids do not match, naming them, or features cannot be standardised.
    """
    if preset is not None:
        return compute_preset(**locals())
    if len(representations) != 1 or not representations[0]:
        raise InputError(
            f"the metric encoding takes one model with at least one layer, not {len(representations)} models"
        )
    (layers,) = representations
    for representation in layers.values():
        match_stimuli(representation.stimulus_ids, target.stimulus_ids, "responses")
    check_groups(groups, target.stimulus_ids)
    options = Options(alpha_per_target, selection, tuple(penalties), groups, components, choose_components, standardise)
    scores: dict[str, SubjectScore] = {}
    fits: dict[str, list[Fit]] = {}
    for subject in target.subject_names:
        responses = target.of_subject(subject)
        averages = responses.averages()
        fits[subject] = [
            fit_fold(layers, averages[rows_of(target.stimulus_ids, fold.train)], fold, options)
            for fold in splits.of(subject)
        ]
        folds = [fit.fold for fit in fits[subject]]
        tested = responses.tested([i for fold in folds for i in fold.test_ids])
        scores[subject] = score_subject(tested, folds, groups, n_bootstrap, seed, resample)
        values = scores[subject].values
        values["conventions"] = conventions(tested, folds, values)
        values.update(choices(fits[subject], options))
        if optimism:
            of_test = [
                chosen_on_test(
                    layers,
                    averages[rows_of(target.stimulus_ids, fold.train)],
                    averages[rows_of(target.stimulus_ids, fold.test)],
                    fold,
                    options,
                )
                for fold in splits.of(subject)
            ]
            values.update(compare_choices(of_test, values["r_neuroid"]))
    notes = [note for subject in fits for note in _notes(subject, fits)]
    chosen = [fit.layer for of_subject in fits.values() for fit in of_subject]
    folds_of = {subject: [fit.fold for fit in of_subject] for subject, of_subject in fits.items()}
    return combine(target, scores, folds_of, notes, chosen)


def score_predictions(
    predictions: np.ndarray,
    target: Responses,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    resample: Resample = "stimuli",
) -> Score:
    """Score given predictions, without fitting anything.

    Parameters
    ----------
    predictions
        (n_stimuli, n_neuroids) in the order of the target's (sorted) stimulus ids and its neuroids; only test stimuli
        are used. NaN for neuroids without a prediction.
    target, splits, groups, n_bootstrap, seed, resample
        As for :func:`compute`.

    Raises
    ------
    InputError
        For a wrong shape.
    """
    values = np.asarray(predictions, dtype=np.float64)
    if values.shape != (len(target.stimulus_ids), target.n_neuroids):
        raise InputError(
            f"predictions have shape {values.shape}; expected {(len(target.stimulus_ids), target.n_neuroids)}"
        )
    check_groups(groups, target.stimulus_ids)
    scores: dict[str, SubjectScore] = {}
    folds_of: dict[str, list[FoldPredictions]] = {}
    for subject in target.subject_names:
        responses = target.of_subject(subject)
        own = values[:, [s == subject for s in target.subjects]]
        averages = responses.averages()
        folds_of[subject] = [
            FoldPredictions(
                fold.test,
                own[rows_of(target.stimulus_ids, fold.test)],
                np.zeros(own.shape[1]),
                *training_statistics(averages[rows_of(target.stimulus_ids, fold.train)]),
            )
            for fold in splits.of(subject)
        ]
        tested = responses.tested([i for fold in folds_of[subject] for i in fold.test_ids])
        scores[subject] = score_subject(tested, folds_of[subject], groups, n_bootstrap, seed, resample)
        values_of = scores[subject].values
        values_of["conventions"] = conventions(tested, folds_of[subject], values_of)
    return combine(target, scores, folds_of)


def _notes(subject: str, fits: Mapping[str, Sequence[Fit]]) -> list[str]:
    """Return what the fits of a subject warn of, each with the folds that it concerns."""
    folds: dict[str, list[int]] = {}
    for number, fit in enumerate(fits[subject], start=1):
        for note in dict.fromkeys(fit.notes):
            folds.setdefault(note, []).append(number)
    lines = []
    for note, numbers in folds.items():
        places = [f"subject {subject}"] if len(fits) > 1 else []
        if len(fits[subject]) > 1:
            places.append(f"fold{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}")
        lines.append(f"{', '.join(places)}: {note}" if places else note)
    return lines
