"""Scores and the records that keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Score:
    """What a metric returns.

    Parameters
    ----------
    value
        Headline score, or None where it cannot be computed.
    ci_low, ci_high
        95 % interval, or None.
    fields
        The metric's fields of the contract (``r_neuroid``, ``ceiling``, ``alpha``, ...), shown at the top level.
    details
        Everything else the metric reports; plain data.
    subjects
        Values per subject.
    layers
        Layer chosen in each fold, in the order of the folds (one entry where all agree), for each model.
    arrays
        Held-out predictions and the like, kept in the store under the score's key; named arrays.
    warnings
        What a reader must know, one line each.
    """

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    subjects: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[tuple[str, ...], ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
