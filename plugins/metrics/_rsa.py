"""The metric ``rsa``: dissimilarities of a layer and of a target, compared over pairs of stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.dissimilarity import (
    DISTANCES,
    Distance,
    crossvalidated_rdm,
    noise_precision,
    rdm_of_patterns,
    rdm_of_representation,
)
from benchmark_core.errors import InputError
from benchmark_core.rdm_comparison import FLAT, Comparison, Similarity, compare_rdms, noise_ceiling
from benchmark_core.rdms import RDMs
from benchmark_core.records import Score
from benchmark_core.reliability import half_means, spearman_brown
from benchmark_core.representation import Representation
from benchmark_core.splits import Splits
from benchmark_core.stimuli import match_stimuli
from plugins.metrics._predictivity import check_groups, mean_of, number
from plugins.metrics._similarity import (
    Patterns,
    Resampling,
    Stimuli,
    Subject,
    SubjectSimilarity,
    average_over_subjects,
    compare_subject,
    patterns_of,
)

TargetDistance = Literal["same", "correlation", "euclidean", "sqeuclidean", "cosine", "crossnobis", "cv-sqeuclidean"]
CROSSVALIDATED = ("crossnobis", "cv-sqeuclidean")
FEWEST_STIMULI = 3
N_SPLITS = 10
"""Random split-halves to average."""


def compute(
    representations: Sequence[Mapping[str, Representation]],
    target: Responses | RDMs,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    distance: Distance = "correlation",
    compare: Comparison = "spearman",
    target_distance: TargetDistance = "same",
    stimuli: Stimuli = "test",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Score:
    """Compare one model's representational dissimilarities to measured ones.

    Parameters
    ----------
    representations
        One mapping from layer to representation. Of several layers each fold of each subject takes the one that compares
        best on its training stimuli, and test stimuli are scored.
    target
        RDMs, averaged over the sessions of a subject; or responses, of which RDMs are made.
    splits
        One fold or several.
    groups
        Group of each stimulus_id where stimuli come in groups: groups are resampled.
    distance
        Dissimilarity of two stimuli in a layer; see :func:`benchmark_core.dissimilarity.rdm_of_representation`.
    compare
        See :func:`benchmark_core.rdm_comparison.compare_rdms`.
    target_distance
        Dissimilarity of responses: ``same`` as in the layer, or another; ``crossnobis`` and ``cv-sqeuclidean`` are
        cross-validated over repetitions (:func:`benchmark_core.dissimilarity.crossvalidated_rdm`), the first normalised by
        the noise covariance of all stimuli's repetitions.
    stimuli
        The ``test`` stimuli of each fold, averaged over folds; or ``all``, for a single layer.
    n_bootstrap, seed
        Number and seed of the bootstrap resamples of stimuli.

    Returns
    -------
    ``value`` is the mean over subjects of the correlation with each subject's RDM; ``details`` hold the noise ceiling over
    subjects and, for responses with repetitions, the split-half reliability of the RDMs.

    Raises
    ------
    InputError
        For stimulus ids that do not match, fewer than three stimuli, a constant RDM, RDMs with another ``target_distance``,
        or cross-validated distances without repetitions.
    """
    if len(representations) != 1 or not representations[0]:
        raise InputError(f"the metric rsa takes one model with at least one layer, not {len(representations)} models")
    if not isinstance(target, (Responses, RDMs)):
        raise InputError(f"the metric rsa needs responses or RDMs, not {type(target).__name__}")
    (layers,) = representations
    what = "responses" if isinstance(target, Responses) else "RDMs"
    for representation in layers.values():
        match_stimuli(representation.stimulus_ids, target.stimulus_ids, what)
    check_groups(groups, target.stimulus_ids)
    resampling = Resampling(n_bootstrap, seed, groups)
    measured = measured_rdms(target, distance, target_distance)
    found: dict[str, SubjectSimilarity] = {}
    for name, one in measured.items():
        subject = Subject(one.stimulus_ids, _similarity(one, distance, compare))
        found[name] = compare_subject(layers, subject, splits, name, stimuli, FEWEST_STIMULI)
    details: dict[str, Any] = {"distance": distance, "compare": compare}
    if isinstance(target, Responses):
        details["target_distance"] = distance if target_distance == "same" else target_distance
    else:
        details["measure"] = target.measure
    bounds = _ceilings(measured, found, compare)
    details |= {"ceiling_lower": bounds and bounds[0], "ceiling_upper": bounds and bounds[1]}
    halves = _split_half(measured, found, compare, details.get("target_distance"), seed)
    details |= halves
    patterns = [one.patterns for one in measured.values() if one.patterns is not None]
    fields = {
        "n_neuroids": sum(p.n_neuroids for p in patterns) if patterns else None,
        "ceiling": bounds and bounds[0],
    }
    if patterns:
        fields["n_neuroids_valid"] = sum(p.n_valid for p in patterns)
    return average_over_subjects(found, splits, resampling, len(layers) > 1, fields, details)


@dataclass(frozen=True, eq=False)
class MeasuredRDM:
    """The dissimilarities of one subject.

    Parameters
    ----------
    stimulus_ids
        Stimuli that the subject was shown, sorted.
    rdm
        (n, n), NaN for pairs without a dissimilarity.
    patterns
        What the RDM was made of, if it was made of responses.
    """

    stimulus_ids: tuple[str, ...]
    rdm: np.ndarray
    patterns: Patterns | None = None

    def at(self, stimulus_ids: Sequence[str]) -> np.ndarray:
        """Return the RDM of the given stimuli."""
        row = {i: n for n, i in enumerate(self.stimulus_ids)}
        rows = [row[i] for i in stimulus_ids]
        return self.rdm[np.ix_(rows, rows)]


def measured_rdms(
    target: Responses | RDMs, distance: Distance, target_distance: TargetDistance = "same"
) -> dict[str, MeasuredRDM]:
    """Return the RDM of every subject.

    Raises
    ------
    InputError
        If an RDM is constant or empty, or cannot be made in this way.
    """
    found: dict[str, MeasuredRDM] = {}
    for subject in target.subject_names:
        if isinstance(target, RDMs):
            if target_distance != "same":
                raise InputError(
                    f"the target is RDMs ({target.measure or 'as they are'}), which target_distance={target_distance} "
                    "cannot change; leave it out"
                )
            average = target.of_subject(subject).average()
            shown = (np.isfinite(average) & ~np.eye(len(average), dtype=bool)).any(axis=1)
            ids = tuple(i for i, s in zip(target.stimulus_ids, shown, strict=True) if s)
            found[subject] = MeasuredRDM(ids, average[np.ix_(shown, shown)])
        else:
            found[subject] = _of_responses(
                patterns_of(target, subject), distance if target_distance == "same" else target_distance
            )
        one = found[subject]
        pairs = one.rdm[~np.tri(len(one.rdm), dtype=bool)]
        pairs = pairs[np.isfinite(pairs)]
        if not len(pairs):
            raise InputError(f"the RDM of subject {subject} has no dissimilarity of any pair of stimuli")
        if np.ptp(pairs) <= FLAT * np.abs(pairs).max():
            raise InputError(
                f"the RDM of subject {subject} is constant ({pairs[0]:.3g} for all {len(pairs)} pairs of stimuli): "
                "nothing can be compared to it"
            )
    return found


def _of_responses(patterns: Patterns, distance: str) -> MeasuredRDM:
    if distance in DISTANCES:
        return MeasuredRDM(patterns.stimulus_ids, rdm_of_patterns(patterns.averages, distance), patterns)
    if patterns.trials is None:
        raise InputError(
            f"target_distance={distance} is cross-validated over repetitions, and subject {patterns.subject} has averages "
            "only; use correlation, euclidean, sqeuclidean or cosine"
        )
    precision = noise_precision(patterns.trials) if distance == "crossnobis" else None
    rdm = crossvalidated_rdm(patterns.trials, precision)
    repeated = np.isfinite(rdm + np.where(np.eye(len(rdm), dtype=bool), np.nan, 0.0)).any(axis=1)
    ids = tuple(i for i, r in zip(patterns.trial_ids, repeated, strict=True) if r)
    return MeasuredRDM(ids, rdm[np.ix_(repeated, repeated)], patterns)


def _similarity(one: MeasuredRDM, distance: Distance, compare: Comparison) -> Any:
    def similarity(layer: Representation, stimulus_ids: tuple[str, ...], influence: bool) -> Similarity:
        return compare_rdms(
            rdm_of_representation(layer, stimulus_ids, distance), one.at(stimulus_ids), compare, influence
        )

    return similarity


def _scored_sets(found: Mapping[str, SubjectSimilarity]) -> list[tuple[str, ...]] | None:
    """Return the sets of stimuli that all subjects were scored on; None where they differ."""
    sets = [[ids for ids, _ in one.evaluated] for one in found.values()]
    return sets[0] if sets and sets[0] and all(s == sets[0] for s in sets) else None


def _ceilings(
    measured: Mapping[str, MeasuredRDM], found: Mapping[str, SubjectSimilarity], compare: Comparison
) -> tuple[float, float] | None:
    """Return the noise ceiling over subjects, averaged over folds."""
    sets = _scored_sets(found)
    if sets is None or len(measured) < 2:
        return None
    shown = set.intersection(*(set(one.stimulus_ids) for one in measured.values()))
    bounds = []
    for ids in sets:
        known = [i for i in ids if i in shown]
        if len(known) < FEWEST_STIMULI:
            return None
        bounds.append(noise_ceiling([one.at(known) for one in measured.values()], compare))
    known_bounds = [b for b in bounds if b is not None]
    if len(known_bounds) < len(bounds):
        return None
    lower, upper = np.mean(known_bounds, axis=0)
    return float(lower), float(upper)


def _split_half(
    measured: Mapping[str, MeasuredRDM],
    found: Mapping[str, SubjectSimilarity],
    compare: Comparison,
    distance: Any,
    seed: int,
) -> dict[str, Any]:
    """Return the agreement of RDMs from random halves of the repetitions, and what follows for the whole.

    Empty for given RDMs and cross-validated distances; None without repetitions of all stimuli scored.
    """
    if distance is None or distance in CROSSVALIDATED:
        return {}
    agreements: dict[str, float | None] = {}
    for name, one in found.items():
        patterns = measured[name].patterns
        assert patterns is not None
        values = []
        for ids, _ in one.evaluated:
            shown = set(patterns.stimulus_ids)
            trials = patterns.trials_at([i for i in ids if i in shown])
            if trials is None:
                continue
            for halves in half_means(trials, N_SPLITS, seed):
                complete = np.isfinite(halves[0]).all(axis=1) & np.isfinite(halves[1]).all(axis=1)
                if complete.sum() >= FEWEST_STIMULI:
                    a, b = (rdm_of_patterns(half[complete], distance) for half in halves)
                    values.append(compare_rdms(a, b, compare).value)
        agreements[name] = mean_of([number(v) for v in values])
    mean = mean_of(list(agreements.values()))
    whole = None if mean is None else number(float(spearman_brown(np.array(mean))))
    return {
        "split_half": mean,
        "split_half_corrected": whole,
        "ceiling_split_half": None if whole is None or whole < 0 else float(np.sqrt(whole)),
        "split_half_by_subject": agreements,
    }
