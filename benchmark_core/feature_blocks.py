"""Blocks of features of all stimuli that are looked at by pieces of some stimuli, so small that a core's cache holds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

ROWS = 32  # stimuli in a piece: with a block's 4096 features small enough to stay in a core's cache


class FeatureBlock(Protocol):
    """Features (n, b) of all stimuli, in pieces of some of them."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, b)."""

    @property
    def stage(self) -> str:
        """What looking at the pieces is called in a profile."""

    @property
    def n_pieces(self) -> int:
        """Number of pieces."""

    def rows(self, piece: int) -> slice:
        """Stimuli of a piece."""

    def reader(self) -> Callable[[int, np.ndarray], None]:
        """Return a function for one thread that writes a piece's features to (rows, b) float32 or float64."""

    def some(self, rows: range) -> np.ndarray:
        """Return the features of some stimuli, (len(rows), b)."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all features."""


@dataclass(frozen=True)
class ArrayBlock:
    """Features that are in memory, (n, b)."""

    values: np.ndarray
    stage: str = "kernel"

    @property
    def shape(self) -> tuple[int, int]:
        """(n, b)."""
        n, b = self.values.shape
        return n, b

    @property
    def n_pieces(self) -> int:
        """Number of pieces."""
        return -(-len(self.values) // ROWS)

    def rows(self, piece: int) -> slice:
        """Stimuli of a piece."""
        return slice(piece * ROWS, min(len(self.values), (piece + 1) * ROWS))

    def reader(self) -> Callable[[int, np.ndarray], None]:
        """Return a function that copies a piece."""

        def read(piece: int, out: np.ndarray) -> None:
            np.copyto(out, self.values[self.rows(piece)], casting="same_kind")

        return read

    def some(self, rows: range) -> np.ndarray:
        """Return the features of some stimuli."""
        return self.values[rows.start : rows.stop : rows.step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the features."""
        return np.asarray(self.values, dtype=dtype)
