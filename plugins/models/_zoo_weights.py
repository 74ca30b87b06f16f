"""Weights of the zoos: a file that the user names, those on this machine already, or a download by the library."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.home import bench_cache, bench_home, expand
from benchmark_core.keys import file_sha256
from benchmark_core.store import Store

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
OFFLINE = "BENCH_OFFLINE"
_SHORT = re.compile(r"@[0-9a-f]{12}")
_SECONDS = 20  # without an answer from a server
_NO_ANSWER = ("LocalEntryNotFoundError", "URLError", "ConnectionError", "ConnectTimeout", "ReadTimeout", "TimeoutError")
_UNREACHABLE: dict[str, str] = {}  # servers that did not answer this process, and why: the next model need not wait


def is_file_name(value: str) -> bool:
    """Whether a value of ``weights`` names a file rather than a tag."""
    return "/" in value or "\\" in value or value.startswith("~") or value.endswith(SUFFIXES)


def is_short_hash(value: str) -> bool:
    """Whether a value of ``weights`` is a file's hash as a canonical identifier has it."""
    return bool(_SHORT.fullmatch(value))


def short_hash(path: Path) -> str:
    """Return ``@`` and the first 12 digits of a file's SHA-256, which is remembered.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        return "@" + Store.default().weights_sha256(path)[:12]
    except OSError as error:
        raise InputError(f"cannot read the weights {path} ({error.strerror}); check its permissions") from None


def find_by_hash(identifier: str, short: str) -> Path:
    """Return the file that had this hash when it was last used here, if it still has.

    Raises
    ------
    MissingDataError
        If no such file is known, or it is gone.
    """
    for memo in sorted((bench_cache() / "weights").glob("*.json")):
        try:
            known = json.loads(memo.read_bytes())
            path = Path(known["path"])
            if "@" + str(known["sha256"])[:12] == short and path.is_file() and short_hash(path) == short:
                return path
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise MissingDataError(
        f"no weights file with the SHA-256 {short[1:]}... is known on this machine; "
        f"name the file: {identifier}:weights=FILE"
    )


def named_file(identifier: str, value: str) -> Path:
    """Return the weights file that the user named.

    Raises
    ------
    InputError
        If it is of another format.
    MissingDataError
        If there is no such file.
    """
    path = expand(Path(value)).absolute()
    if path.suffix not in SUFFIXES:
        raise InputError(f"{identifier}: weights={value} is not a file of named tensors; use {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise MissingDataError(f"{identifier}: there is no weights file {path}; name one that exists")
    return path


def published_file(library: str, identifier: str, tag: str, entry: dict[str, Any]) -> Path:
    """Return the weights file of a tag: from BENCH_HOME/weights, the libraries' own caches, or the network.

    Parameters
    ----------
    library
        Name of the library.
    identifier
        The model, for messages.
    tag, entry
        The tag, and what the catalogue has of it.

    Raises
    ------
    MissingDataError
        If it is nowhere and cannot be downloaded; the message says which file from where to put where.
    """
    found = _local(library, entry)
    if found is not None:
        return found
    source, own = _source(entry), _own(library, entry)[0]
    host = urlsplit(source).netloc
    reason = f"{OFFLINE} forbids the download" if offline() else _UNREACHABLE.get(host, "")
    if not reason:
        try:
            return _download(entry)
        except Exception as error:  # of many libraries, networks and servers
            text = " ".join(str(error).split())
            reason = f"the download failed: {type(error).__name__}: {text[:120]}"
            if type(error).__name__ in _NO_ANSWER:
                _UNREACHABLE[host] = reason
    raise MissingDataError(
        f"the weights {tag} of {identifier} are not on this machine ({reason}); "
        f"save {source} as {own}, or name a file: {identifier}:weights=FILE"
    )


def offline() -> bool:
    """Whether ``BENCH_OFFLINE`` forbids downloads."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


def _own(library: str, entry: dict[str, Any]) -> list[Path]:
    """Return the paths under BENCH_HOME where a file may be put by hand, that of its own format first."""
    folder = bench_home() / "weights" / library
    name = entry["file"]
    if name.endswith(SUFFIXES):
        return [folder / name]
    suffixes = list(SUFFIXES) if entry.get("repository") else [*SUFFIXES[1:], SUFFIXES[0]]
    return [folder / (name + suffix) for suffix in suffixes]


def _local(library: str, entry: dict[str, Any]) -> Path | None:
    candidates = _own(library, entry)
    if entry.get("repository"):
        candidates += _in_huggingface_cache(entry)
    if entry.get("url"):
        candidates.append(_in_torch_cache(entry["url"]))
    return next((path for path in candidates if path.is_file()), None)


def _in_torch_cache(url: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(os.path.expanduser(home), "hub", "checkpoints", url.rpartition("/")[2])


def _repository(entry: dict[str, Any]) -> tuple[str, str | None, tuple[str, ...]]:
    """Return a repository's name, revision and the files to look for, best first."""
    name, _, revision = entry["repository"].partition("@")
    file = entry.get("repository_file")
    return name, revision or None, (file,) if file else ("model.safetensors", "pytorch_model.bin")


def _in_huggingface_cache(entry: dict[str, Any]) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    name, revision, files = _repository(entry)
    found = [try_to_load_from_cache(name, file, revision=revision) for file in files]
    return [Path(path) for path in found if isinstance(path, str)]


def _source(entry: dict[str, Any]) -> str:
    if not entry.get("repository"):
        return str(entry["url"])
    name, revision, files = _repository(entry)
    return f"https://huggingface.co/{name}/resolve/{revision or 'main'}/{files[0]}"


def _download(entry: dict[str, Any]) -> Path:
    """Let the library that owns the cache download the file into it."""
    with _patience(_SECONDS):
        if entry.get("repository"):
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

            name, revision, files = _repository(entry)
            for file in files[:-1]:
                try:
                    return Path(hf_hub_download(name, file, revision=revision))
                except LocalEntryNotFoundError:  # no answer: asking for another file is no use
                    raise
                except EntryNotFoundError:
                    continue
            return Path(hf_hub_download(name, files[-1], revision=revision))
        path = _in_torch_cache(entry["url"])
        _fetch(entry["url"], path)
        return path


def _fetch(url: str, path: Path) -> None:
    """Download a file to where torch keeps it; a hash in its name (``resnet50-11ad3fa6.pth``) is checked first.

    Raises
    ------
    ValueError
        If what came has another hash; nothing is kept.
    """
    import pooch

    path.parent.mkdir(parents=True, exist_ok=True)
    digits = re.search(r"-([0-9a-f]{8,})\.", path.name)
    with TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
        downloader = pooch.HTTPDownloader(timeout=_SECONDS)
        came = Path(pooch.retrieve(url, known_hash=None, fname=path.name, path=folder, downloader=downloader))
        if digits and not file_sha256(came).startswith(digits[1]):
            raise ValueError(f"{url} has not the hash that its name gives")
        os.replace(came, path)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let connections that set no limit themselves give up after so many seconds without an answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
