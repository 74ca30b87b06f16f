"""Downloading the files of Cowley et al. (2023) from their public repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from benchmark_core.home import bench_cache, bench_home
from plugins.benchmarks._cowley2023_import import import_folder
from plugins.benchmarks._download import Patience, RemoteFile, check_space, download
from plugins.benchmarks.cowley2023 import BASE_URL, FILES, SESSIONS, Session

PUBLISHED = {name: RemoteFile(sha256, n_bytes) for name, (sha256, n_bytes) in FILES.items()}


def fetch(
    progress: Callable[[str], None],
    base_url: str | None = None,
    *,
    files: Mapping[str, RemoteFile] = PUBLISHED,
    sessions: Sequence[Session] = SESSIONS,
    patience: Patience = Patience(),
) -> list[str]:
    """Download the published files at the pinned commit and import them.

    Downloads are kept under ``BENCH_CACHE/downloads/cowley2023`` and continued where they broke off.

    Parameters
    ----------
    progress
        Called with lines for people.
    base_url
        Address of a mirror with the same files; default: the environment variable BENCH_COWLEY2023_URL, else the
        public repository.
    files, sessions
        What to download and import.
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
    address = base_url or os.environ.get("BENCH_COWLEY2023_URL") or BASE_URL
    folder = bench_cache() / "downloads" / "cowley2023"
    check_space(bench_home(), 2 * sum(file.n_bytes or 0 for file in files.values()))
    download(files, address, folder, progress, patience)
    return import_folder(folder, progress, sessions)
