"""Presets of the metric ``encoding`` that follow Brain-Score's own recipes, so that its users find the numbers they know.

All subjects are fitted together, on Brain-Score's random splits instead of the benchmark's; the score is
(mean over splits of the median r over neuroids)^2 / ceiling, with the ceiling from half-splits of the repetitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.ridge import TIE
from benchmark_core.splits import Splits
from benchmark_core.stimuli import match_stimuli
from plugins.metrics._brainscore_recipe import (
    ALPHA,
    N_SPLITS,
    OBJECTS,
    SplitFit,
    fit_partial_least_squares,
    fit_ridge,
    half_split_reliabilities,
    median,
    object_names,
    random_splits,
)
from plugins.metrics._predictivity import check_groups, mean_of, nanmean, numbers
from plugins.metrics.encoding import PRESETS, check

PLS, RIDGE = PRESETS


def compute_preset(
    representations: Sequence[Mapping[str, Representation]],
    target: Responses,
    splits: Splits,
    *,
    preset: str,
    groups: Mapping[str, str] | None = None,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    **options: Any,
) -> Score:
    """Score one model's representation by one of Brain-Score's recipes.

    Parameters
    ----------
    representations
        One mapping from layer to representation, in order from input to output. Of several layers each split takes
        the one that predicts held-out training stimuli best; ties go to the earlier one.
    target
        Responses; their mean over repetitions is fitted, all subjects together. Neuroids with a stimulus that was not
        recorded are left out.
    splits
        Those of the benchmark, which the recipes do not use.
    preset
        ``brainscore-pls``: partial least squares with 25 components. ``brainscore-ridge``: ridge with penalty 1.
        Both centre features and scale nothing.
    groups
        Group of each stimulus_id. The recipes do not heed them; the choice of a layer does.
    metadata
        Where it holds ``object_name``, splits are stratified by it.
    options
        Other parameters of the metric; all must have their defaults.

    Returns
    -------
    ``value`` is Brain-Score's: (mean over ten splits of the median r over neuroids)^2 / ceiling, where the ceiling is
    the mean over ten half-splits of the median Spearman-Brown-corrected r. Without repetitions there is no ceiling and
    nothing is divided. The interval is -+ 1.96 standard errors of the mean over splits, corrected for their overlap
    (Nadeau & Bengio 2003, Mach. Learn. 52:239), put through the same formula. ``arrays`` holds ``r`` (10, n_neuroids)
    and ``tested`` (10, n_test), positions among the target's sorted stimulus ids.

    Raises
    ------
    InputError
        Where stimulus ids do not match, other parameters are given, or the stimuli do not allow these splits.
    """
    check({"preset": preset, **options})
    if len(representations) != 1 or not representations[0]:
        raise InputError(
            f"the metric encoding takes one model with at least one layer, not {len(representations)} models"
        )
    (layers,) = representations
    ids = target.stimulus_ids
    for representation in layers.values():
        match_stimuli(representation.stimulus_ids, ids, "responses")
    check_groups(groups, ids)
    objects = object_names(ids, metadata)
    drawn = random_splits(len(ids), objects)
    averages = target.averages()
    complete = np.isfinite(averages).all(axis=0)
    apart = None if groups is None else [groups[i] for i in ids]
    fit = fit_partial_least_squares if preset == PLS else fit_ridge
    fits = {
        name: fit(representation, averages[:, complete], drawn, apart, len(layers) > 1)
        for name, representation in layers.items()
        if complete.any()
    }
    chosen = [_best_layer(fits, number, next(iter(layers))) for number in range(N_SPLITS)]
    r = np.full((N_SPLITS, target.n_neuroids), np.nan)
    for number, name in enumerate(chosen):
        if complete.any():
            r[number, complete] = fits[name][number].r
    reliability = half_split_reliabilities(target)
    if reliability is not None:
        reliability[:, ~complete] = np.nan
    whole = _summary(r, reliability)
    used = [fits[name][number] for number, name in enumerate(chosen)] if complete.any() else []
    train, test = drawn[0]
    names = list(target.subject_names)
    of_subject = {name: np.array([s == name for s in target.subjects]) for name in names}
    return Score(
        value=whole["score"],
        ci_low=whole["ci_low"],
        ci_high=whole["ci_high"],
        fields={
            "r_neuroid": whole["r_neuroid"],
            "r_neuroid_median": whole["r_neuroid_median"],
            "ceiling": whole["ceiling"],
            **({"alpha": ALPHA} if preset == RIDGE else {}),
            "n_stimuli": len({int(i) for _, tested in drawn for i in tested}),
            "n_neuroids": target.n_neuroids,
            "n_neuroids_valid": whole["n_neuroids_valid"],
        },
        details={
            "preset": preset,
            "n_splits": N_SPLITS,
            "n_train": len(train),
            "n_test": len(test),
            "stratified_by": None if objects is None else OBJECTS,
            **{k: v for k, v in whole.items() if k in _DETAILS},
            **({"components_used": [f.components_used for f in used]} if preset == PLS else {}),
            "layers": chosen,
            "criteria": [{name: of[number].criterion for name, of in fits.items()} for number in range(N_SPLITS)]
            if len(layers) > 1
            else None,
            "n_stimuli_total": len(ids),
            "n_neuroids_incomplete": int((~complete).sum()),
            "n_subjects": len(names),
        },
        subjects={
            name: {
                **_summary(r[:, own], None if reliability is None else reliability[:, own]),
                "n_neuroids": int(own.sum()),
                "neuroid_ids": [i for i, is_own in zip(target.neuroid_ids, own, strict=True) if is_own],
                "r": numbers(nanmean(r[:, own])),
                "reliability": None if reliability is None else numbers(nanmean(reliability[:, own])),
            }
            for name, own in of_subject.items()
        },
        layers=((chosen[0],) if len(set(chosen)) == 1 else tuple(chosen),),
        arrays={"r": r, "tested": np.array([tested for _, tested in drawn], dtype=np.int64)},
        warnings=tuple(_notes(whole, used, objects, metadata, groups, int((~complete).sum()))),
    )


_DETAILS = (
    "r_by_split",
    "ceiling_by_split",
    "standard_error_splits",
    "ceiling_standard_error_splits",
    "standard_error",
    "score_unceiled",
)


def _best_layer(fits: Mapping[str, Sequence[SplitFit]], number: int, first: str) -> str:
    """Return the layer with the best criterion in a split, the earlier of those that tie."""
    criteria = {name: of[number].criterion for name, of in fits.items()}
    best = max((c for c in criteria.values() if c is not None), default=None)
    if best is None:
        return first
    return next(name for name, c in criteria.items() if c is not None and c >= best - TIE)


def _summary(r: np.ndarray, reliability: np.ndarray | None) -> dict[str, Any]:
    """Return the score of some neuroids, from r and half-split reliabilities, (10, m) each."""
    by_split = [median(row) for row in r]
    middle, error = mean_of(by_split), _standard_error(by_split)
    ceilings = None if reliability is None else [median(row) for row in reliability]
    ceiling = None if ceilings is None else mean_of(ceilings)
    known = np.isfinite(r).any(axis=0)
    values: dict[str, Any] = {
        "r_neuroid": float(nanmean(r)[known].mean()) if known.any() else None,
        "r_neuroid_median": middle,
        "r_by_split": by_split,
        "standard_error_splits": error,
        "standard_error": None,
        "ceiling": ceiling,
        "ceiling_by_split": ceilings,
        "ceiling_standard_error_splits": None if ceilings is None else _standard_error(ceilings),
        "score_unceiled": None if middle is None else middle**2,
        "score": None,
        "ci_low": None,
        "ci_high": None,
        "n_neuroids_valid": int(known.sum()),
    }
    if middle is None or (ceiling is not None and ceiling <= 0):
        return values
    divisor = 1.0 if ceiling is None else ceiling
    values["score"] = middle**2 / divisor
    if error is not None:
        # Splits share stimuli: the variance of their mean is that of one split times 1/10 + n_test / n_train.
        wider = error * float(np.sqrt(N_SPLITS / (N_SPLITS - 1) * (1 + N_SPLITS / 9)))
        values["standard_error"] = wider
        values["ci_low"] = max(abs(middle) - 1.96 * wider, 0.0) ** 2 / divisor
        values["ci_high"] = (abs(middle) + 1.96 * wider) ** 2 / divisor
    return values


def _standard_error(values: Sequence[float | None]) -> float | None:
    """Return Brain-Score's ``error``, the standard deviation (divisor n) over the root of the number of splits."""
    known = [v for v in values if v is not None]
    return float(np.std(known) / np.sqrt(len(known))) if len(known) > 1 else None


def _notes(
    whole: Mapping[str, Any],
    used: Sequence[SplitFit],
    objects: Sequence[str] | None,
    metadata: Mapping[str, Mapping[str, str]] | None,
    groups: Mapping[str, str] | None,
    n_incomplete: int,
) -> list[str]:
    """Return what a reader must know of a score."""
    notes = []
    if whole["r_neuroid_median"] is None:
        notes.append("no score: no neuroid has a correlation")
    elif whole["r_neuroid_median"] < 0:
        notes.append("the mean of medians is negative, and the recipe squares it: the score says nothing")
    if whole["ceiling"] is None:
        notes.append("no ceiling: there are no repetitions, and the score is the square of the mean of medians")
    elif whole["ceiling"] <= 0:
        notes.append("no score: the ceiling is not positive")
    if objects is None and OBJECTS in (metadata or {}):
        notes.append(f"splits are not stratified: some stimuli have no {OBJECTS}")
    if groups is not None:
        notes.append("Brain-Score's splits do not keep groups of stimuli together, which makes scores higher")
    if n_incomplete:
        notes.append(f"{n_incomplete} neuroids were not recorded on every stimulus and are left out")
    problems = [fit.note for fit in used if fit.note]
    if problems:
        notes.append(f"{len(problems)} of {len(used)} splits: {problems[0]}")
    return notes
