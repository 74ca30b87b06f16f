"""The sums of pass 2: what a kernel is made of, block of features by block, with half of each symmetric product.

On the CPU the products are BLAS's symmetric updates (:mod:`benchmark_core.symmetric_products`), which go on while the
next block is read; everything else works on rows in several threads and in arrays that are used again, because fresh
memory costs as much as the arithmetic. On a device a block travels in single precision, once, and everything is added up
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark_core.arrays import Backend
from benchmark_core.feature_blocks import ArrayBlock, FeatureBlock
from benchmark_core.profiling import stage
from benchmark_core.symmetric_products import SymmetricProducts
from benchmark_core.threads import in_threads

TILE = 128  # rows and columns transposed at once
SAMPLE = 32  # stimuli whose mean stands for that of all on the way
PANELS = 4  # a device computes this many panels of rows, each up to the diagonal: 5/8 of the whole product


@dataclass(eq=False)
class KernelSums:
    """Running sums over features: what a representation of the features so far is made of.

    Parameters
    ----------
    row_sums, mean_products, mean_square
        (n,), (n,) and a number (numpy, or an array of the backend): see
        :class:`benchmark_core.representation.Representation`.
    held
        (n, up to n) float64, the first features themselves.
    products, kernel
        What becomes the kernel: on the CPU products, on a device an (n, n) float64 array of the backend, of which only
        the lower triangle is added up; None where only held features are wanted.
    backend
        Where products are computed.
    exact
        Products in float64; otherwise in float32 within some blocks, accumulated in float64. On the CPU row sums,
        products and square are then those of what is subtracted instead of the mean, until they are finished.
    """

    row_sums: Any
    mean_products: Any
    mean_square: Any
    held: np.ndarray
    products: SymmetricProducts | None
    kernel: Any
    backend: Backend
    exact: bool

    @classmethod
    def start(
        cls,
        n: int,
        n_held: int,
        with_kernel: bool,
        backend: Backend,
        exact: bool,
        at_once: int | None = None,
        beside: KernelSums | None = None,
    ) -> KernelSums:
        """Return empty sums; ``at_once`` as for :class:`SymmetricProducts`, with the memory of those that stand beside."""
        xp = backend.xp
        row_sums, mean_products = (xp.zeros(n, dtype=xp.float64, device=backend.xp_device) for _ in range(2))
        kernel = products = None
        if with_kernel and isinstance(row_sums, np.ndarray):
            products = SymmetricProducts(n, not exact, at_once, beside.products if beside else None)
        elif with_kernel:
            kernel = xp.zeros((n, n), dtype=xp.float64, device=backend.xp_device)
        return cls(row_sums, mean_products, 0.0, np.empty((n, n_held)), products, kernel, backend, exact)

    @property
    def on_host(self) -> bool:
        """Whether sums are numpy arrays."""
        return isinstance(self.row_sums, np.ndarray)

    @stage("kernel")
    def plus(self, first: int, block: np.ndarray | FeatureBlock, copy: bool = False) -> KernelSums:
        """Return the sums with a block (n, b) of features from ``first`` on; in place unless ``copy``.

        The block is float32, or float64 if it was computed from one; it may change as soon as this returns.
        """
        held = self.held
        if first < held.shape[1]:
            held = held.copy() if copy else held
            held[:, first : first + block.shape[1]] = np.asarray(block)[:, : held.shape[1] - first]
        kernel, products = self.kernel, self.products
        if copy and kernel is not None:
            kernel = self.backend.xp.asarray(kernel, copy=True)
        if copy and products is not None:
            # Of features that are held no kernel is made.
            products = None if first + block.shape[1] <= held.shape[1] else products.copy()
        if not self.on_host:
            row_sums, mean_products, square = self._add_on_device(kernel, np.asarray(block))
        else:
            given = ArrayBlock(block) if isinstance(block, np.ndarray) else block
            row_sums, mean_products, square = self._add(products, given)
        return KernelSums(
            self.row_sums + row_sums,
            self.mean_products + mean_products,
            self.mean_square + square,
            held,
            products,
            kernel,
            self.backend,
            self.exact,
        )

    @stage("kernel")
    def finish(
        self, n_features: int, last: bool = False
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray, np.ndarray, float]:
        """Return features, kernel, row sums, mean products and mean square of the first features, as numpy arrays.

        The features are None where there are more than stimuli, the kernel (both triangles of it) where there are not.
        The ``last`` time the kernel is finished where it is: nothing can be added afterwards.
        """
        row_sums, products = (np.array(self.backend.to_numpy(a)) for a in (self.row_sums, self.mean_products))
        square = float(self.mean_square)
        if n_features <= len(self.held):
            features = self.held[:, :n_features].copy()
            if self.on_host:
                mean = features.mean(axis=0)
                row_sums, products, square = features.sum(axis=1), features @ mean, float(mean @ mean)
            return features, None, row_sums, products, square
        if self.products is not None:
            kernel = self.products.total(last)
        else:
            kernel = self.backend.to_numpy(self.kernel)
            if not (last and kernel.flags.writeable):
                kernel = kernel.copy()
        kernel = _symmetric(kernel)
        if self.on_host or not self.exact:
            means = _centre_twice(kernel)
            if self.on_host:
                products, square = products + means, square + float(means.mean())
        return None, kernel, row_sums, products, square

    def close(self) -> None:
        """End what still goes on; for sums that nobody finishes."""
        if self.products is not None:
            self.products.close()

    def _add(self, products: SymmetricProducts | None, block: FeatureBlock) -> tuple[np.ndarray, np.ndarray, float]:
        """Add products of a block's features less about their mean, if wanted; return what other sums get.

        What is subtracted is the mean of some stimuli, so that a block is read once. Whatever it is, centring the kernel
        takes it out again; it only has to be so near the mean that products keep their digits. Products with the part of
        the mean that is left are row means of the kernel (:meth:`finish`).
        """
        n, b = block.shape
        dtype: Any = np.float64 if self.exact else np.float32
        values = np.empty((n, b), dtype=dtype) if products is None else products.room(b)
        with stage(block.stage):
            shift = block.some(range(0, n, max(1, n // SAMPLE))).mean(axis=0, dtype=np.float64).astype(dtype)
            row_sums, with_shift = np.empty(n), np.empty(n)

            def subtract(start: int, stop: int) -> None:
                read = block.reader()
                for piece in range(start, stop):
                    rows = block.rows(piece)
                    some = values[rows]
                    read(piece, some)
                    some -= shift
                    # Not by BLAS, whose threads would go on waiting for more work and be in the way of the product;
                    # and sum() would take three times as long.
                    row_sums[rows] = np.einsum("ij->i", some)
                    with_shift[rows] = np.einsum("ij,j->i", some, shift)

            in_threads(subtract, block.n_pieces)
        rest = float(with_shift.mean())
        if products is not None:
            products.add(values)
        square = float(np.einsum("i,i->", shift, shift, dtype=np.float64))
        return row_sums + float(shift.sum(dtype=np.float64)), with_shift + square + rest, square + 2 * rest

    def _add_on_device(self, kernel: Any, block: np.ndarray) -> tuple[Any, Any, Any]:
        """Do the same where the kernel is: the block travels as it is, and everything is computed there."""
        backend, xp, n = self.backend, self.backend.xp, len(block)
        given = backend.asarray_float32(block) if block.dtype == np.float32 else backend.asarray(block)
        mean = xp.sum(given, axis=0, dtype=xp.float64) / n
        values = xp.astype(given, xp.float64) - mean[None, :]
        row_sums, products = xp.sum(values, axis=1) + xp.sum(mean), values @ mean
        if not self.exact:
            values = xp.astype(values, xp.float32)
        for panel in range(PANELS if kernel is not None else 0):
            start, stop = n * panel // PANELS, n * (panel + 1) // PANELS
            if start < stop:
                product = values[start:stop, :] @ values[:stop, :].T
                kernel[start:stop, :stop] += xp.astype(product, xp.float64, copy=False)
        square = xp.sum(mean * mean)
        return row_sums, products + square, square


def _symmetric(kernel: np.ndarray) -> np.ndarray:
    """Fill the upper triangle with the lower one, in place."""
    n, starts = len(kernel), range(0, len(kernel), TILE)
    # The longest row of tiles with the shortest, so that each thread has as much to do.
    order = [starts[i // 2 if i % 2 == 0 else -1 - i // 2] for i in range(len(starts))]

    def mirror(start: int, stop: int) -> None:
        for first in order[start:stop]:
            last = min(first + TILE, n)
            for across in range(last, n, TILE):
                kernel[first:last, across : across + TILE] = kernel[across : across + TILE, first:last].T
            square = kernel[first:last, first:last]
            square[:] = np.tril(square) + np.tril(square, -1).T

    in_threads(mirror, len(order))
    return kernel


def _centre_twice(kernel: np.ndarray) -> np.ndarray:
    """Subtract row means and column means of a symmetric kernel, in place; return what they were."""
    n = len(kernel)
    mean = np.empty(n)

    def average(start: int, stop: int) -> None:
        np.mean(kernel[start:stop], axis=1, out=mean[start:stop])

    in_threads(average, n)
    centre = mean - mean.mean() / 2

    def subtract(start: int, stop: int) -> None:
        for row in range(start, stop):
            kernel[row] -= centre + centre[row]  # in one sum, which is the same for row and column

    in_threads(subtract, n)
    return mean
