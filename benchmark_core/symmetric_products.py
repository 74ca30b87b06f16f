"""Sums of symmetric products of blocks of features, on several cores at once.

Every core multiplies a block of its own, by BLAS's symmetric update in a single thread, while the next block is read and
centred; none waits for another, as the threads of one product do. Products are added up in the order of the blocks. So
digits are the same on any number of cores, but for very few or many stimuli, more than eight threads or than there is
memory for, and several kernels at once: there BLAS's threads share each product, and round as their number has it.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from benchmark_core import threads

TOGETHER = 4  # products that are added up in single precision, if they are in it
LARGE = 5000  # stimuli from which memory has no room for a product beside the sum: BLAS adds to the sum itself
SMALL = 256  # stimuli below which a product is done before it is handed to a thread
MOST_AT_ONCE = 8  # one thread does not read for more
MOST_BYTES = 1 << 30  # of blocks and products that are not yet added up
WIDE = 512  # columns from which the last block, narrower than the others, is multiplied in two halves, by a core each
_SIGNATURE = b"void (char *, char *, int *, int *, "  # of BLAS whose integers are C's


class SymmetricProducts:
    """The running sum of ``values @ values.T`` over blocks, of which only the lower triangle is there.

    Parameters
    ----------
    n
        Rows of every block.
    single
        Products in float32, :data:`TOGETHER` of them added up in it; otherwise in float64. The sum is float64.
    at_once
        Blocks multiplied at the same time, each by one thread; 1 to multiply each by all threads. By default as many
        as there are threads, if memory allows.
    beside
        Another sum of as many rows, whose memory for blocks and products is used, by one of them after the other.
    """

    def __init__(
        self, n: int, single: bool, at_once: int | None = None, beside: SymmetricProducts | None = None
    ) -> None:
        self.n = n
        self.dtype: Any = np.float32 if single else np.float64
        self.kernel = np.zeros((n, n))
        self.count = 0
        self._at_once = at_once
        self._group = self._zeros(n * n).reshape(n, n) if single else None
        self._rooms: list[np.ndarray] = beside._rooms if beside else []
        self._spaces: list[np.ndarray] = beside._spaces if beside else []
        self._pending: deque[Future[None]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._limit: Any = None
        self._turn = threading.Condition()
        self._added = 0
        self._widest = 0

    def room(self, b: int) -> np.ndarray:
        """Return an (n, b) array for the values of the next block, when one is free.

        Raises
        ------
        MemoryError
            Here or in any other method: if there is none left for a product.
        """
        if self._at_once is None:
            self._at_once = self._most_at_once(b)
        self._wait_for_all_but(self._at_once)
        flat = self._rooms.pop() if self._rooms else self._zeros(0)
        if flat.size < self.n * b:
            flat = self._zeros(self.n * b)
        return flat[: self.n * b].reshape(self.n, b)

    def add(self, values: np.ndarray) -> None:
        """Add the product of a block (n, b) that :meth:`room` gave; it must not be looked at afterwards."""
        b = values.shape[1]
        # Whatever the number of cores, or digits would depend on it.
        halves = [values[:, : b // 2], values[:, b // 2 :]] if WIDE <= b < self._widest else [values]
        self._widest = max(self._widest, b)
        is_last = [True] + [False] * (len(halves) - 1)

        def done() -> None:
            if is_last.pop():
                self._rooms.append(values.reshape(-1))

        for some in halves:
            index, self.count = self.count, self.count + 1
            if self._at_once == 1:
                self._multiply(some, index, threads.in_threads, done)
                continue
            if self._pool is None:
                from threadpoolctl import threadpool_limits

                _symmetric_update(self.dtype)  # a library that is not loaded cannot be limited
                self._limit = threadpool_limits(1, user_api="blas")
                self._pool = ThreadPoolExecutor(self._at_once)
            self._pending.append(self._pool.submit(self._multiply, some, index, _in_this_thread, done))

    def wait(self) -> None:
        """Return when every product is added up and BLAS has its threads again."""
        self._wait_for_all_but(0)
        self.close()

    def close(self) -> None:
        """End the threads; products that have not begun are left out."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._limit.restore_original_limits()
        self._pool = None
        self._pending.clear()

    def copy(self) -> SymmetricProducts:
        """Return a sum to which other blocks can be added, in the same memory: before any more to this one."""
        self.wait()
        other = SymmetricProducts(self.n, self._group is not None, self._at_once, self)
        other.kernel[:] = self.kernel
        if other._group is not None:
            other._group[:] = self._group
        other.count = other._added = self.count
        other._widest = self._widest
        return other

    def total(self, last: bool = False) -> np.ndarray:
        """Return the sum, (n, n) float64: a copy, or the ``last`` time itself."""
        self.wait()
        total = self.kernel if last else self.kernel.copy()
        if self._group is not None and self.count % TOGETHER:
            _add_triangle(total, self._group, threads.in_threads)
        return total

    def _wait_for_all_but(self, most: int) -> None:
        try:
            while len(self._pending) > most:
                self._pending.popleft().result()
        except BaseException:
            self.close()
            raise

    def _multiply(
        self, values: np.ndarray, index: int, shared: Callable[..., None], done: Callable[[], object]
    ) -> None:
        """Add a product when those before it are there; call ``done`` as soon as the values are not needed any more."""
        if self.n >= LARGE:
            total = self.kernel if self._group is None else self._group
            _symmetric_update(self.dtype)(values, total, self._group is None or index % TOGETHER > 0)
            done()
            if self._group is not None and index % TOGETHER == TOGETHER - 1:
                _add_triangle(self.kernel, self._group, shared)
            return
        try:
            try:
                space = self._spaces.pop() if self._spaces else self._zeros(self.n * self.n).reshape(self.n, self.n)
                _symmetric_update(self.dtype)(values, space, False)
                done()
            finally:
                with self._turn:
                    self._turn.wait_for(lambda: self._added == index)
            if self._group is None:
                _add_triangle(self.kernel, space, shared)
            elif index % TOGETHER == 0:
                self._group, space = space, self._group
            else:
                _add_triangle(self._group, space, shared)
            if self._group is not None and index % TOGETHER == TOGETHER - 1:
                _add_triangle(self.kernel, self._group, shared)
            self._spaces.append(space)
        finally:  # one that failed must not leave others waiting
            with self._turn:
                self._added += 1
                self._turn.notify_all()

    def _most_at_once(self, b: int) -> int:
        """Return how many blocks may be multiplied at the same time."""
        n_threads = threads.n_threads()
        if not SMALL <= self.n < LARGE or n_threads > MOST_AT_ONCE:
            return 1
        # One block more is read meanwhile.
        needed = (n_threads * (self.n * self.n + self.n * b) + self.n * b) * self.dtype().itemsize
        return n_threads if needed <= MOST_BYTES else 1

    def _zeros(self, size: int) -> np.ndarray:
        """Return an array to be used again and again; zeros, for half of a product is never written."""
        return np.zeros(size, dtype=self.dtype)


def _in_this_thread(work: Callable[[int, int], object], n: int) -> None:
    work(0, n)


def _triangle_parts(n: int) -> Sequence[tuple[int, int]]:
    """Return runs of rows of a lower triangle with about as many numbers each."""
    cuts = [round(n * (part / 16) ** 0.5) for part in range(17)]
    return [ends for ends in itertools.pairwise(cuts) if ends[0] < ends[1]]


def _add_triangle(total: np.ndarray, product: np.ndarray, shared: Callable[..., None]) -> None:
    """Add the lower triangle of a product to a sum (and some more, which is not looked at)."""
    parts = _triangle_parts(len(total))

    def add(start: int, stop: int) -> None:
        for first, last in parts[start:stop]:
            total[first:last, :last] += product[first:last, :last]

    shared(add, len(parts))


@cache
def _symmetric_update(dtype: type[np.floating[Any]]) -> Callable[[np.ndarray, np.ndarray, bool], None]:
    """Return the function that writes, or adds, the lower triangle of ``values @ values.T`` to (n, n).

    Values are (n, b), the numbers of a row side by side.

    SciPy's wrappers keep other Python threads waiting while BLAS computes; the functions it gives to Cython, called by
    ctypes, do not.
    """
    from scipy.linalg import blas, cython_blas

    name, number = ("ssyrk", ctypes.c_float) if dtype is np.float32 else ("dsyrk", ctypes.c_double)
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = cython_blas.__pyx_capi__[name]
    signature = get_name(capsule)
    if not signature.startswith(_SIGNATURE):
        wrapper = getattr(blas, name)

        # The upper triangle in the order of columns is the lower one in the order of rows.
        def by_wrapper(values: np.ndarray, out: np.ndarray, add: bool) -> None:
            wrapper(1.0, values.T, beta=float(add), c=out.T, trans=1, lower=0, overwrite_c=1)

        return by_wrapper
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 10)(get_pointer(capsule, signature))
    one, zero = ctypes.byref(number(1.0)), ctypes.byref(number(0.0))

    def update(values: np.ndarray, out: np.ndarray, add: bool) -> None:
        n, b = (ctypes.byref(ctypes.c_int(size)) for size in values.shape)
        row = ctypes.byref(ctypes.c_int(values.strides[0] // values.itemsize))
        function(b"U", b"T", n, b, one, values.ctypes.data, row, one if add else zero, out.ctypes.data, n)

    return update
