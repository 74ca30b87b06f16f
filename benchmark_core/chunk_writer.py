"""Chunks on their way to the spool: written by threads, so that a GPU never waits for the disk."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from benchmark_core.profiling import stage
from benchmark_core.replicas import ChunkOutputs
from benchmark_core.spool import Spool


class ChunkWriter:
    """Writes complete chunks; a context manager that ends when all that it was given are on disk.

    However it ends, by an error or Ctrl-C, too, what was given to it is written.

    Parameters
    ----------
    spool
        To write to.
    threads
        How many write at the same time; 0 to write at once, in the thread that gives.
    """

    def __init__(self, spool: Spool, threads: int = 0) -> None:
        self.spool = spool
        self._pool = ThreadPoolExecutor(threads, "spool") if threads else None
        # Two chunks wait besides those that are being written: memory stays bounded where the disk is slow.
        self._slots = threading.Semaphore(threads + 2)
        self._lock = threading.Lock()
        self._last = time.perf_counter()
        self._written: list[Future[None]] = []

    @property
    def is_behind(self) -> bool:
        """Whether what it is given may still be wanted later: threads write it."""
        return self._pool is not None

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            with stage("spool write"):
                self._pool.shutdown()
        if error is None:
            for future in self._written:
                future.result()

    def put(self, outputs: ChunkOutputs) -> None:
        """Write a chunk, now or soon; may be called by several threads.

        Raises
        ------
        ModelError
            If this chunk, or one before, has values that are not finite.
        InputError
            If it, or one before, cannot be written.
        """
        with self._lock:  # the time since the last chunk, whichever device it came from: they add up to the whole
            now = time.perf_counter()
            seconds, self._last = now - self._last, now
        if self._pool is None:
            self._write(outputs, seconds)
            return
        with stage("spool write"):
            self._slots.acquire()
        with self._lock:
            ended = [future for future in self._written if future.done()]
            self._written = [future for future in self._written if not future.done()]
            self._written.append(self._pool.submit(self._write_and_leave, outputs, seconds))
        for future in ended:
            future.result()

    def _write_and_leave(self, outputs: ChunkOutputs, seconds: float) -> None:
        try:
            self._write(outputs, seconds)
        finally:
            self._slots.release()

    def _write(self, outputs: ChunkOutputs, seconds: float) -> None:
        outputs.wait()
        outputs.check()
        self.spool.write(outputs.chunk, {layer: v.numpy() for layer, v in outputs.values.items()}, seconds)
