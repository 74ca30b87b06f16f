"""Features in half the bytes, where ``--precision fast`` allows that: 16-bit integers with a scale for each feature.

Within a chunk of stimuli every feature is divided by a 32767th of its largest magnitude there and rounded. What is lost
is at most a 65534th of that magnitude, some ten times less than by 16-bit floating point numbers; zero stays zero.
"""

from __future__ import annotations

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
    """Write the features (rows, b) that were packed to a float32 or float64 array."""
    scales, numbers = _parts(packed, *out.shape)
    out[:] = numbers
    out *= scales


def _parts(packed: np.ndarray, rows: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    return packed[: 4 * b].view("<f4"), packed[4 * b :].view("<i2").reshape(rows, b)
