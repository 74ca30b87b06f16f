"""What a layer is boiled down to, and whether the store has it: a kernel, standardised kernels besides, or components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark_core.arrays import Backend
    from benchmark_core.randomised_pca import Reduction
    from benchmark_core.representation import Representation
    from benchmark_core.standardised import TrainingSets
    from benchmark_core.store import Store


@dataclass(frozen=True)
class Wanted:
    """What a metric wants of every layer.

    Parameters
    ----------
    reduction
        Components instead of a kernel, where there are too many stimuli.
    training_sets
        Besides the kernel, one of the features standardised on each of these.
    """

    reduction: Reduction | None = None
    training_sets: TrainingSets = ()

    @property
    def n_kernels(self) -> int:
        """Number of kernels of a layer."""
        return 1 + len(self.training_sets)

    def key(self, representation_key: str) -> str:
        """Return the key under which a layer is stored; standardised kernels have their own besides."""
        return representation_key if self.reduction is None else self.reduction.key(representation_key)

    def from_spool(self, *args: Any, **options: Any) -> Representation:
        """Reduce a layer; see :func:`benchmark_core.representation.from_spool`."""
        if self.reduction is not None:
            return self.reduction.from_spool(*args, **options)
        from benchmark_core.representation import from_spool

        return from_spool(*args, **options, training_sets=self.training_sets)

    def prefixes_from_spool(self, *args: Any, **options: Any) -> Iterator[Representation]:
        """Reduce a layer and its first features; see :func:`benchmark_core.representation.prefixes_from_spool`."""
        if self.reduction is not None:
            return self.reduction.prefixes_from_spool(*args, **options)
        from benchmark_core import representation

        return representation.prefixes_from_spool(*args, **options, training_sets=self.training_sets)

    def keep(
        self, representation: Representation, provenance: dict[str, Any], store: Store, n_layers: int = 1
    ) -> Representation:
        """Write a layer to the store, and return it as it is to be held (see :meth:`complete` for ``n_layers``)."""
        from benchmark_core.stored_representation import if_large

        n_kernels = n_layers * self.n_kernels
        held = {}
        for train, one in representation.standardised_on.items() if self.training_sets else ():
            path = store.kernel_path(one.key)
            one.save(path, provenance)
            held[train] = if_large(one, path, n_kernels)
        path = store.kernel_path(representation.key)
        if not (self.training_sets and path.is_file()):  # digits that are there stay
            representation.save(path, provenance)
        kept = if_large(representation, path, n_kernels)
        kept.standardised_on |= held
        return kept

    def complete(self, representation: Representation, store: Store, backend: Backend, n_layers: int) -> bool:
        """Read what else is wanted of a layer; return whether it is there.

        Parameters
        ----------
        representation
            As it was read from the store.
        store, backend
            Where from, and for what.
        n_layers
            Layers in memory together: kernels too large for that are read when they are needed.
        """
        from benchmark_core.representation import Representation
        from benchmark_core.standardised import standardised_key
        from benchmark_core.stored_representation import if_large

        if self.reduction is not None:
            self.reduction.mark(representation)
        if representation.features is not None:
            return True
        for train in self.training_sets:
            if frozenset(train) in representation.standardised_on:
                continue
            path = store.kernel_path(standardised_key(representation.key, train))
            read = Representation.load(path, backend)
            if read is None:
                return False
            representation.standardised_on[frozenset(train)] = if_large(read[0], path, n_layers * self.n_kernels)
        return True

    def is_stored(self, key: str, store: Store) -> bool:
        """Return whether the store has files of all that is wanted of the layer with this key."""
        from benchmark_core.standardised import standardised_key
        from benchmark_core.store import read_arrays

        path = store.kernel_path(key)
        if not path.is_file():
            return False
        apart = [store.kernel_path(standardised_key(key, train)) for train in self.training_sets]
        if all(p.is_file() for p in apart):
            return True
        read = read_arrays(path)
        return read is not None and "features" in read[0]
