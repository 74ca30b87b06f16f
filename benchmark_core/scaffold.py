"""Writing the small package that a new plugin starts from."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmark_core.atomic import new_folder
from benchmark_core.errors import InputError, did_you_mean
from benchmark_core.home import expand
from benchmark_core.identifiers import NAME
from benchmark_core.registry import Registry
from benchmark_core.specs import BenchmarkSpec

KINDS = ("model", "benchmark", "metric")
LONGEST = 60
"""Letters in a name: it becomes part of names of files."""


@dataclass(frozen=True)
class Package:
    """A package that was written: its folder, as it was asked for, and its files."""

    shown: Path
    files: tuple[Path, ...]


def write_package(kind: str, name: str, folder: Path, registry: Registry) -> Package:
    """Write a package with one model, benchmark or metric that works at once.

    Parameters
    ----------
    kind
        ``model``, ``benchmark`` or ``metric``.
    name
        Identifier of the plugin to be.
    folder
        Where the package's own folder is made; it is created if need be.
    registry
        What there is already: the name must be new.

    Returns
    -------
    Package
        In ``folder``, named after the identifier.

    Raises
    ------
    InputError
        For a name that is not allowed or taken, a folder that exists, or one that cannot be written; nothing is then
        left behind.
    """
    if kind not in KINDS:
        raise InputError(f"cannot write a {kind!r}; use model, benchmark or metric.{did_you_mean(kind, list(KINDS))}")
    _check_name(kind, name, registry)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    module = "cortex_bench_" + slug.replace("-", "_")
    package = expand(folder) / slug
    if package.exists() or package.is_symlink():
        raise InputError(f"{package} exists already; choose another name or --dir, or remove it")
    dataset, _, rest = name.partition(".")
    words = {
        "kind": kind,
        "name": name,
        "identifier": name,
        "slug": slug,
        "project": f"cortex-bench-{slug}",
        "module": module,
        "dataset": dataset,
        "region": rest.partition("-")[0],
    }
    contents = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": f"README_{kind}.md.txt",
        f"src/{module}.py": f"plugin_{kind}.py.txt",
        f"tests/test_{slug.replace('-', '_')}.py": f"test_{kind}.py.txt",
    }
    try:
        with new_folder(package) as temporary:
            for place, template in contents.items():
                path = temporary / place
                path.parent.mkdir(exist_ok=True)
                path.write_text(_filled(template, words), encoding="utf-8")
    finally:
        with suppress(OSError):
            package.with_name(f".{package.name}.lock").unlink(missing_ok=True)
    return Package(package, tuple(package / place for place in contents))


def _check_name(kind: str, name: str, registry: Registry) -> None:
    """Check that a name is allowed and new.

    Raises
    ------
    InputError
        Saying what is wrong with it.
    """
    if len(name) > LONGEST:
        raise InputError(f"the name {name[:20]}... has {len(name)} letters; use at most {LONGEST}")
    taken: list[Any] = []
    if kind == "benchmark":
        nothing: Any = str  # the spec says itself what names are allowed
        BenchmarkSpec(name=name, version=1, stimuli=nothing, target=nothing, splits=nothing)
        taken = list(registry.benchmarks.by_name.get(name, []))
        dataset = name.partition(".")[0]
        if not taken and dataset in [d.name for d in registry.datasets()]:
            raise InputError(f"there is a dataset {dataset!r} already; choose another name, e.g. my{name}")
    elif not NAME.fullmatch(name) or not name[-1].isalnum():
        raise InputError(
            f"{name!r} cannot be a {kind}'s name: use letters, digits and . _ - / +, no sign first or last"
        )
    elif kind == "metric":
        taken = list(registry.metrics.by_name.get(name, []))
    elif name.startswith("own/"):
        raise InputError(f"{name!r}: names that start with own/ are kept for modules scored from Python")
    else:
        taken = _models_named(name, registry)
    if taken:
        raise InputError(f"the {kind} {name!r} exists already ({taken[0].origin}); choose another name")


def _models_named(name: str, registry: Registry) -> list[Any]:
    """Return the models, or the families of models, that the name or the name of its wide variant belongs to."""
    named = [spec for n in (name, f"{name}-wide") for spec in registry.models.by_name.get(n, [])]
    return [*named, *(family for family in registry.families if name.startswith(family.prefix + "/"))]


def _filled(template: str, words: dict[str, str]) -> str:
    """Return a template with its ``{{word}}`` filled in."""
    text = files("benchmark_core").joinpath("scaffold_templates", template).read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: words[found[1]], text)
