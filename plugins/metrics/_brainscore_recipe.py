"""What Brain-Score's neural benchmarks do, step by step: splits, regressions, ceiling (brainscore-vision 2.4.2).

Written anew from what that package computes; ``tests/reference/compare_with_brainscore.py`` compares the two. Splits are
drawn by scikit-learn's splitters with their seed, because the recipe is defined by them. They are imported where they draw:
every encoding score imports this module, and scikit-learn takes longer to import than most scores to compute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.pls import fit_pls
from benchmark_core.reliability import row_correlations, spearman_brown
from benchmark_core.representation import Representation
from benchmark_core.ridge import accuracy_problem, penalty_criteria, predicted_deviations
from benchmark_core.spectral import decompose
from benchmark_core.splits import KFold

N_SPLITS, TRAIN_SIZE, SEED = 10, 0.9, 1
FEWEST = 21
"""Stimuli; of fewer, a tenth is less than three, and r of two stimuli is 1 or -1."""
N_COMPONENTS = 25
ALPHA = 1.0
INNER_FOLDS = 3
"""Folds of the training stimuli in which PLS chooses a layer."""
OBJECTS = "object_name"
"""Column of the stimuli's metadata by which splits are stratified."""


@dataclass(frozen=True, eq=False)
class SplitFit:
    """One layer fitted on the training stimuli of one split.

    Parameters
    ----------
    r
        (m,) Pearson r over the test stimuli: 0 for a constant prediction, NaN where the response is constant over the
        training or the test stimuli.
    criterion
        How well held-out training stimuli are predicted (median r over neuroids), where there are layers to choose
        from; None without, or where no neuroid has an r.
    components_used
        Components of PLS; None for ridge.
    note
        A warning.
    """

    r: np.ndarray
    criterion: float | None
    components_used: int | None = None
    note: str | None = None


def object_names(stimulus_ids: Sequence[str], metadata: Mapping[str, Mapping[str, str]] | None) -> list[str] | None:
    """Return the object of each stimulus, or None where they are not known for all of them."""
    column = (metadata or {}).get(OBJECTS, {})
    names = [column.get(i, "") for i in stimulus_ids]
    return names if all(names) else None


def random_splits(n: int, objects: Sequence[str] | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return ten random 90/10 splits of n stimuli, rows to train on and rows to test on, both ascending.

    Parameters
    ----------
    n
        Number of stimuli. They are in the order of their ids: Brain-Score averages repetitions by grouping them, which
        sorts by the first coordinate of presentations, the id of the image.
    objects
        Object of each, which then has the same share on both sides as far as possible; None for a plain shuffle.

    Raises
    ------
    InputError
        For too few stimuli, an object with a single one, or more objects than test stimuli.
    """
    from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

    if n < FEWEST:
        raise InputError(f"Brain-Score's recipe tests a tenth of the stimuli; {n} are too few ({FEWEST} at least)")
    if objects is None:
        splitter = ShuffleSplit(N_SPLITS, train_size=TRAIN_SIZE, random_state=SEED)
        drawn = splitter.split(np.zeros(n))
    else:
        counts = Counter(objects)
        single = sorted(name for name, count in counts.items() if count < 2)
        n_test = n - int(np.floor(TRAIN_SIZE * n))
        if single:
            more = f" (and {len(single) - 1} more)" if len(single) > 1 else ""
            raise InputError(
                f"Brain-Score's splits are stratified by {OBJECTS}, and {single[0]!r}{more} has a single stimulus; "
                "two or more of each are needed"
            )
        if n_test < len(counts):
            raise InputError(
                f"Brain-Score's splits are stratified by {OBJECTS}, and a tenth of the {n} stimuli ({n_test}) cannot hold "
                f"each of the {len(counts)} objects"
            )
        stratified = StratifiedShuffleSplit(N_SPLITS, train_size=TRAIN_SIZE, random_state=SEED)
        drawn = stratified.split(np.zeros(n), np.array(objects))
    return [(np.sort(train), np.sort(test)) for train, test in drawn]


def half_split_reliabilities(responses: Responses) -> np.ndarray | None:
    """Return the Spearman-Brown-corrected r between ten random halves of the repetition labels, (10, m).

    All stimuli share a split: labels (first, second, ... repetition) are divided, not the presentations of each
    stimulus. Of an odd number of labels the second half has one more. Stimuli that lack a half are left out of r.

    Returns
    -------
    NaN for neuroids without r; None where there are not two repetitions.
    """
    trials = responses if responses.has_trials else responses.trials
    if trials is None:
        return None
    present = np.isfinite(trials.values)
    labels = np.flatnonzero(present.any(axis=(0, 2)))
    if len(labels) < 2:
        return None
    filled = np.where(present, trials.values, 0.0)

    def mean_over(some: np.ndarray) -> np.ndarray:
        counts = present[:, some].sum(axis=1)
        total = filled[:, some].sum(axis=1)
        return np.asarray(np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0))

    from sklearn.model_selection import ShuffleSplit

    halves = ShuffleSplit(N_SPLITS, train_size=0.5, random_state=SEED).split(labels)
    return np.array(
        [spearman_brown(row_correlations(mean_over(labels[a]).T, mean_over(labels[b]).T)) for a, b in halves]
    )


def fit_ridge(
    representation: Representation,
    values: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    groups: Sequence[str] | None,
    choosing: bool,
) -> list[SplitFit]:
    """Fit ridge with penalty 1 (features centred, not scaled; an intercept) on each split.

    Parameters
    ----------
    representation
        The layer; ``values`` are in the order of its stimuli.
    values
        (n, m) mean responses, finite.
    splits
        See :func:`random_splits`.
    groups
        Group of each stimulus, for the criterion.
    choosing
        Whether there are layers to choose from: their criterion is closed-form leave-one-out.
    """
    ids, found = representation.stimulus_ids, []
    for train, test in splits:
        decomposition = decompose(representation, [ids[i] for i in train])
        deviations = predicted_deviations(decomposition, [ids[i] for i in test], values[train], ALPHA)
        criterion = None
        if choosing:
            apart = None if groups is None else [groups[i] for i in train]
            apart = None if apart is None or len(set(apart)) < 2 else apart
            criterion = median(penalty_criteria(decomposition, values[train], (ALPHA,), apart)[0])
        note = accuracy_problem(decomposition, ALPHA)
        found.append(SplitFit(_correlate(deviations, values[test], values[train]), criterion, note=note))
    return found


def fit_partial_least_squares(
    representation: Representation,
    values: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    groups: Sequence[str] | None,
    choosing: bool,
) -> list[SplitFit]:
    """Fit PLS with 25 components (features and responses centred, not scaled) on each split.

    Parameters are those of :func:`fit_ridge`; the criterion comes from three folds of the training stimuli.
    """
    coordinates, backend = representation.coordinates(centred=True), representation.backend
    found = []
    for train, test in splits:
        criterion = None
        if choosing:
            held_out = []
            for inner_train, inner_test in _inner_folds(train, representation.stimulus_ids, groups):
                inner = fit_pls(coordinates[inner_train], values[inner_train], N_COMPONENTS, backend)
                predicted = inner.predict_deviations(coordinates[inner_test])
                held_out.append(median(_correlate(predicted, values[inner_test], values[inner_train])))
            known = [r for r in held_out if r is not None]
            criterion = float(np.mean(known)) if known else None
        fit = fit_pls(coordinates[train], values[train], N_COMPONENTS, backend)
        r = _correlate(fit.predict_deviations(coordinates[test]), values[test], values[train])
        found.append(SplitFit(r, criterion, components_used=fit.n_components))
    return found


def median(values: np.ndarray) -> float | None:
    """Return the median of what is finite, or None."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _correlate(predicted: np.ndarray, measured: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Return r of each neuroid over the test stimuli; see :class:`SplitFit`."""
    return np.asarray(np.where(np.ptp(fitted, axis=0) > 0, row_correlations(predicted.T, measured.T), np.nan))


def _inner_folds(
    train: np.ndarray, stimulus_ids: Sequence[str], groups: Sequence[str] | None
) -> list[tuple[list[int], list[int]]]:
    """Return rows to train on and rows to test on within the training stimuli; groups are kept together."""
    row = {stimulus_ids[i]: int(i) for i in train}
    apart = None if groups is None else [groups[i] for i in train]
    apart = None if apart is None or len(set(apart)) < INNER_FOLDS else apart
    folds = KFold(INNER_FOLDS).assign(list(row), apart).folds
    return [([row[i] for i in fold.train], [row[i] for i in fold.test]) for fold in folds]
