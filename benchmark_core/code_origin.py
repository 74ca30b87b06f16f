"""Whose a piece of code is: the user's own, or a library's, and then which package's of which version."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import site
import sys
import sysconfig
from functools import cache


@cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    named = [paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(os.path.realpath(p) + os.sep for p in (*named, *site.getsitepackages(), site.getusersitepackages()))


@cache
def is_library_file(path: str) -> bool:
    """Whether a file belongs to the standard library or to an installed package."""
    if path.startswith("<"):
        return path.startswith("<frozen")
    real = os.path.realpath(path)
    return real.startswith(_library_folders()) or f"{os.sep}site-packages{os.sep}" in real


@cache
def _library_of(top: str) -> str | None:
    """Return ``package==version`` of a top-level module, or None where it is the user's own."""
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return f"python=={sys.version_info.major}.{sys.version_info.minor}"
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return None
    places = [spec.origin] if spec.origin and spec.has_location else list(spec.submodule_search_locations or [])
    if not any(is_library_file(os.path.join(p, "") if os.path.isdir(p) else p) for p in places):
        return None
    version = getattr(sys.modules.get(top), "__version__", None)
    if not isinstance(version, str):
        try:
            version = importlib.metadata.version(top)
        except importlib.metadata.PackageNotFoundError:
            version = ""
    # "2.5.1+cu124" and "2.5.1+cpu" are one version: the device is no part of a key.
    return f"{top}=={version.partition('+')[0]}"


def library_name(module: str | None) -> str | None:
    """Return ``package==version:module`` of a library's module, or None where it is the user's own (a notebook's too)."""
    top = (module or "").partition(".")[0]
    if not top or top == "__main__":
        return None
    library = _library_of(top)
    return f"{library}:{module}" if library else None
