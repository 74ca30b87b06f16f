"""How many threads are used, and that each part of the work is done once."""

from __future__ import annotations

import os

import numpy as np
import pytest

from benchmark_core import threads


@pytest.mark.parametrize(("asked", "expected"), [("1", 1), ("1,2", 1), ("0", None), ("many", None), ("", None)])
def test_number_of_threads(monkeypatch: pytest.MonkeyPatch, asked: str, expected: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads.n_threads() == (expected or min(threads.MOST, len(os.sched_getaffinity(0))))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("parts", [1, 3])
def test_every_part_once(monkeypatch: pytest.MonkeyPatch, n: int, parts: int) -> None:
    monkeypatch.setattr(threads, "n_threads", lambda: parts)
    seen = np.zeros(n, dtype=int)

    def work(start: int, stop: int) -> None:
        seen[start:stop] += 1

    threads.in_threads(work, n)
    assert (seen == 1).all()


def test_an_error_in_a_thread_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "n_threads", lambda: 2)

    def work(start: int, stop: int) -> None:
        if start:
            raise ValueError("in the second part")

    with pytest.raises(ValueError, match="in the second part"):
        threads.in_threads(work, 4)
