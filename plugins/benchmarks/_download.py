"""Downloads of known files: resumed where they broke off, checked against their SHA-256, retried, reported."""

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


class RemoteFile(NamedTuple):
    """SHA-256 (hex) and size in bytes of a file to be downloaded."""

    sha256: str
    n_bytes: int


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
    """

    connect: float = 10.0
    read: float = 30.0
    tries: int = 4
    pause: float = 1.0


def download(
    files: Mapping[str, RemoteFile],
    base_url: str,
    folder: Path,
    progress: Callable[[str], None],
    patience: Patience = Patience(),
) -> None:
    """Bring files into a folder, each whole and with the right SHA-256.

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
        Called with one line a file, and one for each attempt that failed.
    patience
        Time limits.

    Raises
    ------
    InputError
        For an address that is not http(s), too little free space, or a folder that cannot be written.
    MissingDataError
        If a file cannot be had, or comes damaged again and again; what has come of it is kept.
    """
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise InputError(f"{base_url!r} is not an address to download from; it must start with https:// or http://")
    base_url = base_url.rstrip("/") + "/"
    make_folder(folder, "downloads")
    pooch.get_logger().setLevel("WARNING")
    registry = {name: f"sha256:{file.sha256}" for name, file in files.items()}
    try:
        with FileLock(folder / ".lock"):
            wanted = [name for name, file in files.items() if not _is_there(folder / name, file)]
            check_space(folder, sum(files[name].n_bytes - _size(_partial(folder / name)) for name in wanted))
            if wanted:
                total = sum(files[name].n_bytes for name in wanted)
                progress(f"downloading {len(wanted)} files, {megabytes(total)}, from {base_url}")
            keeper = pooch.create(path=folder, base_url=base_url, registry=registry)
            for name in wanted:
                _download_one(keeper, name, files[name], progress, patience)
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror or error}); set BENCH_CACHE elsewhere") from None


def _download_one(
    keeper: pooch.Pooch, name: str, file: RemoteFile, progress: Callable[[str], None], patience: Patience
) -> None:
    partial = _partial(Path(keeper.path) / name)
    idle = 0  # attempts in a row that brought the file no further
    while True:
        before = _size(partial)
        resumed = f", continuing at {megabytes(before)}" if before else ""
        progress(f"{name}: {megabytes(file.n_bytes)}{resumed}")
        try:
            keeper.fetch(name, downloader=_Resuming(partial, file.n_bytes, patience))
            return
        except (requests.RequestException, ValueError, Damaged) as error:
            reason = _explain(error)
            refused = _http_status(error) in (401, 403, 404, 410)
        idle = 0 if _size(partial) > before else idle + 1
        if refused or idle >= patience.tries:
            kept = f"; {megabytes(_size(partial))} of it are kept, run the command again to go on" * bool(
                _size(partial)
            )
            raise MissingDataError(f"cannot download {keeper.get_url(name)}: {reason}{kept}")
        progress(f"{name}: {reason}; trying again")
        time.sleep(patience.pause * (idle + 1))


class _Resuming:
    """A downloader for pooch that keeps what has come in a file of its own and asks for the rest."""

    def __init__(self, partial: Path, n_bytes: int, patience: Patience) -> None:
        self.partial, self.n_bytes, self.patience = partial, n_bytes, patience

    def __call__(self, url: str, output_file: str | IO[bytes], pooch: Any, check_only: bool = False) -> None:
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        have = _size(self.partial)
        if have < self.n_bytes:
            self._continue(url, have)
        if _size(self.partial) != self.n_bytes:
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
                    if handle.tell() > self.n_bytes:
                        break
        if _size(self.partial) > self.n_bytes:
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


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_there(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and pooch.file_hash(str(path), alg="sha256") == file.sha256


def _http_status(error: Exception) -> int | None:
    response = error.response if isinstance(error, requests.HTTPError) else None
    return None if response is None else response.status_code


def _explain(error: Exception) -> str:
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
    return "what came does not have the published SHA-256"
