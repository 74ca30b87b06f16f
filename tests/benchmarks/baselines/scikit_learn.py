"""One subject and region with scikit-learn: RidgeCV chooses the penalty, Ridge is fitted with it."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge, RidgeCV


def encode(
    features: np.ndarray, responses: np.ndarray, train: np.ndarray, test: np.ndarray, penalties: tuple[float, ...]
) -> np.ndarray:
    """Return r of each neuroid; parameters as in :func:`baselines.paper.encode`. No intervals and no ceilings."""
    x, y = features[train], responses[train]
    chosen = RidgeCV(alphas=penalties).fit(x, y).alpha_
    predicted = Ridge(alpha=chosen).fit(x, y).predict(features[test])
    return np.array([np.corrcoef(p, m)[0, 1] for p, m in zip(predicted.T, responses[test].T, strict=True)])
