"""Fitting one fold: layer and penalty chosen on training stimuli, test stimuli predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark_core.held_out import AT_ONCE
from benchmark_core.representation import Representation
from benchmark_core.ridge import (
    TIE,
    Selection,
    accuracy_problem,
    best_penalty,
    penalty_criteria,
    predicted_deviations,
)
from benchmark_core.spectral import EPS, Decomposition, decompose
from benchmark_core.splits import Fold
from plugins.metrics._predictivity import FoldPredictions, mean_of, numbers

MINIMUM_TRAINING = 3  # stimuli; leave-one-out then still fits on two


@dataclass(frozen=True)
class Options:
    """How to fit: see :func:`plugins.metrics._encoding.compute`."""

    alpha_per_target: bool
    selection: Selection
    penalties: tuple[float, ...]
    groups: Mapping[str, str] | None
    components: int | None = None
    choose_components: bool = False
    standardise: bool = False

    def layers(self, layers: Mapping[str, Representation], train_ids: Sequence[str]) -> Mapping[str, Representation]:
        """Return the layers as the fit of a training set gets them."""
        if not self.standardise:
            return layers
        return {name: representation.standardised(train_ids) for name, representation in layers.items()}

    def numbers_of_components(self, representation: Representation, n_train: int) -> list[int | None]:
        """Return the numbers of components to choose from, from few to many; None stands for the features."""
        if not self.choose_components:
            return [self.components]
        most = min(n_train - 1, representation.n_features, self.components or n_train)
        powers = [10**e for e in range(len(str(most))) if 10**e < most]
        return [*powers, self.components]


@dataclass(frozen=True, eq=False)
class Fit:
    """One fold of one subject, fitted.

    Parameters
    ----------
    fold
        Predictions and training statistics.
    layer
        The layer chosen.
    alphas
        (m,) penalty of each neuroid, NaN for those that could not be fitted.
    criteria
        Best criterion value of each layer, None where no neuroid has one.
    components_used
        Number of components that the fit rests on, where they were asked for: the fewest of any neuroid, where
        neuroids were recorded on different stimuli.
    notes
        Warnings.
    """

    fold: FoldPredictions
    layer: str
    alphas: np.ndarray
    criteria: dict[str, float | None]
    components_used: int | None
    notes: list[str]


def fit_fold(layers: Mapping[str, Representation], train: np.ndarray, fold: Fold, options: Options) -> Fit:
    """Choose layer and penalty on the training stimuli of a fold, fit, and predict its test stimuli.

    Parameters
    ----------
    layers
        Representations to choose from.
    train
        (n_train, m) mean responses to the training stimuli, NaN where nothing was recorded.
    fold
        Training and test ids.
    options
        How to fit.
    """
    n_neuroids = train.shape[1]
    notes: list[str] = []
    criteria: dict[str, float | None] = {}
    alphas_of: dict[tuple[str, int | None], np.ndarray] = {}
    criterion_of: dict[tuple[str, int | None], float | None] = {}
    layers = options.layers(layers, fold.train)
    for name, representation in layers.items():
        numbers_of = options.numbers_of_components(representation, len(fold.train))
        tables = {k: np.full((len(options.penalties), n_neuroids), np.nan) for k in numbers_of}
        for ids, neuroids, values, decomposition in training_sets(representation, fold.train, train):
            held_apart = None if options.groups is None else [options.groups[i] for i in ids]
            if held_apart is not None and len(set(held_apart)) < 2:
                notes.append("training stimuli form a single group; penalties were chosen by leave-one-out")
                held_apart = None
            for k, table in tables.items():
                table[:, neuroids] = penalty_criteria(
                    leading(decomposition, k), values, options.penalties, held_apart, options.selection
                )
        for k, table in tables.items():
            alphas_of[name, k], criterion_of[name, k] = choose(table, options)
        criteria[name] = max((c for k in tables if (c := criterion_of[name, k]) is not None), default=None)
    best = max((c for c in criteria.values() if c is not None), default=None)
    layer, k = next(n for n, c in criterion_of.items() if best is None or (c is not None and c >= best - TIE))
    alphas = alphas_of[layer, k].copy()
    deviations = np.full((len(fold.test), n_neuroids), np.nan)
    intercepts = np.full(n_neuroids, np.nan)
    fitted = np.zeros(n_neuroids, dtype=bool)
    ranks = []
    for _, neuroids, values, whole in training_sets(layers[layer], fold.train, train):
        decomposition = leading(whole, k)
        deviations[:, neuroids] = predicted_deviations(decomposition, fold.test, values, alphas[neuroids])
        intercepts[neuroids] = values.mean(axis=0)
        fitted[neuroids] = True
        ranks.append(decomposition.rank)
        problem = accuracy_problem(decomposition, float(alphas[neuroids].min()))
        if problem:
            notes.append(problem)
        notes += _component_notes(whole, k)
    notes += _edge_notes(alphas[fitted], options)
    alphas[~fitted] = np.nan
    asked = options.components is not None or options.choose_components
    used = min(ranks) if asked and ranks else None
    statistics = training_statistics(train)
    return Fit(FoldPredictions(fold.test, deviations, intercepts, *statistics), layer, alphas, criteria, used, notes)


def leading(decomposition: Decomposition, n_components: int | None) -> Decomposition:
    """Return a decomposition, or that of the leading components in the place of the features."""
    return decomposition if n_components is None else decomposition.leading(n_components)


def _component_notes(whole: Decomposition, n_components: int | None) -> list[str]:
    """Say where components are fewer than asked for, or not well determined."""
    k, rank = n_components or 0, whole.rank
    if k > rank:
        return [f"{k} components asked for; the training stimuli have {rank}, which are used"]
    if 0 < k < rank:
        gap = float(whole.eigenvalues[k - 1] - whole.eigenvalues[k])
        if gap <= 10 * max(whole.n_stimuli, 100) * EPS * whole.largest:
            return [f"components {k} and {k + 1} have the same variance: which of them is used depends on rounding"]
    return []


def training_sets(
    representation: Representation, train_ids: Sequence[str], train: np.ndarray
) -> Iterator[tuple[tuple[str, ...], np.ndarray, np.ndarray, Decomposition]]:
    """Yield ids, neuroids, responses and decomposition for neuroids that were recorded on the same training stimuli.

    Nothing is imputed: a neuroid with missing stimuli is fitted on those it has. The training set of most neuroids is
    decomposed once and kept with the representation; neuroids with fewer than three stimuli are left out.
    """
    present = np.isfinite(train)
    members: dict[bytes, list[int]] = {}
    if present.all():
        members[b""] = list(range(train.shape[1]))
    else:
        for neuroid, mask in enumerate(np.packbits(present, axis=0).T):
            members.setdefault(mask.tobytes(), []).append(neuroid)
    for position, neuroids in enumerate(sorted(members.values(), key=len, reverse=True)):
        rows = np.flatnonzero(present[:, neuroids[0]])
        if len(rows) < MINIMUM_TRAINING:
            continue
        ids = tuple(train_ids[int(i)] for i in rows)
        decomposition = representation.decomposition(ids) if position == 0 else decompose(representation, ids)
        # No copy of what is large and whole; of what is small always, because sums depend on the order in memory.
        whole = len(members) == 1 and len(rows) == len(train) and train.size > AT_ONCE
        yield ids, np.array(neuroids), train if whole else train[rows][:, neuroids], decomposition


def choose(table: np.ndarray, options: Options) -> tuple[np.ndarray, float | None]:
    """Return the penalty of each neuroid and the layer's criterion, from a table (n_penalties, m) of criteria.

    Neuroids without any criterion (constant or too few responses) are left out of the mean; a penalty that could not
    be evaluated for one of the others is left out of the choice.
    """
    known = np.isfinite(table).any(axis=0)
    if not known.any():
        return np.full(table.shape[1], max(options.penalties)), None
    if options.alpha_per_target:
        best = [best_penalty(column, options.penalties) for column in table.T]
        return np.array([b[0] for b in best]), mean_of([b[1] for b in best])
    alpha, criterion = best_penalty(table[:, known].mean(axis=1), options.penalties)
    return np.full(table.shape[1], alpha), criterion


def _edge_notes(alphas: np.ndarray, options: Options) -> list[str]:
    notes = []
    for edge in {min(options.penalties), max(options.penalties)} if len(options.penalties) > 1 else ():
        n = int((alphas == edge).sum())
        if n:
            of = f" for {n} of {len(alphas)} neuroids" if options.alpha_per_target else ""
            notes.append(f"penalty {edge:g} chosen{of} lies at the edge of the grid")
    return sorted(notes)


def choices(fits: Sequence[Fit], options: Options) -> dict[str, Any]:
    """Return what was chosen in each fold, as plain data."""
    alphas = [_typical(fit.alphas) for fit in fits]
    chosen: dict[str, Any] = {
        "alpha": alphas[0] if len(set(alphas)) == 1 else alphas,
        "alphas": alphas,
        "layers": [fit.layer for fit in fits],
        "criteria": [dict(fit.criteria) for fit in fits],
    }
    if options.components is not None or options.choose_components:
        chosen["components_used"] = [fit.components_used for fit in fits]
    if options.alpha_per_target:
        chosen["alphas_per_neuroid"] = [numbers(fit.alphas) for fit in fits]
    return chosen


def _typical(alphas: np.ndarray) -> float | None:
    """Return the penalty of a fold: the (lower) median over neuroids, which is the only one if they share it."""
    known = alphas[np.isfinite(alphas)]
    return float(np.quantile(known, 0.5, method="lower")) if len(known) else None


def training_statistics(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each neuroid over the training stimuli recorded; NaN for none."""
    present = np.isfinite(values)
    counts = present.sum(axis=0)
    mean = np.divide(
        np.where(present, values, 0.0).sum(axis=0), counts, out=np.full(values.shape[1], np.nan), where=counts > 0
    )
    squares = np.where(present, values - mean, 0.0) ** 2
    deviation = np.sqrt(squares.sum(axis=0) / np.maximum(counts, 1))
    size = np.abs(np.where(present, values, 0.0)).max(axis=0, initial=0.0)
    return mean, np.where(deviation <= 1e-12 * size, 0.0, deviation)
