"""Features divided by their deviation over training stimuli, which inner products alone cannot tell.

Pass 2 reads a layer once and adds up a kernel of the features as they are and, besides, one of the features divided for
each training set. Each of the latter lies in the store under a key of its own. Where the features themselves are held
(no more of them than stimuli) they are divided when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from benchmark_core.keys import digest
from benchmark_core.resolution import Resolved
from benchmark_core.splits import Splits

if TYPE_CHECKING:
    from benchmark_core.representation import Representation

TrainingSets = tuple[tuple[str, ...], ...]
"""Ids of each training set, sorted."""

LEAST_DEVIATION = 8 * float(np.finfo(np.float32).eps)
"""Features are computed in single precision: a deviation below this share of the mean is rounding (1e-6)."""


class Blocks(Protocol):
    """What gives the features of a layer by blocks."""

    def n_features(self, layer: str) -> int:
        """Number of features of the layer."""

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first feature, (n, b) float32) over all features."""


def training_sets_for(metric: Resolved, splits: Splits, subjects: Iterable[str]) -> TrainingSets:
    """Return the training sets that a metric wants features standardised on; none unless it asks for that.

    Parameters
    ----------
    metric
        Asks by the bool parameter that :attr:`benchmark_core.specs.MetricSpec.standardise` names.
    splits, subjects
        Folds, and whose of them are used.
    """
    name = metric.spec.standardise
    if not name or not metric.parameters[name]:
        return ()
    return tuple(dict.fromkeys(fold.train for subject in subjects for fold in splits.of(subject)))


def standardised_key(representation_key: str, train_ids: Iterable[str]) -> str:
    """Return the key under which the kernel of features standardised on a training set is stored."""
    return digest(
        {
            "kind": "standardised",
            "version": 1,
            "representation": representation_key,
            "train": digest(sorted(train_ids)),
        }
    )


def divided(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return features divided by their deviation over training stimuli.

    Parameters
    ----------
    features
        (n, b), any stimuli.
    train
        Positions of the training stimuli among the rows.

    Returns
    -------
    (n, b) float64. The deviation has divisor n_train (as scikit-learn's ``StandardScaler``). A feature that does not
    vary over the training stimuli (a deviation below :data:`LEAST_DEVIATION` of its mean) is zero everywhere. Means are
    left where they are: whatever follows centres on training means.
    """
    values = features.astype(np.float64)
    trained = values[train]
    mean = trained.mean(axis=0)
    deviation = np.sqrt(((trained - mean) ** 2).mean(axis=0))
    varies = deviation > LEAST_DEVIATION * np.abs(mean)
    values *= np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
    return values


@dataclass(frozen=True)
class DividedBlocks:
    """The features of a layer, divided by their deviation over training stimuli, by blocks."""

    source: Blocks
    train: np.ndarray

    def n_features(self, layer: str) -> int:
        """Number of features."""
        return self.source.n_features(layer)

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first feature, (n, b) float64)."""
        for first, block in self.source.blocks(layer):
            yield first, divided(block, self.train)


def standardise_held(representation: Representation, train_ids: Sequence[str]) -> Representation:
    """Return the representation of held features, divided by their deviation over training stimuli."""
    from benchmark_core.representation import Representation

    assert representation.features is not None
    values = divided(representation.features, np.array(representation.index(train_ids)))
    found = Representation.from_features(
        values, representation.stimulus_ids, representation.layer, representation.backend
    )
    found.key = standardised_key(representation.key, train_ids)
    return found
