"""Downloading the public files of Majaj, Hong et al. (2015) from Brain-Score's bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from benchmark_core.home import bench_cache
from plugins.benchmarks._download import Patience, RemoteFile, download
from plugins.benchmarks._majajhong_import import import_folder
from plugins.benchmarks.majajhong import BASE_URL, FILES

PUBLISHED = {name: RemoteFile(sha1, algorithm="sha1") for name, sha1 in FILES.items()}


def fetch(
    progress: Callable[[str], None],
    base_url: str | None = None,
    *,
    files: Mapping[str, RemoteFile] = PUBLISHED,
    patience: Patience = Patience(),
) -> list[str]:
    """Download the public files, check their SHA-1, and import them.

    Sizes are asked for and shown first. Downloads are kept under ``BENCH_CACHE/downloads/majajhong`` and continued where
    they broke off.

    Parameters
    ----------
    progress
        Called with lines for people.
    base_url
        Address of a mirror with the same files; default: the environment variable BENCH_MAJAJHONG_URL, else the
        public bucket.
    files
        What to download.
    patience
        Time limits.

    Returns
    -------
    list of str
        The parts imported.

    Raises
    ------
    MissingDataError
        If a file cannot be downloaded, or is damaged.
    InputError
        For a bad address, too little free space or a folder that cannot be written.
    """
    folder = bench_cache() / "downloads" / "majajhong"
    download(files, base_url or os.environ.get("BENCH_MAJAJHONG_URL") or BASE_URL, folder, progress, patience)
    return import_folder(folder, progress)
