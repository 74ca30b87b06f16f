"""One fit by the conventions of the field, side by side: what others report of the same predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.resampling import MINIMUM_STIMULI
from plugins.metrics._predictivity import MEDIAN_RELIABILITY, FoldPredictions, mean_of, number, rows_of


def conventions(
    responses: Responses, folds: Sequence[FoldPredictions], values: Mapping[str, Any]
) -> dict[str, float | int | None]:
    """Return means and medians over the neuroids of one subject, by several conventions.

    Parameters
    ----------
    responses, folds
        As for :func:`plugins.metrics._predictivity.score_subject`.
    values
        What that returned: ``r``, ``reliability`` and ``reliability_split_half`` of each neuroid.

    Returns
    -------
    With r of a neuroid, c its split-half reliability (Spearman-Brown-corrected r between halves of the repetitions),
    rho its reliability by the variance of repetitions, and R2 as :func:`determination` gives it, each as ``_mean`` and
    ``_median`` over neuroids:

    ``r_neuroid``
        r.
    ``r2_over_ceiling``
        r^2 / c, over neuroids with c of at least .1.
    ``r_over_ceiling_squared``
        (r / c)^2, over the same neuroids.
    ``R2``
        R2, negative ones kept.
    ``noise_corrected_R2``
        R2 / rho, negative ones kept, over neuroids with rho of at least .1.

    ``n_neuroids_ceiling`` and ``n_neuroids_reliable`` count the neuroids that ratios rest on. None where there is
    nothing to average.
    """
    r, split_half, reliability = (
        _array(values.get(n), responses.n_neuroids) for n in ("r", "reliability_split_half", "reliability")
    )
    explained = np.where(np.isfinite(r), determination(responses, folds), np.nan)
    has_ceiling = np.isfinite(r) & (split_half >= MEDIAN_RELIABILITY)
    reliable = np.isfinite(explained) & (reliability >= MEDIAN_RELIABILITY)
    found: dict[str, float | int | None] = {}
    for name, of_neuroids in {
        "r_neuroid": r,
        "r2_over_ceiling": r[has_ceiling] ** 2 / split_half[has_ceiling],
        "r_over_ceiling_squared": (r[has_ceiling] / split_half[has_ceiling]) ** 2,
        "R2": explained,
        "noise_corrected_R2": explained[reliable] / reliability[reliable],
    }.items():
        known = of_neuroids[np.isfinite(of_neuroids)]
        found[f"{name}_mean"] = number(known.mean()) if len(known) else None
        found[f"{name}_median"] = number(np.median(known)) if len(known) else None
    return found | {"n_neuroids_ceiling": int(has_ceiling.sum()), "n_neuroids_reliable": int(reliable.sum())}


def average_conventions(of_subjects: Sequence[Mapping[str, float | int | None]]) -> dict[str, float | int | None]:
    """Return the conventions of all subjects together: means over subjects, and sums of counts."""
    names = dict.fromkeys(name for one in of_subjects for name in one)
    found: dict[str, float | int | None] = {}
    for name in names:
        known = [value for one in of_subjects if (value := one.get(name)) is not None]
        found[name] = int(sum(known)) if name.startswith("n_") else mean_of(known)
    return found


def determination(responses: Responses, folds: Sequence[FoldPredictions]) -> np.ndarray:
    """Return the held-out coefficient of determination of each neuroid, (m,); NaN for a constant response.

    1 - (sum of squared errors) / (sum of squared deviations from the mean of the test fold), both summed over the test
    stimuli of all folds. Folds with fewer than three stimuli of a neuroid are left out, as for r.
    """
    averages = responses.averages()
    errors, squares, size = (np.zeros(responses.n_neuroids) for _ in range(3))
    for fold in folds:
        y = averages[rows_of(responses.stimulus_ids, fold.test_ids)]
        present = np.isfinite(y) & np.isfinite(fold.deviations)
        present &= present.sum(axis=0) >= MINIMUM_STIMULI
        y = np.where(present, y, 0.0)
        mean = y.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
        errors += (np.where(present, y - fold.predictions, 0.0) ** 2).sum(axis=0)
        squares += (np.where(present, y - mean, 0.0) ** 2).sum(axis=0)
        size += (y**2).sum(axis=0)
    varies = squares > 1e-24 * size
    return np.asarray(1 - np.divide(errors, squares, out=np.full(len(errors), np.nan), where=varies))


def _array(values: Sequence[float | None] | None, n: int) -> np.ndarray:
    return np.full(n, np.nan) if values is None else np.array(values, dtype=np.float64)
