"""Images decoded ahead: the right ones in the right order, by as many processes as there is room for."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark_core import decoding as room
from benchmark_core.decoding import count_workers, decoded_batches
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.stimuli import StimulusSet

SMALL = Preprocessing(size=(8, 6))


@pytest.fixture
def stimuli(tmp_path: Path) -> StimulusSet:
    rng = np.random.Generator(np.random.Philox(7))
    files = {f"s{i:02d}": tmp_path / f"{i}.png" for i in range(12)}
    for path in files.values():
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)
    return StimulusSet.from_files(files)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order(stimuli: StimulusSet, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(room, "count_workers", lambda *_: workers)
    batches = [[0], [1, 2, 3], [7, 8], [4], [11, 10], [9]]
    found = list(decoded_batches(stimuli, SMALL, batches, "cpu"))
    assert [len(batch) for batch in found] == [len(positions) for positions in batches]
    for positions, images in zip(batches, found, strict=True):
        expected = np.stack([SMALL(stimuli.image(i)) for i in positions])
        assert images.dtype == torch.float32
        np.testing.assert_array_equal(images.numpy(), expected)


@pytest.mark.skipif(not hasattr(room.os, "sched_getaffinity"), reason="processes are forked on Linux only")
@pytest.mark.parametrize(
    ("cores", "n_batches", "batch_bytes", "kind", "free", "workers"),
    [
        (16, 100, 10**6, "cuda", 10**11, 15),  # a core for the process that computes
        (64, 100, 10**6, "cuda", 10**11, 16),
        (64, 100, 10**6, "cpu", 10**11, 1),  # which the forward pass needs
        (1, 100, 10**6, "cuda", 10**11, 0),
        (16, 5, 10**6, "cuda", 10**11, 5),
        (16, 3, 10**6, "cuda", 10**11, 0),
        (16, 100, 154 * 10**6, "cuda", 10**11, 3),  # 256 images of 224 x 224: a gigabyte in all
        (16, 100, 10**7, "cuda", 64 * 2**20, 1),  # a container's shared memory
        (16, 100, 10**9, "cuda", 64 * 2**20, 0),
    ],
)
def test_number_of_workers(
    monkeypatch: pytest.MonkeyPatch, cores: int, n_batches: int, batch_bytes: int, kind: str, free: int, workers: int
) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(free, 0, free))
    assert count_workers(n_batches, batch_bytes, kind) == workers


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are for Linux")
@pytest.mark.parametrize(("length", "fits"), [(75, True), (76, False)])
def test_no_workers_where_the_folder_for_temporary_files_has_too_long_a_name(
    length: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short) / ("x" * (length - len(short) - 1))
        (folder / "pymp-12345678").mkdir(parents=True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        monkeypatch.setattr(room, "cores", lambda: 4)
        assert (count_workers(10, 1000, "cpu") > 0) == fits
        with socket.socket(socket.AF_UNIX) as made:  # what the workers do
            if fits:
                made.bind(str(folder / "pymp-12345678" / "listener-12345678"))
            else:
                with pytest.raises(OSError, match="AF_UNIX path too long"):
                    made.bind(str(folder / "pymp-12345678" / "listener-12345678"))
