"""What RSA and CKA share: patterns of each subject, the layer chosen on training stimuli, and one score with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.keys import digest
from benchmark_core.pair_resampling import (
    independent_variance,
    resampled_deviations,
    small_sample_factor,
    standard_error,
)
from benchmark_core.rdm_comparison import Similarity
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.resampling import fold_factor, resample_counts, resamples_key
from benchmark_core.splits import Splits
from plugins.metrics._predictivity import mean_of, number

Stimuli = Literal["all", "test"]
TIE = 1e-10
"""Criteria of layers that differ by less are equal."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """Responses of one subject: the stimuli shown, and the neuroids that were recorded on all of them.

    Parameters
    ----------
    subject
        Name.
    stimulus_ids
        Stimuli with a response of any neuroid, sorted.
    averages
        (n, m) mean over repetitions, finite.
    trials
        (n, n_repetitions, m) for those of :attr:`trial_ids`, or None.
    trial_ids
        Stimuli with single repetitions.
    n_neuroids
        Number of neuroids, those left out included.
    """

    subject: str
    stimulus_ids: tuple[str, ...]
    averages: np.ndarray
    trials: np.ndarray | None
    trial_ids: tuple[str, ...]
    n_neuroids: int

    @property
    def n_valid(self) -> int:
        """Number of neuroids recorded on all stimuli that were shown."""
        return int(self.averages.shape[1])

    def at(self, stimulus_ids: Sequence[str]) -> np.ndarray:
        """Return averages of the given stimuli, (len(stimulus_ids), m)."""
        row = {i: n for n, i in enumerate(self.stimulus_ids)}
        return self.averages[[row[i] for i in stimulus_ids]]

    def trials_at(self, stimulus_ids: Sequence[str]) -> np.ndarray | None:
        """Return single repetitions of the given stimuli, or None where they are not at hand."""
        row = {i: n for n, i in enumerate(self.trial_ids)}
        if self.trials is None or not all(i in row for i in stimulus_ids):
            return None
        return self.trials[[row[i] for i in stimulus_ids]]


def patterns_of(target: Responses, subject: str) -> Patterns:
    """Return the patterns of one subject.

    Raises
    ------
    InputError
        If no neuroid was recorded on all stimuli that the subject was shown.
    """
    responses = target.of_subject(subject)
    averages = responses.averages()
    shown = np.isfinite(averages).any(axis=1)
    complete = np.isfinite(averages[shown]).all(axis=0)
    if not shown.any() or not complete.any():
        raise InputError(
            f"subject {subject}: none of {responses.n_neuroids} neuroids was recorded on all {int(shown.sum())} stimuli, "
            "so patterns of stimuli cannot be compared"
        )
    ids = tuple(i for i, s in zip(responses.stimulus_ids, shown, strict=True) if s)
    trials: np.ndarray | None = None
    trial_ids: tuple[str, ...] = ()
    if responses.has_trials:
        trials, trial_ids = responses.values[shown][:, :, complete], ids
    elif responses.trials is not None:
        trials, trial_ids = responses.trials.values[:, :, complete], responses.trials.stimulus_ids
    return Patterns(subject, ids, averages[shown][:, complete], trials, trial_ids, responses.n_neuroids)


@dataclass(frozen=True, eq=False)
class Subject:
    """What a layer is compared to.

    Parameters
    ----------
    stimulus_ids
        Stimuli that the subject was shown.
    similarity
        ``similarity(layer, stimulus_ids, influence)`` compares a layer to the subject, on these stimuli.
    """

    stimulus_ids: tuple[str, ...]
    similarity: Callable[[Representation, tuple[str, ...], bool], Similarity]


@dataclass
class SubjectSimilarity:
    """The similarity of one subject to a model.

    Parameters
    ----------
    values
        Plain data for people and records.
    evaluated
        Stimuli of each fold (or all of them) that were scored, and the influence of each pair on the subject's score.
    layers
        Layer used in each.
    notes
        Warnings.
    """

    values: dict[str, Any]
    evaluated: list[tuple[tuple[str, ...], np.ndarray]] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Working:
    """Deviations of a score in its resamples, with what identifies them, for a mean over subjects scored apart."""

    deviations: np.ndarray | None
    key: str | None


@dataclass(frozen=True, eq=False)
class Resampling:
    """How intervals are made.

    Parameters
    ----------
    n_bootstrap, seed
        Number and seed of the resamples.
    groups
        Group of each stimulus_id, if stimuli come in groups.
    """

    n_bootstrap: int
    seed: int
    groups: Mapping[str, str] | None
    _counts: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)

    def counts(self, ids: tuple[str, ...]) -> np.ndarray:
        """Return how often each stimulus appears in each resample, (n_bootstrap, n)."""
        if ids not in self._counts:
            self._counts[ids] = resample_counts(ids, self.n_bootstrap, self.seed, self._groups_of(ids))
        return self._counts[ids]

    def deviations(self, influences: Mapping[tuple[str, ...], np.ndarray], factor: float) -> np.ndarray:
        """Return centred deviations (n_bootstrap,) of a score whose standard deviation is its standard error.

        Parameters
        ----------
        influences
            Influence of pairs of stimuli, for sets of stimuli that are drawn apart (test folds).
        factor
            What the standard error is multiplied by, for the folds.
        """
        raw = np.zeros(self.n_bootstrap)
        independent = 0.0
        for ids, influence in influences.items():
            groups = self._groups_of(ids)
            units = len(ids) if groups is None else len(set(groups))
            raw += small_sample_factor(units) * resampled_deviations(influence, self.counts(ids))
            independent += independent_variance(influence, groups)
        spread = float(raw.std(ddof=1))
        error = standard_error(raw, independent) * factor
        return np.asarray((raw - raw.mean()) * (error / spread if spread > 0 else 0.0))

    def key(self, sets: Sequence[Sequence[str]]) -> str:
        """Return what identifies the resamples of some sets of stimuli."""
        return resamples_key(sets, self.n_bootstrap, self.seed, self.groups)

    def _groups_of(self, ids: Sequence[str]) -> list[str] | None:
        return None if self.groups is None else [self.groups[i] for i in ids]


def compare_subject(
    layers: Mapping[str, Representation], subject: Subject, splits: Splits, name: str, stimuli: Stimuli, fewest: int
) -> SubjectSimilarity:
    """Compare a model to one subject.

    A single layer is compared on all stimuli, or on the test stimuli of each fold (then averaged). Of several layers each
    fold takes the one that is most similar on its training stimuli, ties going to the earlier layer, and is scored on its
    test stimuli, whatever ``stimuli`` says: on all of them the choice would be scored on what it was made on.

    Parameters
    ----------
    fewest
        Number of stimuli that a comparison needs.

    Raises
    ------
    InputError
        If a fold, or the whole, has fewer stimuli.
    """
    folds, shown = splits.of(name), set(subject.stimulus_ids)
    several = len(layers) > 1
    for fold in folds:
        if len(fold.test) < fewest and (several or stimuli == "test"):
            raise InputError(f"pairs of {len(fold.test)} test stimuli cannot be compared: {fewest} are needed at least")

    def compare(layer: str, ids: Sequence[str], influence: bool) -> Similarity:
        known = tuple(i for i in ids if i in shown)
        if len(known) < fewest:
            return Similarity(np.nan, 0)
        found = subject.similarity(layers[layer], known, influence)
        if found.influence is None or len(known) == len(ids):
            return found
        whole = np.zeros((len(ids), len(ids)))
        rows = [n for n, i in enumerate(ids) if i in shown]
        whole[np.ix_(rows, rows)] = found.influence
        return Similarity(found.value, found.n_pairs, whole)

    everything = tuple(sorted({i for fold in folds for i in (*fold.train, *fold.test)} & shown))
    if len(everything) < fewest:
        raise InputError(f"subject {name}: {len(everything)} stimuli cannot be compared; {fewest} are needed at least")
    first = next(iter(layers))
    criteria: list[dict[str, float]] = []
    chosen = [first] * len(folds)
    on_test: list[dict[str, float]] = []
    if several:
        criteria = [{layer: compare(layer, fold.train, False).value for layer in layers} for fold in folds]
        chosen = [_best(values, first) for values in criteria]
        on_test = [{layer: compare(layer, fold.test, False).value for layer in layers} for fold in folds]
    whole = stimuli == "all" and not several
    sets = [(everything, first)] if whole else [(f.test, layer) for f, layer in zip(folds, chosen, strict=True)]
    found = [compare(layer, ids, True) for ids, layer in sets]
    valid = [n for n, similarity in enumerate(found) if np.isfinite(similarity.value)]
    score = _mean([s.value for s in found])
    result = SubjectSimilarity(
        {
            "score": score,
            "score_all": None if several else (score if whole else number(compare(first, everything, False).value)),
            "score_test": score if not whole else _mean([compare(first, f.test, False).value for f in folds]),
            "stimuli": "all" if whole else "test",
            "score_by_fold": [number(s.value) for s in found],
            "score_chosen_on_test": _mean([v[_best(v, first)] for v in on_test]) if several else None,
            "layers": [layer for _, layer in sets],
            "criteria": [{layer: number(v) for layer, v in values.items()} for values in criteria],
            "n_stimuli": len({i for ids, _ in sets for i in ids} & shown),
            "n_pairs": sum(s.n_pairs for s in found),
        }
    )
    result.layers = [layer for _, layer in sets]
    for n in valid:
        influence = found[n].influence
        assert influence is not None
        result.evaluated.append((tuple(sets[n][0]), influence / len(valid)))
    if len(valid) < len(found):
        where = "its stimuli" if whole else f"the test stimuli of {len(found) - len(valid)} of {len(found)} folds"
        result.notes.append(f"subject {name}: no similarity on {where}")
    if several and stimuli == "all":
        result.notes.append(
            f"the layer is one of {len(layers)}, chosen on training stimuli, so test stimuli are scored; name a layer "
            "(--layer) to score all stimuli"
        )
    return result


def _best(values: Mapping[str, float], first: str) -> str:
    """Return the layer with the largest criterion; the earlier one of (nearly) equals, the first where none has any."""
    known = {layer: v for layer, v in values.items() if np.isfinite(v)}
    if not known:
        return first
    largest = max(known.values())
    return next(layer for layer, v in known.items() if v >= largest - TIE)


def _mean(values: Sequence[float]) -> float | None:
    return mean_of([number(v) for v in values])


def average_over_subjects(
    found: Mapping[str, SubjectSimilarity],
    splits: Splits,
    resampling: Resampling,
    several_layers: bool,
    fields: Mapping[str, Any],
    details: Mapping[str, Any],
) -> Score:
    """Return the mean over subjects, with an interval from shared resamples of stimuli.

    The value is the plain mean, not corrected for bias. Where a layer was chosen among several in overlapping training
    sets, the standard error is multiplied by the factor for folds; where nothing is chosen, nothing is fitted.
    """
    usable = [name for name, one in found.items() if one.values["score"] is not None]
    value = mean_of([found[name].values["score"] for name in usable])
    total: dict[tuple[str, ...], np.ndarray] = {}
    errors: dict[str, float] = {}
    for name in usable:
        factor = fold_factor(len(splits.of(name))) if several_layers else 1.0
        own: dict[tuple[str, ...], np.ndarray] = {}
        for ids, influence in found[name].evaluated:
            own[ids] = own[ids] + influence if ids in own else influence
            share = influence * (factor / len(usable))
            total[ids] = total[ids] + share if ids in total else share
        errors[name] = float(resampling.deviations(own, factor).std(ddof=1))
    deviations = resampling.deviations(total, 1.0) if usable else None
    error = None if deviations is None else float(deviations.std(ddof=1))
    key = None
    if usable:
        keys = {name: resampling.key([ids for ids, _ in found[name].evaluated]) for name in usable}
        key = digest({"what": "mean over subjects", "resamples": keys})
    notes = list(dict.fromkeys(note for one in found.values() for note in one.notes))
    if len(usable) < len(found):
        notes.append(f"score rests on {len(usable)} of {len(found)} subjects")
    subjects: dict[str, Any] = {}
    for name, one in found.items():
        low, high = _interval(one.values["score"], errors.get(name))
        subjects[name] = {**one.values, "ci_low": low, "ci_high": high}
    low, high = _interval(value, error)
    layers = tuple(layer for one in found.values() for layer in one.layers)
    chosen_on_test = mean_of([one.values["score_chosen_on_test"] for one in found.values()])
    return Score(
        value=number(value),
        ci_low=low,
        ci_high=high,
        fields={"n_stimuli": max((one.values["n_stimuli"] for one in found.values()), default=0), **fields},
        details={
            "score_all": mean_of([one.values["score_all"] for one in found.values()]),
            "score_test": mean_of([one.values["score_test"] for one in found.values()]),
            "stimuli": next((one.values["stimuli"] for one in found.values()), None),
            "standard_error": error,
            "n_pairs": {name: one.values["n_pairs"] for name, one in found.items()},
            "n_subjects": len(found),
            "n_subjects_scored": len(usable),
            **({"optimism": chosen_on_test - value} if chosen_on_test is not None and value is not None else {}),
            **details,
        },
        subjects=subjects,
        layers=((layers[0],) if len(set(layers)) == 1 else layers,),
        warnings=tuple(notes),
        working=Working(deviations, key),
        resamples=deviations,
        resamples_key=key,
    )


def _interval(value: float | None, error: float | None) -> tuple[float | None, float | None]:
    """Return value -+ 1.96 standard errors, cut at -1 and 1."""
    if value is None or error is None:
        return None, None
    return max(-1.0, value - 1.96 * error), min(1.0, value + 1.96 * error)


def combine_subjects(by_subject: Mapping[str, Score]) -> Score:
    """Return the mean over subjects who saw different stimuli and were scored apart.

    Where their stimuli are the same, so are their resamples; the interval comes from the mean of the resamples.
    """
    usable = {name: score for name, score in by_subject.items() if score.value is not None}
    value = mean_of([score.value for score in usable.values()])
    parts = [score.working.deviations for score in usable.values() if score.working.deviations is not None]
    deviations = np.mean(parts, axis=0) if parts else None
    error = None if deviations is None else float(deviations.std(ddof=1))
    low, high = _interval(value, error)
    layers = tuple(layer for score in by_subject.values() for layer in score.layers[0])
    names = dict.fromkeys(name for score in by_subject.values() for name in score.fields)
    fields: dict[str, Any] = {}
    for name in names:
        known = [score.fields[name] for score in by_subject.values() if score.fields.get(name) is not None]
        if name in ("n_neuroids", "n_neuroids_valid"):
            fields[name] = sum(known) if known else None
        else:
            fields[name] = max(known, default=None) if name == "n_stimuli" else mean_of(known)
    notes = [f"{name}: {note}" for name, score in by_subject.items() for note in score.warnings]
    if len(usable) < len(by_subject):
        notes.append(f"score rests on {len(usable)} of {len(by_subject)} subjects")
    keys = {name: score.working.key for name, score in usable.items()}
    key = digest({"what": "mean over subjects", "resamples": keys}) if keys else None
    return Score(
        value=number(value),
        ci_low=low,
        ci_high=high,
        fields=fields,
        details={
            "standard_error": error,
            "n_subjects": len(by_subject),
            "n_subjects_scored": len(usable),
            "by_subject": {name: dict(score.details) for name, score in by_subject.items()},
        },
        subjects={s: values for score in by_subject.values() for s, values in score.subjects.items()},
        layers=((layers[0],) if len(set(layers)) == 1 else layers,),
        warnings=tuple(notes),
        resamples=deviations,
        resamples_key=key,
    )
