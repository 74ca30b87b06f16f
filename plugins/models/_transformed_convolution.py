"""Convolutions with few products: Toom-Cook (Winograd) and overlapping Fourier tiles, for wide layers on a CPU.

The input is cut into overlapping tiles of t x t that give m x m outputs each, t = m + r - 1 for filters of r x r. With
a tile and a filter written as vectors x and w, their outputs are ``y = A ((G w) * (B x))``: P products for one channel
instead of m^2 r^2. Sums over channels turn each of the P into a product of matrices, (filters x channels) by
(channels x tiles of all images). These take most of the time, and everything else is arranged around them: filters
are transformed by blocks and never held as a whole, outputs are transformed, passed through the nonlinearity and
pooled in pieces that stay in the cache.

Sources: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016 (the arrangement as products
of matrices); Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for deep neural
networks", ACM TOMS 46(4), 2020 (the choice of points); Mathieu, Henaff and LeCun, "Fast training of convolutional
networks through FFTs", ICLR 2014.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Pointwise = Callable[[Tensor], Tensor]

_PLANES_BYTES = 512 << 20  # transformed inputs held at a time; images beyond are done in groups
_BLOCK_BYTES = 192 << 20  # transformed filters of a block, with their products
_CACHE_BYTES = 4 << 20  # pieces of tiles and of outputs
_LEAST_PRODUCTS = 10**9  # multiplications for an image below which a layer is done directly without asking
_LEAST_GAIN = 1.2  # a transform must be that much faster when measured


@dataclass(frozen=True, eq=False)
class Transform:
    """A bilinear algorithm for the outputs of one tile, ``y = A ((G w) * (B x))``.

    Parameters
    ----------
    name
        As in the literature.
    outputs, kernel
        Sides m and r of the outputs of a tile, and of filters.
    output_matrix, filter_matrix, input_matrix
        A (m^2, P), G (P, r^2) and B (P, t^2), float64; tiles, filters and outputs are flattened by rows.
    """

    name: str
    outputs: int
    kernel: int
    output_matrix: np.ndarray
    filter_matrix: np.ndarray
    input_matrix: np.ndarray

    @property
    def tile(self) -> int:
        """Side of a tile."""
        return self.outputs + self.kernel - 1

    @property
    def products(self) -> int:
        """Products for each tile, channel and filter."""
        return len(self.input_matrix)

    def tiles(self, height: int, width: int, pool: bool) -> tuple[int, int]:
        """Return how many tiles, down and across, an input of this size has; pooling drops a last odd row or column."""
        down, across = (side - self.kernel + 1 for side in (height, width))
        if pool:
            down, across = down // 2 * 2, across // 2 * 2
        return -(-down // self.outputs), -(-across // self.outputs)

    def side(self, pool: bool) -> int:
        """Return the side of what a tile leaves."""
        return self.outputs // 2 if pool else self.outputs


def toom_cook(outputs: int, kernel: int, points: Sequence[str]) -> Transform:
    """Return the Toom-Cook (Winograd) algorithm F(m x m, r x r), with infinity besides the points given.

    Computed in exact rational arithmetic and rounded once.

    Parameters
    ----------
    outputs, kernel
        m and r.
    points
        m + r - 2 different rational numbers, such as ``"-2/3"``. Which ones decides how many digits are lost.

    Raises
    ------
    ValueError
        For another number of points, or equal ones.
    """
    finite = [Fraction(point) for point in points]
    tile = outputs + kernel - 1
    if len(set(finite)) != len(points) or len(points) != tile - 1:
        raise ValueError(f"F({outputs}, {kernel}) needs {tile - 1} different points, not {', '.join(points)}")

    def evaluations(length: int) -> list[list[Fraction]]:
        """Values at all points of the monomials below a degree; at infinity only the highest counts."""
        return [[x**power for power in range(length)] for x in finite] + [[Fraction(0)] * (length - 1) + [Fraction(1)]]

    # A polynomial product is w(x) v(x) at the points, then interpolation; a correlation is its transpose.
    inputs = _floats(zip(*_inverse(evaluations(tile)), strict=True))
    filters, transposed = _floats(evaluations(kernel)), _floats(evaluations(outputs)).T
    name = f"Toom-Cook F({outputs} x {outputs}, {kernel} x {kernel})"
    return Transform(
        name, outputs, kernel, np.kron(transposed, transposed), np.kron(filters, filters), np.kron(inputs, inputs)
    )


def _floats(rows: Iterable[Iterable[Fraction]]) -> np.ndarray:
    return np.array([[float(value) for value in row] for row in rows])


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Invert a regular matrix by Gauss and Jordan's elimination."""
    n = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(matrix)]
    for column in range(n):
        pivot = next(i for i in range(column, n) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = rows[column][column]
        rows[column] = [value / scale for value in rows[column]]
        for i in range(n):
            if i != column and rows[i][column]:
                factor = rows[i][column]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column], strict=True)]
    return [row[n:] for row in rows]


def fourier(tile: int, kernel: int) -> Transform:
    """Return the correlation by discrete Fourier transforms of overlapping tiles ("overlap-save").

    Of each pair of conjugate frequencies one is computed, as three real products (Gauss): with x = a + bi and
    w = c + di, Re(x w*) = c (a + b) + b (d - c) and Im(x w*) = c (a + b) - a (c + d). As many digits as directly.

    Parameters
    ----------
    tile, kernel
        t and r; the outputs are those that no wrapping around reaches, m = t - r + 1.
    """
    outputs = tile - kernel + 1
    rows, columns = (index.ravel() for index in np.indices((tile, tile)))
    in_filter = (rows < kernel) & (columns < kernel)
    in_output = (rows < outputs) & (columns < outputs)
    inputs, filters, synthesis = [], [], []
    for down in range(tile):
        for across in range(tile):
            conjugate = (-down % tile, -across % tile)
            if conjugate < (down, across):
                continue
            angle = 2 * np.pi / tile * ((down * rows + across * columns) % tile)
            real, imaginary = np.cos(angle), -np.sin(angle)
            if conjugate == (down, across):
                inputs.append(real)
                filters.append(real[in_filter])
                synthesis.append(real[in_output] / tile**2)
                continue
            c, d = real[in_filter], imaginary[in_filter]
            inputs += [real + imaginary, imaginary, real]
            filters += [c, d - c, c + d]
            # Re(z exp(i angle)) = Re(z) cos(angle) - Im(z) sin(angle), twice for the pair.
            from_real, from_imaginary = 2 / tile**2 * real[in_output], 2 / tile**2 * imaginary[in_output]
            synthesis += [from_real + from_imaginary, from_real, -from_imaginary]
    name = f"Fourier tiles of {tile} x {tile} for {kernel} x {kernel}"
    return Transform(name, outputs, kernel, np.array(synthesis).T, np.array(filters), np.array(inputs))


@cache
def transforms(kernel: int) -> tuple[Transform, ...]:
    """Return the transforms to consider for square filters of a side (none for 1 and 2, or beyond 9).

    The points lose the fewest digits among those made of 0, +-1/2 ... +-2 that were tried, on positive inputs.
    """
    if kernel == 3:
        return toom_cook(4, 3, ("0", "2/3", "-2/3", "3/2", "-3/2")), toom_cook(3, 3, ("1/2", "-1/2", "5/4", "-5/4"))
    return (fourier(kernel + 7, kernel),) if 4 <= kernel <= 9 else ()


def transformed_convolution(
    x: Tensor, weight: Tensor, transform: Transform, pointwise: Pointwise | None = None, pool: bool = False
) -> Tensor:
    """Return the convolution without padding or bias, then a function of each value, then means over 2 x 2.

    The same as ``avg_pool2d(pointwise(conv2d(x, weight)), 2)`` but for rounding: with the transforms of
    :func:`transforms`, to 1e-5 of the output's root mean square. Gradients are not kept.

    Parameters
    ----------
    x
        (N, channels, H, W), on the CPU.
    weight
        (filters, channels, r, r) of the same dtype.
    transform
        For this r; ``outputs`` must be even with ``pool``.
    pointwise
        Applied to values as they come, in any shape; may work in place.
    pool
        Average over 2 x 2; a last odd row or column is dropped.

    Returns
    -------
    torch.Tensor
        (N, filters, H - r + 1, W - r + 1), or half of both sides with ``pool``, contiguous.
    """
    down, across = transform.tiles(x.shape[2], x.shape[3], pool)
    side = transform.side(pool)
    out = x.new_empty(len(x), len(weight), down * side, across * side)
    planes_of_image = transform.products * x.shape[1] * down * across * x.element_size()
    group = _share(len(x), _PLANES_BYTES // planes_of_image)
    for first in range(0, len(x), group):
        images = slice(first, first + group)
        planes = _transform_input(x[images], transform, down, across)
        _transform_output(out[images], planes, weight, transform, pointwise, pool)
    height, width = ((length - transform.kernel + 1) // (2 if pool else 1) for length in x.shape[2:])
    return out[:, :, :height, :width].contiguous()


def _transform_input(x: Tensor, transform: Transform, down: int, across: int) -> Tensor:
    """Return B x for all tiles, (P, channels, N * down * across)."""
    n, channels = x.shape[:2]
    t, m = transform.tile, transform.outputs
    missing = [(tiles - 1) * m + t - side for tiles, side in ((across, x.shape[3]), (down, x.shape[2]))]
    if max(missing) > 0:
        x = F.pad(x, (0, max(0, missing[0]), 0, max(0, missing[1])))
    tiles = x.unfold(2, t, m)[:, :, :down].unfold(3, t, m)[:, :, :, :across].permute(4, 5, 1, 0, 2, 3)
    columns = n * down * across
    matrix = _matrix(transform.input_matrix, x)
    planes = x.new_empty(transform.products, channels * columns)
    step = min(channels, max(1, _CACHE_BYTES // (t * t * columns * x.element_size())))
    buffer = x.new_empty(t * t * step * columns)
    for first in range(0, channels, step):
        last = min(channels, first + step)
        piece = buffer[: t * t * (last - first) * columns]
        piece.view(t, t, last - first, n, down, across).copy_(tiles[:, :, first:last])
        torch.mm(matrix, piece.view(t * t, -1), out=planes[:, first * columns : last * columns])
    return planes.view(transform.products, channels, columns)


def _transform_output(
    out: Tensor, planes: Tensor, weight: Tensor, transform: Transform, pointwise: Pointwise | None, pool: bool
) -> None:
    """Multiply transformed inputs with all filters, block by block, and write the outputs into ``out``."""
    products, channels, columns = planes.shape
    n, filters = out.shape[:2]
    side = transform.side(pool)
    down, across = out.shape[2] // side, out.shape[3] // side
    block = _share(filters, _BLOCK_BYTES // (products * (channels + columns) * planes.element_size()))
    piece = min(block, max(1, _CACHE_BYTES // (transform.outputs**2 * columns * planes.element_size())))
    filter_matrix = _matrix(transform.filter_matrix, planes)
    output_matrix = _matrix(_by_phase(transform) if pool else transform.output_matrix, planes)
    filter_buffer = planes.new_empty(products * block * channels)
    product_buffer = planes.new_empty(products * block * columns)
    output_buffer = planes.new_empty(transform.outputs**2 * piece * columns)
    for first in range(0, filters, block):
        last = min(filters, first + block)
        transformed = filter_buffer[: products * (last - first) * channels].view(products, last - first, channels)
        summed = product_buffer[: products * (last - first) * columns].view(products, last - first, columns)
        _transform_filters(weight[first:last], filter_matrix, transformed.view(products, -1))
        torch.bmm(transformed, planes, out=summed)
        summed = summed.view(products, -1)
        for start in range(first, last, piece):
            stop = min(last, start + piece)
            values = output_buffer[: transform.outputs**2 * (stop - start) * columns].view(transform.outputs**2, -1)
            torch.mm(output_matrix, summed[:, (start - first) * columns : (stop - first) * columns], out=values)
            if pointwise is not None:
                values = pointwise(values)
            if pool:
                values = values.view(4, -1).sum(0)
            values = values.view(side, side, stop - start, n, down, across).permute(3, 2, 4, 0, 5, 1)
            target = out[:, start:stop].view(n, stop - start, down, side, across, side)
            torch.mul(values, 0.25 if pool else 1.0, out=target)


def _share(n: int, most: int) -> int:
    """Return the size of about equal parts of n things: ``most`` at most, 1 at least; the last may be smaller."""
    most = max(1, most)
    parts = max(1, -(-n // most))
    return max(1, -(-n // parts))


def _transform_filters(weight: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Write G w for filters (filters, channels, r, r) into ``out``, (P, filters * channels)."""
    torch.mm(matrix, weight.reshape(out.shape[1], -1).T, out=out)


def _matrix(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.dtype)


def _by_phase(transform: Transform) -> np.ndarray:
    """Return A with its rows, the outputs of a tile, ordered such that those averaged together are m^2 / 4 apart."""
    half = transform.outputs // 2
    rows = np.arange(transform.outputs**2).reshape(half, 2, half, 2)
    return transform.output_matrix[rows.transpose(1, 3, 0, 2).ravel()]


@cache
def choose(shape: tuple[int, ...], height: int, width: int, pool: bool, threads: int) -> Transform | None:
    """Return the transform that does a layer faster on this machine, or None where that is the direct way.

    Measured once in a process, on 64 of the layer's filters and 8 or 16 images, in two seconds or so for the widest layers.
    All images are then done the same way, whatever the batch. Small layers are done directly without measuring.

    Parameters
    ----------
    shape
        Of the weights, (filters, channels, r, r).
    height, width
        Of the input.
    pool
        Whether 2 x 2 outputs are averaged.
    threads
        Those at work; part of the question only.
    """
    filters, channels, kernel, other = shape
    positions = max(0, height - kernel + 1) * max(0, width - kernel + 1)
    if kernel != other or math.prod(shape) * positions < _LEAST_PRODUCTS:
        return None
    candidates = [transform for transform in transforms(kernel) if not pool or transform.outputs % 2 == 0]
    if not candidates:
        return None
    transform = min(candidates, key=lambda c: c.products * math.prod(c.tiles(height, width, pool)))
    down, across = transform.tiles(height, width, pool)
    # As many images as in batches: filters are transformed once for each.
    some, images = min(filters, 64), 16 if down * across < 16 else 8
    with torch.inference_mode():
        x, weight = torch.ones(images, channels, height, width), torch.ones(some, *shape[1:])
        out = torch.empty(images, some, down * transform.side(pool), across * transform.side(pool))
        planes = _transform_input(x, transform, down, across)
        direct, inputs, outputs = _seconds(
            lambda: F.conv2d(x, weight),
            lambda: _transform_input(x, transform, down, across),
            lambda: _transform_output(out, planes, weight, transform, None, pool),
        )
    return transform if direct > _LEAST_GAIN * (inputs * some / filters + outputs) else None


def _seconds(*computations: Callable[[], object]) -> tuple[float, ...]:
    """Return the shorter of two durations of each, taken in turns."""
    durations: list[list[float]] = [[] for _ in computations]
    for _ in range(2):
        for compute, taken in zip(computations, durations, strict=True):
            started = time.perf_counter()
            compute()
            taken.append(time.perf_counter() - started)
    return tuple(min(taken) for taken in durations)
