"""The spool between the two passes: written by stimulus, read by feature.

One file a chunk of stimuli holds the outputs of all layers, cut along a fixed grid of features, so that the second
pass reads one contiguous piece per chunk and block. A chunk is whole or absent, each piece has a checksum, and a run
that was killed goes on at the first absent chunk.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import ModelError
from benchmark_core.half_pieces import LEAST_ROWS, pack, packed_bytes, unpack
from benchmark_core.home import make_folder
from benchmark_core.profiling import stage
from benchmark_core.store import set_aside
from benchmark_core.threads import in_threads

BLOCK = 4096
"""Features in a block: fixed, whatever layers or widths are asked for, so that sums never depend on it."""
_MAGIC = b"cortex-bench chunk 1\n"
_CHECKSUM = "crc32 of the sums over stimuli"


class DamagedChunkError(Exception):
    """A chunk failed its checksum while it was read and has been set aside; extract it again."""


@dataclass
class Spool:
    """Outputs of several layers for n stimuli, in chunks of ``chunk_rows``.

    Parameters
    ----------
    folder
        Where the chunks lie.
    n
        Number of stimuli.
    layers
        Names of the layers.
    chunk_rows
        Stimuli in a chunk.
    batch_size
        Stimuli in a forward pass; a divisor of ``chunk_rows``. Kept with the spool because a resumed run must cut
        its batches at the same places to give the same digits.
    half
        Features are written in half the bytes, and lose some of their digits; see
        :mod:`benchmark_core.half_pieces`.
    """

    folder: Path
    n: int
    layers: tuple[str, ...]
    chunk_rows: int
    batch_size: int
    half: bool = False
    _headers: dict[int, tuple[int, dict[str, Any]]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path, n: int, layers: Sequence[str]) -> Spool | None:
        """Return the spool begun in ``folder``, or None."""
        try:
            plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
            rows, batch = int(plan["chunk_rows"]), int(plan["batch_size"])
            if [plan["n"], plan["layers"]] != [n, list(layers)] or min(rows, batch) < 1:
                return None
            return cls(folder, n, tuple(layers), rows, batch, bool(plan.get("half", False)))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def create(
        cls, folder: Path, n: int, layers: Sequence[str], chunk_rows: int, batch_size: int, half: bool = False
    ) -> Spool:
        """Begin an empty spool, replacing whatever lies there."""
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder, "the spool")
        plan = {"n": n, "layers": list(layers), "chunk_rows": chunk_rows, "batch_size": batch_size, "half": half}
        write_atomically(folder / "plan.json", json.dumps(plan).encode())
        return cls(folder, n, tuple(layers), chunk_rows, batch_size, half)

    @property
    def bytes_per_value(self) -> float:
        """Size of a feature of a stimulus on disk."""
        return bytes_per_value(self.chunk_rows, self.half)

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return -(-self.n // self.chunk_rows)

    def rows(self, chunk: int) -> range:
        """Positions of the stimuli in a chunk."""
        return range(chunk * self.chunk_rows, min(self.n, (chunk + 1) * self.chunk_rows))

    def absent(self) -> list[int]:
        """Return the chunks that still have to be extracted."""
        return [c for c in range(self.n_chunks) if self._header(c) is None]

    @stage("spool write")
    def write(self, chunk: int, outputs: Mapping[str, np.ndarray], seconds: float) -> None:
        """Write one chunk: for every layer a float32 array (rows, features)."""
        # Each piece is made twice, into memory that is used again: a chunk's worth of fresh memory would cost more.
        rows = len(self.rows(chunk))
        half = self.half and rows >= LEAST_ROWS
        room = np.empty(rows * BLOCK, dtype="<f4")

        def pieces(layer: str) -> Iterator[tuple[memoryview, int]]:
            values = outputs[layer]
            for first in range(0, values.shape[1], BLOCK):
                some = values[:, first : first + BLOCK]
                piece = room[: some.size].reshape(some.shape)
                piece[:] = some
                yield (pack(piece) if half else piece).data.cast("B"), some.shape[1]

        index: dict[str, Any] = {}
        offset = 0
        for layer in self.layers:
            places = []
            for piece, width in pieces(layer):
                places.append([offset, _checksum(piece, width, half)])
                offset += len(piece)
            index[layer] = {"features": outputs[layer].shape[1], "pieces": places}
        facts = {"rows": rows, "seconds": seconds, "size": offset, "checksum": _CHECKSUM, "half": half, "layers": index}
        header = json.dumps(facts).encode()
        prefix = [_MAGIC, len(header).to_bytes(8, "little"), zlib.crc32(header).to_bytes(4, "little"), header]
        made = (piece for layer in self.layers for piece, _ in pieces(layer))
        write_atomically(self._path(chunk), itertools.chain(prefix, made))

    def n_features(self, layer: str) -> int:
        """Number of features of a layer, the same in every chunk.

        Raises
        ------
        ModelError
            If chunks disagree.
        DamagedChunkError
            If a chunk is absent or damaged.
        """
        counts = {self._whole(c)[1]["layers"][layer]["features"] for c in range(self.n_chunks)}
        if len(counts) != 1:
            raise ModelError(
                f"layer {layer!r} gives {sorted(counts)} features for different stimuli; a layer needs one size"
            )
        return int(counts.pop())

    @property
    def seconds(self) -> float:
        """Time the extraction of all chunks took, over all runs."""
        return float(sum(self._whole(c)[1]["seconds"] for c in range(self.n_chunks)))

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first feature, float32 array (n, up to BLOCK)) over the fixed grid; the array is used again.

        Raises
        ------
        DamagedChunkError
            If a piece fails its checksum.
        """
        features = self.n_features(layer)
        starts = range(0, features, BLOCK)
        room = np.empty(self.n * min(BLOCK, features), dtype=np.float32)
        for block, first in enumerate(starts):
            values = room[: self.n * min(BLOCK, features - first)].reshape(self.n, -1)

            def read(start: int, stop: int, block: int = block, values: np.ndarray = values) -> None:
                room = np.empty(packed_bytes(self.chunk_rows, values.shape[1]), dtype=np.uint8)
                for chunk in range(start, stop):
                    rows = self.rows(chunk)
                    self._read_piece(chunk, layer, block, values[rows.start : rows.stop], room)

            with stage("spool read"):
                in_threads(read, self.n_chunks)
            yield first, values

    def unread_blocks(self, layer: str) -> Iterator[tuple[int, SpooledBlock]]:
        """Yield the same blocks, of which nothing is read before somebody looks."""
        features = self.n_features(layer)
        for block, first in enumerate(range(0, features, BLOCK)):
            yield first, SpooledBlock(self, layer, block, min(BLOCK, features - first))

    @stage("spool read")
    def read(self, chunk: int, layer: str) -> np.ndarray:
        """Return all features of one chunk's stimuli, float32 (rows, features).

        Raises
        ------
        DamagedChunkError
            If a piece fails its checksum.
        """
        rows, features = len(self.rows(chunk)), self.n_features(layer)
        values = np.empty((rows, features), dtype=np.float32)
        for block, first in enumerate(range(0, features, BLOCK)):
            piece = np.empty((rows, min(BLOCK, features - first)), dtype=np.float32)
            self._read_piece(chunk, layer, block, piece, np.empty(packed_bytes(*piece.shape), dtype=np.uint8))
            values[:, first : first + piece.shape[1]] = piece
        return values

    def delete(self) -> None:
        """Remove the spool from disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._headers.clear()

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:06d}.chunk"

    def _whole(self, chunk: int) -> tuple[int, dict[str, Any]]:
        header = self._header(chunk)
        if header is None:
            raise DamagedChunkError(str(self._path(chunk)))
        return header

    def _header(self, chunk: int) -> tuple[int, dict[str, Any]] | None:
        """Return (offset of the payload, header), or None if the chunk is absent or damaged."""
        if chunk in self._headers:
            return self._headers[chunk]
        path = self._path(chunk)
        try:
            with path.open("rb") as handle:
                start = handle.read(len(_MAGIC) + 12)
                length = int.from_bytes(start[len(_MAGIC) : len(_MAGIC) + 8], "little")
                text = handle.read(min(length, os.fstat(handle.fileno()).st_size))
                size = os.fstat(handle.fileno()).st_size
        except FileNotFoundError:
            return None
        offset = len(_MAGIC) + 12 + length
        checksum = int.from_bytes(start[-4:], "little")
        if not start.startswith(_MAGIC) or not text or len(text) != length or zlib.crc32(text) != checksum:
            set_aside(path, "its header does not match its checksum")
            return None
        header = json.loads(text)
        rows = len(self.rows(chunk))
        if size != offset + header["size"] or header["rows"] != rows or set(header["layers"]) != set(self.layers):
            set_aside(path, "it has the wrong size")
            return None
        self._headers[chunk] = (offset, header)
        return self._headers[chunk]

    def _read_piece(self, chunk: int, layer: str, block: int, out: np.ndarray, room: np.ndarray) -> None:
        """Read a piece to (rows, b) float32 or float64; what has another form goes through ``room``, uint8."""
        path, place, checksum, half, named = self._piece(chunk, layer, block)
        rows, features = out.shape
        if half:
            view = room[: packed_bytes(rows, features)].data
        else:
            view = (room[: 4 * out.size] if out.dtype != np.float32 else out.reshape(-1).view(np.uint8)).data
        try:
            with path.open("rb", buffering=0) as handle:
                handle.seek(place)
                read = handle.readinto(view)
                if hasattr(os, "posix_fadvise"):  # the disk fetches the next block while this one is worked on
                    os.posix_fadvise(handle.fileno(), handle.tell(), len(view), os.POSIX_FADV_WILLNEED)
        except FileNotFoundError:
            read = 0
        found = None
        if read == len(view):
            # Chunks without a name for it are of an earlier version.
            found = _checksum(view, features, half) if named else zlib.crc32(view)
        if found != checksum:
            self._headers.pop(chunk, None)
            set_aside(path, "a piece does not match its checksum")
            raise DamagedChunkError(str(path))
        if half:
            unpack(np.frombuffer(view, dtype=np.uint8), out)
        elif out.dtype != np.float32:
            out[:] = np.frombuffer(view, dtype="<f4").reshape(out.shape)

    def _read_row(self, stimulus: int, layer: str, block: int, out: np.ndarray) -> None:
        """Read a stimulus's features of a block, (b,) float32, unchecked; zeros where they are no numbers."""
        chunk, row = divmod(stimulus, self.chunk_rows)
        path, place, _, half, _ = self._piece(chunk, layer, block)
        b = len(out)
        with np.errstate(all="ignore"):
            if half:
                room = np.zeros(packed_bytes(1, b), dtype=np.uint8)
                parts = [(place, room[: 4 * b]), (place + 4 * b + 2 * b * row, room[4 * b :])]
            else:
                parts = [(place + 4 * b * row, out.view(np.uint8))]
            try:
                with path.open("rb", buffering=0) as handle:
                    for where, part in parts:
                        handle.seek(where)
                        handle.readinto(part.data)
            except FileNotFoundError:
                out[:] = 0
            if half:
                unpack(room, out[None])
            out[~np.isfinite(out)] = 0

    def _piece(self, chunk: int, layer: str, block: int) -> tuple[Path, int, int, bool, bool]:
        """Return a piece's file, where it begins, its checksum, whether it is packed, and whether a checksum of sums."""
        offset, header = self._whole(chunk)
        start, checksum = header["layers"][layer]["pieces"][block]
        half, named = bool(header.get("half", False)), header.get("checksum") == _CHECKSUM
        return self._path(chunk), offset + start, checksum, half, named


@dataclass(frozen=True)
class SpooledBlock:
    """A block of a layer's features, read from the chunks of a spool when somebody looks, a chunk at a time.

    Any look may raise :class:`DamagedChunkError`.
    """

    spool: Spool
    layer: str
    block: int
    features: int
    stage: str = "spool read"

    @property
    def shape(self) -> tuple[int, int]:
        """(n, b)."""
        return self.spool.n, self.features

    @property
    def n_pieces(self) -> int:
        """Number of chunks."""
        return self.spool.n_chunks

    def rows(self, piece: int) -> slice:
        """Stimuli of a chunk."""
        rows = self.spool.rows(piece)
        return slice(rows.start, rows.stop)

    def reader(self) -> Callable[[int, np.ndarray], None]:
        """Return a function that reads a chunk's features, with memory of its own."""
        room = np.empty(4 * self.spool.chunk_rows * self.features, dtype=np.uint8)

        def read(piece: int, out: np.ndarray) -> None:
            self.spool._read_piece(piece, self.layer, self.block, out, room)

        return read

    def some(self, rows: range) -> np.ndarray:
        """Return the features of some stimuli as they lie there, not checked: zeros for what is no number."""
        values = np.empty((len(rows), self.features), dtype=np.float32)
        for i, row in enumerate(rows):
            self.spool._read_row(row, self.layer, self.block, values[i])
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all features, (n, b) float32."""
        values = np.empty(self.shape, dtype=np.float32)
        read = self.reader()
        for piece in range(self.n_pieces):
            read(piece, values[self.rows(piece)])
        return values if dtype is None else values.astype(dtype, copy=False)


def bytes_per_value(chunk_rows: int, half: bool) -> float:
    """Return the size of a feature of a stimulus in a spool."""
    return packed_bytes(chunk_rows, 1) / chunk_rows if half and chunk_rows >= LEAST_ROWS else 4.0


def _checksum(piece: memoryview, features: int, half: bool) -> int:
    """Return the CRC-32 of the sums of all stimuli's words, modulo 2^32, eight times as fast as that of all bytes.

    A single wrong word changes one sum, and so the checksum; more of them, one time in 2^32 not.
    """
    if half and features % 2:
        words = np.frombuffer(piece, dtype="<u2").reshape(-1, features)
    else:
        words = np.frombuffer(piece, dtype="<u4").reshape(-1, features // 2 if half else features)
    return zlib.crc32(np.add.reduce(words, axis=0, dtype=np.uint32))
