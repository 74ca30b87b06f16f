"""The metric ``noise-ceiling``: ceilings of all kinds that the responses allow, one of them as the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.splits import Splits
from plugins.metrics._between_subjects import between_subjects, on_common_stimuli
from plugins.metrics._ceilings import Ceiling, Recipe, ceilings_within, repetitions
from plugins.metrics._predictivity import check_groups, mean_of, number, numbers

UNITS = {
    "anova": "reliability",
    "split-half": "reliability",
    "paper-halves": "r",
    "paper-pairs": "r",
    "pattern": "r_pattern",
    "pattern-z": "r_pattern_z",
    "between-subjects": "score of encoding",
    "given": "reliability",
}
"""What each kind is a ceiling of: r of a neuroid, its square (reliability), ..."""

POOLED = ("paper-halves",)
"""Kinds that are means over the neuroids of all subjects together; others are means over subjects."""

OF_HALVES = ("split-half", "paper-halves", "pattern", "pattern-z")


@dataclass(frozen=True, eq=False)
class Subject:
    """What one subject contributes.

    Parameters
    ----------
    ceilings
        By kind.
    absent
        Why there is none, for the other kinds.
    responses
        Of that subject; only what is needed where subjects who saw different stimuli are compared.
    tested
        Ids of the test stimuli.
    repetitions
        How often stimuli were shown.
    """

    ceilings: dict[str, Ceiling]
    absent: dict[str, str]
    responses: Responses
    tested: frozenset[str]
    repetitions: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Working:
    """What :func:`combine` needs of one subject, or of several who saw the same stimuli."""

    subjects: Mapping[str, Subject]
    kind: str
    between: Literal["pairs", "others"]
    n_bootstrap: int
    seed: int


def compute(
    representations: Sequence[Mapping[str, Representation]],
    target: Responses,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    kind: str = "anova",
    stimuli: Literal["test", "all"] = "test",
    n_splits: int = 20,
    between: Literal["pairs", "others"] = "pairs",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Score:
    """Estimate how much of the responses a perfect model could explain.

    Parameters
    ----------
    representations
        Empty: no model takes part.
    target
        Responses.
    splits
        Their test stimuli are what ceilings rest on; predictions between subjects are held out by them.
    groups
        Group of each stimulus_id where stimuli come in groups; groups are resampled.
    kind
        Which ceiling is the score; see ``docs/metrics.md``.
    stimuli
        ``test`` or ``all``.
    n_splits
        Number of random halves.
    between
        ``pairs``: each subject is predicted from each other one; ``others``: from all others together.
    n_bootstrap, seed
        Number of resamples; seed of halves and resamples.

    Returns
    -------
    ``value`` is the ceiling of that kind, not corrected for bias; the interval is 2 value - mean of the resamples (the
    value, for the published recipes) -+ 1.96 standard errors over stimuli. ``details["kinds"]`` holds all kinds. ``arrays`` holds for each subject and kind the
    values of its neuroids.

    Raises
    ------
    InputError
        If the data do not allow that kind, saying what is missing.
    """
    if representations:
        raise InputError(f"the metric noise-ceiling takes no model, not {len(representations)}")
    check_groups(groups, target.stimulus_ids)
    recipe = Recipe(stimuli, n_splits, n_bootstrap, seed, groups)
    subjects: dict[str, Subject] = {}
    for name in target.subject_names:
        responses, folds = target.of_subject(name), splits.of(name)
        tested = frozenset(i for fold in folds for i in fold.test)
        ceilings, absent = ceilings_within(responses, folds, recipe)
        subjects[name] = Subject(ceilings, absent, responses, tested, repetitions(responses))
    names = target.subject_names
    if len(names) > 1:
        found, reasons = between_subjects(
            {name: subjects[name].responses for name in names},
            {name: splits.of(name) for name in names},
            groups,
            together=between == "others",
            n_bootstrap=n_bootstrap,
            seed=seed,
        )
        _add(subjects, found, reasons)
    else:
        subjects[names[0]].absent["between-subjects"] = f"there is one subject only ({names[0]})"
    working = Working(subjects, kind, between, n_bootstrap, seed)
    if kind == "between-subjects" and len(names) == 1:
        return Score(None, partial=_refusal(kind, subjects), working=_tested_only(working))
    return _score(working)


def combine(by_subject: Mapping[str, Score]) -> Score:
    """Make one ceiling of those of subjects who saw different stimuli.

    Values of single neuroids go to the arrays. Between subjects, each is predicted on the test stimuli that all of them
    saw, in five folds.
    """
    parts: list[Working] = [score.working for score in by_subject.values()]
    first = parts[0]
    subjects = {name: subject for part in parts for name, subject in part.subjects.items()}
    if first.kind == "between-subjects":
        found, reasons = on_common_stimuli(
            {name: subject.responses for name, subject in subjects.items()},
            {name: subject.tested for name, subject in subjects.items()},
            together=first.between == "others",
            n_bootstrap=first.n_bootstrap,
            seed=first.seed,
        )
        _add(subjects, found, reasons)
    else:
        reason = "subjects saw different stimuli: computed only if asked for with kind=between-subjects"
        _add(subjects, {}, dict.fromkeys(subjects, reason))
    return _score(Working(subjects, first.kind, first.between, first.n_bootstrap, first.seed), apart=True)


def _add(subjects: Mapping[str, Subject], found: Mapping[str, Ceiling], reasons: Mapping[str, str]) -> None:
    for name, subject in subjects.items():
        if name in found:
            subject.ceilings["between-subjects"] = found[name]
            subject.absent.pop("between-subjects", None)
        else:
            subject.absent["between-subjects"] = reasons[name]


def _tested_only(working: Working) -> Working:
    """Return what is needed to compare subjects: the others' turns come while this one is held."""
    subjects = {}
    for name, subject in working.subjects.items():
        tested = sorted(subject.tested)
        own = subject.responses.tested(tested).at(tested)
        subjects[name] = Subject(subject.ceilings, subject.absent, own, subject.tested, subject.repetitions)
    return Working(subjects, working.kind, working.between, working.n_bootstrap, working.seed)


def _refusal(kind: str, subjects: Mapping[str, Subject]) -> str:
    """Say why there is no ceiling of a kind, and which there are."""
    reasons = dict.fromkeys(subject.absent[kind] for subject in subjects.values() if kind in subject.absent)
    there = [k for k in UNITS if any(k in s.ceilings for s in subjects.values())]
    instead = f"there is kind={', kind='.join(there)}" if there else "nor is there one of another kind"
    return f"no noise ceiling of kind {kind}: {'; '.join(reasons)}; {instead}"


def _score(working: Working, apart: bool = False) -> Score:
    """Return the score of all subjects; ``apart`` where they have thousands of neuroids each."""
    subjects, kind = working.subjects, working.kind
    having = {name: subject for name, subject in subjects.items() if kind in subject.ceilings}
    if not having:
        raise InputError(_refusal(kind, subjects))
    kinds = {k: _over_subjects(k, subjects) for k in UNITS if any(k in s.ceilings for s in subjects.values())}
    main = kinds[kind]
    warnings = [
        f"{name}: no ceiling of kind {kind}: {subject.absent[kind]}"
        for name, subject in subjects.items()
        if name not in having
    ]
    odd = [s.repetitions["odd"] for s in having.values() if s.repetitions["odd"]]
    if kind in OF_HALVES and odd:
        warnings.append(
            f"{100 * max(odd):.0f} % of the stimuli have an odd number of repetitions: unequal halves are less reliable "
            "than the formula takes them to be, and this ceiling is a little too low"
        )
    if main["n_dropped"]:
        warnings.append(f"{main['n_dropped']} left out, as published: reliabilities that are negative and have no root")
    if main["value"] is None:
        warnings.append("no neuroid (or no stimulus) has a ceiling: nothing varies")
    reliability = kinds.get("anova") or kinds.get("given")
    neuroids = {
        name: {k: ceiling.per_neuroid for k, ceiling in subject.ceilings.items() if not k.startswith("pattern")}
        for name, subject in subjects.items()
    }
    return Score(
        value=main["value"],
        ci_low=main["ci_low"],
        ci_high=main["ci_high"],
        fields={
            "ceiling": None if reliability is None else reliability["value"],
            "n_stimuli": main["n_stimuli"],
            "n_neuroids": sum(s.responses.n_neuroids for s in subjects.values()),
            "n_neuroids_valid": main["n_neuroids_valid"],
            **{name: main[name] for name in ("r_neuroid", "r_neuroid_median", "r_pattern") if name in main},
        },
        details={
            "kind": kind,
            "ceiling_of": UNITS[kind],
            "kinds": kinds,
            "absent": _absences(subjects),
            "standard_error": main["standard_error"],
            "n_subjects": len(subjects),
            "n_subjects_with_it": len(having),
        },
        subjects={
            name: {
                "score": number(subject.ceilings[kind].value) if name in having else None,
                "n_neuroids": subject.responses.n_neuroids,
                "repetitions": subject.repetitions,
                "kinds": {k: _alone(ceiling) for k, ceiling in sorted(subject.ceilings.items())},
                **(
                    {}
                    if apart
                    else {
                        "neuroid_ids": list(subject.responses.neuroid_ids),
                        "neuroids": {k: numbers(values) for k, values in sorted(neuroids[name].items())},
                    }
                ),
            }
            for name, subject in subjects.items()
        },
        arrays={f"{name}/{k}": values for name, of_kind in neuroids.items() for k, values in sorted(of_kind.items())},
        warnings=tuple(warnings),
        working=_tested_only(working) if not apart and len(subjects) == 1 else None,
    )


def _alone(ceiling: Ceiling) -> dict[str, Any]:
    """Return one subject's ceiling as plain data."""
    return _summary(ceiling.value, ceiling.deviations(), ceiling.bias) | {
        "n_stimuli": ceiling.n_stimuli,
        "n_neuroids_valid": ceiling.n_valid,
        "n_dropped": ceiling.dropped,
        **ceiling.beside,
    }


def _over_subjects(kind: str, subjects: Mapping[str, Subject]) -> dict[str, Any]:
    """Return the ceiling of all subjects that have one."""
    having = [s.ceilings[kind] for s in subjects.values() if kind in s.ceilings]
    usable = [c for c in having if np.isfinite(c.value)]
    weights = np.array([c.n_valid if kind in POOLED else 1.0 for c in usable])
    weights = weights / weights.sum() if len(weights) else weights
    value = float(sum(w * c.value for w, c in zip(weights, usable, strict=True))) if usable else np.nan
    draws = [c.deviations() for c in usable]
    known = [d for d in draws if d is not None]
    deviations = sum(w * d for w, d in zip(weights, known, strict=True)) if known and len(known) == len(draws) else None
    names = dict.fromkeys(name for c in having for name in c.beside)
    bias = float(sum(w * c.bias for w, c in zip(weights, usable, strict=True)))
    return _summary(value, None if deviations is None else np.asarray(deviations), bias) | {
        "ceiling_of": UNITS[kind],
        "n_stimuli": max((c.n_stimuli for c in having), default=0),
        "n_neuroids_valid": sum(c.n_valid for c in having),
        "n_dropped": sum(c.dropped for c in having),
        **{n: _beside(n, [c.beside.get(n) for c in having]) for n in names if n != "pairs"},
    }


def _beside(name: str, values: list[Any]) -> Any:
    return sum(v or 0 for v in values) if name.startswith("n_") else mean_of(values)


def _summary(value: float, deviations: np.ndarray | None, bias: float) -> dict[str, Any]:
    finite = np.zeros(0) if deviations is None else deviations[np.isfinite(deviations)]
    error = float(finite.std(ddof=1)) if np.isfinite(value) and len(finite) > 1 else None
    return {
        "value": number(value),
        "ci_low": None if error is None else value - bias - 1.96 * error,
        "ci_high": None if error is None else value - bias + 1.96 * error,
        "standard_error": error,
        "bias": None if error is None else bias,
    }


def _absences(subjects: Mapping[str, Subject]) -> dict[str, Any]:
    """Return, by kind, why there is no ceiling; by subject where that differs."""
    absent: dict[str, Any] = {}
    for kind in UNITS:
        reasons = {name: s.absent[kind] for name, s in subjects.items() if kind in s.absent}
        if reasons:
            same = len(set(reasons.values())) == 1 and len(reasons) == len(subjects)
            absent[kind] = next(iter(reasons.values())) if same else reasons
    return absent
