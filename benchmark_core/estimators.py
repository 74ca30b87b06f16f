"""Ridge regression as a scikit-learn estimator, for scripts that want the fit and nothing else of this package."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from benchmark_core.arrays import Backend, choose_backend, choose_device
from benchmark_core.representation import Representation
from benchmark_core.ridge import (
    PENALTIES,
    AccuracyWarning,
    Selection,
    accuracy_problem,
    best_penalty,
    penalty_criteria,
    projected_weights,
)
from benchmark_core.spectral import Decomposition, decompose

BLOCK = 4096  # features whose inner products are added up at once
MINIMUM_SAMPLES = 3  # leave-one-out then still fits on two


class RidgeGCV(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression whose penalty is chosen by leave-one-out in closed form.

    The fit minimises ``|y - m - X b|^2 + alpha |b|^2`` for each target (the convention of scikit-learn's ``Ridge``),
    with an intercept, which is not penalised; features are centred and not scaled. One decomposition serves all penalties
    and all targets: of the features where there are at most as many as samples, otherwise of their inner products, in float64
    whatever X is. Leave-one-out predictions are those of n refits (see :mod:`benchmark_core.ridge`), also at penalties so
    small that the textbook form on a centred kernel turns into rounding.

    Parameters
    ----------
    alphas
        Penalties to choose from, positive, in any order. By default 1e-10 to 1e9 by decades.
    alpha_per_target
        Choose a penalty for each target instead of one for all.
    selection
        ``loo``: the criterion is Pearson r between (held-out prediction - mean of the samples kept) and target,
        averaged over targets unless each has its own penalty; ties go to the larger penalty. ``paper``: r of the held-out
        prediction itself, as Kazemian, Elmoznino and Bonner computed it.
    backend
        ``auto``, ``numpy``, ``torch`` or ``cupy``: what computes. ``auto`` is numpy on the CPU and torch on a GPU.
    device
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.

    Attributes
    ----------
    alpha_ : float or ndarray of shape (n_targets,)
        The penalty chosen; one for each target with ``alpha_per_target`` and two-dimensional ``y``.
    best_score_ : float or ndarray of shape (n_targets,)
        Its criterion, a correlation; NaN where ``y`` is constant.
    criteria_ : ndarray of shape (n_alphas, n_targets)
        The criterion of every penalty and target, in the order of ``alphas``.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Weights, float64.
    intercept_ : float or ndarray of shape (n_targets,)
        Prediction where all features are zero.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if ``X`` had any that are texts.

    Examples
    --------
    >>> import numpy as np
    >>> from benchmark_core import RidgeGCV
    >>> random = np.random.Generator(np.random.Philox(0))
    >>> features = random.standard_normal((60, 500))
    >>> responses = features[:, :2] @ [[1.0, 0.0], [1.0, 2.0]] + random.standard_normal((60, 2))
    >>> ridge = RidgeGCV(alphas=[1.0, 100.0, 10000.0], alpha_per_target=True).fit(features, responses)
    >>> ridge.alpha_.shape, ridge.coef_.shape, ridge.predict(features[:5]).shape
    ((2,), (2, 500), (5, 2))

    Samples that belong together (frames of a film, views of an object) are left out together:

    >>> ridge = RidgeGCV().fit(features, responses, groups=np.arange(60) // 4)

    In a pipeline, with a grid search over what comes before:

    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> pipeline = make_pipeline(PCA(), RidgeGCV())
    >>> search = GridSearchCV(pipeline, {"pca__n_components": [5, 20]}, cv=3).fit(features, responses)
    >>> sorted(search.best_params_)
    ['pca__n_components']
    """

    def __init__(
        self,
        alphas: Sequence[float] = PENALTIES,
        *,
        alpha_per_target: bool = False,
        selection: Selection = "loo",
        backend: str = "auto",
        device: str = "cpu",
    ) -> None:
        self.alphas = alphas
        self.alpha_per_target = alpha_per_target
        self.selection = selection
        self.backend = backend
        self.device = device

    def fit(self, X: Any, y: Any, groups: Any = None) -> RidgeGCV:
        """Choose the penalty and fit.

        Parameters
        ----------
        X
            (n_samples, n_features) numbers, finite; at least 3 samples.
        y
            (n_samples,) or (n_samples, n_targets) numbers, finite.
        groups
            (n_samples,) group of each sample: a sample is then predicted from other groups only, when penalties are
            compared.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        ValueError
            For values that are not finite, shapes that do not match, fewer than two groups, or parameters that are none.
        InputError
            For a backend or device that is not there.

        Warns
        -----
        AccuracyWarning
            Where the penalty chosen is so small that the fit may depend on rounding.
        """
        penalties = self._checked_penalties()
        backend = choose_backend(self.backend, choose_device(self.device))
        X, y = validate_data(
            self,
            X,
            y,
            dtype=(np.float64, np.float32),
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=MINIMUM_SAMPLES,
        )
        held_apart = None
        if groups is not None:
            check_consistent_length(X, groups)
            held_apart = [str(group) for group in groups]
        responses = np.asarray(y, dtype=np.float64).reshape(len(X), -1)
        centre = X.mean(axis=0, dtype=np.float64)
        decomposition = _decomposition(X, centre, backend)
        self.criteria_ = penalty_criteria(decomposition, responses, penalties, held_apart, self.selection)
        chosen, best = self._choose(penalties)
        problem = accuracy_problem(decomposition, float(chosen.min()))
        if problem:
            warnings.warn(problem, AccuracyWarning, stacklevel=2)
        weights = _weights(X, centre, decomposition, responses, chosen)
        intercepts = responses.mean(axis=0) - weights @ centre
        one = np.ndim(y) == 1
        self.coef_ = weights[0] if one else weights
        self.intercept_ = float(intercepts[0]) if one else intercepts
        each = self.alpha_per_target and not one
        self.alpha_ = chosen if each else float(chosen[0])
        self.best_score_ = best if each else float(best[0])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions, (n_samples,) or (n_samples, n_targets) float64, for X of (n_samples, n_features)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def _checked_penalties(self) -> list[float]:
        penalties = np.asarray(self.alphas, dtype=np.float64)
        if penalties.ndim != 1 or not len(penalties) or not (np.isfinite(penalties) & (penalties > 0)).all():
            raise ValueError(f"alphas must be a list of positive numbers; got {self.alphas!r}")
        if self.selection not in ("loo", "paper"):
            raise ValueError(f"selection must be 'loo' or 'paper'; got {self.selection!r}")
        return [float(penalty) for penalty in penalties]

    def _choose(self, penalties: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the penalty of each target and its criterion; targets that are constant have no say."""
        table = self.criteria_
        if self.alpha_per_target:
            found = [best_penalty(column, penalties) for column in table.T]
        else:
            known = np.isfinite(table).any(axis=0)
            mean = table[:, known].mean(axis=1) if known.any() else np.full(len(table), np.nan)
            found = [best_penalty(mean, penalties)] * table.shape[1]
        return np.array([penalty for penalty, _ in found]), np.array(
            [np.nan if criterion is None else criterion for _, criterion in found]
        )


def _decomposition(X: np.ndarray, centre: np.ndarray, backend: Backend) -> Decomposition:
    """Decompose the samples; where there are more features than samples, by their inner products, summed by blocks."""
    n, p = X.shape
    ids = tuple(f"{i:0{len(str(n))}d}" for i in range(n))
    features, kernel = None, None
    if p <= n:
        features = np.asarray(X, dtype=np.float64)
    else:
        total = backend.asarray(np.zeros((n, n)))
        for first in range(0, p, BLOCK):
            block = backend.asarray(X[:, first : first + BLOCK] - centre[None, first : first + BLOCK])
            total += block @ block.T
        kernel = backend.to_numpy(total)
    nothing = np.zeros(n)  # what undoes the centring is not needed here
    square = float(centre @ centre)
    return decompose(Representation("X", ids, p, features, kernel, nothing, nothing, square, backend=backend), ids)


def _weights(
    X: np.ndarray, centre: np.ndarray, decomposition: Decomposition, responses: np.ndarray, penalties: np.ndarray
) -> np.ndarray:
    """Return the weights (n_targets, n_features) of the fit."""
    backend, xp = decomposition.backend, decomposition.backend.xp
    along = projected_weights(decomposition, responses, penalties)
    if decomposition.principal_axes is not None:
        return backend.to_numpy((decomposition.principal_axes @ along).T)
    # The axes of P > n features are never formed: X' U diag(1 / sqrt(eigenvalues)), times the above.
    dual = decomposition.eigenvectors @ (along / xp.sqrt(decomposition.eigenvalues)[:, None])
    weights = np.empty((responses.shape[1], X.shape[1]))
    for first in range(0, X.shape[1], BLOCK):
        block = backend.asarray(X[:, first : first + BLOCK] - centre[None, first : first + BLOCK])
        weights[:, first : first + BLOCK] = backend.to_numpy(dual.T @ block)
    return weights
