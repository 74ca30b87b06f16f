"""The store: whole or absent, checked when read, shared by processes, and pruned."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from benchmark_core import store as room
from benchmark_core.errors import InputError
from benchmark_core.store import (
    MAGIC,
    CorruptFileWarning,
    Store,
    cache_cap,
    parse_size,
    read_arrays,
    set_aside,
    touch,
    write_arrays,
)

FORK = multiprocessing.get_context("fork")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534


# The container of arrays

dtypes = (
    npst.integer_dtypes(endianness="?")
    | npst.unsigned_integer_dtypes(endianness="?")
    | npst.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | npst.boolean_dtypes()
)
arrays = npst.arrays(dtypes, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=4), arrays, max_size=3), st.booleans())
def test_arrays_come_back_as_they_were(tmp_path: Path, named: dict[str, np.ndarray], transpose: bool) -> None:
    if transpose:
        named = {name: array.T for name, array in named.items()}
    path = tmp_path / "folder" / "x.arrays"
    write_arrays(path, named, {"n": len(named), "ids": ["ä", "b"], "nothing": None})
    found = read_arrays(path)
    assert found is not None
    assert found[1] == {"n": len(named), "ids": ["ä", "b"], "nothing": None}
    assert list(found[0]) == list(named)
    for name, array in named.items():
        back = found[0][name]
        assert back.dtype == array.dtype.newbyteorder("<")
        assert back.shape == array.shape
        assert back.flags.writeable
        np.testing.assert_array_equal(back, array)
    assert os.listdir(tmp_path / "folder") == ["x.arrays"]


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([object()]), np.array([1j])])
def test_objects_and_texts_are_not_stored(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"array 'a' of dtype .* cannot be stored"):
        write_arrays(tmp_path / "x", {"a": array}, {})
    with pytest.raises(ValueError, match="JSON"):
        write_arrays(tmp_path / "x", {}, {"score": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_absent_is_none(tmp_path: Path) -> None:
    assert read_arrays(tmp_path / "nothing.arrays") is None


def test_every_flipped_byte_and_every_truncation_is_noticed(tmp_path: Path) -> None:
    path, bad = tmp_path / "x.arrays", tmp_path / "x.arrays.bad"
    write_arrays(path, {"a": np.arange(5.0)}, {"m": 1})
    whole = path.read_bytes()
    damaged = [whole[:i] for i in range(len(whole))]
    damaged += [whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :] for i in range(len(whole)) for bit in (1, 128)]
    damaged += [whole + b"\0", b"\0" * len(whole), MAGIC + b"\0" * 60]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for content in damaged:
            path.write_bytes(content)
            assert read_arrays(path) is None
            assert bad.read_bytes() == content
            assert not path.exists()
    assert len(caught) == len(damaged)
    assert {w.category for w in caught} == {CorruptFileWarning}
    assert "x.arrays is damaged (its checksum does not match); set aside as x.arrays.bad and computed again" in str(
        caught[0].message
    )
    path.write_bytes(whole)
    assert read_arrays(path) is not None


def test_setting_aside_what_another_process_has_set_aside(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_aside(tmp_path / "gone", "it was bad")
    assert os.listdir(tmp_path) == []


def test_a_damaged_file_that_cannot_be_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.arrays").write_bytes(b"junk")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.warns(CorruptFileWarning, match="cannot be set aside"):
        assert read_arrays(tmp_path / "x.arrays") is None


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.arrays").mkdir()
    with pytest.raises(InputError, match=r"cannot read .*x\.arrays \(Is a directory\)"):
        read_arrays(tmp_path / "x.arrays")


# Hashes of weights files


def test_weights_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def count(path: Path) -> str:
        hashed.append(path)
        return f"hash {len(hashed)}"

    monkeypatch.setattr(room, "file_sha256", count)
    store, weights = Store(tmp_path / "cache"), tmp_path / "w.pth"
    weights.write_bytes(b"abc")
    assert [store.weights_sha256(weights) for _ in range(3)] == ["hash 1"] * 3
    assert Store(tmp_path / "cache").weights_sha256(tmp_path / "." / "w.pth") == "hash 1"
    (tmp_path / "link.pth").symlink_to(weights)
    assert store.weights_sha256(tmp_path / "link.pth") == "hash 1"

    weights.write_bytes(b"abcd")  # another size
    assert store.weights_sha256(weights) == "hash 2"
    os.utime(weights, ns=(1, 1))  # another time
    assert store.weights_sha256(weights) == "hash 3"
    (memo,) = (tmp_path / "cache" / "weights").iterdir()
    for damage in (b"", b"[]", b"{}", b"\xff", json.dumps({"size": 4, "mtime_ns": 1}).encode()):
        before = len(hashed)
        memo.write_bytes(damage)
        assert store.weights_sha256(weights) == f"hash {before + 1}"
    assert json.loads(memo.read_text())["sha256"] == f"hash {len(hashed)}"


def test_a_weights_memo_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where a folder is needed")
    (tmp_path / "w.pth").write_bytes(b"abc")
    digest = Store(tmp_path / "cache").weights_sha256(tmp_path / "w.pth")
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# Pruning


def fill(store: Store, ages: dict[str, int], size: int = 1000) -> dict[str, Path]:
    """Write kernels (``k...``), predictions (``p...``) and spools (``s...``), last used so many hours ago."""
    paths = {}
    for key, age in ages.items():
        paths[key] = {"k": store.kernel_path, "p": store.predictions_path, "s": store.spool_path}[key[0]](key)
        file = paths[key] / "000000.chunk" if key[0] == "s" else paths[key]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
        used = time.time() - 3600 * age
        os.utime(paths[key], (used, used))
    return paths


def left(paths: dict[str, Path]) -> str:
    return " ".join(sorted(key for key, path in paths.items() if path.exists()))


def test_pruning_keeps_what_was_used_last(tmp_path: Path) -> None:
    store = Store(tmp_path)
    paths = fill(store, {"k1": 5, "k2": 1, "p1": 4, "p2": 2, "s1": 3, "s2": 0})
    assert store.usage()["kernels"] == (2, 2000)
    assert store.usage()["spools"] == (2, 2000)
    assert store.prune(6000) == (0, 0)
    assert store.prune(5999) == (1, 1000)
    assert left(paths) == "k2 p1 p2 s1 s2"
    assert store.prune(2500) == (3, 3000)
    assert left(paths) == "k2 s2"
    touch(paths["k2"])
    os.utime(paths["s2"], (0, 0))
    assert store.prune(1000) == (1, 1000)
    assert left(paths) == "k2"
    assert store.prune(0) == (1, 1000)
    assert store.prune(0) == (0, 0)
    assert Store(tmp_path / "nothing yet").prune(0) == (0, 0)


def test_reading_a_representation_counts_as_use(tmp_path: Path) -> None:
    touch(tmp_path / "not there")  # no error
    paths = fill(Store(tmp_path), {"k1": 5})
    touch(paths["k1"])
    assert time.time() - paths["k1"].stat().st_mtime < 100


def test_pruning_leaves_weights_and_downloads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for kind in ("weights", "downloads"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "file").write_bytes(b"xy")
    store.prune(0)
    assert store.usage()["weights"] == store.usage()["downloads"] == (1, 2)


def hold(store: Store, key: str, held: Any, finish: Any) -> None:
    with store.lock(key):
        held.set()
        finish.wait(30)


def test_a_spool_in_use_is_never_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    paths = fill(store, {"s1": 9, "k1": 1})
    held, finish = FORK.Event(), FORK.Event()
    process = FORK.Process(target=hold, args=(store, "s1", held, finish))
    process.start()
    try:
        assert held.wait(30)
        assert store.prune(1000) == (1, 1000)  # the spool is older, but in use
        assert left(paths) == "s1"
        assert not store.remove_spool("s1")
        assert left(paths) == "s1"
    finally:
        finish.set()
        process.join(30)
    assert process.exitcode == 0
    with store.lock("s1"):  # nor while this very process holds it
        assert store.prune(0) == (0, 0)
    assert store.remove_spool("s1")
    assert left(paths) == ""
    assert store.remove_spool("s1")


# Many processes


def compute_once(store: Store, key: str, log: Path) -> None:
    path = store.kernel_path(key)
    if read_arrays(path) is None:
        with store.lock(key):
            if read_arrays(path) is None:
                with log.open("a") as file:
                    file.write(f"{os.getpid()}\n")
                time.sleep(0.2)  # long enough for the others to arrive
                write_arrays(path, {"a": np.arange(1000.0)}, {"by": os.getpid()})
    found = read_arrays(path)
    assert found is not None
    assert found[0]["a"].sum() == 499500.0


def test_of_several_processes_one_computes(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    processes = [FORK.Process(target=compute_once, args=(store, "ab12", tmp_path / "log")) for _ in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 5
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    assert os.listdir(store.kernel_path("ab12").parent) == ["ab12.arrays"]


def write_forever(path: Path, value: float, writing: Any) -> None:
    while True:
        write_arrays(path, {"a": np.full(20_000, value)}, {"value": value})
        writing.set()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.arrays"
    begun = [FORK.Event(), FORK.Event()]
    writers = [FORK.Process(target=write_forever, args=(path, float(i), begun[i])) for i in range(2)]
    for writer in writers:
        writer.start()
    try:
        assert all(event.wait(60) for event in begun)
        for _ in range(50):
            found = read_arrays(path)
            assert found is not None
            assert np.all(found[0]["a"] == found[1]["value"])
    finally:
        for writer in writers:
            writer.kill()
            writer.join(30)


def test_an_error_inside_a_lock_is_not_an_error_of_the_lock(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(PermissionError, match="the model's own"), store.lock("k"):
        raise PermissionError("the model's own")
    with store.lock("k"):  # and it has been released
        pass


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot create the folder for locks"), Store(tmp_path / "file").lock("k"):
        pass
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot create the folder for the cache"):
        Store.default()
    (tmp_path / "locks" / "k.lock").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot write to the cache"), Store(tmp_path).lock("k"):
        pass


@pytest.fixture
def folder_of_a_user() -> Iterator[Path]:
    """Return a folder of somebody who may not write everywhere; root becomes nobody for the test."""
    with tempfile.TemporaryDirectory() as name:
        if ROOT:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            if ROOT:
                os.seteuid(0)


def test_a_read_only_cache_can_still_be_read(folder_of_a_user: Path) -> None:
    store = Store(folder_of_a_user / "cache")
    write_arrays(store.kernel_path("k1"), {"a": np.zeros(2)}, {})
    (folder_of_a_user / "w.pth").write_bytes(b"abc")
    folders = [store.root, *(p for p in store.root.rglob("*") if p.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o500)
        with pytest.raises(PermissionError):
            (store.root / "new").touch()
        assert read_arrays(store.kernel_path("k1")) is not None
        assert store.weights_sha256(folder_of_a_user / "w.pth").startswith("ba7816bf")
        assert store.prune(0) == (0, 0)
    finally:
        for folder in folders:
            folder.chmod(0o700)


# Sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("12", 12),
        ("500MB", 500_000_000),
        ("20GB", 20 * 10**9),
        ("1TB", 10**12),
        ("1.5 kB", 1500),
        ("2k", 2000),
        ("1KiB", 1024),
        ("0.5GiB", 2**29),
        (" 3 mib ", 3 * 2**20),
        ("7B", 7),
    ],
)
def test_sizes(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_size(text) == size
    monkeypatch.setenv("BENCH_CACHE_MAX", text)
    assert cache_cap() == size


@pytest.mark.parametrize("text", ["", "GB", "1PB", "-1GB", "nan", "inf", "1e30GB", "1GBB", "10IB", "1,5GB", "MB5"])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(InputError, match=r"is not a size; write e\.g\. 500MB or 20GB"):
        parse_size(text)


def test_the_default_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_CACHE_MAX", raising=False)
    assert cache_cap() == 50 * 10**9
