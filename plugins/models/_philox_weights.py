"""Untrained weights from counter-based random streams, one stream for every filter.

Recipe ``philox-1``. The weights of a filter come from a Philox4x64-10 generator whose 128-bit key is the pair
(seed, layer * 2**32 + filter) and whose counter starts at zero (NumPy's first block is that of counter 1), so a
filter does not depend on how many others are drawn, in what order, or on which device they are used. Numbers are made
from the generator's raw 64-bit words (each split into a low and a high 32-bit half), not by
``numpy.random.Generator``, whose streams may change between NumPy versions. No global generator is touched.

The biases of a layer share the stream of filter number 2**32 - 1, of which filter i has 32-bit word i.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from benchmark_core.errors import InputError
from benchmark_core.threads import in_threads

RECIPE = "philox-1"

Init = Literal[
    "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "orthogonal", "uniform", "normal"
]
INITS: tuple[str, ...] = get_args(Init)
DEFAULT = "default"
"""The initialisation that torch gives convolutions and dense layers when none is named."""

_BIASES = 2**32 - 1
_FEW = 2**20  # weights that are not worth starting threads for
_TOGETHER = 2**15  # weights that are made from words at once: they and the words fit a core's cache


def draw_filters(
    filters: int,
    shape: tuple[int, ...],
    *,
    seed: int,
    layer: int,
    init: str = "kaiming_uniform",
    first: int = 0,
    last: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Draw filters ``first`` to ``last`` (exclusive) of an untrained layer.

    Definitions are those of the functions of the same names in :mod:`torch.nn.init` with their defaults, where
    fan_in is the number of weights of a filter and fan_out = ``filters`` x the size of a kernel:

    ================  =====================================================
    kaiming_uniform   U(-b, b), b = sqrt(6 / fan_in)
    kaiming_normal    N(0, s), s = sqrt(2 / fan_in)
    xavier_uniform    U(-b, b), b = sqrt(6 / (fan_in + fan_out))
    xavier_normal     N(0, s), s = sqrt(2 / (fan_in + fan_out))
    orthogonal        Q of the QR decomposition of N(0, 1), signs from diag R
    uniform           U(0, 1)
    normal            N(0, 1)
    default           U(-b, b), b = sqrt(1 / fan_in), torch's when none is named
    ================  =====================================================

    The first filters of a wider layer are those of a narrower one: exactly, except that xavier scales the same unit
    draws by a width that depends on ``filters``, and that orthogonal filters (the Gram-Schmidt process on the draws,
    so filter i depends on filters 0 to i) agree to rounding only. With more filters than weights in a filter no set
    of filters can be orthogonal; then the columns are, and every filter depends on all.

    Parameters
    ----------
    filters
        Number of filters of the whole layer.
    shape
        Shape of one filter: (channels, height, width) or (inputs,).
    seed
        From 0 to 2**64 - 1.
    layer
        Number that tells the layers of a model apart, from 0 to 2**32 - 1; 1 to 5 are the expansion model's.
    init
        Name of the initialisation.
    first, last
        Range of filters; all by default. Only this range is held, except for ``orthogonal``.
    out
        C-contiguous float32 array (last - first, \\*shape) to fill; made if absent.

    Returns
    -------
    numpy.ndarray
        float32, shape (last - first, \\*shape).

    Raises
    ------
    InputError
        For an unknown initialisation or a range outside the layer.
    """
    last = filters if last is None else last
    if init not in (*INITS, DEFAULT):
        raise InputError(f"unknown init {init!r}; use one of {', '.join(INITS)}")
    _check_request(filters, seed, first, last)
    fan_in = math.prod(shape)
    fan_out = filters * math.prod(shape[1:])
    if out is None:
        out = np.empty((last - first, *shape), dtype=np.float32)
    assert out.shape == (last - first, *shape)
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    rows = out.reshape(last - first, fan_in)
    if init == "orthogonal":
        rows[:] = _orthogonal(filters, fan_in, seed, layer, last)[first:last]
        return out

    def draw(start: int, stop: int) -> None:
        stream = _Stream(seed, layer)
        step = max(1, _TOGETHER // fan_in)
        for low in range(start, stop, step):
            some = rows[low : min(low + step, stop)]
            raw = stream.words(range(first + low, first + low + len(some)), fan_in)
            if init == "kaiming_uniform":
                _symmetric(raw, math.sqrt(6 / fan_in), some)
            elif init == DEFAULT:
                _symmetric(raw, math.sqrt(1 / fan_in), some)
            elif init == "xavier_uniform":
                _symmetric(raw, math.sqrt(6 / (fan_in + fan_out)), some)
            elif init == "kaiming_normal":
                _normal(raw, math.sqrt(2 / fan_in), some)
            elif init == "xavier_normal":
                _normal(raw, math.sqrt(2 / (fan_in + fan_out)), some)
            elif init == "uniform":
                _unit(raw, some)
            else:
                _normal(raw, 1.0, some)

    if rows.size < _FEW:
        draw(0, len(rows))
    else:
        in_threads(draw, len(rows))  # a filter is the same whoever draws it
    return out


def draw_biases(
    filters: int, fan_in: int, *, seed: int, layer: int, first: int = 0, last: int | None = None
) -> np.ndarray:
    """Draw the biases of filters ``first`` to ``last`` (exclusive): U(-b, b), b = sqrt(1 / fan_in), torch's default.

    Parameters
    ----------
    filters
        Number of filters of the whole layer.
    fan_in
        Number of weights of a filter.
    seed, layer
        As in :func:`draw_filters`.
    first, last
        Range of filters; all by default. A filter's bias does not depend on it.

    Returns
    -------
    numpy.ndarray
        float32, shape (last - first,).

    Raises
    ------
    InputError
        For a range outside the layer.
    """
    last = filters if last is None else last
    _check_request(filters, seed, first, last)
    skipped = first // 8  # blocks of four 64-bit words, that is, of eight biases
    raw = _Stream(seed, layer).words([_BIASES], last - 8 * skipped, skipped)[:, first - 8 * skipped :]
    biases = np.empty(last - first, dtype=np.float32)
    _symmetric(raw, math.sqrt(1 / fan_in), biases[np.newaxis])
    return biases


def draw_permutation(n: int, *, seed: int, layer: int, number: int) -> np.ndarray:
    """Draw a permutation of 0 to n - 1: the order of the first n 32-bit words of the stream (seed, layer, number).

    Returns
    -------
    numpy.ndarray
        int64, shape (n,).
    """
    return np.argsort(_Stream(seed, layer).words([number], n)[0, :n], kind="stable")


def _check_request(filters: int, seed: int, first: int, last: int) -> None:
    if not 0 <= first < last <= filters:
        raise InputError(f"filters {first} to {last} are not in a layer of {filters} filters")
    if not 0 <= seed < 2**64:
        raise InputError(f"seed {seed} is not allowed; seed must be a whole number from 0 to 2**64 - 1")


class _Stream:
    """The streams of a layer, one after the other: setting a generator takes a fifth of the time of making one."""

    def __init__(self, seed: int, layer: int) -> None:
        self._generator = np.random.Philox(key=seed)
        self._state: Any = self._generator.state
        self._seed, self._layer = seed, layer

    def words(self, numbers: Sequence[int], n: int, skipped: int = 0) -> np.ndarray:
        """Return n (rounded up to even) 32-bit words of each filter's stream, after ``skipped`` blocks of eight."""
        state = self._state["state"]
        state["counter"][0] = skipped
        words = np.empty((len(numbers), (n + 1) // 2), dtype="<u8")
        for row, number in zip(words, numbers, strict=True):
            state["key"][:] = self._seed, self._layer << 32 | number
            self._generator.state = self._state
            row[:] = self._generator.random_raw(len(row))
        return words.view("<u4")


def _unit(raw: np.ndarray, out: np.ndarray) -> None:
    """Fill ``out`` with multiples of 2^-24 in [0, 1), all exact in float32."""
    kept = raw[:, : out.shape[1]] >> np.uint32(8)
    np.multiply(kept, np.float32(2**-24), out=out, dtype=np.float32, casting="unsafe")


def _symmetric(raw: np.ndarray, bound: float, out: np.ndarray) -> None:
    """Fill ``out`` with U(-bound, bound)."""
    _unit(raw, out)
    out *= np.float32(2)
    out -= np.float32(1)
    out *= np.float32(bound)


def _normal(raw: np.ndarray, std: float, out: np.ndarray) -> None:
    """Fill ``out`` with N(0, std) by the method of Box and Muller: words 2i and 2i + 1 give values 2i and 2i + 1."""
    radius = raw[:, 0::2].astype(np.float32)
    radius += np.float32(0.5)
    radius *= np.float32(2**-32)  # in (0, 1]: the logarithm is finite
    np.log(radius, out=radius)
    radius *= np.float32(-2 * std**2)
    np.sqrt(radius, out=radius)
    angle = raw[:, 1::2].astype(np.float32)
    angle *= np.float32(2 * math.pi * 2**-32)
    out[:, 0::2] = radius * np.cos(angle)
    out[:, 1::2] = (radius * np.sin(angle))[:, : out.shape[1] // 2]


def _orthogonal(filters: int, fan_in: int, seed: int, layer: int, last: int) -> np.ndarray:
    """Return the first ``last`` orthonormal filters of a layer (all of them where there are more than weights)."""
    import torch

    tall = filters > fan_in
    drawn = np.empty((filters if tall else last, fan_in), dtype=np.float32)
    stream = _Stream(seed, layer)
    for number in range(len(drawn)):
        _normal(stream.words([number], fan_in), 1.0, drawn[number : number + 1])
    matrix = torch.from_numpy(drawn if tall else drawn.T)
    q, r = torch.linalg.qr(matrix)
    q *= torch.where(r.diagonal() < 0, -1.0, 1.0)
    return np.asarray((q if tall else q.T).numpy())
