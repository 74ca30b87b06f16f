"""What a library of models offers, remembered under BENCH_CACHE by the library's version: asking it takes seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.home import bench_cache

FORMAT = 2  # of what is remembered; raised when it changes
_READ: dict[Path, dict[str, Any]] = {}  # by this process


def library_version(library: str) -> str:
    """Return the version of an installed library, without importing it.

    Raises
    ------
    MissingDataError
        If it is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version  # 25 ms of every `bench list`

    try:
        return version(library)
    except PackageNotFoundError:
        raise MissingDataError(f"{library} is not installed; install it: pip install {library}") from None


def read_catalogue(library: str) -> dict[str, dict[str, Any]]:
    """Return ``{architecture: what there is of it}``; imports the library only when this version was never asked."""
    return remembered(library, "names", lambda: _code(library).catalogue())


def describe(library: str, name: str) -> dict[str, Any]:
    """Return the layers of an architecture and what its tokens are; builds it (without weights) only once."""

    def examine() -> dict[str, Any]:
        from plugins.models._zoo_network import describe_network, without_numbers

        network = without_numbers(lambda: _code(library).build(name, None))
        height, width = read_catalogue(library)[name]["input"]["size"]
        return describe_network(network, (height, width))

    return remembered(library, f"layers/{name}", examine)


def _code(library: str) -> Any:
    return import_module(f"plugins.models._zoo_{library}")


def remembered(library: str, what: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a JSON document from the cache, or find and keep it; a damaged one is found again."""
    path = bench_cache() / "zoo" / f"{library}-{library_version(library)}-{FORMAT}" / f"{what}.json"
    if path not in _READ:
        _READ[path] = _read(path) or _find(path, find)
    return _READ[path]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _find(path: Path, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    document = find()
    with suppress(InputError):  # a cache that cannot be written costs time, nothing else
        write_atomically(path, json.dumps(document, allow_nan=False).encode())
    return document
