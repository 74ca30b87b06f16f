"""The spool: written by stimulus, read by feature, over a fixed grid; damage is noticed and made good."""

from __future__ import annotations

import json
import os
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark_core import spool as room
from benchmark_core.errors import ModelError
from benchmark_core.spool import DamagedChunkError, Spool
from benchmark_core.store import CorruptFileWarning


def matrices(n: int, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(n))
    return {layer: rng.normal(size=(n, size)).astype(np.float32) for layer, size in sizes.items()}


def write(folder: Path, values: dict[str, np.ndarray], chunk_rows: int = 4) -> Spool:
    n = len(next(iter(values.values())))
    spool = Spool.create(folder, n, list(values), chunk_rows, 2)
    for chunk in spool.absent():
        rows = spool.rows(chunk)
        spool.write(chunk, {layer: v[rows.start : rows.stop] for layer, v in values.items()}, seconds=0.5)
    return spool


def read(spool: Spool, layer: str) -> np.ndarray:
    """Put the blocks together, each at the place it says."""
    out = np.full((spool.n, spool.n_features(layer)), np.nan, dtype=np.float32)
    for first, block in spool.blocks(layer):
        assert block.dtype == np.float32
        assert first % room.BLOCK == 0
        assert block.shape[1] == min(room.BLOCK, out.shape[1] - first)
        out[:, first : first + block.shape[1]] = block
    return out


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 13),
    sizes=st.lists(st.integers(1, 23), min_size=1, max_size=3),
    chunk_rows=st.integers(1, 15),
    block=st.integers(1, 12),
)
def test_blocks_are_the_matrix(tmp_path: Path, n: int, sizes: list[int], chunk_rows: int, block: int) -> None:
    values = matrices(n, {f"layer {i}": size for i, size in enumerate(sizes)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK", block)
        spool = write(tmp_path / "s", values, chunk_rows)
        again = Spool.open(tmp_path / "s", n, list(values))
        assert again is not None
        assert again.absent() == []
        for layer, matrix in values.items():
            np.testing.assert_array_equal(read(spool, layer), matrix)
            np.testing.assert_array_equal(read(again, layer), matrix)
    assert again.seconds == 0.5 * again.n_chunks


@pytest.mark.parametrize("size", [room.BLOCK - 1, room.BLOCK, room.BLOCK + 1, 2 * room.BLOCK + 7])
def test_the_real_block(tmp_path: Path, size: int) -> None:
    values = matrices(5, {"a": size})
    np.testing.assert_array_equal(read(write(tmp_path / "s", values, 2), "a"), values["a"])


def test_chunks_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    """Their pieces have the CRC of all bytes, and no name for it."""
    values = matrices(7, {"a": 9})
    spool = write(tmp_path / "s", values)
    for path in sorted((tmp_path / "s").glob("*.chunk")):
        content = path.read_bytes()
        magic, rest = room._MAGIC, content[len(room._MAGIC) :]
        length = int.from_bytes(rest[:8], "little")
        header, payload = json.loads(rest[12 : 12 + length]), rest[12 + length :]
        del header["checksum"]
        header["layers"]["a"]["pieces"] = [[0, zlib.crc32(payload)]]
        text = json.dumps(header).encode()
        path.write_bytes(
            magic + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little") + text + payload
        )
    again = Spool.open(tmp_path / "s", 7, ["a"])
    assert again is not None
    np.testing.assert_array_equal(read(again, "a"), values["a"])
    assert spool.n_chunks == 2


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), half=st.booleans(), data=st.data())
def test_a_checksum_sees_every_wrong_word(rows: int, columns: int, half: bool, data: st.DataObject) -> None:
    words = np.random.default_rng(rows * columns).integers(0, 2**32, (rows, columns), dtype=np.uint32)
    features = 2 * columns if half else columns
    before = room._checksum(words.data.cast("B"), features, half)
    where = data.draw(st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1)))
    words[where] ^= data.draw(st.integers(1, 2**32 - 1))
    assert room._checksum(words.data.cast("B"), features, half) != before


def test_any_layout_of_memory_is_written(tmp_path: Path) -> None:
    values = matrices(6, {"a": 10})["a"]
    spool = Spool.create(tmp_path / "s", 3, ["a"], 4, 2)
    spool.write(0, {"a": np.asfortranarray(values[::2]).astype(">f8")}, 0.0)
    np.testing.assert_array_equal(read(spool, "a"), values[::2])


def test_a_begun_spool_goes_on_at_the_first_absent_chunk(tmp_path: Path) -> None:
    values = matrices(10, {"a": 7, "b": 3})
    spool = Spool.create(tmp_path / "s", 10, ["a", "b"], 4, 2)
    assert (spool.n_chunks, spool.rows(2)) == (3, range(8, 10))
    assert spool.absent() == [0, 1, 2]
    spool.write(1, {layer: v[4:8] for layer, v in values.items()}, 2.0)
    (tmp_path / "s" / ".000002.chunk.0123456789ab.tmp").write_bytes(b"a writer was killed here")
    again = Spool.open(tmp_path / "s", 10, ["a", "b"])
    assert again is not None
    assert (again.absent(), again.chunk_rows, again.batch_size) == ([0, 2], 4, 2)
    with pytest.raises(DamagedChunkError):
        again.n_features("a")
    for chunk in again.absent():
        rows = again.rows(chunk)
        again.write(chunk, {layer: v[rows.start : rows.stop] for layer, v in values.items()}, 1.0)
    assert again.seconds == 4.0
    np.testing.assert_array_equal(read(again, "b"), values["b"])


def test_another_plan_is_another_spool(tmp_path: Path) -> None:
    write(tmp_path / "s", matrices(5, {"a": 3}))
    assert Spool.open(tmp_path / "s", 5, ["a"]) is not None
    assert Spool.open(tmp_path / "s", 6, ["a"]) is None
    assert Spool.open(tmp_path / "s", 5, ["b"]) is None
    assert Spool.open(tmp_path / "nothing", 5, ["a"]) is None
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())
    damaged = [plan | {"chunk_rows": 0}, plan | {"batch_size": -1}, plan | {"chunk_rows": None}, {}, [], 3]
    for content in (*map(json.dumps, damaged), "", "{", "\0\0\0"):
        (tmp_path / "s" / "plan.json").write_text(content)
        assert Spool.open(tmp_path / "s", 5, ["a"]) is None
    assert Spool.create(tmp_path / "s", 5, ["a"], 4, 2).absent() == [0, 1]  # what lay there is gone


def test_a_chunk_with_other_rows_than_planned_is_set_aside(tmp_path: Path) -> None:
    write(tmp_path / "s", matrices(10, {"a": 3}))
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())
    (tmp_path / "s" / "plan.json").write_text(json.dumps(plan | {"chunk_rows": 5}))
    spool = Spool.open(tmp_path / "s", 10, ["a"])
    assert spool is not None
    with pytest.warns(CorruptFileWarning, match="wrong size"):
        assert spool.absent() == [0, 1]


def test_every_damaged_byte_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BLOCK", 3)
    values = matrices(5, {"a": 7, "b": 2})
    write(tmp_path / "s", values)
    path = tmp_path / "s" / "000001.chunk"
    whole = path.read_bytes()
    magic = room._MAGIC
    damaged = [whole[:i] for i in range(len(whole))]
    damaged += [whole[:i] + bytes([whole[i] ^ 64]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole + b"\0", bytes(len(whole)), magic + bytes(len(whole) - len(magic)), magic + b"\xff" * 12]
    for content in damaged:
        path.write_bytes(content)
        spool = Spool.open(tmp_path / "s", 5, ["a", "b"])
        assert spool is not None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                # Pass 1 looks at headers, pass 2 at every piece.
                noticed = spool.absent() == [1]
                if not noticed:
                    read(spool, "a"), read(spool, "b")
            except DamagedChunkError:
                noticed = True
        assert noticed
        (warning,) = caught
        assert warning.category is CorruptFileWarning
        assert "000001.chunk is damaged" in str(warning.message)
        assert spool.absent() == [1]
        assert (tmp_path / "s" / "000001.chunk.bad").read_bytes() == content
    assert spool is not None
    spool.write(1, {layer: v[4:] for layer, v in values.items()}, 0.0)
    np.testing.assert_array_equal(read(spool, "a"), values["a"])


def test_a_chunk_that_vanishes_between_the_passes(tmp_path: Path) -> None:
    values = matrices(5, {"a": 3})
    spool = write(tmp_path / "s", values)
    assert spool.absent() == []
    (tmp_path / "s" / "000000.chunk").unlink()
    with pytest.raises(DamagedChunkError):
        read(spool, "a")
    assert spool.absent() == [0]


def test_a_layer_has_one_size(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "s", 4, ["a"], 2, 1)
    spool.write(0, {"a": np.zeros((2, 3))}, 0.0)
    spool.write(1, {"a": np.zeros((2, 4))}, 0.0)
    with pytest.raises(ModelError, match=r"layer 'a' gives \[3, 4\] features for different stimuli"):
        spool.n_features("a")


def test_deleting(tmp_path: Path) -> None:
    spool = write(tmp_path / "s", matrices(5, {"a": 3}))
    spool.delete()
    assert os.listdir(tmp_path) == []
    assert spool.absent() == [0, 1]
    spool.delete()
