"""Downloads of published weights, into the caches of the libraries that own them."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark_core.keys import file_sha256
from plugins.models._weights_files import Published, huggingface_hub, torch_cache

_SECONDS = 20  # without an answer from a server


def download(published: Published) -> Path:
    """Download a file and return its path; it is there whole or not at all.

    A file of a repository goes into Hugging Face's cache, by their library; one with an address into torch's cache,
    or, where torch would mistake it for another, under ``BENCH_HOME/weights``. Whatever goes wrong is raised.
    """
    with _patience(_SECONDS):
        if published.repository:
            return _from_repository(published.repository, published.files)
        assert published.url is not None
        path = torch_cache(published.url) if published.in_torch_cache else published.own[0]
        fetch(published.url, path)
        return path


def _from_repository(repository: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = repository.partition("@")

    def ask_for(file: str) -> Path:
        return Path(hf_hub_download(name, file, revision=revision or None, cache_dir=huggingface_hub()))

    for file in files[:-1]:
        try:
            return ask_for(file)
        except LocalEntryNotFoundError:  # no answer: asking for another file is no use
            raise
        except EntryNotFoundError:
            continue
    return ask_for(files[-1])


def fetch(url: str, path: Path) -> None:
    """Download a file to ``path``; a hash in its name (``resnet50-11ad3fa6.pth``) is checked first.

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
