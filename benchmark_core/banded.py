"""Banded ridge: one regression on the features of several models side by side, with a penalty for each model.

For penalties a_1, a_2, ... the fit minimises ``|y - m - X_1 b_1 - X_2 b_2 - ...|^2 + a_1 |b_1|^2 + a_2 |b_2|^2 + ...``.
With ``a_i = a s_i / w_i`` that is ridge with the single penalty a on the features ``sqrt(w_i / s_i) X_i`` side by side,
whose kernel is the sum of ``w_i / s_i K_i``. Here s_i is the mean eigenvalue of model i's training kernel, trace / (n - 1),
so that weights and penalties mean the same in whatever unit a model's outputs are: w_i is the share of model i in the
variance that the prior of the fit expects. One decomposition for each weighting serves all penalties and neuroids
(Nunez-Elizalde, Huth & Gallant 2019; Dupré la Tour et al. 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from benchmark_core.held_out import PenaltyWeights, held_out
from benchmark_core.representation import Representation
from benchmark_core.ridge import CONSTANT, TIE, predicted_deviations
from benchmark_core.spectral import Decomposition, decompose
from benchmark_core.stimuli import match_stimuli

BAND_PENALTIES: tuple[float, ...] = tuple(10.0 ** (step / 2) for step in range(-8, 11))
"""In units of the mean eigenvalue, by half-decades: several models together have penalties between those of the grid,
and must not gain by that alone. None is below 1e7 eps times the largest eigenvalue for fewer than 45 000 stimuli."""

Subset = tuple[int, ...]
"""Positions of some of the models, ascending."""


def subsets(n_models: int) -> list[Subset]:
    """Return all non-empty sets of models, small ones first: (0,), (1,), (0, 1)."""
    return [s for size in range(1, n_models + 1) for s in combinations(range(n_models), size)]


def weightings(n_models: int, per_decade: int, decades: int = 2) -> list[tuple[float, ...]]:
    """Return weights of models on a logarithmic grid of the simplex.

    Ratios of two weights are powers of ``10^(1 / per_decade)``, and no weight but zero is below ``10^-decades`` of the
    largest. Each model alone is among them, so that a model that adds nothing can be left out altogether.

    Parameters
    ----------
    n_models
        Number of models.
    per_decade
        Steps in a factor of ten.
    decades
        Range of the ratios.

    Returns
    -------
    Tuples that sum to 1, those with fewer models first: 4 per_decade + 3 of them for two models and two decades.
    """
    steps = [10.0 ** (-step / per_decade) for step in range(per_decade * decades + 1)]
    found = []
    for levels in product([*steps, 0.0], repeat=n_models):
        if max(levels) == 1.0:
            total = sum(levels)
            found.append(tuple(level / total for level in levels))
    return sorted(found, key=lambda w: (len(_support(w)), _support(w), w))


def _support(weights: Sequence[float]) -> Subset:
    return tuple(i for i, w in enumerate(weights) if w > 0)


class Bands:
    """Representations of several models on the same stimuli, to be summed with weights.

    Parameters
    ----------
    representations
        One for each model.

    Raises
    ------
    InputError
        If they are not of the same stimuli, naming ids.
    """

    def __init__(self, representations: Sequence[Representation]) -> None:
        first, *others = self.representations = tuple(representations)
        for number, other in enumerate(others, start=2):
            match_stimuli(first.stimulus_ids, other.stimulus_ids, f"model {number}")
        width = sum(r.n_features for r in self.representations)
        self._narrow = width <= len(first) and all(r.features is not None for r in self.representations)
        self._grams: list[np.ndarray] = []

    def combined(self, factors: Sequence[float]) -> Representation:
        """Return the representation of all features side by side, those of each model times the root of its factor.

        Features are held where all together are no more than the stimuli, otherwise their kernel.
        """
        parts = self.representations
        roots = np.sqrt(np.asarray(factors, dtype=np.float64))
        features = kernel = None
        if self._narrow:
            features = np.concatenate([root * r.features for root, r in zip(roots, parts, strict=True)], axis=1)
        else:
            if not self._grams:
                self._grams = [r.gram() for r in parts]
            kernel = np.zeros_like(self._grams[0])
            for factor, gram in zip(factors, self._grams, strict=True):
                kernel += factor * gram
        return Representation(
            layer=" + ".join(r.layer for r in parts),
            stimulus_ids=parts[0].stimulus_ids,
            n_features=sum(r.n_features for r in parts),
            features=features,
            kernel=kernel,
            row_sums=sum((root * r.row_sums for root, r in zip(roots, parts, strict=True)), np.zeros(len(parts[0]))),
            mean_products=sum(
                (f * r.mean_products for f, r in zip(factors, parts, strict=True)), np.zeros(len(parts[0]))
            ),
            mean_square=float(sum(f * r.mean_square for f, r in zip(factors, parts, strict=True))),
            backend=parts[0].backend,
        )

    def decomposition(self, weights: Sequence[float], train_ids: Sequence[str]) -> tuple[Decomposition, float]:
        """Decompose a weighted sum of the training kernels.

        A single model's decomposition is the one that its representation keeps; others are not kept.

        Parameters
        ----------
        weights
            One for each model, not negative, their sum 1.
        train_ids
            Training stimuli.

        Returns
        -------
        The decomposition, and the unit of its penalties: what a penalty has to be multiplied with.
        """
        support = _support(weights)
        if len(support) == 1:
            own = self.representations[support[0]].decomposition(train_ids)
            return own, mean_eigenvalue(own) or 1.0
        scales = [
            mean_eigenvalue(r.decomposition(train_ids)) if w > 0 else 0.0
            for w, r in zip(weights, self.representations, strict=True)
        ]
        factors = [w / s if s > 0 else 0.0 for w, s in zip(weights, scales, strict=True)]
        return decompose(self.combined(factors), train_ids), 1.0


def mean_eigenvalue(decomposition: Decomposition) -> float:
    """Return the trace of the centred training kernel over n - 1: 0 for features that never vary."""
    total = decomposition.backend.xp.sum(decomposition.eigenvalues) if decomposition.rank else 0.0
    return float(total) / (decomposition.n_stimuli - 1)


def held_out_r2(
    decomposition: Decomposition,
    responses: np.ndarray,
    penalties: Sequence[float],
    groups: Sequence[str] | None = None,
) -> np.ndarray:
    """Return R^2 of closed-form leave-one-out (or leave-one-group-out) predictions, (n_penalties, m).

    1 - (sum of squared errors) / (sum of squared errors of the mean of the stimuli kept), so the mean alone has 0.

    Parameters
    ----------
    decomposition
        Of the training set, n stimuli.
    responses
        (n, m) responses, finite, in any unit.
    penalties
        Positive numbers.
    groups
        Group of each training stimulus; see :func:`benchmark_core.held_out.held_out`.

    Returns
    -------
    NaN for responses that are constant, and where predictions are not resolved.
    """
    backend = decomposition.backend
    xp = backend.xp
    size = np.abs(responses).max(axis=0, initial=0.0)
    centred = responses - responses.mean(axis=0)
    spread = np.abs(centred).max(axis=0, initial=0.0)
    constant = spread <= CONSTANT * size
    scaled = centred / np.where(constant, 1.0, spread)  # squares of very small or large units stay in range
    table = np.full((len(penalties), responses.shape[1]), np.nan)
    weights = PenaltyWeights.of(decomposition, penalties)
    for some in weights.neuroids_in_turn(len(responses), responses.shape[1], groups is not None):
        values = backend.asarray(scaled[:, some])
        for row, fit in zip(table, held_out(decomposition, values, penalties, groups), strict=True):
            if fit.resolved:
                novelty = values - fit.means
                errors = backend.to_numpy(xp.sum((novelty - fit.deviations) ** 2, axis=0))
                totals = backend.to_numpy(xp.sum(novelty**2, axis=0))
                row[some] = 1 - errors / np.where(constant[some], 1.0, totals)
    table[:, constant] = np.nan
    return table


def choose_penalties(
    table: np.ndarray, penalties: Sequence[float], owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the penalty with the best mean criterion among neuroids that are to share one.

    Parameters
    ----------
    table
        (n_penalties, m) criteria, NaN where there is none.
    penalties
        Positive numbers.
    owners
        (m,) integers from 0: neuroids with the same number share a penalty.

    Returns
    -------
    Penalty and mean criterion of each owner, (owners.max() + 1,) each. Ties (within 1e-10) go to the larger penalty.
    Neuroids without any criterion are left out of the mean, and a penalty without one for any of the others out of the
    choice; without any choice the largest penalty and NaN.
    """
    values = np.asarray(penalties, dtype=np.float64)
    order = np.argsort(-values)
    known = np.isfinite(table).any(axis=0)
    n_owners = int(owners.max()) + 1
    counts = np.bincount(owners[known], minlength=n_owners)
    sums = np.stack([np.bincount(owners[known], row[known], n_owners) for row in table[order]])
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    finite = np.isfinite(means)
    best = np.where(finite, means, -np.inf).max(axis=0)
    first = np.argmax(finite & (means >= best - TIE), axis=0)
    return values[order][first], np.where(finite.any(axis=0), best, np.nan)


@dataclass(frozen=True, eq=False)
class BandedFit:
    """Some of the models together, fitted to a training set.

    Parameters
    ----------
    deviations
        (n_test, m) predictions minus the training mean, in the unit of the responses.
    weights
        (n_models, m) weights chosen for each neuroid; 0 for models left out.
    penalties
        (m,) penalty chosen, in units of the mean eigenvalue of the weighted kernel.
    criteria
        (m,) leave-one-out R^2 of the choice, averaged over the neuroids that share it; NaN where there is none.
    """

    deviations: np.ndarray
    weights: np.ndarray
    penalties: np.ndarray
    criteria: np.ndarray


def fit_bands(
    bands: Bands,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    responses: np.ndarray,
    *,
    grid: Sequence[Sequence[float]],
    penalties: Sequence[float] = BAND_PENALTIES,
    groups: Sequence[str] | None = None,
    owners: np.ndarray | None = None,
) -> dict[Subset, BandedFit]:
    """Fit every non-empty set of the models, with weights and penalty chosen on the training stimuli.

    Each weighting is decomposed once, for all sets of models that it is a choice of, all penalties and all neuroids.

    Parameters
    ----------
    bands
        The models.
    train_ids, test_ids
        Stimuli to fit on and to predict.
    responses
        (n_train, m) responses to the training stimuli, finite.
    grid
        Weightings to choose from; see :func:`weightings`. Each model alone must be among them.
    penalties
        Positive numbers.
    groups
        Group of each training stimulus: it is predicted from other groups only.
    owners
        (m,) integers from 0: neuroids with the same number share weights and penalty. By default each has its own.

    Returns
    -------
    The fit of each set of models. The choice is that with the highest leave-one-out R^2; ties go to the earlier
    weighting and the larger penalty. A model that never varies is given no weight beside others.

    Raises
    ------
    ValueError
        If a model alone is not among the weightings.
    """
    m = responses.shape[1]
    singles = {_support(w) for w in grid if len(_support(w)) == 1}
    if len(singles) < len(bands.representations):
        raise ValueError("each model alone must be among the weightings")
    owners = np.arange(m) if owners is None else owners
    n_models = len(bands.representations)
    found = {
        subset: BandedFit(np.zeros((len(test_ids), m)), np.zeros((n_models, m)), np.full(m, np.nan), np.full(m, np.nan))
        for subset in subsets(n_models)
    }
    means = responses.mean(axis=0)
    constant = {i for i, r in enumerate(bands.representations) if r.decomposition(train_ids).rank == 0}
    for weights in grid:
        if len(_support(weights)) > 1 and constant & set(_support(weights)):
            continue  # the others with another penalty: what they have without a model that never varies
        decomposition, unit = bands.decomposition(weights, train_ids)
        table = held_out_r2(decomposition, responses, [unit * p for p in penalties], groups)
        penalty, criterion = (of_owner[owners] for of_owner in choose_penalties(table, penalties, owners))
        better = {s: _improves(fit, criterion) for s, fit in found.items() if set(_support(weights)) <= set(s)}
        columns = np.flatnonzero(np.any(list(better.values()), axis=0))
        if not len(columns):
            continue
        predicted = np.zeros((len(test_ids), m))
        predicted[:, columns] = predicted_deviations(
            decomposition, test_ids, responses[:, columns] - means[columns], unit * penalty[columns]
        )
        for subset, which in better.items():
            fit = found[subset]
            fit.deviations[:, which] = predicted[:, which]
            fit.weights[:, which] = np.asarray(weights)[:, None]
            fit.penalties[which] = penalty[which]
            fit.criteria[which] = criterion[which]
    return found


def _improves(fit: BandedFit, criterion: np.ndarray) -> np.ndarray:
    """Tell for which neuroids a criterion is better than that of the choice so far, (m,) booleans."""
    new = np.where(np.isfinite(criterion), criterion, -np.inf)
    old = np.where(np.isfinite(fit.criteria), fit.criteria, -np.inf)
    return np.asarray(np.isnan(fit.penalties) | (new > old + TIE))


def exclusive_parts(r2: dict[Subset, np.ndarray]) -> Iterator[tuple[Subset, np.ndarray]]:
    """Yield what exactly the models of each set explain, by inclusion and exclusion over R^2 of all sets.

    With C the models outside a set S: the sum over all T within S of (-1)^(|T| + 1) R^2(C and T). For two models
    that is R^2(AB) - R^2(B) for A, R^2(AB) - R^2(A) for B, and R^2(A) + R^2(B) - R^2(AB) for both. The parts sum to
    the R^2 of all models together.

    Parameters
    ----------
    r2
        For each non-empty set of models an array (or number) of the same shape.
    """
    every = max(r2, key=len)
    for members in r2:
        outside = [i for i in every if i not in members]
        total = np.zeros(np.shape(r2[every]))
        for size in range(len(members) + 1):
            for some in combinations(members, size):
                together = tuple(sorted([*outside, *some]))
                if together:
                    total = total + (-1) ** (size + 1) * np.asarray(r2[together])
        yield members, total
