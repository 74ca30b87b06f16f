"""Finding the plugins of a file or folder, installed or not, for ``bench plugin check PATH``."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_core.contract import CheckResult, Kind
from benchmark_core.errors import InputError
from benchmark_core.registry import ENTRY_POINTS, Registry
from benchmark_core.specs import ModelSpec


@dataclass(frozen=True)
class Found:
    """What a path offers.

    Parameters
    ----------
    registry
        One in which the path's plugins can be used, beside the built-in and the installed ones.
    identifiers
        Everything it offers, variants of models included.
    failures
        A failed check for each plugin that cannot be imported and each identifier that is claimed twice.
    """

    registry: Registry
    identifiers: list[tuple[Kind, str]]
    failures: list[CheckResult]


def look_at(path: Path, folders: Iterable[Path] = ()) -> Found:
    """Find the plugins of a drop-in file, a folder of such files, or the folder of a package (with a pyproject.toml).

    A package need not be installed: its folder (or ``src`` in it) goes to the front of Python's path, and the modules
    that its entry points name are imported from there.

    Parameters
    ----------
    path
        The file or folder.
    folders
        Further folders of drop-in files.

    Raises
    ------
    InputError
        If there is no such file or folder, or nothing in it can be a plugin.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise InputError(f"{path} does not exist; name a plugin file, its folder, or an identifier (see: bench list)")
    modules: list[str] = []
    if path.is_file():
        if path.suffix != ".py" or path.name.startswith("_"):
            raise InputError(f"{path} cannot be a plugin file: its name must end in .py and not start with _")
        folder, files = path.parent, [path]
    else:
        modules = modules_of_package(path)
        folder = path
        files = [] if modules else [p for p in sorted(path.glob("*.py")) if not p.name.startswith("_")]
        if not modules and not files:
            raise InputError(
                f"{path} holds no plugins: neither a pyproject.toml with [project.entry-points.{ENTRY_POINTS}] nor "
                "files *.py whose names do not start with _"
            )
    registry = open_package(path, modules, folders) if modules else Registry.default([*folders, folder])
    return _found(registry, modules, files)


def open_package(folder: Path, modules: Sequence[str], folders: Iterable[Path] = ()) -> Registry:
    """Return a registry with modules of a package that need not be installed: it (or ``src`` in it) goes on the path.

    Where the package is installed too, the copy in the folder is used.
    """
    for place in (folder, folder / "src"):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.insert(0, str(place))
    importlib.invalidate_caches()
    named = [Path(p).expanduser() for p in os.environ.get("BENCH_PLUGINS", "").split(os.pathsep) if p]
    return Registry([*folders, *named], modules=modules)


def modules_of_package(folder: Path) -> list[str]:
    """Return the modules that the entry points of a package's pyproject.toml name; none where there is no such file."""
    path = folder / "pyproject.toml"
    if not path.is_file():
        return []
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
        points = project.get("entry-points", {}).get(ENTRY_POINTS, {})
        return [str(value).partition(":")[0].strip() for value in points.values()]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"cannot read {path} ({error})") from None


def _found(registry: Registry, modules: Sequence[str], files: Sequence[Path]) -> Found:
    def is_ours(spec: Any) -> bool:
        plugin = registry.plugin(spec)
        file = getattr(plugin, "__file__", None)
        return getattr(plugin, "__name__", "") in modules or (file is not None and Path(file).resolve() in files)

    identifiers: list[tuple[Kind, str]] = []
    claimed: set[str] = set()
    shelves: tuple[tuple[Kind, Any], ...] = (
        ("model", registry.models),
        ("benchmark", registry.benchmarks),
        ("metric", registry.metrics),
    )
    for kind, shelf in shelves:
        for name, specs in shelf.by_name.items():
            if not any(is_ours(spec) for spec in specs):
                continue
            if len(specs) > 1:
                claimed.add(name)
                continue
            # By the canonical form, in which two names of one parameter set are one.
            identifier = registry.model(name).identifier if isinstance(specs[0], ModelSpec) else name
            if (kind, identifier) not in identifiers:
                identifiers.append((kind, identifier))
    places = {*modules, *map(str, files)}
    failures = [
        CheckResult(problem.where, "plugin", "spec" if problem.where in claimed else "import", "fail", problem.message)
        for problem in registry.problems
        if problem.where in claimed or problem.where in places
    ]
    return Found(registry, identifiers, failures)
