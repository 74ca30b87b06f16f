"""Spools of several sets of stimuli, read as one: stimuli that many subjects saw are forwarded once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark_core.errors import ModelError
from benchmark_core.spool import Spool


@dataclass
class JoinedSpool:
    """Spools one after the other, with the methods of :class:`benchmark_core.spool.Spool` that read.

    Rows run over the stimuli of the first spool, then over those of the next.

    Parameters
    ----------
    kept
        A spool that others use, too: :meth:`delete` leaves it alone.
    own
        The spool that is nobody else's.
    kept_is_new
        Whether ``kept`` was extracted for this one; its time is counted then, and only then.
    """

    kept: Spool
    own: Spool
    kept_is_new: bool = True

    @property
    def parts(self) -> tuple[Spool, Spool]:
        """Both spools, in order."""
        return self.kept, self.own

    @property
    def n(self) -> int:
        """Number of stimuli."""
        return self.kept.n + self.own.n

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return self.own.layers

    @property
    def chunk_rows(self) -> int:
        """Stimuli in the largest chunk."""
        return max(part.chunk_rows for part in self.parts)

    @property
    def batch_size(self) -> int:
        """Stimuli in a forward pass."""
        return self.own.batch_size

    @property
    def bytes_per_value(self) -> float:
        """Size of a feature of a stimulus on disk."""
        return self.own.bytes_per_value

    @property
    def n_chunks(self) -> int:
        """Number of chunks of both."""
        return self.kept.n_chunks + self.own.n_chunks

    def rows(self, chunk: int) -> range:
        """Positions of the stimuli in a chunk."""
        part, number, first = self._part(chunk)
        rows = part.rows(number)
        return range(first + rows.start, first + rows.stop)

    def n_features(self, layer: str) -> int:
        """Number of features of a layer.

        Raises
        ------
        ModelError
            If the spools disagree.
        DamagedChunkError
            If a chunk is absent or damaged.
        """
        counts = {part.n_features(layer) for part in self.parts}
        if len(counts) != 1:
            raise ModelError(
                f"layer {layer!r} gives {sorted(counts)} features for different stimuli; a layer needs one size"
            )
        return counts.pop()

    @property
    def seconds(self) -> float:
        """Time the extraction took."""
        return self.own.seconds + (self.kept.seconds if self.kept_is_new else 0.0)

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first feature, float32 array (n, up to BLOCK)) over the same fixed grid as each spool.

        Raises
        ------
        DamagedChunkError
            If a piece fails its checksum.
        """
        self.n_features(layer)
        for (first, some), (_, rest) in zip(self.kept.blocks(layer), self.own.blocks(layer), strict=True):
            yield first, np.concatenate([some, rest])

    def read(self, chunk: int, layer: str) -> np.ndarray:
        """Return all features of one chunk's stimuli, float32 (rows, features)."""
        part, number, _ = self._part(chunk)
        return part.read(number, layer)

    def delete(self) -> None:
        """Remove the spool that nobody else uses."""
        self.own.delete()

    def _part(self, chunk: int) -> tuple[Spool, int, int]:
        """Return the spool of a chunk, its number there, and the position of that spool's first stimulus."""
        if chunk < self.kept.n_chunks:
            return self.kept, chunk, 0
        return self.own, chunk - self.kept.n_chunks, self.kept.n


def in_spool_order(stimulus_ids: Sequence[str], kept: Sequence[str]) -> tuple[str, ...]:
    """Return ids in the order of the rows of a :class:`JoinedSpool`: those of the kept spool, then the others."""
    first = set(kept)
    return (*(i for i in stimulus_ids if i in first), *(i for i in stimulus_ids if i not in first))
