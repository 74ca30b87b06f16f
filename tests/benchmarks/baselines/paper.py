"""One subject and region, the published way: Gram matrix, leave-one-out, a refit, a bootstrap of copies.

Kazemian, Elmoznino and Bonner's pipeline as its methods section describes it. Features are one float32 matrix in memory.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge


def column_correlations(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return Pearson r of each column."""
    p, m = predicted - predicted.mean(axis=0), measured - measured.mean(axis=0)
    return (p * m).sum(axis=0) / np.sqrt((p**2).sum(axis=0) * (m**2).sum(axis=0))


def choose_penalty(features: np.ndarray, responses: np.ndarray, penalties: tuple[float, ...]) -> float:
    """Return the penalty whose leave-one-out predictions have the highest r with the responses."""
    x = torch.as_tensor(features - features.mean(axis=0))
    y = torch.as_tensor(responses - responses.mean(axis=0), dtype=x.dtype)
    eigenvalues, vectors = torch.linalg.eigh(x @ x.T)
    projected = vectors.T @ y
    scores = []
    for penalty in penalties:
        inverse = 1 / (eigenvalues + penalty)
        dual = vectors @ (inverse[:, None] * projected)
        diagonal = (vectors**2) @ inverse
        held_out = (y - dual / diagonal[:, None]).numpy()
        scores.append(np.nanmean(column_correlations(held_out, y.numpy())))
    return penalties[int(np.nanargmax(scores))]


def encode(
    features: np.ndarray,
    responses: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    penalties: tuple[float, ...],
    n_bootstrap: int = 1000,
) -> tuple[float, float, float]:
    """Score one subject and region.

    Parameters
    ----------
    features
        (n, P) float32.
    responses
        (n, m) averages over repetitions.
    train, test
        Rows.

    Returns
    -------
    r across neuroids, averaged over test stimuli and bootstrap resamples, with its 2.5 and 97.5 percentiles.
    """
    x, y = features[train], responses[train]
    penalty = choose_penalty(x, y, penalties)
    predicted = Ridge(alpha=penalty).fit(x, y.astype(np.float32)).predict(features[test])
    measured = responses[test]
    random = np.random.default_rng(0)
    resampled = []
    for _ in range(n_bootstrap):
        rows = random.integers(0, len(test), len(test))
        resampled.append(column_correlations(predicted[rows].T, measured[rows].T).mean())
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(np.mean(resampled)), float(low), float(high)
