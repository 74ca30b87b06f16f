"""How many stimuli go through a model at a time."""

from __future__ import annotations

from collections.abc import Callable

LARGEST_BATCH = {"cpu": 16, "cuda": 256}
SHARE_OF_GPU = 0.8
"""Of a GPU's free memory that a forward pass may take; the rest is for what is on its way to and from it."""
MOST_OUTPUT_BYTES = 2**28
"""Outputs of a batch on a GPU, all layers together: they wait in memory, several batches at a time, to be written."""


def largest_batch(peak_of: Callable[[int], int | None], budget: int, largest: int, measured: int) -> int:
    """Find a batch size by doubling it as long as memory lasts.

    What a forward pass takes is measured up to a size of ``measured``; beyond it twice as many stimuli are taken to need
    twice as much, which is rather too much: what a model needs once is counted twice.

    Parameters
    ----------
    peak_of
        Forwards so many stimuli and returns the memory that took at most, in bytes; None if memory ran out.
    budget
        Bytes there are.
    largest
        Size not to be exceeded.
    measured
        Largest size that is tried.

    Returns
    -------
    A power of two; 1 even if that takes more than there is, because nothing smaller can be tried.
    """
    size, peak = 1, peak_of(1)
    while peak is not None and 2 * size <= largest and 2 * peak <= budget:
        found = peak_of(2 * size) if 2 * size <= measured else 2 * peak
        if found is None or found > budget:
            break
        size, peak = 2 * size, found
    return size


def largest_on_gpu(n: int, n_features: int) -> int:
    """Return the largest batch to consider on a GPU for n stimuli and so many features in all layers together."""
    return max(1, min(LARGEST_BATCH["cuda"], n, MOST_OUTPUT_BYTES // max(1, 4 * n_features)))
