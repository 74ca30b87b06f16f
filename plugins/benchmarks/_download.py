"""Downloads of known files: resumed where they broke off, checked against their hash, retried, reported."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import pooch
import requests
from filelock import FileLock

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.home import make_folder
from benchmark_core.offline import VARIABLE, is_offline


class RemoteFile(NamedTuple):
    """What is known of a file to be downloaded.

    ``digest`` is its hash (hex) under ``algorithm``, ``sha256`` or ``sha1``. ``n_bytes`` is its size; where that was
    not published it is None, and the server is asked.
    """

    digest: str
    n_bytes: int | None = None
    algorithm: str = "sha256"


REFUSALS = (401, 403, 404, 410)
"""HTTP statuses after which asking again is of no use."""


class Damaged(Exception):
    """What came is not the file that was asked for."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Parameters
    ----------
    connect, read
        Seconds until a connection, or the next bytes, count as failed.
    tries
        Attempts in a row that bring a file no further before it is given up.
    pause
        Seconds before the second attempt; twice, three times as many before the next.
    report
        Seconds between two lines on how far a file has come.
    """

    connect: float = 10.0
    read: float = 30.0
    tries: int = 4
    pause: float = 1.0
    report: float = 10.0


def download(
    files: Mapping[str, RemoteFile],
    base_url: str,
    folder: Path,
    progress: Callable[[str], None],
    patience: Patience = Patience(),
) -> None:
    """Bring files into a folder, each whole and with the right hash.

    A file already there is kept; one that broke off (``NAME.part``) is continued where the server can (HTTP Range).
    Two processes may download into one folder: the second waits for the first.

    Parameters
    ----------
    files
        ``{path below base_url and below folder: what to expect}``.
    base_url
        ``http://`` or ``https://`` address of the folder that holds them.
    folder
        Where to put them.
    progress
        Called with the sizes before anything is downloaded, then with lines on each file: how far it has come and how
        much time is left, and each attempt that failed.
    patience
        Time limits.

    Raises
    ------
    InputError
        For an address that is not http(s), too little free space, or a folder that cannot be written.
    MissingDataError
        If a file cannot be had, or comes damaged again and again; what has come of it is kept. Where ``BENCH_OFFLINE``
        forbids downloads, for any file that is not there.
    """
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise InputError(f"{base_url!r} is not an address to download from; it must start with https:// or http://")
    base_url = base_url.rstrip("/") + "/"
    make_folder(folder, "downloads")
    pooch.get_logger().setLevel("WARNING")
    registry = {name: f"{file.algorithm}:{file.digest}" for name, file in files.items()}
    try:
        with FileLock(folder / ".lock"):
            wanted = {name: file for name, file in files.items() if not _is_there(folder / name, file)}
            if wanted and is_offline():
                raise MissingDataError(
                    f"{' and '.join(wanted)} would have to be downloaded, which {VARIABLE} forbids; unset it, or import a copy"
                )
            wanted = {name: _with_size(file, base_url + name, patience, progress) for name, file in wanted.items()}
            left = {name: (file.n_bytes or 0) - _size(_partial(folder / name)) for name, file in wanted.items()}
            check_space(folder, sum(max(n_bytes, 0) for n_bytes in left.values()))
            if wanted:
                total = sum(file.n_bytes or 0 for file in wanted.values())
                unknown = " and more" if any(file.n_bytes is None for file in wanted.values()) else ""
                progress(f"downloading {len(wanted)} files, {megabytes(total)}{unknown}, from {base_url}")
            keeper = pooch.create(path=folder, base_url=base_url, registry=registry)
            for name, file in wanted.items():
                _download_one(keeper, name, file, progress, patience)
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror or error}); set BENCH_CACHE elsewhere") from None


def _download_one(
    keeper: pooch.Pooch, name: str, file: RemoteFile, progress: Callable[[str], None], patience: Patience
) -> None:
    partial = _partial(Path(keeper.path) / name)
    idle = 0  # attempts in a row that brought the file no further
    size = "size unknown" if file.n_bytes is None else megabytes(file.n_bytes)
    while True:
        before = _size(partial)
        resumed = f", continuing at {megabytes(before)}" if before else ""
        progress(f"{name}: {size}{resumed}")
        try:
            keeper.fetch(name, downloader=_Resuming(partial, file.n_bytes, patience, _Report(name, progress, patience)))
            return
        except (requests.RequestException, ValueError, Damaged) as error:
            reason = _explain(error, file.algorithm)
            refused = _http_status(error) in REFUSALS
        idle = 0 if _size(partial) > before else idle + 1
        if refused or idle >= patience.tries:
            kept = f"; {megabytes(_size(partial))} of it are kept, run the command again to go on" * bool(
                _size(partial)
            )
            raise MissingDataError(f"cannot download {keeper.get_url(name)}: {reason}{kept}")
        progress(f"{name}: {reason}; trying again")
        time.sleep(patience.pause * (idle + 1))


def _with_size(file: RemoteFile, url: str, patience: Patience, progress: Callable[[str], None]) -> RemoteFile:
    """Return a file with its size, asking the server where it is not known; None where the server does not tell.

    Raises
    ------
    MissingDataError
        If the server refuses, or does not answer.
    """
    if file.n_bytes is not None:
        return file
    limits = (patience.connect, patience.read)
    for attempt in range(1, patience.tries + 1):
        try:
            # A plain request, closed before its body is read: not every server answers HEAD.
            with requests.get(url, headers={"Accept-Encoding": "identity"}, stream=True, timeout=limits) as response:
                response.raise_for_status()
                length = response.headers.get("Content-Length", "")
                return file._replace(n_bytes=int(length) if length.isdecimal() else None)
        except requests.RequestException as error:
            reason = _explain(error, file.algorithm)
            if _http_status(error) in REFUSALS or attempt == patience.tries:
                raise MissingDataError(f"cannot download {url}: {reason}") from None
        progress(f"{url}: {reason}; trying again")
        time.sleep(patience.pause * attempt)
    return file


class _Report:
    """Says how far a download has come, every few seconds."""

    def __init__(self, name: str, progress: Callable[[str], None], patience: Patience) -> None:
        self.name, self.progress, self.seconds = name, progress, patience.report
        self.started = self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, n_bytes: int, total: int | None) -> None:
        """Take note of ``n_bytes`` of ``total`` being there."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.started = n_bytes, now
        if now - self.last < self.seconds or n_bytes == total:
            return
        self.last = now
        rate = (n_bytes - self.first) / max(now - self.started, 1e-9)
        of = f" of {megabytes(total)}" if total else ""
        left = f", {duration((total - n_bytes) / rate)} left" if total and rate > 0 else ""
        self.progress(f"{self.name}: {megabytes(n_bytes)}{of}, {megabytes(int(rate))}/s{left}")


class _Resuming:
    """A downloader for pooch that keeps what has come in a file of its own and asks for the rest."""

    def __init__(self, partial: Path, n_bytes: int | None, patience: Patience, report: _Report) -> None:
        self.partial, self.n_bytes, self.patience, self.report = partial, n_bytes, patience, report

    def __call__(self, url: str, output_file: str | IO[bytes], pooch: Any, check_only: bool = False) -> None:
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        have = _size(self.partial)
        if self.n_bytes is not None and have > self.n_bytes:  # of another file, or damaged
            self.partial.unlink()
            have = 0
        if self.n_bytes is None or have < self.n_bytes:
            self._continue(url, have)
        if self.n_bytes is not None and _size(self.partial) != self.n_bytes:
            raise Damaged(f"it ended after {_size(self.partial)} of {self.n_bytes} bytes")
        # Handed over whole, and away with it: if its hash is wrong the next attempt starts afresh.
        shutil.move(self.partial, str(output_file))

    def _continue(self, url: str, have: int) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        limits = (self.patience.connect, self.patience.read)
        with requests.get(url, headers=headers, stream=True, timeout=limits) as response:
            if response.status_code == 416:
                self.partial.unlink()
                raise Damaged("the server does not have that many bytes")
            response.raise_for_status()
            first = f"bytes {have}-"
            goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(first)
            with self.partial.open("ab" if goes_on else "wb") as handle:
                for chunk in response.iter_content(8192):  # what breaks off inside a chunk is lost
                    handle.write(chunk)
                    self.report(handle.tell(), self.n_bytes)
                    if self.n_bytes is not None and handle.tell() > self.n_bytes:
                        break
        if self.n_bytes is not None and _size(self.partial) > self.n_bytes:
            self.partial.unlink()
            raise Damaged(f"more than its {self.n_bytes} bytes came")


def check_space(folder: Path, n_bytes: int) -> None:
    """Check that a folder's disk has room, with a tenth to spare.

    Raises
    ------
    InputError
        Saying how much is needed and how much there is.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if 10 * free < 11 * n_bytes:
        raise InputError(
            f"{folder} has {megabytes(free)} free and {megabytes(11 * n_bytes // 10)} are needed; "
            "free some space, or point BENCH_HOME or BENCH_CACHE elsewhere"
        )


def megabytes(n_bytes: int) -> str:
    """Return a size for people, e.g. ``1.8 MB``."""
    return f"{n_bytes / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Return a time for people, e.g. ``40 s`` or ``12 min``."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_there(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and pooch.file_hash(str(path), alg=file.algorithm) == file.digest


def _http_status(error: Exception) -> int | None:
    response = error.response if isinstance(error, requests.HTTPError) else None
    return None if response is None else response.status_code


def _explain(error: Exception, algorithm: str) -> str:
    """Return why a download failed, in a few words and without the library's own chain of causes."""
    if isinstance(error, requests.HTTPError):
        return f"the server answers with status {_http_status(error)}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "the server has stopped answering"
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "the server cannot be reached"
    if isinstance(error, (Damaged, requests.RequestException)):
        return str(error)
    return f"what came does not have the published {algorithm.upper().replace('SHA', 'SHA-')}"
