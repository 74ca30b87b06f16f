"""Representations that are read when they are needed: the kernels of many layers for ten thousand stimuli fill a memory."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np

from benchmark_core.errors import BenchError
from benchmark_core.representation import Representation

MOST_HELD = 2 * 10**9
"""Bytes of kernels that the layers of one model may take together before they are read one at a time."""

_in_memory: list[weakref.ref[StoredRepresentation]] = []  # the least recently read first


class StoredRepresentation(Representation):
    """A representation whose kernel is read from the store when it is asked for, and let go for others.

    Kernels in memory take :data:`MOST_HELD` bytes at most, or are a single one. With its kernel a representation
    loses its decompositions, which are as large.
    """

    _path: Path
    _kernel: np.ndarray | None = None

    @classmethod
    def of(cls, whole: Representation, path: Path) -> StoredRepresentation:
        """Return the representation that lies in the store under ``path``, without its kernel in memory."""
        stored = cls(
            layer=whole.layer,
            stimulus_ids=whole.stimulus_ids,
            n_features=whole.n_features,
            features=whole.features,
            kernel=None,
            row_sums=whole.row_sums,
            mean_products=whole.mean_products,
            mean_square=whole.mean_square,
            key=whole.key,
            backend=whole.backend,
        )
        stored._path = path
        return stored

    @property
    def kernel(self) -> np.ndarray | None:
        """The kernel, read from the store if it is not in memory; None where the features are held.

        Raises
        ------
        BenchError
            If the file is gone or damaged.
        """
        if self._kernel is None and self.features is None:
            _make_room(8 * len(self) ** 2)
            found = Representation.load(self._path, self.backend)
            if found is None:
                raise BenchError(f"the store lost layer {self.layer!r} ({self._path}); run again")
            self._kernel = found[0].kernel
            _in_memory.append(weakref.ref(self))
        return self._kernel

    @kernel.setter
    def kernel(self, value: np.ndarray | None) -> None:
        self._kernel = value

    def let_go(self) -> None:
        """Forget the kernel and what was computed from it."""
        self._kernel = None
        self._decompositions.clear()


def _make_room(needed: int) -> None:
    """Let kernels go, those read first, until ``needed`` bytes more are allowed."""
    _in_memory[:] = [r for r in _in_memory if (one := r()) is not None and one._kernel is not None]
    held = [one for r in _in_memory if (one := r()) is not None]
    total = sum(one._kernel.nbytes for one in held if one._kernel is not None)
    for one in held:
        if total + needed <= MOST_HELD:
            break
        total -= 0 if one._kernel is None else one._kernel.nbytes
        one.let_go()


def if_large(whole: Representation, path: Path, n_layers: int) -> Representation:
    """Return a representation as it is, or, if kernels of its size are too large for all layers, to be read again."""
    size = 0 if whole.kernel is None else whole.kernel.nbytes
    return StoredRepresentation.of(whole, path) if n_layers > 1 and size * n_layers > MOST_HELD else whole
