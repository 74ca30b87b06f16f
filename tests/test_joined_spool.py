"""Two spools read as one: the rows of both, on the same grid, and only one of them removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_spool import matrices, write

from benchmark_core import spool as room
from benchmark_core.errors import ModelError
from benchmark_core.joined_spool import JoinedSpool, in_spool_order


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[JoinedSpool, np.ndarray]:
    monkeypatch.setattr(room, "BLOCK", 5)
    values = matrices(13, {"a": 12})["a"]
    kept, own = write(tmp_path / "kept", {"a": values[:6]}, 4), write(tmp_path / "own", {"a": values[6:]}, 2)
    return JoinedSpool(kept, own), values


def test_blocks_and_chunks_are_those_of_the_whole(joined: tuple[JoinedSpool, np.ndarray]) -> None:
    spool, values = joined
    assert (spool.n, spool.n_features("a"), spool.n_chunks, spool.chunk_rows) == (13, 12, 6, 4)
    blocks = list(spool.blocks("a"))
    assert [first for first, _ in blocks] == [0, 5, 10]
    assert np.array_equal(np.concatenate([block for _, block in blocks], axis=1), values)
    rows = [spool.rows(chunk) for chunk in range(spool.n_chunks)]
    assert [i for r in rows for i in r] == list(range(13))
    for chunk, r in enumerate(rows):
        assert np.array_equal(spool.read(chunk, "a"), values[r.start : r.stop])


def test_time_of_the_kept_spool_counts_once(joined: tuple[JoinedSpool, np.ndarray]) -> None:
    spool, _ = joined
    assert spool.seconds == 0.5 * 6
    assert JoinedSpool(spool.kept, spool.own, kept_is_new=False).seconds == 0.5 * 4


def test_only_the_own_spool_is_removed(joined: tuple[JoinedSpool, np.ndarray]) -> None:
    spool, _ = joined
    spool.delete()
    assert spool.kept.folder.is_dir()
    assert not spool.own.folder.exists()


def test_spools_of_different_size_are_an_error(tmp_path: Path) -> None:
    spool = JoinedSpool(write(tmp_path / "k", matrices(3, {"a": 4})), write(tmp_path / "o", matrices(3, {"a": 5})))
    with pytest.raises(ModelError, match=r"gives \[4, 5\] features"):
        next(spool.blocks("a"))


def test_order_of_ids() -> None:
    assert in_spool_order(("a", "b", "c", "d"), ["d", "b"]) == ("b", "d", "a", "c")
