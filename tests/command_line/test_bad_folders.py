"""Places that cannot be read or written: status 2, one line that names the place, nothing half-written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from bench_command import RECORD, Bench, Tree

from benchmark_core.records import read_records, write_record

RUN = ("run", "--model", "toy-pixels", "--benchmark", "toy.V4", "--json")


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """Return a folder that can never be made: it would lie below a regular file."""
    (tmp_path / "file").write_bytes(b"not a folder")
    return tmp_path / "file" / "folder"


def refuse(number: int) -> Any:
    """Return a function that fails as the operating system does."""

    def refusing(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refusing


def test_home_below_a_file(bench: Bench, blocked: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", str(blocked))
    before = tree()
    done = bench(*RUN)
    done.fails(2, "error: cannot write", str(blocked), "Not a directory", "BENCH_HOME")
    assert done.results == []
    assert {path for path in tree() if not path.startswith("cache")} == set(before)
    assert bench("list").status == 0
    assert bench("data", "list").status == 0


def test_cache_below_a_file(
    bench: Bench, part: Path, blocked: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(blocked))
    before = tree()
    for command in (RUN, ("cache", "info"), ("cache", "prune")):
        bench(*command).fails(2, "error: ", str(blocked), "Not a directory", "BENCH_CACHE")
    assert tree() == before


def test_doctor_names_folders_that_cannot_be_used(bench: Bench, blocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", str(blocked))
    done = bench("doctor")
    assert done.status == 0
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("BENCH_HOME"))
    assert f"cannot be used: {blocked.parent} is not a folder" in line


def test_records_folder_is_a_file(bench: Bench, part: Path, tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "records").write_text("no folder")
    before = tree()
    done = bench(*RUN, "--records", tmp_path / "records")
    done.fails(2, "error: cannot write", str(tmp_path / "records"))
    assert done.results == []
    assert {path for path in tree() if not path.startswith("cache")} == set(before)
    assert not list((tmp_path / "cache").rglob("*.arrays")), "found out only after computing"
    bench("leaderboard", "--records", tmp_path / "records").fails(
        2, "no records in", str(tmp_path / "records"), "--records"
    )


def test_read_only_home(bench: Bench, part: Path, home: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root no folder is read-only, so the operating system's answer is played."""
    before, real = tree(), os.open

    def refusing(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_WRONLY and str(path).startswith(str(home)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    bench(*RUN).fails(2, "error: cannot write", str(home), "Read-only file system", "BENCH_HOME")
    assert {path for path in tree() if not path.startswith(("cache", "home/records"))} == set(before)
    assert not list(home.rglob("*.json.*"))


def test_read_only_home_is_found_before_anything_is_computed(
    bench: Bench, part: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "records").mkdir()
    real = os.access

    def refusing(path: Any, mode: int, *args: Any, **kwargs: Any) -> bool:
        return not str(path).startswith(str(home / "records")) and real(path, mode, *args, **kwargs)

    monkeypatch.setattr(os, "access", refusing)
    bench(*RUN).fails(2, "cannot write records", f"{home / 'records'} is read-only", "--records")
    assert not list((tmp_path / "cache").rglob("*.arrays"))


def test_disk_full_in_the_cache(
    bench: Bench, part: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def full(source: Any, target: Any) -> None:
        if str(target).startswith(str(tmp_path / "cache")):
            refuse(errno.ENOSPC)()
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    done = bench(*RUN)
    done.fails(2, "failed: toy-pixels on toy.V4", "No space left on device", "free some space", "BENCH_CACHE")
    assert [r["status"] for r in done.results] == ["failed"]
    assert [r["status"] for r in read_records(home / "records")] == ["failed"]
    monkeypatch.undo()


def test_disk_full_for_the_record(bench: Bench, part: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench(*RUN)
    assert first.status == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(errno.ENOSPC))
        done = bench("run", "-m", "toy-pixels", "-m", "toy-nan", "-b", "toy.V4", "--json")
    done.fails(2, "error: cannot write", str(home / "records"), "No space left on device", "free some space")
    assert [r["score"] for r in done.results] == [first.results[0]["score"]], "what came before is shown"
    assert [r["status"] for r in read_records(home / "records")] == ["ok"]


@pytest.mark.parametrize("case", ["folder", "below a file", "current folder", "root"])
def test_csv_that_cannot_be_written(
    bench: Bench, home: Path, tmp_path: Path, blocked: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    write_record(home / "records", RECORD)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    path = {"folder": tmp_path / "folder", "below a file": blocked, "current folder": Path(), "root": Path("/")}[case]
    before = tree()
    done = bench("leaderboard", "--csv", path)
    done.fails(2, "error: ", str(path), "cannot write" if case == "below a file" else "is a folder; name the CSV file")
    assert done.stdout == ""
    assert tree() == before


def test_csv_when_the_disk_is_full(
    bench: Bench, home: Path, tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(home / "records", RECORD)
    (tmp_path / "scores.csv").write_text("the old one\n")
    before = tree()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(errno.ENOSPC))
        bench("leaderboard", "--csv", tmp_path / "scores.csv").fails(2, "cannot write", "scores.csv", "No space left")
    assert tree() == before


def test_no_records_yet(bench: Bench, tmp_path: Path, tree: Tree) -> None:
    bench("leaderboard").fails(2, "no records in", "bench run", "--records")
    bench("leaderboard", "--records", tmp_path / "nowhere").fails(2, "no records in", str(tmp_path / "nowhere"))
    assert tree() == {}


def test_plugin_folder_that_is_not_there(
    bench: Bench, tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("list", "--plugins", tmp_path / "nowhere").fails(2, "plugin folder", str(tmp_path / "nowhere"), "--plugins")
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "gone"))
    bench(*RUN).fails(2, "plugin folder", str(tmp_path / "gone"), "BENCH_PLUGINS")
    assert tree() == {}


@pytest.mark.parametrize("text", ["nonsense", "-1", "5 parsecs"])
def test_nonsense_as_the_cap_of_the_cache(
    bench: Bench, part: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("BENCH_CACHE_MAX", text)
    before = tree()
    bench(*RUN).fails(2, "error: ", repr(text), "is not a size", "20GB")
    assert tree() == before, "found out before anything was computed"
    bench("cache", "info").fails(2, "is not a size")


def test_home_of_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", "~no-such-user-here/bench")
    bench("data", "list").fails(2, "~no-such-user-here/bench", "write the path in full")


def test_home_with_an_endless_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", "/" + "x" * 300)
    bench("data", "list").fails(2, "error: /xxx", "File name too long")


def test_home_whose_name_is_not_text(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is shown in the error of a cell and so stands in the record and on stdout."""
    monkeypatch.setenv("BENCH_HOME", os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    done = bench(*RUN, "--records", tmp_path / "records")
    done.fails(3, "missing-data", r"caf\udce9")
    assert done.results[0]["status"] == "missing-data"
