"""One subject and region with himalaya's KernelRidgeCV on torch: five folds, a penalty for each neuroid."""

from __future__ import annotations

import numpy as np
from himalaya.backend import set_backend
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.scoring import correlation_score


def encode(
    features: np.ndarray,
    responses: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    penalties: tuple[float, ...],
    dtype: type = np.float32,
) -> np.ndarray:
    """Return r of each neuroid; parameters as in :func:`baselines.paper.encode`. No intervals and no ceilings."""
    backend = set_backend("torch")
    try:
        x, y = (backend.asarray(values.astype(dtype, copy=False)) for values in (features, responses))
        model = KernelRidgeCV(alphas=np.array(penalties), kernel="linear", fit_intercept=True, cv=5)
        model.fit(x[train], y[train])
        return backend.to_numpy(correlation_score(y[test], model.predict(x[test])))
    finally:
        set_backend("numpy")
