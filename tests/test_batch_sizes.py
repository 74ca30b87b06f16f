"""Batch sizes found by doubling, within the memory there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmark_core.batch_sizes import LARGEST_BATCH, MOST_OUTPUT_BYTES, largest_batch, largest_on_gpu


@given(st.integers(0, 1000), st.integers(1, 100), st.integers(1, 20_000), st.integers(1, 300), st.integers(1, 300))
def test_doubles_as_long_as_memory_lasts(fixed: int, each: int, budget: int, largest: int, measured: int) -> None:
    tried: list[int] = []

    def peak_of(size: int) -> int | None:
        tried.append(size)
        needed = fixed + each * size
        return None if needed > 1.2 * budget else needed  # a little more than the budget does not run out

    size = largest_batch(peak_of, budget, largest, measured)
    assert size & (size - 1) == 0
    assert size <= largest
    assert size == 1 or fixed + each * size <= budget
    assert all(t <= max(1, measured) for t in tried)
    assert sum(tried) < 2 * max(1, measured)
    assert tried == [1 << i for i in range(len(tried))]
    # No smaller than it must be: what is twice as large exceeds a bound, counted as if all of it grew.
    assert 2 * size > largest or (fixed + each * min(size, max(1, measured))) * 2 * size > budget


def test_memory_that_runs_out_ends_it() -> None:
    assert largest_batch(lambda size: None, 10**9, 256, 256) == 1
    assert largest_batch(lambda size: 1 if size < 8 else None, 10**9, 256, 256) == 4
    assert largest_batch(lambda size: 1, 10**9, 256, 4) == 256
    assert largest_batch(lambda size: 1, 10**9, 100, 4) == 64


def test_what_waits_to_be_written_is_bounded() -> None:
    assert largest_on_gpu(3200, 1000) == LARGEST_BATCH["cuda"]
    assert largest_on_gpu(70, 1000) == 70
    stem = 5000 * 11 * 11
    assert 4 * stem * largest_on_gpu(3200, stem) <= MOST_OUTPUT_BYTES < 4 * stem * (largest_on_gpu(3200, stem) + 1)
    assert largest_on_gpu(3200, 10**9) == 1
