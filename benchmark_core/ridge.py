"""Ridge regression with an intercept, in closed form from one spectral decomposition.

Features are centred by their training means and not scaled; the intercept is not penalised. For a penalty a, the fit
minimises ``|y - m - X b|^2 + a |b|^2`` (the convention of scikit-learn's ``Ridge``).

Leave-one-out (and leave-one-group-out) predictions need no refitting: with G = Q (Q'KQ + a I)^-1 Q', where the columns
of Q span what is orthogonal to the constant, the residual of the held-out stimuli I is ``(G_II)^-1 (G y)_I``. For single
stimuli this is the well-known ``c_i / G_ii``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmark_core.arrays import Backend
from benchmark_core.profiling import stage
from benchmark_core.representation import Representation
from benchmark_core.spectral import EPS, Decomposition

PENALTIES: tuple[float, ...] = tuple(float(f"1e{exponent}") for exponent in range(-10, 10))
RESOLUTION = 1e7 * EPS  # below this fraction of the largest eigenvalue a penalty cannot mend a lost direction
TIE = 1e-10
Selection = Literal["loo", "paper"]
CONSTANT = 1e-12  # a spread below this fraction of the magnitude is rounding
WIDE = 1280  # columns at which a matrix product has reached its full rate
AT_ONCE = 2**23  # numbers in one array of stimuli by neuroids; more neuroids than that are taken in turn


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
    for some in _neuroids_in_turn(given.shape):
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


def _neuroids_in_turn(shape: tuple[int, ...]) -> list[slice]:
    """Return slices of the neuroids of an array (n, m), all at once unless the array is very large."""
    n, m = shape
    width = m if n * m <= AT_ONCE else max(1, AT_ONCE // n)
    return [slice(first, min(m, first + width)) for first in range(0, m, max(1, width))] or [slice(0, 0)]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of training stimuli by fits that did not see them, for one penalty.

    Parameters
    ----------
    penalty
        The penalty.
    means
        (n, m) mean response of the stimuli kept when stimulus i (or its group) is left out.
    deviations
        (n, m) held-out prediction minus ``means``; kept apart so that neither swallows the other's digits.
    resolved
        False where a held-out group is so nearly determined by rounding that its prediction means nothing.
    """

    penalty: float
    means: Any
    deviations: Any
    resolved: bool = True

    @property
    def predictions(self) -> Any:
        """(n, m) held-out predictions."""
        return self.means + self.deviations


def held_out(
    decomposition: Decomposition,
    responses: Any,
    penalties: Sequence[float],
    groups: Sequence[str] | None = None,
) -> Iterator[HeldOut]:
    """Predict each training stimulus from the others, or from the other groups, for each penalty.

    Parameters
    ----------
    decomposition
        Of the training set, n stimuli.
    responses
        (n, m) responses, finite.
    penalties
        Positive numbers.
    groups
        Group of each training stimulus (at least two groups): a stimulus is predicted from other groups only.

    Yields
    ------
    One :class:`HeldOut` for each penalty, in order; arrays are of the decomposition's backend.
    """
    backend = decomposition.backend
    xp = backend.xp
    n, has_remainder = decomposition.n_stimuli, decomposition.rank < decomposition.n_stimuli - 1
    order, shapes = _blocks(groups, n)
    u, eigenvalues, remainder = decomposition.eigenvectors, decomposition.eigenvalues, decomposition.remainder
    values, back = backend.asarray(responses), None
    if groups is not None:
        forth, back = _integers(backend, order), _integers(backend, np.argsort(order))
        u, remainder, values = (xp.take(array, forth, axis=0) for array in (u, remainder, values))
    grand = xp.mean(values, axis=0)[None, :]
    centred = values - grand
    projected = u.T @ centred
    m = values.shape[1]
    rest = xp.where(remainder[:, None] > 0, centred - u @ projected, xp.zeros_like(centred)) if has_remainder else 0.0
    parts = [_Block(backend, start, shape, u, centred) for start, shape in shapes]
    novelty = xp.concat([part.novelty for part in parts], axis=0)
    means = values - novelty
    means = means if back is None else xp.take(means, back, axis=0)

    # Large penalties: work with what the fit adds, (G_II)^-1 (f - H_II novelty)_I, so that nothing cancels.
    # Small ones: work with what it leaves, novelty - (G_II)^-1 (G y)_I, for the same reason.
    large = [penalty > decomposition.largest for penalty in penalties]
    weights = [(eigenvalues if big else p) / (eigenvalues + p) for p, big in zip(penalties, large, strict=True)]
    if groups is None:
        table = decomposition.weighted_squares(weights, tuple(penalties))
        grams: list[Callable[[int], Any]] = [lambda number: table[:, number][:, None, None]]
    else:
        grams = [part.grams(weights) for part in parts]
    # Several penalties in one product; as many as keep it below the size of what one penalty of many neuroids takes.
    at_once = max(1, min(WIDE, AT_ONCE // n) // max(m, 1))
    for first in range(0, len(penalties), at_once):
        some = range(first, min(first + at_once, len(penalties)))
        products = u @ xp.concat([weights[number][:, None] * projected for number in some], axis=1)
        for number in some:
            penalty, column = penalties[number], (number - first) * m
            fitted = products[:, column : column + m]
            found, resolved = [], True
            if not large[number]:
                fitted = fitted + rest
            for part, gram_of in zip(parts, grams, strict=True):
                gram = gram_of(number)
                target = part.take(fitted)
                if large[number]:
                    solution = part.solve(part.identity - gram, target - part.multiply(gram, part.take(novelty)))
                else:
                    if has_remainder:
                        gram = gram + part.remainder_gram(remainder)
                        if penalty < RESOLUTION * decomposition.largest and not part.is_resolved(gram):
                            resolved = False
                    solution = part.take(novelty) - part.solve(gram, target) if resolved else part.take(0 * novelty)
                found.append(xp.reshape(solution, (-1, m)))
            deviations = found[0] if len(found) == 1 else xp.concat(found, axis=0)
            yield HeldOut(penalty, means, deviations if back is None else xp.take(deviations, back, axis=0), resolved)


class _Block:
    """Rows of equally large groups, one group after the other; single stimuli are groups of one."""

    def __init__(self, backend: Backend, start: int, shape: tuple[int, int], u: Any, centred: Any) -> None:
        xp, n = backend.xp, u.shape[0]
        self.xp, self.shape = xp, shape
        self.rows = slice(start, start + shape[0] * shape[1])
        self.vectors = self.take(u)
        b = shape[1]
        held = self.take(centred)
        # Responses minus the mean of the stimuli kept: yc_I + sum(yc_I) / (n - b).
        novelty = held + xp.sum(held, axis=1, keepdims=True) / (n - b)
        self.novelty = xp.reshape(novelty, (-1, centred.shape[1]))
        self.identity = backend.asarray(np.eye(b) - 1 / n)[None, :, :]

    def take(self, array: Any) -> Any:
        """Return the rows of this block as (groups, size, columns)."""
        return self.xp.reshape(array[self.rows, :], (*self.shape, array.shape[1]))

    def grams(self, weights: Sequence[Any]) -> Callable[[int], Any]:
        """Return a function that gives U_I diag(w) U_I' of each group, for each of several w by its number."""
        if self.shape[1] == 1:  # all of them in one product
            table = self.vectors[:, 0, :] ** 2 @ self.xp.stack(list(weights), axis=1)
            return lambda number: table[:, number][:, None, None]
        turned = self.xp.permute_dims(self.vectors, (0, 2, 1))
        return lambda number: (self.vectors * weights[number][None, None, :]) @ turned

    def remainder_gram(self, remainder: Any) -> Any:
        """Return the blocks of I - 11'/n - UU', without the rows that are only rounding."""
        own = self.take(remainder[:, None])
        if self.shape[1] == 1:
            return own
        some = self.xp.astype(own > 0, own.dtype)
        products = self.vectors @ self.xp.permute_dims(self.vectors, (0, 2, 1))
        return (self.identity - products) * some * self.xp.permute_dims(some, (0, 2, 1))

    def is_resolved(self, gram: Any) -> bool:
        """Whether every group's block can be inverted without amplifying rounding."""
        return self.shape[1] == 1 or float(self.xp.min(self.xp.linalg.eigvalsh(gram))) >= RESOLUTION

    def multiply(self, gram: Any, right: Any) -> Any:
        return gram * right if self.shape[1] == 1 else gram @ right

    def solve(self, gram: Any, right: Any) -> Any:
        return right / gram if self.shape[1] == 1 else self.xp.linalg.solve(gram, right)


def _blocks(groups: Sequence[str] | None, n: int) -> tuple[np.ndarray, list[tuple[int, tuple[int, int]]]]:
    """Return an order of the rows in which groups of one size are consecutive, and (start, (groups, size)) of each size.

    Raises
    ------
    ValueError
        For fewer than two groups.
    """
    if groups is None:
        return np.arange(n), [(0, (n, 1))]
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    if len(groups) != n or len(members) < 2:
        raise ValueError(f"{len(groups)} stimuli in {len(members)} groups cannot be held out by group")
    ordered = sorted(members.values(), key=len)
    shapes, start = [], 0
    for size in sorted({len(rows) for rows in ordered}):
        count = sum(len(rows) == size for rows in ordered)
        shapes.append((start, (count, size)))
        start += count * size
    return np.concatenate(ordered), shapes


def _integers(backend: Backend, rows: np.ndarray) -> Any:
    return backend.xp.astype(backend.asarray(rows), backend.xp.int64)


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
        Group of each training stimulus; see :func:`held_out`.
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
    for some in _neuroids_in_turn(responses.shape):
        values = backend.asarray(responses[:, some])
        fits = held_out(decomposition, values, penalties, None if selection == "paper" else groups)
        measured = _standardised(backend.xp, values)
        for row, fit in zip(table, fits, strict=True):
            if fit.resolved:
                predicted = fit.predictions if selection == "paper" else fit.deviations
                row[some] = _correlate(backend, predicted, measured)
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
