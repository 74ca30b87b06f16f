"""The cache on disk: kernels, predictions and spools; keyed, atomic, checksummed, safe under many processes.

Everything here can be recomputed. A file is whole or absent; one that fails its checksum is set aside (``*.bad``),
a warning says so, and the caller computes it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import InputError
from benchmark_core.home import bench_cache, make_folder
from benchmark_core.keys import file_sha256

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"cortex-bench arrays 1\n"
DEFAULT_CAP = 50 * 10**9


class CorruptFileWarning(UserWarning):
    """A stored file failed its checksum and is computed again."""


def set_aside(path: Path, reason: str) -> None:
    """Rename a bad file so that it is computed again, and warn."""
    bad = path.with_name(path.name + ".bad")
    try:
        os.replace(path, bad)
    except FileNotFoundError:
        return  # another process has just done it, and said so
    except OSError as error:
        warnings.warn(
            f"{path} is damaged ({reason}) and cannot be set aside ({error.strerror}); computed again",
            CorruptFileWarning,
            stacklevel=2,
        )
        return
    warnings.warn(
        f"{path} is damaged ({reason}); set aside as {bad.name} and computed again", CorruptFileWarning, stacklevel=2
    )


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON header to one file, atomically, with a SHA-256 at its end.

    Layout: magic, length of the header (8 bytes), header (JSON), array bytes (little-endian, C order), digest.
    """
    import numpy as np

    index: dict[str, dict[str, Any]] = {}
    payloads: list[bytes] = []
    for name, array in arrays.items():
        plain = np.asarray(array, order="C")  # not ascontiguousarray, which turns a scalar into a vector
        if plain.dtype.kind not in "fiub":
            raise TypeError(f"array {name!r} of dtype {plain.dtype} cannot be stored")
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        index[name] = {"dtype": plain.dtype.str, "shape": list(plain.shape)}
        payloads.append(plain.tobytes())
    header = json.dumps({"meta": dict(meta), "arrays": index}, allow_nan=False).encode()
    parts = [MAGIC, len(header).to_bytes(8, "little"), header, *payloads]
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    write_atomically(path, b"".join([*parts, checksum.digest()]))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read what :func:`write_arrays` wrote; None if the file is absent or was damaged (and is now set aside)."""
    import numpy as np  # here, so that what is all recorded needs none of it

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check its permissions") from None
    if not content.startswith(MAGIC) or hashlib.sha256(memoryview(content)[:-32]).digest() != content[-32:]:
        set_aside(path, "its checksum does not match")
        return None
    start = len(MAGIC) + 8
    end = start + int.from_bytes(content[len(MAGIC) : start], "little")
    document = json.loads(content[start:end])
    arrays: dict[str, np.ndarray] = {}
    for name, entry in document["arrays"].items():
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(content, dtype, count=size // dtype.itemsize, offset=end).reshape(shape).copy()
        end += size
    return arrays, document["meta"]


@dataclass(frozen=True)
class Store:
    """The cache under one folder (default: ``BENCH_CACHE``)."""

    root: Path

    @classmethod
    def default(cls) -> Store:
        """Return the store under ``BENCH_CACHE``, created if need be."""
        return cls(make_folder(bench_cache(), "the cache"))

    def kernel_path(self, key: str) -> Path:
        """File of a representation."""
        return self.root / "kernels" / key[:2] / f"{key}.arrays"

    def predictions_path(self, key: str) -> Path:
        """File of a score's held-out predictions."""
        return self.root / "predictions" / key[:2] / f"{key}.arrays"

    def spool_path(self, key: str) -> Path:
        """Folder of a spool."""
        return self.root / "spools" / key

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a lock on a key, so that of several processes one computes and the others wait for its result."""
        from filelock import FileLock

        lock = FileLock(make_folder(self.root / "locks", "locks") / f"{key}.lock")
        try:
            lock.acquire()
        except OSError as error:
            raise InputError(
                f"cannot write to the cache {self.root} ({error.strerror}); set BENCH_CACHE to a folder you can write"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def weights_sha256(self, path: Path) -> str:
        """Return the SHA-256 of a weights file, remembered by path, size and modification time."""
        path = path.resolve()
        seen = path.stat()
        memo = self.root / "weights" / (hashlib.sha256(str(path).encode()).hexdigest() + ".json")
        try:
            known = json.loads(memo.read_text(encoding="utf-8"))
            if [known["size"], known["mtime_ns"]] == [seen.st_size, seen.st_mtime_ns]:
                return str(known["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no memo, or an unreadable one: hash the file
        sha256 = file_sha256(path)
        entry = {"path": str(path), "size": seen.st_size, "mtime_ns": seen.st_mtime_ns, "sha256": sha256}
        with suppress(InputError):  # a read-only cache can still be read
            write_atomically(memo, json.dumps(entry).encode())
        return sha256

    def remove_spool(self, key: str) -> bool:
        """Remove a spool, if there is one, unless a running process holds it; return whether it is gone."""
        folder = self.spool_path(key)
        return not folder.is_dir() or self._remove(folder)

    def usage(self) -> dict[str, tuple[int, int]]:
        """Return ``{kind: (files, bytes)}``."""
        result = {}
        for kind in ("spools", "kernels", "predictions", "downloads", "weights"):
            sizes = [size for path in _files(self.root / kind) if (size := _size(path)) is not None]
            result[kind] = (len(sizes), sum(sizes))
        return result

    def prune(self, cap: int, kinds: tuple[str, ...] = ("kernels", "predictions", "spools")) -> tuple[int, int]:
        """Remove what was least recently used until at most ``cap`` bytes are left.

        A spool that a running process holds is left alone.

        Returns
        -------
        entries, bytes
            How much was removed.
        """
        entries: list[tuple[float, int, Path]] = []
        for kind in kinds:
            folder = self.root / kind
            units = (
                [p for p in folder.iterdir() if p.is_dir()] if kind == "spools" and folder.is_dir() else _files(folder)
            )
            for unit in units:
                sizes = [s for p in (_files(unit) if unit.is_dir() else [unit]) if (s := _size(p)) is not None]
                try:
                    entries.append((unit.stat().st_mtime, sum(sizes), unit))
                except FileNotFoundError:
                    continue
        total, removed, freed = sum(size for _, size, _ in entries), 0, 0
        for _, size, unit in sorted(entries, key=lambda e: (e[0], str(e[2]))):
            if total <= cap:
                break
            if not self._remove(unit):
                continue
            total, removed, freed = total - size, removed + 1, freed + size
        return removed, freed

    def _remove(self, unit: Path) -> bool:
        if not unit.is_dir():
            try:
                unit.unlink(missing_ok=True)
            except OSError:
                return False
            return True
        from filelock import FileLock, Timeout

        try:
            with FileLock(make_folder(self.root / "locks", "locks") / f"{unit.name}.lock", timeout=0):
                shutil.rmtree(unit, ignore_errors=True)
        except (Timeout, OSError):
            return False
        return not unit.exists()


def touch(path: Path) -> None:
    """Mark a file as used now, for least-recently-used pruning."""
    with suppress(OSError):  # a read-only cache can still be read
        os.utime(path)


def cache_cap() -> int:
    """Return the cap on the cache in bytes (``BENCH_CACHE_MAX``, e.g. ``20GB``; default 50 GB)."""
    text = os.environ.get("BENCH_CACHE_MAX")
    return parse_size(text) if text else DEFAULT_CAP


def parse_size(text: str) -> int:
    """Turn ``500MB``, ``20GB`` or ``1TB`` (powers of 1000; ``GiB`` etc. of 1024) into bytes.

    Raises
    ------
    InputError
        If the text is not a size.
    """
    units = {"": 1, "B": 1}
    for power, letter in enumerate("KMGT", start=1):
        units |= {letter: 1000**power, f"{letter}B": 1000**power, f"{letter}IB": 1024**power}
    cleaned = text.strip().upper().replace(" ", "")
    digits = cleaned.rstrip("KMGTIB")
    try:
        number = float(digits) * units[cleaned[len(digits) :]]
    except (ValueError, KeyError):
        raise InputError(f"{text!r} is not a size; write e.g. 500MB or 20GB") from None
    if not 0 <= number < 2**63:
        raise InputError(f"{text!r} is not a size; write e.g. 500MB or 20GB")
    return int(number)


def _files(folder: Path) -> list[Path]:
    return [Path(base) / name for base, _, names in os.walk(folder) for name in names]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
