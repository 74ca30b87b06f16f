"""Chunks written by threads: whole or absent, errors where they are noticed, no more in memory than said."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark_core.chunk_writer import ChunkWriter
from benchmark_core.errors import InputError, ModelError
from benchmark_core.replicas import ChunkOutputs
from benchmark_core.spool import Spool

N, ROWS = 22, 4


def outputs(chunk: int, bad: bool = False) -> ChunkOutputs:
    rows = min(ROWS, N - ROWS * chunk)
    values = torch.full((rows, 3), float(chunk))
    finite = torch.full((rows,), not bad)
    return ChunkOutputs(chunk, [f"s{ROWS * chunk + i}" for i in range(rows)], {"a": values}, {"a": finite}, rows)


def new_spool(folder: Path) -> Spool:
    return Spool.create(folder, N, ["a"], ROWS, ROWS)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_all_chunks_are_written(tmp_path: Path, threads: int) -> None:
    spool = new_spool(tmp_path / "s")
    started = time.perf_counter()
    with ChunkWriter(spool, threads) as writer:
        for chunk in (3, 0, 1, 5, 4, 2):
            writer.put(outputs(chunk))
    elapsed = time.perf_counter() - started
    opened = Spool.open(tmp_path / "s", N, ["a"])
    assert opened is not None
    assert opened.absent() == []
    (_, block), *_ = spool.blocks("a")
    np.testing.assert_array_equal(block[:, 0], np.arange(N) // ROWS)
    assert 0 < spool.seconds <= elapsed  # times of chunks add up to the whole, threads or not


@pytest.mark.parametrize("threads", [0, 2])
def test_what_was_given_is_written_though_an_error_ends_it(tmp_path: Path, threads: int) -> None:
    spool = new_spool(tmp_path / "s")

    def interrupted() -> None:
        with ChunkWriter(spool, threads) as writer:
            writer.put(outputs(0))
            writer.put(outputs(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert spool.absent() == [1, 2, 4, 5]


@pytest.mark.parametrize("threads", [0, 2])
def test_values_that_are_not_finite_are_not_written(tmp_path: Path, threads: int) -> None:
    spool = new_spool(tmp_path / "s")
    match = "layer 'a' gives values that are not finite for stimulus_id 's8', 's9', 's10' and 1 more"

    def write() -> None:
        with ChunkWriter(spool, threads) as writer:
            for given in (outputs(0), outputs(2, bad=True), outputs(1)):  # noticed at the latest when it ends
                writer.put(given)

    with pytest.raises(ModelError, match=match):
        write()
    assert 2 in spool.absent()
    assert 0 not in spool.absent()


def test_a_full_disk_is_told_at_the_next_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = new_spool(tmp_path / "s")

    def full(*_: Any) -> None:
        raise InputError("cannot write: No space left on device")

    monkeypatch.setattr(spool, "write", full)
    given: list[int] = []

    def write() -> None:
        with ChunkWriter(spool, 1) as writer:
            for chunk in [0, 1, 2, 3, 4, 5] * 5:
                writer.put(outputs(chunk))
                given.append(chunk)
                time.sleep(0.01)

    with pytest.raises(InputError, match="No space left"):
        write()
    assert len(given) < 30  # long before the end


def test_a_slow_disk_holds_back_who_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads write; two more chunks may wait, and the fifth has to."""
    spool = new_spool(tmp_path / "s")
    go, write = threading.Event(), spool.write

    def slow(*arguments: Any) -> None:
        assert go.wait(60)
        write(*arguments)

    monkeypatch.setattr(spool, "write", slow)
    put: list[int] = []

    def give() -> None:
        with ChunkWriter(spool, 2) as writer:
            for chunk in range(6):
                writer.put(outputs(chunk))
                put.append(chunk)

    giver = threading.Thread(target=give)
    giver.start()
    deadline = time.monotonic() + 60
    while len(put) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    giver.join(0.1)
    assert put == [0, 1, 2, 3]
    go.set()
    giver.join()
    assert spool.absent() == []
