"""How much higher r would be, had layer, penalty and number of components been chosen by the test stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark_core.representation import Representation
from benchmark_core.resampling import weighted_statistics
from benchmark_core.spectral import Decomposition
from benchmark_core.splits import Fold
from plugins.metrics._fitting import Options, leading, training_sets
from plugins.metrics._predictivity import nanmean, number


def chosen_on_test(
    layers: Mapping[str, Representation], train: np.ndarray, test: np.ndarray, fold: Fold, options: Options
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return r of each neuroid in one test fold, with everything chosen by that fold.

    Every layer, penalty and number of components is a candidate; the one with the highest r, averaged over neuroids, is
    taken. With a penalty for each neuroid, the penalty with that neuroid's highest r is.

    Parameters
    ----------
    layers
        Of one model.
    train, test
        (n_train, m) and (n_test, m) mean responses, NaN where nothing was recorded.
    fold
        Their ids.
    options
        Those of the fit.

    Returns
    -------
    r (m,), NaN for neuroids without any, and what was chosen: ``layer``, ``alpha`` (None where neuroids have their own)
    and ``components`` (None where the features themselves were used).
    """
    best: tuple[float, np.ndarray, dict[str, Any]] = (-np.inf, np.full(train.shape[1], np.nan), {})
    for name, representation in options.layers(layers, fold.train).items():
        tables = {
            k: np.full((len(options.penalties), train.shape[1]), np.nan)
            for k in options.numbers_of_components(representation, len(fold.train))
        }
        for _, neuroids, values, decomposition in training_sets(representation, fold.train, train):
            projections = decomposition.principal_components(fold.test)
            for k, table in tables.items():
                table[:, neuroids] = _correlations(
                    leading(decomposition, k), projections, values, test[:, neuroids], options.penalties
                )
        for k, table in tables.items():
            if options.alpha_per_target:
                found = np.where(np.isfinite(table), table, -np.inf).max(axis=0)
                rows: list[tuple[float | None, np.ndarray]] = [(None, np.where(found > -np.inf, found, np.nan))]
            else:
                rows = list(zip(options.penalties, table, strict=True))
            for alpha, r in rows:
                mean = float(nanmean(r))
                if mean > best[0]:
                    best = mean, r, {"layer": name, "alpha": alpha, "components": k}
    return best[1], best[2]


def _correlations(
    decomposition: Decomposition,
    projections: Any,
    train: np.ndarray,
    test: np.ndarray,
    penalties: Sequence[float],
) -> np.ndarray:
    """Return r of every neuroid over the test stimuli for every penalty, (n_penalties, m).

    ``projections`` (n_test, at least r) are those of the test stimuli on the principal axes.
    """
    backend = decomposition.backend
    xp = backend.xp
    values = backend.asarray(train)
    eigenvalues = decomposition.eigenvalues[:, None]
    weights = (decomposition.eigenvectors.T @ (values - xp.mean(values, axis=0)[None, :])) * xp.sqrt(eigenvalues)
    used = projections[:, : decomposition.rank]
    every = xp.concat([weights / (eigenvalues + penalty) for penalty in penalties], axis=1)
    predicted = backend.to_numpy(used @ every)
    m = test.shape[1]
    ones = np.ones((1, len(test)))
    r = [weighted_statistics(ones, predicted[:, i * m : (i + 1) * m], test).r[0] for i in range(len(penalties))]
    return np.array(r)


def compare_choices(by_fold: Sequence[tuple[np.ndarray, dict[str, Any]]], r_neuroid: float | None) -> dict[str, Any]:
    """Return what choosing by the test stimuli would have reported for a subject, and how much more that is.

    Parameters
    ----------
    by_fold
        Of each fold, see :func:`chosen_on_test`.
    r_neuroid
        The r that was reported, mean over neuroids.
    """
    r = number(nanmean(nanmean(np.array([values for values, _ in by_fold]))))
    return {
        "optimism": None if r is None or r_neuroid is None else r - r_neuroid,
        "r_neuroid_chosen_on_test": r,
        "chosen_on_test": [choice for _, choice in by_fold],
    }
