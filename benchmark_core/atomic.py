"""Writing files and folders so that each is whole or absent (write beside, fsync, rename)."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark_core.errors import InputError

_NO_ROOM_OR_RIGHT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def write_atomically(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file: afterwards it holds all of ``content``, or what it held before.

    Parameters
    ----------
    path
        The file; its folder is created if need be.
    content
        All of its bytes, or the pieces that they consist of, which are asked for one after the other.

    Raises
    ------
    InputError
        If it cannot be written (no permission, read-only, disk full, a folder in its place).
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: its files are private to the user (0600), whatever the umask says.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        with open(descriptor, "wb") as handle:
            for piece in [content] if isinstance(content, bytes) else content:
                handle.write(piece)
            handle.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes ``path`` when the block succeeds and vanishes when it fails.

    One process at a time builds a given path; others wait for it. What an earlier, killed process left behind is
    removed. An existing ``path`` is replaced at the end: it is first set aside under a fixed name, and if the process
    dies just then, :func:`settle` (called here, and by whoever reads) puts it back.

    Parameters
    ----------
    path
        The folder to make; its parent is created if need be.

    Yields
    ------
    Path
        A temporary folder beside ``path``.

    Raises
    ------
    InputError
        If the folder cannot be written (no permission, read-only, disk full).
    """
    temporary = _temporary(path)
    with _lock(path):
        try:
            _settle(path)
            _remove_leftovers(path)
            temporary.mkdir()
        except OSError as error:
            raise _cannot_write(path, error) from None
        try:
            yield temporary
            _sync_tree(temporary)
            _swap_in(temporary, path)
        except OSError as error:
            if error.errno in _NO_ROOM_OR_RIGHT:
                raise _cannot_write(path, error) from None
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if path.exists():  # else what was set aside is the only copy
                shutil.rmtree(_aside(path), ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder: at any moment it is whole or gone. One that is not there is no error.

    Raises
    ------
    InputError
        If it cannot be removed.
    """
    with _lock(path):
        try:
            _settle(path)
            if path.exists():
                os.rename(path, _temporary(path))  # a name that whoever builds this path next cleans away, too
                _sync_folder(path.parent)
            _remove_leftovers(path)
        except OSError as error:
            raise InputError(f"cannot remove {error.filename or path} ({error.strerror or error})") from None


def settle(path: Path) -> None:
    """Finish a replacement of the folder ``path`` that was cut off between its two renames: the old folder returns.

    Costs two look-ups where there is nothing to do.

    Raises
    ------
    InputError
        If there is something to do and the folder cannot be written.
    """
    if not path.exists() and _aside(path).exists():
        with _lock(path):
            try:
                _settle(path)
            except OSError as error:
                raise _cannot_write(path, error) from None


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    from filelock import FileLock

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _settle(path: Path) -> None:
    aside = _aside(path)
    if aside.exists() and not path.exists():
        os.rename(aside, path)


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left; the caller holds the lock, so no living one is writing."""
    temporary = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}\.tmp")
    for entry in path.parent.iterdir():
        if entry == _aside(path) or (temporary.fullmatch(entry.name) and entry.is_dir()):
            shutil.rmtree(entry)


def _swap_in(temporary: Path, path: Path) -> None:
    """Rename ``temporary`` to ``path``; what stood there is set aside, and comes back if the rename fails."""
    if path.exists():
        os.rename(path, _aside(path))
    try:
        os.rename(temporary, path)
    except BaseException:
        _settle(path)
        raise
    _sync_folder(path.parent)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as handle:
                os.fsync(handle.fileno())
        _sync_folder(Path(parent))


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable; a platform that cannot is left as it is."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> InputError:
    reason = error.strerror or str(error)
    hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "use a place you can write to"
    return InputError(f"cannot write {path} ({reason}); {hint}, or point BENCH_HOME or BENCH_CACHE elsewhere")
