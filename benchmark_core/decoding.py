"""Images decoded and preprocessed ahead of the forward pass, in worker processes where that pays."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from benchmark_core.errors import BenchError, InputError, ModelError
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.profiling import stage
from benchmark_core.stimuli import StimulusSet

MOST_WORKERS = {"cpu": 1, "cuda": 16}
"""Worker processes at most: on a CPU the forward pass wants the cores itself."""
AHEAD = 2
"""Batches that a worker decodes ahead."""
MOST_AHEAD = 2**30
"""Bytes of all batches decoded ahead; less where the memory that processes share is smaller."""


def decoded_batches(
    stimuli: StimulusSet, preprocessing: Preprocessing, batches: list[list[int]], device: str
) -> Generator[torch.Tensor, None, None]:
    """Yield the images of each batch, (B, C, H, W) float32; in pinned memory if they are to go to a GPU.

    Worker processes start at once, in the thread that calls, before others do: a process should not be forked beside them.

    Parameters
    ----------
    batches
        Positions of the stimuli of each batch.
    device
        ``cpu`` or ``cuda:N``, where they are wanted.

    Raises
    ------
    InputError
        For an image that cannot be decoded or preprocessed.
    MissingDataError
        If an image is gone.
    ModelError
        If a plugin's own preprocessing fails.
    """
    kind = device.partition(":")[0]
    height, width = preprocessing.size
    size = 4 * preprocessing.channels * height * width * max(map(len, batches), default=0)
    workers = count_workers(len(batches), size, kind)
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
        _Batches(stimuli, preprocessing, batches),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context="fork" if workers else None,
        pin_memory=kind == "cuda",
        generator=torch.Generator(),  # else the loader draws from the global one
    )
    with stage("decoding"), _interrupts_held_back():
        items: Iterator[Any] | None = iter(loader)

    def images() -> Generator[torch.Tensor, None, None]:
        nonlocal items
        assert items is not None
        try:
            for item in items:
                if isinstance(item, BenchError):
                    raise item
                yield item
        finally:
            # Workers end now. Left to the garbage collector, which closes their queues first, each would be waited for
            # for five seconds.
            items = None

    return images()


def count_workers(n_batches: int, batch_bytes: int, kind: str) -> int:
    """Return how many worker processes decode: by cores, by what they may hold, none where they do not pay.

    Parameters
    ----------
    n_batches, batch_bytes
        Number of batches, and size of the inputs of the largest.
    kind
        ``cpu`` or ``cuda``.
    """
    # Forked workers cost milliseconds; where processes are spawned they would import torch again for seconds.
    if n_batches < 4 or not sys.platform.startswith("linux") or not _sockets_fit():
        return 0
    room = min(MOST_AHEAD, _shared_memory() // 2) // max(1, AHEAD * batch_bytes)
    return max(0, min(cores() - 1, MOST_WORKERS[kind], n_batches, room))


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _sockets_fit() -> bool:
    """Return whether sockets can be named in the folder for temporary files: Linux allows them 107 bytes.

    Workers hand batches over through such sockets; one that cannot be made leaves this process waiting forever.
    """
    return len(os.fsencode(tempfile.gettempdir())) + len("/pymp-12345678/listener-12345678") <= 107


def _shared_memory() -> int:
    """Return the bytes that batches on their way between processes may take; containers often have very few."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return MOST_AHEAD


class _Batches(torch.utils.data.Dataset[Any]):
    """Decodes and preprocesses; errors travel as values, so that their one line survives the worker process."""

    def __init__(self, stimuli: StimulusSet, preprocessing: Preprocessing, batches: list[list[int]]) -> None:
        self.stimuli, self.preprocessing, self.batches = stimuli, preprocessing, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> torch.Tensor | BenchError:
        try:
            return torch.from_numpy(
                np.stack([input_of(self.stimuli, self.preprocessing, i) for i in self.batches[index]])
            )
        except BenchError as error:
            return error


@stage("decoding")
def input_of(stimuli: StimulusSet, preprocessing: Preprocessing, position: int) -> np.ndarray:
    """Return one image as a model's input, (C, H, W) float32; whatever goes wrong names the stimulus."""
    image = stimuli.image(position)
    try:
        return preprocessing(image)
    except InputError as error:
        raise InputError(f"stimulus_id {stimuli.stimulus_ids[position]!r}: {error}") from None
    except Exception as error:
        name = stimuli.stimulus_ids[position]
        raise ModelError(f"preprocessing of stimulus_id {name!r} failed ({type(error).__name__}: {error})") from error


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back: it reaches this process at the end, and never the processes started meanwhile.

    A terminal sends it to all of them, and a worker would answer with a traceback of its own.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
