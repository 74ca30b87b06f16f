"""Suites as files: named grids of models, benchmarks and metrics, in TOML. Standard library only.

Built-in suites lie in ``plugins/suites``, a user's own in ``BENCH_HOME/suites``; any other file is named by its path.
``docs/suites.md`` describes the format.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark_core.errors import InputError, did_you_mean
from benchmark_core.home import bench_home, expand
from benchmark_core.identifiers import Value

SUFFIX = ".toml"
BUILT_IN = Path(__file__).resolve().parent.parent / "plugins" / "suites"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHARED = ("benchmarks", "metrics", "layer", "grid")
_SUITE_KEYS = ("description", "replaces", "dataset", "without", *_SHARED)
_GRID_KEYS = (
    "group",
    "models",
    "parameters",
    "benchmarks",
    "metrics",
    "metric_parameters",
    "layer",
    "reference",
)

Axes = Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Grid:
    """Models x parameters x benchmarks x metrics.

    Parameters
    ----------
    group
        What figures and tables call the models of the grid together; by default their name.
    models
        Identifiers or globs; a tuple of identifiers is scored together. None for metrics of the target alone.
    parameters
        Values of the models' parameters, each by name; every combination is scored.
    benchmarks
        Names or globs.
    metrics
        Identifiers; none stands for each benchmark's own metric.
    metric_parameters
        Values of the metrics' parameters, likewise.
    varied, metric_varied
        Names of the parameters that were written as lists: the axes of the grid.
    layer
        ``auto``, a layer's name, or of several models ``NAME+NAME``.
    reference
        Whether figures show it for comparison (a trained model beside a sweep of widths).
    where
        File and table, for messages.
    """

    group: str
    models: tuple[str | tuple[str, ...], ...]
    parameters: Axes
    benchmarks: tuple[str, ...]
    metrics: tuple[str, ...]
    metric_parameters: Axes
    varied: tuple[str, ...] = ()
    metric_varied: tuple[str, ...] = ()
    layer: str = "auto"
    reference: bool = False
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Suite:
    """A named list of grids, one list for each dataset.

    Parameters
    ----------
    name
        The file's name without its ending.
    description
        One line for people.
    replaces
        Commands of the paper's code that it stands for, in words.
    datasets
        Grids of each dataset; the empty name stands for a suite that knows no datasets.
    without
        Datasets that it does not have, and why not, in words.
    path
        The file.
    """

    name: str
    description: str
    replaces: tuple[str, ...]
    datasets: Mapping[str, tuple[Grid, ...]]
    without: Mapping[str, str]
    path: Path

    @property
    def dataset_names(self) -> tuple[str, ...]:
        """The datasets to choose from; none where there is nothing to choose."""
        return tuple(name for name in self.datasets if name)

    def dataset(self, named: str | None) -> str:
        """Return the dataset that a request stands for; it may be left out where there is one.

        Raises
        ------
        InputError
            If the suite does not have it, or has several and none is named.
        """
        names = self.dataset_names
        if named is None:
            if len(self.datasets) == 1:
                return next(iter(self.datasets))
            raise InputError(f"suite {self.name} is for several datasets; add --dataset with one of {', '.join(names)}")
        if named in names:
            return named
        if not names:
            raise InputError(f"suite {self.name} has no datasets to choose from; leave --dataset out")
        if named in self.without:
            raise InputError(f"suite {self.name} has nothing for {named}: {self.without[named]}")
        hint = did_you_mean(named, list(names))
        raise InputError(f"suite {self.name} has no dataset {named!r}; it has {', '.join(names)}.{hint}")

    def grids(self, named: str | None) -> tuple[Grid, ...]:
        """Return the grids of a dataset (see :meth:`dataset`)."""
        return self.datasets[self.dataset(named)]


def suite_paths() -> dict[str, Path]:
    """Return the files of all suites by name: built-in ones first, then the user's.

    Raises
    ------
    InputError
        If a suite of the user's has the name of a built-in one, or a name that cannot be typed.
    """
    found = {path.stem: path for path in sorted(BUILT_IN.glob(f"*{SUFFIX}"))}
    for path in sorted((bench_home() / "suites").glob(f"*{SUFFIX}")):
        if path.stem in found:
            raise InputError(f"{path}: there is a built-in suite {path.stem!r}; give the file another name")
        if not NAME.fullmatch(path.stem):
            raise InputError(f"{path}: name the file with letters, digits and . _ - only")
        found[path.stem] = path
    return found


def load_suite(name: str | Path) -> Suite:
    """Read a suite by its name, or a file by its path (with ``.toml`` at its end).

    Raises
    ------
    InputError
        If there is none of that name, the file cannot be read, or says something that has no meaning.
    """
    text = str(name)
    if text.endswith(SUFFIX) or "/" in text or "\\" in text:
        return read_suite(expand(Path(text)))
    paths = suite_paths()
    if text not in paths:
        hint = did_you_mean(text, list(paths)) or " See: bench suite list."
        raise InputError(f"unknown suite {text!r}.{hint} A file of your own is named by its path, FILE{SUFFIX}.")
    return read_suite(paths[text])


def read_suite(path: Path) -> Suite:
    """Read and check a file.

    Raises
    ------
    InputError
        Naming file, table and key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no suite file {path}; the names of suites: bench suite list") from None
    except OSError as error:
        raise InputError(f"cannot read the suite {path} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text in UTF-8; a suite is a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    _check_keys(document, _SUITE_KEYS, str(path))
    own = _Defaults.of(document, str(path), _Defaults())
    shared = _grids(document, str(path), own) if "dataset" not in document else ()
    datasets: dict[str, tuple[Grid, ...]] = {} if "dataset" in document else {"": shared}
    for name, section in _table(document, "dataset", str(path)).items():
        where = f"{path}: [dataset.{name}]"
        if not isinstance(section, dict):
            raise InputError(f"{where} must be a table")
        _check_keys(section, _SHARED, where)
        defaults = _Defaults.of(section, where, own)
        # Grids outside the sections are those of every dataset, on its benchmarks.
        datasets[name] = (
            *_grids(document, str(path), defaults),
            *_grids(section, where, defaults, f"dataset.{name}.grid"),
        )
    empty = next((name for name, grids in datasets.items() if not grids), None)
    if empty is not None or not datasets:
        at = f"[[dataset.{empty}.grid]]" if empty else "[[grid]]"
        raise InputError(f"{path} names nothing to score: add a table {at}")
    return Suite(
        name=path.stem,
        description=_text(document, "description", str(path)),
        replaces=_texts(document, "replaces", str(path)) or (),
        datasets=datasets,
        without={k: _text({k: v}, k, f"{path}: [without]") for k, v in _table(document, "without", str(path)).items()},
        path=path,
    )


@dataclass(frozen=True)
class _Defaults:
    """What grids have unless they say otherwise."""

    benchmarks: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    layer: str = "auto"

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str, outer: _Defaults) -> _Defaults:
        """Return the defaults that a table states, and for the rest the outer ones."""
        return cls(
            _texts(table, "benchmarks", where) or outer.benchmarks,
            _texts(table, "metrics", where) or outer.metrics,
            _text(table, "layer", where) or outer.layer,
        )


def _grids(table: Mapping[str, Any], outer: str, defaults: _Defaults, name: str = "grid") -> tuple[Grid, ...]:
    entries = table.get("grid", [])
    path = outer.partition(": [")[0]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{outer}: write each grid as a table [[{name}]]")
    return tuple(_grid(entry, f"{path}: [[{name}]] {number}", defaults) for number, entry in enumerate(entries, 1))


def _grid(table: Mapping[str, Any], where: str, defaults: _Defaults) -> Grid:
    _check_keys(table, _GRID_KEYS, where)
    own = _Defaults.of(table, where, defaults)
    if not own.benchmarks:
        raise InputError(f"{where}: benchmarks are missing, here and outside the grid")
    models = _models(table, where)
    parameters, varied = _axes(table, "parameters", where)
    metric_parameters, metric_varied = _axes(table, "metric_parameters", where)
    if parameters and not any(isinstance(model, str) for model in models):
        raise InputError(f"{where}: parameters need models; write those of models scored together into their names")
    if metric_parameters and not own.metrics:
        raise InputError(f"{where}: metric_parameters need metrics")
    twice = [name for name in varied if name in metric_varied]
    if twice:
        raise InputError(f"{where}: {twice[0]!r} varies in parameters and in metric_parameters; use two grids")
    reference = table.get("reference", False)
    if not isinstance(reference, bool):
        raise InputError(f"{where}: reference must be true or false")
    return Grid(
        group=_text(table, "group", where),
        models=models,
        parameters=parameters,
        benchmarks=own.benchmarks,
        metrics=own.metrics or (),
        metric_parameters=metric_parameters,
        varied=varied,
        metric_varied=metric_varied,
        layer=own.layer,
        reference=reference,
        where=where,
    )


def _models(table: Mapping[str, Any], where: str) -> tuple[str | tuple[str, ...], ...]:
    entries = table.get("models", [])
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, list):
        raise InputError(f"{where}: models must be a list of identifiers")
    models: list[str | tuple[str, ...]] = []
    for entry in entries:
        together = entry if isinstance(entry, list) else [entry]
        if not all(isinstance(one, str) and one for one in together) or not together:
            raise InputError(f"{where}: models must be a list of identifiers; a list in it is scored together")
        models.append(entry if isinstance(entry, str) else tuple(entry))
    return tuple(models)


def _axes(table: Mapping[str, Any], key: str, where: str) -> tuple[Axes, tuple[str, ...]]:
    """Return the values of each parameter, and the names of those written as lists."""
    values: dict[str, tuple[Value, ...]] = {}
    written = _table(table, key, where)
    for name, entry in written.items():
        listed = entry if isinstance(entry, list) else [entry]
        if not listed or not all(isinstance(v, (bool, int, float, str)) for v in listed):
            raise InputError(f"{where}: {key}.{name} must be a value, or a list of values")
        values[name] = tuple(listed)
    return values, tuple(name for name, entry in written.items() if isinstance(entry, list))


def _check_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}.{did_you_mean(key, list(known)) or _known(known)}")


def _known(keys: Sequence[str]) -> str:
    return f" Known: {', '.join(keys)}."


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise InputError(f"{where}: {key} must be a table")
    return found


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    found = table.get(key, "")
    if not isinstance(found, str):
        raise InputError(f"{where}: {key} must be a text")
    return found


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    """Return a list of texts; one text stands for a list of one, and None for no key."""
    if key not in table:
        return None
    found = [table[key]] if isinstance(table[key], str) else table[key]
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one for one in found):
        raise InputError(f"{where}: {key} must be a list of texts")
    return tuple(found)
