"""Features in half the bytes: how much of them is lost, in pieces, in spools, and in scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark_core import spool as room
from benchmark_core.arrays import Backend
from benchmark_core.half_pieces import LEAST_ROWS, pack, packed_bytes, unpack
from benchmark_core.representation import from_spool
from benchmark_core.spool import DamagedChunkError, Spool
from benchmark_core.store import CorruptFileWarning

ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_the_largest_numbers_stay_finite() -> None:
    largest = np.finfo(np.float32).max
    values = np.array([[largest, -largest, 1.0], [0.0, largest / 3, -1e-3]], dtype=np.float32)
    found = np.empty_like(values)
    unpack(pack(values), found)
    assert (np.abs(found.astype(float) - values) <= np.abs(values).max(axis=0) / 65000).all()


@given(st.integers(1, 9), st.integers(1, 7), st.data())
def test_no_number_moves_by_more_than_a_65534th_of_the_largest(rows: int, features: int, data: st.DataObject) -> None:
    values = data.draw(arrays(np.float32, (rows, features), elements=ANY))
    packed = pack(values)
    assert packed.nbytes == packed_bytes(rows, features) == features * (4 + 2 * rows)
    found = np.full_like(values, np.nan)
    unpack(packed, found)
    wide = values.astype(np.float64)
    largest = np.abs(wide).max(axis=0)
    lost = np.abs(found - wide)
    # Rounding of the scale, and below the smallest normal number that number itself.
    assert (lost <= largest * (1 / 65534 + 2e-7) + 1.2e-38).all()
    assert (found[values == 0] == 0).all()
    assert (np.abs(found).max(axis=0) <= largest * (1 + 2e-7) + 1.2e-38).all()


def spooled(folder: Path, values: np.ndarray, chunk_rows: int, half: bool = True) -> Spool:
    spool = Spool.create(folder, len(values), ["a"], chunk_rows, 1, half)
    for chunk in spool.absent():
        rows = spool.rows(chunk)
        spool.write(chunk, {"a": values[rows.start : rows.stop]}, 0.0)
    return spool


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.chunk"))


@pytest.mark.parametrize("features", [1, 2, 7, 20])
@given(n=st.integers(1, 40), chunk_rows=st.integers(1, 20))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_spools_give_back_what_was_packed(tmp_path: Path, features: int, n: int, chunk_rows: int) -> None:
    values = np.random.default_rng(n).normal(size=(n, features)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK", 8)
        spooled(tmp_path / "s", values, chunk_rows)
        spool = Spool.open(tmp_path / "s", n, ["a"])
        assert spool is not None
        assert spool.half
        found = np.concatenate([block.copy() for _, block in spool.blocks("a")], axis=1)
        read = np.concatenate([spool.read(chunk, "a") for chunk in range(spool.n_chunks)])
        unread = [block for _, block in spool.unread_blocks("a")]
        some = range(0, n, 3)
        of_some = np.concatenate([block.some(some) for block in unread], axis=1)
    np.testing.assert_array_equal(read, found)
    np.testing.assert_array_equal(np.concatenate(unread, axis=1), found)
    np.testing.assert_array_equal(of_some, found[some])
    for block in unread:  # in double precision, too
        assert block.shape == (n, block.features)
        wide, read_piece = np.empty(block.shape), block.reader()
        for piece in range(block.n_pieces):
            read_piece(piece, wide[block.rows(piece)])
        np.testing.assert_allclose(wide, np.asarray(block), rtol=1e-7)
    for chunk in range(spool.n_chunks):
        rows = slice(spool.rows(chunk).start, spool.rows(chunk).stop)
        exact = len(spool.rows(chunk)) < LEAST_ROWS
        limit = 0.0 if exact else np.abs(values[rows]).max(axis=0) / 65000
        assert (np.abs(found[rows] - values[rows]) <= limit).all()


def test_it_takes_half_the_disk(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(96, 5000)).astype(np.float32)
    half = spooled(tmp_path / "half", values, 32)
    whole = spooled(tmp_path / "whole", values, 32, half=False)
    assert size(half.folder) < 0.54 * size(whole.folder)
    assert half.bytes_per_value * values.size == pytest.approx(size(half.folder), rel=0.01)
    assert whole.bytes_per_value == 4
    assert Spool.create(tmp_path / "few", 9, ["a"], LEAST_ROWS - 1, 1, half=True).bytes_per_value == 4


@pytest.mark.parametrize("features", [9, 10])
def test_damage_is_noticed(tmp_path: Path, features: int) -> None:
    values = np.random.default_rng(1).normal(size=(10, features)).astype(np.float32)
    for place in (-1, -2 * 10 * features, -2 * 10 * features - 1):  # the last number, the first, the last scale
        spool = spooled(tmp_path / "s", values, 10)
        (path,) = spool.folder.glob("*.chunk")
        content = bytearray(path.read_bytes())
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.warns(CorruptFileWarning, match="checksum"), pytest.raises(DamagedChunkError):
            list(spool.blocks("a"))
        path.write_bytes(content)
        with pytest.warns(CorruptFileWarning, match="checksum"), pytest.raises(DamagedChunkError):
            from_spool(spool, "a", [f"{i}" for i in range(10)], key="", backend=Backend(), exact=False)


def test_kernels_hardly_change(tmp_path: Path) -> None:
    """Features after a rectifier, with heavy tails and very different sizes."""
    random = np.random.default_rng(2)
    values = np.maximum(random.standard_t(4, size=(200, 3000)), 0) * np.exp(2 * random.normal(size=3000))
    ids = [f"{i:04d}" for i in range(200)]
    kernels = [
        from_spool(
            spooled(tmp_path / "s", values, 32, half), "a", ids, key="", backend=Backend(), exact=not half
        ).kernel
        for half in (False, True)
    ]
    assert kernels[0] is not None
    assert kernels[1] is not None
    assert 0 < np.abs(kernels[1] - kernels[0]).max() < 5e-5 * np.abs(kernels[0]).max()
