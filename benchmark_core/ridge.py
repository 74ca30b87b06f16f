"""Ridge regression with an intercept, in closed form from one spectral decomposition.

Features are centred by their training means and not scaled; the intercept is not penalised. For a penalty a, the fit
minimises ``|y - m - X b|^2 + a |b|^2`` (the convention of scikit-learn's ``Ridge``).

Penalties are chosen by predictions of held-out training stimuli (:mod:`benchmark_core.held_out`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from benchmark_core.arrays import Backend
from benchmark_core.held_out import RESOLUTION, PenaltyWeights, neuroids_in_turn, predictor
from benchmark_core.profiling import stage
from benchmark_core.representation import Representation
from benchmark_core.spectral import Decomposition
from benchmark_core.threads import in_threads

PENALTIES: tuple[float, ...] = tuple(float(f"1e{exponent}") for exponent in range(-10, 10))
TIE = 1e-10
Selection = Literal["loo", "paper"]
CONSTANT = 1e-12  # a spread below this fraction of the magnitude is rounding


class AccuracyWarning(UserWarning):
    """A penalty is so small that the result may depend on rounding."""


def accuracy_problem(decomposition: Decomposition, penalty: float) -> str | None:
    """Say why a fit may depend on rounding, or return None.

    It may where directions of the features are lost (duplicated stimuli, redundant features) and the penalty is below
    1e7 eps times the largest eigenvalue.
    """
    if decomposition.is_full_rank or penalty >= RESOLUTION * decomposition.largest:
        return None
    return (
        f"penalty {penalty:g} is below 1e7 eps times the largest eigenvalue ({decomposition.largest:.3g}) and the "
        f"features of the {decomposition.n_stimuli} training stimuli have rank {decomposition.rank}: "
        "the fit may depend on rounding"
    )


@stage("prediction")
def predict(
    representation: Representation,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    responses: Any,
    penalty: float | Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Fit on training stimuli and predict test stimuli.

    Parameters
    ----------
    representation
        The layer.
    train_ids, test_ids
        Ids to fit on and to predict.
    responses
        (n_train, n_neuroids) responses to the training stimuli, finite, in any unit.
    penalty
        One positive penalty for all neuroids or one for each.

    Returns
    -------
    Predictions (n_test, n_neuroids) float64, in the unit of the responses.

    Warns
    -----
    AccuracyWarning
        See :func:`accuracy_problem`.
    """
    decomposition = representation.decomposition(train_ids)
    values = np.asarray(responses, dtype=np.float64)
    problem = accuracy_problem(decomposition, float(np.min(penalty)))
    if problem:
        warnings.warn(problem, AccuracyWarning, stacklevel=2)
    return np.asarray(values.mean(axis=0) + predicted_deviations(decomposition, test_ids, values, penalty))


@stage("prediction")
def predicted_deviations(
    decomposition: Decomposition,
    test_ids: Sequence[str],
    responses: np.ndarray,
    penalty: float | Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Return predictions minus the training mean, (n_test, n_neuroids) float64; see :func:`predict`."""
    backend = decomposition.backend
    given = np.asarray(responses, dtype=np.float64)
    every = np.broadcast_to(np.asarray(penalty, dtype=np.float64), (given.shape[1],))
    few = given.shape[1] < len(test_ids)  # then components need not be formed
    components = None if few else decomposition.principal_components(test_ids)
    found = []
    for some in neuroids_in_turn(*given.shape):
        weights = projected_weights(decomposition, given[:, some], every[some])
        product = decomposition.principal_components(test_ids, weights) if few else components @ weights
        found.append(backend.to_numpy(product))
    return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


def projected_weights(decomposition: Decomposition, responses: np.ndarray, penalties: np.ndarray) -> Any:
    """Return the weight of each principal component, (rank, n_neuroids) of the decomposition's backend.

    Parameters
    ----------
    decomposition
        Of the training set, n stimuli.
    responses
        (n, n_neuroids) float64.
    penalties
        (n_neuroids,) positive.
    """
    backend = decomposition.backend
    xp = backend.xp
    values, alphas = backend.asarray(responses), backend.asarray(penalties.copy())
    eigenvalues = decomposition.eigenvalues[:, None]
    centred = values - xp.mean(values, axis=0)[None, :]
    return (decomposition.eigenvectors.T @ centred) * (xp.sqrt(eigenvalues) / (eigenvalues + alphas[None, :]))


def correlations(backend: Backend, predictions: Any, responses: Any) -> np.ndarray:
    """Return Pearson r of each column, (m,) float64 on the CPU.

    A constant prediction has r = 0; a constant response has no r (NaN). Constant means a standard deviation below
    1e-12 of the largest magnitude.

    Parameters
    ----------
    backend
        Where the arrays live.
    predictions, responses
        (n, m) arrays.
    """
    return _correlate(backend, predictions, _standardised(backend.xp, responses))


def _standardised(xp: Any, array: Any) -> tuple[Any, Any]:
    """Return columns of mean 0 and length 1, and which of them are constant."""
    size = xp.max(xp.abs(array), axis=0)
    centred = array - xp.mean(array, axis=0)[None, :]
    spread = xp.max(xp.abs(centred), axis=0)
    centred /= xp.where(spread > 0, spread, xp.ones_like(spread))[None, :]
    length = xp.sqrt(xp.where(spread > 0, xp.sum(centred**2, axis=0), xp.ones_like(spread)))
    centred /= length[None, :]
    return centred, spread <= CONSTANT * size


def _correlate(backend: Backend, predictions: Any, standardised: tuple[Any, Any]) -> np.ndarray:
    """Return what :func:`correlations` does, of responses that are standardised already."""
    xp = backend.xp
    predicted, flat = _standardised(xp, predictions)
    measured, silent = standardised
    r = xp.clip(xp.sum(predicted * measured, axis=0), -1.0, 1.0)
    r = xp.where(flat, xp.zeros_like(r), r)
    return backend.to_numpy(xp.where(silent, xp.full_like(r, float("nan")), r))


@stage("penalties")
def penalty_criteria(
    decomposition: Decomposition,
    responses: np.ndarray,
    penalties: Sequence[float] = PENALTIES,
    groups: Sequence[str] | None = None,
    selection: Selection = "loo",
) -> np.ndarray:
    """Return how well held-out predictions correlate with the responses, (n_penalties, m).

    Parameters
    ----------
    decomposition
        Of the training set, n stimuli.
    responses
        (n, m) responses, finite.
    penalties
        Positive numbers.
    groups
        Group of each training stimulus; see :func:`benchmark_core.held_out.held_out`.
    selection
        ``loo``: Pearson r between (held-out prediction - mean of the stimuli kept) and the response. Without that
        subtraction r is pulled towards -1, the r of the leave-one-out mean, the more the larger the penalty.
        ``paper``: r between leave-one-out prediction and response, as Kazemian, Elmoznino and Bonner computed it;
        ``groups`` is ignored.

    Returns
    -------
    NaN for responses that are constant, and in the rows of penalties whose held-out predictions are not resolved.
    """
    backend = decomposition.backend
    table = np.full((len(penalties), responses.shape[1]), np.nan)
    apart = None if selection == "paper" else groups
    weights = PenaltyWeights.of(decomposition, penalties)
    for some in weights.neuroids_in_turn(len(responses), responses.shape[1], grouped=apart is not None):
        values = backend.asarray(responses[:, some])
        predict_for = predictor(decomposition, weights, values, apart)
        measured = _standardised(backend.xp, values)

        def correlate(
            start: int, stop: int, some: slice = some, predict_for: Any = predict_for, measured: Any = measured
        ) -> None:
            for number in range(start, stop):
                fit = predict_for(number)
                if fit.resolved:
                    predicted = fit.predictions if selection == "paper" else fit.deviations
                    table[number, some] = _correlate(backend, predicted, measured)

        if isinstance(values, np.ndarray) and apart is None:
            in_threads(correlate, len(penalties))
        else:  # groups take as much memory as the eigenvectors for each penalty
            correlate(0, len(penalties))
    return table


def best_penalty(criteria: np.ndarray, penalties: Sequence[float]) -> tuple[float, float | None]:
    """Return the penalty with the highest criterion and that criterion.

    Parameters
    ----------
    criteria
        (n_penalties,); NaN where there is none.
    penalties
        Positive numbers, in any order.

    Returns
    -------
    Ties (within 1e-10, what rounding may decide) go to the larger penalty. Without any criterion the largest penalty
    and None.
    """
    finite = np.isfinite(criteria)
    if not finite.any():
        return float(max(penalties)), None
    best = float(np.max(criteria[finite]))
    tied = [p for p, c in zip(penalties, criteria, strict=True) if np.isfinite(c) and c >= best - TIE]
    return float(max(tied)), best
