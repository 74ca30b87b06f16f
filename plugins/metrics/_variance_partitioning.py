"""The metric ``variance-partitioning``: what each of two or three models explains alone, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.banded import (
    BAND_PENALTIES,
    BandedFit,
    Bands,
    Subset,
    choose_penalties,
    fit_bands,
    held_out_r2,
    subsets,
    weightings,
)
from benchmark_core.errors import InputError
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.ridge import TIE
from benchmark_core.splits import Fold, Splits
from benchmark_core.stimuli import match_stimuli
from plugins.metrics._fitting import MINIMUM_TRAINING
from plugins.metrics._paper_partition import PaperFits
from plugins.metrics._partition_average import Working, average
from plugins.metrics._partition_scores import LETTERS, FoldPartition, label, score_partition
from plugins.metrics._predictivity import SubjectScore, check_groups, nanmean, number, rows_of

Ratios = Literal["auto", "decades", "half-decades"]
PER_DECADE = {"decades": 1, "half-decades": 2}


@dataclass(frozen=True)
class Options:
    """How to fit: see :func:`compute`."""

    per_target: bool
    grid: tuple[tuple[float, ...], ...]
    penalties: tuple[float, ...]
    groups: Mapping[str, str] | None

    def owners(self, n_neuroids: int) -> np.ndarray:
        """Return which neuroids of one subject share a choice, (n_neuroids,)."""
        return np.arange(n_neuroids) if self.per_target else np.zeros(n_neuroids, dtype=np.int64)

    def held_apart(self, ids: Sequence[str]) -> list[str] | None:
        """Return the group of each training stimulus, where they are to be left out together."""
        if self.groups is None:
            return None
        found = [self.groups[i] for i in ids]
        return found if len(set(found)) > 1 else None


@dataclass(frozen=True, eq=False)
class Job:
    """One fold of one subject, with the layers chosen for it."""

    subject: str
    fold: Fold
    train: np.ndarray
    layers: tuple[str, ...]
    criteria: tuple[dict[str, float | None], ...]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A job, fitted: predictions, and for all models together the weights (n_models, m) and penalties (m,) chosen."""

    partition: FoldPartition
    weights: np.ndarray
    penalties: np.ndarray


def compute(
    representations: Sequence[Mapping[str, Representation]],
    target: Responses,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    components: int = 1000,
    standardise: bool = False,
    alpha_per_target: bool = True,
    ratios: Ratios = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
    penalties: Sequence[float] = BAND_PENALTIES,
) -> Score:
    """Partition the variance of neural responses among two or three models.

    Parameters
    ----------
    representations
        For each model a mapping from layer to representation. Of several layers the one with the best leave-one-out
        R^2 of that model alone on the training stimuli is chosen in each fold of each subject; ties go to the earlier.
    target
        Responses; their mean over repetitions is fitted.
    splits
        One fold or several.
    groups
        Group of each stimulus_id where stimuli come in groups: weights, penalties and layers are then chosen by leaving
        out groups, and groups are resampled.
    components
        Principal components of each model for the published variant; the rank where that is smaller.
    standardise
        Take the components of features divided by their training deviations.
    alpha_per_target
        Choose weights and penalty for each neuroid; otherwise once for the neuroids of a subject (that were recorded on
        the same training stimuli).
    ratios
        Steps between the weights of two models: ``half-decades`` for two models and ``decades`` for three, or either.
    n_bootstrap, seed
        Number and seed of the bootstrap resamples.
    penalties
        The grid, in units of the mean eigenvalue of a training kernel.

    Returns
    -------
    The score, as ``docs/metrics.md`` defines it: ``value`` is the share of the reliable variance that all models
    together explain. A, B and C are the models in the order given.

    Raises
    ------
    InputError
        For other than two or three models, or where stimulus ids do not match, naming them.
    """
    n_models = len(representations)
    if n_models not in (2, 3) or not all(representations):
        raise InputError(
            f"the metric variance-partitioning takes two or three models, each with a layer; got {n_models}"
        )
    if not isinstance(target, Responses):
        raise InputError(f"the metric variance-partitioning needs responses, not {type(target).__name__}")
    check_stimuli(representations, target)
    check_groups(groups, target.stimulus_ids)
    step = ("half-decades" if n_models == 2 else "decades") if ratios == "auto" else ratios
    grid = tuple(weightings(n_models, PER_DECADE[step]))
    options = Options(alpha_per_target, grid, tuple(penalties), groups)
    averages = {s: target.of_subject(s).averages() for s in target.subject_names}
    jobs = [
        choose_layers(s, fold, y[rows_of(target.stimulus_ids, fold.train)], representations, options)
        for s, y in averages.items()
        for fold in splits.of(s)
    ]
    fitted = fit_jobs(jobs, representations, options)
    paper = PaperFits(representations, components, standardise, groups)
    scores: dict[str, SubjectScore] = {}
    for subject in target.subject_names:
        own = [(job, fitted[position]) for position, job in enumerate(jobs) if job.subject == subject]
        folds = [fit.partition for _, fit in own]
        tested = target.of_subject(subject).tested([i for fold in folds for i in fold.test_ids])
        scores[subject] = score_partition(tested, folds, groups, n_bootstrap, seed)
        scores[subject].values.update(
            {
                "layers": [list(job.layers) for job, _ in own],
                "criteria": [dict(zip(LETTERS, job.criteria, strict=False)) for job, _ in own],
                "weights": {
                    LETTERS[i]: number(nanmean(np.concatenate([fit.weights[i] for _, fit in own])))
                    for i in range(n_models)
                },
                "paper": paper.r_pattern(
                    [(job.layers, job.fold, job.train) for job, _ in own], averages[subject], target
                ),
            }
        )
    layers = tuple(tuple(job.layers[i] for job in jobs) for i in range(n_models))
    arrays, scored = _arrays(target, jobs, fitted, scores)
    settings: dict[str, Any] = {
        "components": components,
        "standardised": standardise,
        "n_weightings": len(grid),
        "ratios": step,
        "penalties": list(penalties),
        "alpha_per_target": alpha_per_target,
        "n_stimuli_total": len(target.stimulus_ids),
    }
    n_folds = {s: len(splits.of(s)) for s in target.subject_names}
    notes = _notes(fitted, options)
    return average(Working(scores, n_folds, tuple(notes), layers, frozenset(scored), settings, arrays))


def check_stimuli(representations: Sequence[Mapping[str, Representation]], target: Responses) -> None:
    """Check that all models and the responses have the same stimuli.

    Raises
    ------
    InputError
        Naming the ids that they do not share.
    """
    first = next(iter(representations[0].values()))
    for letter, layers in zip(LETTERS, representations, strict=False):
        for layer in layers.values():
            if not set(layer.stimulus_ids) & set(target.stimulus_ids):
                raise InputError(
                    f"model {letter} and the responses have no stimulus in common; compare their stimulus ids"
                )
            match_stimuli(first.stimulus_ids, layer.stimulus_ids, f"models A and {letter} saw different stimuli")
            match_stimuli(layer.stimulus_ids, target.stimulus_ids, "responses")


def recorded_together(train: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows and columns of responses (n_train, m) for neuroids that were recorded on the same training stimuli.

    Nothing is imputed; neuroids with fewer than three training stimuli are left out.
    """
    present = np.isfinite(train)
    members: dict[bytes, list[int]] = {}
    for neuroid in range(train.shape[1]):
        members.setdefault(present[:, neuroid].tobytes(), []).append(neuroid)
    for neuroids in sorted(members.values(), key=len, reverse=True):
        rows = np.flatnonzero(present[:, neuroids[0]])
        if len(rows) >= MINIMUM_TRAINING:
            yield rows, np.array(neuroids)


def choose_layers(
    subject: str,
    fold: Fold,
    train: np.ndarray,
    representations: Sequence[Mapping[str, Representation]],
    options: Options,
) -> Job:
    """Choose a layer of each model by its leave-one-out R^2 alone, on the training stimuli of one fold.

    The criterion is the mean over neuroids, of those that have one, with the penalty chosen as the fit will.
    """
    chosen, criteria = [], []
    for layers in representations:
        of_layer: dict[str, float | None] = {}
        for name, representation in layers.items() if len(layers) > 1 else ():
            found = np.full(train.shape[1], np.nan)
            for rows, columns in recorded_together(train):
                ids = [fold.train[i] for i in rows]
                decomposition, unit = Bands([representation]).decomposition((1.0,), ids)
                table = held_out_r2(
                    decomposition,
                    train[np.ix_(rows, columns)],
                    [unit * p for p in options.penalties],
                    options.held_apart(ids),
                )
                owners = options.owners(len(columns))
                found[columns] = choose_penalties(table, options.penalties, owners)[1][owners]
            of_layer[name] = number(np.mean(found[np.isfinite(found)])) if np.isfinite(found).any() else None
        best = max((c for c in of_layer.values() if c is not None), default=None)
        usable = [n for n, c in of_layer.items() if best is None or (c is not None and c >= best - TIE)]
        chosen.append(usable[0] if usable else next(iter(layers)))
        criteria.append(of_layer)
    return Job(subject, fold, train, tuple(chosen), tuple(criteria))


def fit_jobs(
    jobs: Sequence[Job], representations: Sequence[Mapping[str, Representation]], options: Options
) -> list[Fitted]:
    """Fit all jobs; subjects with the same stimuli and layers share their decompositions."""
    together: dict[tuple[Any, ...], list[int]] = {}
    for position, job in enumerate(jobs):
        together.setdefault((job.layers, job.fold.train, job.fold.test), []).append(position)
    found: dict[int, Fitted] = {}
    bands: dict[tuple[str, ...], Bands] = {}
    for (names, *_), positions in together.items():
        if names not in bands:
            bands[names] = Bands([layers[name] for layers, name in zip(representations, names, strict=True)])
        members = [jobs[p] for p in positions]
        train = np.concatenate([job.train for job in members], axis=1)
        offsets = np.cumsum([0, *(job.train.shape[1] for job in members)])
        owners = np.concatenate(
            [start + options.owners(job.train.shape[1]) for start, job in zip(offsets, members, strict=False)]
        )
        whole = _fit(bands[names], members[0].fold, train, owners, options)
        for position, first, last in zip(positions, offsets, offsets[1:], strict=False):
            some = slice(first, last)
            partition = FoldPartition(
                whole.partition.test_ids,
                whole.partition.train_means[some],
                {s: d[:, some] for s, d in whole.partition.deviations.items()},
            )
            found[position] = Fitted(partition, whole.weights[:, some], whole.penalties[some])
    return [found[position] for position in range(len(jobs))]


def _fit(bands: Bands, fold: Fold, train: np.ndarray, owners: np.ndarray, options: Options) -> Fitted:
    n_models, m = len(bands.representations), train.shape[1]
    deviations = {s: np.full((len(fold.test), m), np.nan) for s in subsets(n_models)}
    means, penalties = np.full(m, np.nan), np.full(m, np.nan)
    weights = np.full((n_models, m), np.nan)
    for rows, columns in recorded_together(train):
        ids = [fold.train[i] for i in rows]
        values = train[np.ix_(rows, columns)]
        fits: dict[Subset, BandedFit] = fit_bands(
            bands,
            ids,
            fold.test,
            values,
            grid=options.grid,
            penalties=options.penalties,
            groups=options.held_apart(ids),
            owners=np.unique(owners[columns], return_inverse=True)[1],
        )
        means[columns] = values.mean(axis=0)
        for subset, fit in fits.items():
            deviations[subset][:, columns] = fit.deviations
        whole = fits[tuple(range(n_models))]
        weights[:, columns], penalties[columns] = whole.weights, whole.penalties
    return Fitted(FoldPartition(fold.test, means, deviations), weights, penalties)


def _notes(fitted: Sequence[Fitted], options: Options) -> list[str]:
    smallest = min(options.penalties)
    chosen = np.concatenate([fit.penalties for fit in fitted])
    at_edge, of = int((chosen == smallest).sum()), int(np.isfinite(chosen).sum())
    if not at_edge or len(options.penalties) == 1:
        return []
    return [f"the smallest penalty of the grid was chosen in {at_edge} of {of} fits (neuroids times folds)"]


def _arrays(
    target: Responses, jobs: Sequence[Job], fitted: Sequence[Fitted], scores: Mapping[str, SubjectScore]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return held-out predictions and numbers per neuroid, in the target's order of neuroids, and the stimuli scored.

    ``predictions_A`` etc. (n_test, n_neuroids) float32 (the mean where a stimulus is tested twice), ``stimulus``
    (n_test,) positions among the target's sorted ids, ``r2_A`` etc. and ``reliability`` (n_neuroids,), and of the fit
    of all models the ``weights`` (n_models, n_neuroids) and ``log10_penalty`` (n_neuroids,), means over folds.
    """
    tested = sorted({i for job in jobs for i in job.fold.test})
    row = {stimulus_id: i for i, stimulus_id in enumerate(tested)}
    subjects = np.array(target.subjects)
    sets = list(fitted[0].partition.deviations)
    shape = (len(tested), target.n_neuroids)
    total, count = {s: np.zeros(shape) for s in sets}, np.zeros(shape)
    n_models = fitted[0].weights.shape[0]
    weights, logarithms = np.zeros((n_models, target.n_neuroids)), np.zeros(target.n_neuroids)
    n_fits = np.zeros(target.n_neuroids)
    for job, fit in zip(jobs, fitted, strict=True):
        columns = np.flatnonzero(subjects == job.subject)
        cells = np.ix_(np.array([row[i] for i in job.fold.test]), columns)
        for s, deviations in fit.partition.deviations.items():
            total[s][cells] += deviations + fit.partition.train_means
        count[cells] += 1
        usable = np.isfinite(fit.penalties)
        weights[:, columns] += np.where(usable, fit.weights, 0.0)
        logarithms[columns] += np.log10(np.where(usable, fit.penalties, 1.0))
        n_fits[columns] += usable
    arrays = {
        f"predictions_{label(s)}": np.divide(t, count, out=np.full(shape, np.nan), where=count > 0).astype(np.float32)
        for s, t in total.items()
    }
    where = {stimulus_id: i for i, stimulus_id in enumerate(target.stimulus_ids)}
    positions = np.array([where[i] for i in tested], dtype=np.int64)
    for s in sets:
        arrays[f"r2_{label(s)}"] = np.full(target.n_neuroids, np.nan)
    arrays["reliability"] = np.full(target.n_neuroids, np.nan)
    for subject, score in scores.items():
        own = subjects == subject
        for s in sets:
            arrays[f"r2_{label(s)}"][own] = np.array(score.values["r2"][label(s)], dtype=np.float64)
        if score.values["reliability"] is not None:
            arrays["reliability"][own] = np.array(score.values["reliability"], dtype=np.float64)
    missing = np.where(n_fits > 0, n_fits, np.nan)
    arrays |= {"weights": weights / missing, "log10_penalty": logarithms / missing, "stimulus": positions}
    present = np.isfinite(arrays[f"predictions_{label(sets[-1])}"]) & np.isfinite(target.averages()[positions])
    return arrays, [i for i, used in zip(tested, present.any(axis=1), strict=True) if used]
