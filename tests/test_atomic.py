"""Files and folders are whole or absent, whenever the process dies."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmark_core.atomic import new_folder, remove_folder, settle, write_atomically
from benchmark_core.errors import InputError


def names(folder: Path) -> set[str]:
    """Return what lies in a folder, lock files apart."""
    return {entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock")}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def fail_with(code: int):
    def failing(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return failing


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 70_000])
def test_file_is_written_and_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "deep" / "er" / "file"
    write_atomically(path, b"old")
    write_atomically(path, content)
    assert path.read_bytes() == content
    assert names(path.parent) == {"file"}


def test_file_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_failing_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail_with(code))
        with pytest.raises(InputError) as caught:
            write_atomically(path, b"new")
    assert str(path) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


def test_file_below_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(tmp_path / "file" / "inner", b"y")
    with pytest.raises(InputError, match="cannot write"), new_folder(tmp_path / "file" / "inner"):
        pass


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with new_folder(path) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "a").write_bytes(b"1")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert tree(path) == {"inner/a": b"1"}
    assert names(path.parent) == {"folder"}


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, FileNotFoundError])
def test_failing_block_changes_nothing(tmp_path: Path, there_before: bool, error: type[BaseException]) -> None:
    path = tmp_path / "folder"
    if there_before:
        with new_folder(path) as temporary:
            (temporary / "a").write_bytes(b"old")

    def interrupted() -> None:
        with new_folder(path) as temporary:
            (temporary / "a").write_bytes(b"new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == ({"folder"} if there_before else set())
    assert not there_before or tree(path) == {"a": b"old"}


def test_full_disk_in_the_block_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No space left.*free some space"), new_folder(tmp_path / "folder"):
        fail_with(errno.ENOSPC)()
    assert names(tmp_path) == set()


@pytest.mark.parametrize("nth", [1, 2])
def test_failing_rename_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    path, calls, rename = tmp_path / "folder", [], os.rename
    with new_folder(path) as temporary:
        (temporary / "a").write_bytes(b"old")

    def failing(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == nth:
            fail_with(errno.EROFS)()
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(InputError, match="cannot write"), new_folder(path) as temporary:
        (temporary / "a").write_bytes(b"new")
    assert tree(path) == {"a": b"old"}
    assert names(tmp_path) == {"folder"}


KILLED = """
import os, shutil, sys
from pathlib import Path
from benchmark_core.atomic import new_folder
path, step = Path(sys.argv[1]), int(sys.argv[2])
rename, rmtree, left = os.rename, shutil.rmtree, [step]
def dying(function):
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
        return function(*args, **kwargs)
    return call
with new_folder(path) as temporary:
    (temporary / "a").write_bytes(b"new")
    (temporary / "b").write_bytes(b"new")
    os.rename, shutil.rmtree = dying(rename), dying(rmtree)
os._exit(0)
"""


@pytest.mark.parametrize(("step", "expected"), [(1, b"old"), (2, b"old"), (3, b"new")])
def test_killed_replacement_leaves_old_or_new(tmp_path: Path, step: int, expected: bytes) -> None:
    path = tmp_path / "folder"
    with new_folder(path) as temporary:
        (temporary / "a").write_bytes(b"old")
    died = subprocess.run([sys.executable, "-c", KILLED, str(path), str(step)], check=False)
    assert died.returncode == 9
    assert names(tmp_path) != {"folder"}, "the process was to die with work left over"
    settle(path)
    assert (path / "a").read_bytes() == expected
    with new_folder(path) as temporary:
        (temporary / "a").write_bytes(b"newest")
    assert tree(path) == {"a": b"newest"}
    assert names(tmp_path) == {"folder"}, "leftovers of the killed process are removed"


def test_leftovers_of_similar_names_are_left_alone(tmp_path: Path) -> None:
    for other in (".folder.2.0123456789ab.tmp", ".folder.notes.tmp", "folder.0123456789ab.tmp"):
        (tmp_path / other).mkdir()
    (tmp_path / ".folder.0123456789ab.tmp").mkdir()
    with new_folder(tmp_path / "folder"):
        pass
    assert names(tmp_path) == {"folder", ".folder.2.0123456789ab.tmp", ".folder.notes.tmp", "folder.0123456789ab.tmp"}


def test_settle_without_anything_to_do_writes_nothing(tmp_path: Path) -> None:
    settle(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_writers_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"

    def write(number: int) -> None:
        for _ in range(5):
            with new_folder(path) as temporary:
                for name in ("a", "b"):
                    (temporary / name).write_text(str(number))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == {"folder"}
    assert len(set(tree(path).values())) == 1


def test_a_removed_folder_is_gone_with_what_killed_processes_left_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("data", f".data.{'0' * 12}.tmp", "database", f".database.{'0' * 12}.tmp"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_bytes(b"x")
    remove_folder(folder)
    assert names(tmp_path) == {"database", f".database.{'0' * 12}.tmp"}
    remove_folder(folder)  # once more is no error


def test_a_folder_that_was_being_replaced_is_removed_whole(tmp_path: Path) -> None:
    (tmp_path / ".data.old").mkdir()
    remove_folder(tmp_path / "data")
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_removed_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x")
    monkeypatch.setattr(os, "rename", fail_with(errno.EACCES))
    with pytest.raises(InputError, match=r"cannot remove .*Permission denied"):
        remove_folder(tmp_path / "data")
    assert tree(tmp_path / "data") == {"file": b"x"}
