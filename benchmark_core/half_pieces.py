"""Features in half the bytes, where ``--precision fast`` allows that: 16-bit integers with a scale for each feature.

Within a chunk of stimuli every feature is divided by a 32767th of its largest magnitude there and rounded. What is lost
is at most a 65534th of that magnitude, some ten times less than by 16-bit floating point numbers; zero stays zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_ROWS = 8
"""Stimuli from which a scale for each feature pays."""
_LARGEST = 32767


def packed_bytes(rows: int, features: int) -> int:
    """Return the size of what :func:`pack` returns."""
    return features * (4 + 2 * rows)


def pack(values: np.ndarray) -> np.ndarray:
    """Return finite features as bytes: float32 scales, then int16 by stimulus.

    Parameters
    ----------
    values
        (rows, b) float32.

    Returns
    -------
    (b (4 + 2 rows),) uint8.
    """
    rows, b = values.shape
    packed = np.empty(packed_bytes(rows, b), dtype=np.uint8)
    scales, numbers = _parts(packed, rows, b)
    np.abs(values).max(axis=0, out=scales)
    scales /= _LARGEST
    with np.errstate(over="ignore"):  # of the largest there are, a scale that was rounded up gives infinity back
        too_large = ~np.isfinite(scales * np.float32(_LARGEST))
    np.nextafter(scales, np.float32(0), out=scales, where=too_large)
    # Of magnitudes so small that the scale would be none.
    np.maximum(scales, np.finfo(np.float32).tiny, out=scales)
    numbers[:] = np.rint(values / scales)
    return packed


def unpack(packed: np.ndarray, out: np.ndarray) -> None:
    """Write the features (rows, b) that were packed to a float32 array."""
    scales, numbers = _parts(packed, *out.shape)
    out[:] = numbers
    out *= scales


@dataclass(frozen=True)
class PackedBlock:
    """Features of all stimuli as they lie in pieces, so that nobody unpacks more of them than fits into a cache.

    Parameters
    ----------
    shape
        (n, b).
    chunk_rows
        Stimuli in each piece but the last, which may have fewer.
    pieces
        uint8: what :func:`pack` returned, or for fewer than :data:`LEAST_ROWS` stimuli float32 numbers as they are.
    """

    shape: tuple[int, int]
    chunk_rows: int
    pieces: Sequence[np.ndarray]

    def unpack(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write features of the stimuli from ``start`` to ``stop`` to (stop - start, b) float32."""
        n, b = self.shape
        while start < stop:
            chunk = start // self.chunk_rows
            first, last = chunk * self.chunk_rows, min(n, (chunk + 1) * self.chunk_rows)
            rows = min(stop, last) - start
            some = slice(start - first, start - first + rows)
            if last - first < LEAST_ROWS:
                out[:rows] = self.pieces[chunk].view("<f4").reshape(-1, b)[some]
            else:
                scales, numbers = _parts(self.pieces[chunk], last - first, b)
                out[:rows] = numbers[some]
                out[:rows] *= scales
            out, start = out[rows:], start + rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all features, (n, b) float32."""
        values = np.empty(self.shape, dtype=np.float32)
        self.unpack(0, self.shape[0], values)
        return values if dtype is None else values.astype(dtype, copy=False)


def _parts(packed: np.ndarray, rows: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    return packed[: 4 * b].view("<f4"), packed[4 * b :].view("<i2").reshape(rows, b)
