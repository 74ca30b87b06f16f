"""Where things live: ``BENCH_HOME`` (data and records) and ``BENCH_CACHE`` (what can be recomputed)."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark_core.errors import InputError

APPLICATION = "cortex-bench"


def bench_home() -> Path:
    """Return the folder of data and records (``BENCH_HOME``, default: the platform's user data folder)."""
    return _folder("BENCH_HOME", "user_data_path")


def bench_cache() -> Path:
    """Return the folder of what can be recomputed (``BENCH_CACHE``, default: the platform's user cache folder)."""
    return _folder("BENCH_CACHE", "user_cache_path")


def _folder(variable: str, default: str) -> Path:
    named = os.environ.get(variable)
    if named:
        return expand(Path(named)).absolute()
    import platformdirs

    path: Path = getattr(platformdirs, default)(APPLICATION, appauthor=False)
    return path


def expand(path: Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` replaced by the home folder.

    Raises
    ------
    InputError
        If there is no such user.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise InputError(f"{path} names a home folder that does not exist; write the path in full") from None


def make_folder(path: Path, purpose: str) -> Path:
    """Create ``path`` if need be and return it; an unusable path is one clear line.

    Raises
    ------
    InputError
        If the folder cannot be created or is not a folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot create the folder for {purpose}, {path} ({reason}); set BENCH_HOME or BENCH_CACHE to a folder you can write"
        ) from None
    return path


def has_data() -> bool:
    """Whether there is a folder of data; False where ``BENCH_HOME`` is unusable, which who needs it will say."""
    try:
        return os.path.isdir(bench_home() / "data")
    except InputError:
        return False
