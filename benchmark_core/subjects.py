"""Benchmarks whose subjects saw different stimuli: each is scored apart, and the scores are combined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark_core.records import Score

if TYPE_CHECKING:
    from benchmark_core.stimuli import StimulusSet

SUMMED = ("n_neuroids", "n_neuroids_valid")


@dataclass(frozen=True, eq=False)
class PartScore:
    """One part of a cell, scored: all of it, or one subject.

    Parameters
    ----------
    score
        What the metric returned.
    n_features
        For each model, the number of features of each layer.
    origins
        For each model and layer, the representation's key and how it came about.
    inputs
        Hashes of what the score was computed from.
    seconds
        Time the metric took.
    stimulus_ids
        Of all stimuli.
    caught
        Python warnings.
    """

    score: Score
    n_features: list[dict[str, int]]
    origins: list[dict[str, dict[str, Any]]]
    inputs: dict[str, Any]
    seconds: float
    stimulus_ids: tuple[str, ...]
    caught: list[str]


def shared_stimuli(sets: Mapping[str, StimulusSet]) -> StimulusSet | None:
    """Return the stimuli that all of several subjects saw; None for a single set, or if there are none."""
    first, *others = sets.values()
    same = set(zip(first.stimulus_ids, first.sha256, strict=True))
    for other in others:
        same &= set(zip(other.stimulus_ids, other.sha256, strict=True))
        if other.derivation != first.derivation:
            return None
    return first.subset(sorted(i for i, _ in same)) if others and same else None


def mean_over_subjects(by_subject: Mapping[str, Score], metric: str) -> Score:
    """Return the mean of the subjects' scores, for a metric that cannot combine them itself; it has no interval."""
    subjects: dict[str, Any] = {}
    for name, score in by_subject.items():
        subjects[name] = dict(score.subjects.get(name, {})) | {"score": score.value}
    names = dict.fromkeys(name for score in by_subject.values() for name in score.fields)
    fields = {name: _merge(name, [s.fields.get(name) for s in by_subject.values()]) for name in names}
    warnings = [f"{name}: {line}" for name, score in by_subject.items() for line in score.warnings]
    n_models = max(len(score.layers) for score in by_subject.values())
    return Score(
        value=_mean([score.value for score in by_subject.values()]),
        fields=fields,
        details={"by_subject": {name: score.details for name, score in by_subject.items()}},
        subjects=subjects,
        layers=tuple(
            tuple(layer for score in by_subject.values() for layer in (*score.layers, *[()] * n_models)[model])
            for model in range(n_models)
        ),
        arrays={f"{name}/{key}": array for name, score in by_subject.items() for key, array in score.arrays.items()},
        warnings=(*warnings, f"no interval: {metric} does not combine subjects who saw different stimuli"),
    )


def _merge(name: str, values: list[Any]) -> Any:
    if name == "n_stimuli":  # of whoever was tested on the most; the subjects' own numbers stand beside
        return max((v for v in values if v is not None), default=None)
    if name in SUMMED:
        return sum(v for v in values if v is not None)
    return _mean(values)


def _mean(values: list[Any]) -> float | None:
    known = [float(v) for v in values if isinstance(v, (int, float)) or hasattr(v, "item")]
    return sum(known) / len(known) if known else None
