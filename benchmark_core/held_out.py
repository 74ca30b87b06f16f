"""Held-out predictions of training stimuli for all penalties at once, without refitting.

With G = Q (Q'KQ + a I)^-1 Q', where the columns of Q span what is orthogonal to the constant, the residual of the held-out
stimuli I is ``(G_II)^-1 (G y)_I``. For single stimuli this is the well-known ``c_i / G_ii``. The products G y of some
penalties are sums of those of others (:class:`PenaltyWeights`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark_core.arrays import Backend
from benchmark_core.spectral import EPS, Decomposition
from benchmark_core.threads import n_threads

RESOLUTION = 1e7 * EPS  # below this fraction of the largest eigenvalue a penalty cannot mend a lost direction
SPANNED = 2e-15  # fraction of a column's length that rounding leaves where others make it up
AT_ONCE = 2**23  # numbers in one array of stimuli by neuroids; more neuroids than that are taken in turn


def neuroids_in_turn(n: int, m: int) -> list[slice]:
    """Return slices of the neuroids of an array (n, m), all at once unless the array is very large."""
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


@dataclass(eq=False)
class PenaltyWeights:
    """What penalties make of the r principal components of a training set, in held-out predictions of it.

    Parameters
    ----------
    penalties
        Positive numbers.
    large
        Which of them are larger than any eigenvalue.
    each
        (r,) weights for each penalty, arrays of the decomposition's backend. Those of large penalties are the shares of
        the components that a fit adds, those of others the shares that it leaves, so that nothing cancels.
    columns, shares
        Some of the penalties, by their numbers, and (len(columns), penalties) how much of their weights makes up those
        of all. Shares are of the order of 1.
    """

    penalties: tuple[float, ...]
    large: tuple[bool, ...]
    each: list[Any]
    columns: list[int]
    shares: np.ndarray
    _diagonals: Any = None

    @classmethod
    def of(cls, decomposition: Decomposition, penalties: Sequence[float]) -> PenaltyWeights:
        """Return those of a decomposition, which are kept with it."""
        key, kept = tuple(penalties), decomposition.kept
        if key not in kept:
            backend, s = decomposition.backend, decomposition.eigenvalues
            large = tuple(p > decomposition.largest for p in key)
            each = [(s if is_large else p) / (s + p) for p, is_large in zip(key, large, strict=True)]
            kept[key] = cls(key, large, each, *_spanning(backend.to_numpy(backend.xp.stack(each, axis=1))))
        found: PenaltyWeights = kept[key]
        return found

    def diagonals(self, decomposition: Decomposition) -> Any:
        """Return the diagonals of U diag(w) U' for the weights w of each penalty, (n, penalties): computed once."""
        if self._diagonals is None:
            self._diagonals = decomposition.eigenvectors**2 @ decomposition.backend.xp.stack(self.each, axis=1)
        return self._diagonals

    def neuroids_in_turn(self, n: int, m: int, grouped: bool = False) -> list[slice]:
        """Return slices of m neuroids, so many at once that what :func:`held_out` keeps of n stimuli stays small.

        Where groups are held out as many as can be: what is solved for each group does not depend on the neuroids.
        """
        return neuroids_in_turn(n if grouped else n * max(len(self.columns), n_threads()), m)


def _spanning(weights: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Return some columns of an array (r, p), and (len(columns), p) how much of each of them makes up every column.

    The weights of penalties are rational functions of the eigenvalues. Where these spread over one or four decades,
    those of 20 penalties a decade apart hold only 10 or 15 that differ by more than rounding. This is an interpolative
    decomposition: the columns that a pivoted QR decomposition takes first.
    """
    from scipy.linalg import qr, solve_triangular

    p = weights.shape[1]
    largest = np.abs(weights).max(axis=0, initial=0.0)
    if not (largest > 0).all():
        return list(range(p)), np.eye(p)
    triangle, pivots = qr(weights / largest, mode="r", pivoting=True, check_finite=False)
    lengths = np.abs(np.diagonal(triangle))
    k = int(np.sum(lengths > SPANNED * lengths[0]))
    columns = [int(column) for column in pivots[:k]]
    shares = np.zeros((k, p))
    shares[:, columns] = np.eye(k)
    shares[:, pivots[k:]] = solve_triangular(triangle[:k, :k], triangle[:k, k:])
    return columns, shares * largest / largest[columns][:, None]


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
        (n, m) responses, finite; memory takes up to a product (n, m) for each penalty.
    penalties
        Positive numbers.
    groups
        Group of each training stimulus (at least two groups): a stimulus is predicted from other groups only.

    Returns
    -------
    Iterator over one :class:`HeldOut` for each penalty, in order; arrays are of the decomposition's backend.
    """
    predict = predictor(decomposition, PenaltyWeights.of(decomposition, penalties), responses, groups)
    return (predict(number) for number in range(len(penalties)))


def predictor(
    decomposition: Decomposition, weights: PenaltyWeights, responses: Any, groups: Sequence[str] | None = None
) -> Callable[[int], HeldOut]:
    """Return a function that does what :func:`held_out` does for one penalty, by its number; threads may share it."""
    backend = decomposition.backend
    xp = backend.xp
    n, has_remainder = decomposition.n_stimuli, decomposition.rank < decomposition.n_stimuli - 1
    order, shapes = _blocks(groups, n)
    u, remainder = decomposition.eigenvectors, decomposition.remainder
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

    if groups is None:
        diagonals = weights.diagonals(decomposition)
        grams: list[Callable[[int], Any]] = [lambda number: diagonals[:, number][:, None, None]]
    else:
        grams = [part.grams(weights.each) for part in parts]
    # All penalties in one product, and only those of which the others are sums; one by one where that is too large.
    columns, products = weights.columns, None
    if n * m * len(columns) <= AT_ONCE or groups is None:
        products = u @ xp.concat([weights.each[column][:, None] * projected for column in columns], axis=1)
        products = xp.reshape(products, (n, len(columns), m))

    def fitted_of(number: int) -> Any:
        if products is None:
            return u @ (weights.each[number][:, None] * projected)
        if number in columns:
            return products[:, columns.index(number), :]
        return (backend.asarray(weights.shares[:, number].copy())[None, None, :] @ products)[:, 0, :]

    def predict(number: int) -> HeldOut:
        # Large penalties: work with what the fit adds, (G_II)^-1 (f - H_II novelty)_I.
        # Small ones: work with what it leaves, novelty - (G_II)^-1 (G y)_I.
        penalty, fitted, large = weights.penalties[number], fitted_of(number), weights.large[number]
        found, resolved = [], True
        if not large:
            fitted = fitted + rest
        for part, gram_of in zip(parts, grams, strict=True):
            gram = gram_of(number)
            target = part.take(fitted)
            if large:
                solution = part.solve(part.identity - gram, target - part.multiply(gram, part.take(novelty)))
            else:
                if has_remainder:
                    gram = gram + part.remainder_gram(remainder)
                    if penalty < RESOLUTION * decomposition.largest and not part.is_resolved(gram):
                        resolved = False
                solution = part.take(novelty) - part.solve(gram, target) if resolved else part.take(0 * novelty)
            found.append(xp.reshape(solution, (-1, m)))
        deviations = found[0] if len(found) == 1 else xp.concat(found, axis=0)
        return HeldOut(penalty, means, deviations if back is None else xp.take(deviations, back, axis=0), resolved)

    return predict


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
