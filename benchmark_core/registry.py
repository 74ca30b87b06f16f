"""Finding plugins (built in, entry points, files in a folder) and looking identifiers up.

A plugin that cannot be imported, or whose hook raises, is reported and skipped; an identifier claimed twice is
unusable, and everything else works.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

from benchmark_core import hookspecs
from benchmark_core.entry_points import offered_in
from benchmark_core.errors import BenchError, InputError, did_you_mean
from benchmark_core.identifiers import split_identifier
from benchmark_core.resolution import Resolved, resolve
from benchmark_core.specs import BenchmarkSpec, DatasetSpec, MetricSpec, ModelFamily, ModelSpec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN = ("plugins.models", "plugins.benchmarks", "plugins.metrics")
ENTRY_POINTS = "cortex_bench"
OWN = "own"
"""Prefix of the names under which modules that were scored from Python are recorded; no plugin can offer it."""

Spec = TypeVar("Spec", ModelSpec, BenchmarkSpec, MetricSpec)


@dataclass(frozen=True)
class Problem:
    """A plugin that was skipped, or an identifier that cannot be used."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass
class Shelf(Generic[Spec]):
    """Specs of one kind by every name they can be asked for."""

    kind: str
    by_name: dict[str, list[Spec]] = field(default_factory=dict)

    def add(self, spec: Spec) -> None:
        """Register a spec under its name (and, for a model, under its variants' names)."""
        for name in spec.names if isinstance(spec, ModelSpec) else (spec.name,):
            self.by_name.setdefault(name, []).append(spec)

    def conflicts(self) -> list[Problem]:
        """Return the identifiers that are claimed more than once."""
        return [
            Problem(name, _conflict(f"{self.kind} identifier", name, specs))
            for name, specs in sorted(self.by_name.items())
            if len(specs) > 1
        ]

    def find(self, name: str, hint: str = "") -> Spec:
        """Return the one spec with this name.

        Raises
        ------
        InputError
            If there is none, or more than one.
        """
        specs = self.by_name.get(name, [])
        if len(specs) > 1:
            raise InputError(_conflict(f"{self.kind} identifier", name, specs))
        if not specs:
            suggestion = did_you_mean(name, list(self.by_name)) or f" See: bench list {self.kind}s."
            raise InputError(f"unknown {self.kind} {name!r}.{suggestion}{hint}")
        return specs[0]

    def names(self) -> list[str]:
        """Return the names that can be used, sorted."""
        return sorted(name for name, specs in self.by_name.items() if len(specs) == 1)


_HOOKABLE = (FunctionType, MethodType, classmethod, staticmethod)


class HookManager(pluggy.PluginManager):
    """Looks for hooks among a module's functions only: pluggy asks each name that a module imports, too."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if isinstance(plugin, ModuleType) and not isinstance(vars(plugin).get(name), _HOOKABLE):
            return None
        return super().parse_hookimpl_opts(plugin, name)


class Registry:
    """All models, benchmarks and metrics that can be used.

    Parameters
    ----------
    folders
        Folders with drop-in plugin files (``*.py``).
    built_in, installed
        Whether to load what ships with the package, and what other packages offer under the entry point group
        ``cortex_bench``.
    modules
        Names of further importable modules with hooks.
    """

    def __init__(
        self,
        folders: Iterable[Path] = (),
        *,
        built_in: bool = True,
        installed: bool = True,
        modules: Iterable[str] = (),
    ) -> None:
        self.problems: list[Problem] = []
        self.models: Shelf[ModelSpec] = Shelf("model")
        self.benchmarks: Shelf[BenchmarkSpec] = Shelf("benchmark")
        self.metrics: Shelf[MetricSpec] = Shelf("metric")
        self.families: list[ModelFamily] = []
        self._sources: dict[int, str] = {}  # source hash of a drop-in file by id() of its specs and families
        self._plugins: dict[int, Any] = {}  # the module (or object) that offered them, likewise
        self._from_families: dict[str, ModelSpec] = {}
        self._manager = HookManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        if built_in:
            check_ownership()
            for package in BUILT_IN:
                for module in pkgutil.iter_modules(import_module(package).__path__):
                    if not module.name.startswith("_"):
                        name = f"{package}.{module.name}"
                        self._load(name, name, partial(import_module, name))
        if installed:
            for point in _installed(self.problems):
                where = f"entry point {point.name} = {point.value}"
                self._load(where, where, point.load)
        for module_name in modules:
            self._load(module_name, module_name, partial(import_module, module_name))
        # A file that is also installed (as an editable package) is one plugin.
        files = [getattr(plugin, "__file__", None) for plugin in self._manager.get_plugins()]
        seen = {Path(file).resolve() for file in files if file}
        for folder in folders:
            self._load_folder(Path(folder), seen)
        self._find_family_conflicts()
        for shelf in (self.models, self.benchmarks, self.metrics):
            self.problems += shelf.conflicts()

    @classmethod
    def default(cls, folders: Iterable[Path] = ()) -> Registry:
        """Return the registry with the folders given and those named by ``BENCH_PLUGINS``."""
        named = [Path(p).expanduser() for p in os.environ.get("BENCH_PLUGINS", "").split(os.pathsep) if p]
        return cls([*folders, *named])

    def _load_folder(self, folder: Path, seen: set[Path]) -> None:
        if not folder.is_dir():
            raise InputError(
                f"the plugin folder {folder} is not there; name an existing folder with --plugins or BENCH_PLUGINS"
            )
        for path in sorted(folder.glob("*.py")):
            resolved = path.resolve()
            if path.name.startswith("_") or resolved in seen:
                continue
            seen.add(resolved)
            self._load(str(resolved), str(path), partial(_import_file, resolved), source=resolved)

    def _load(self, name: str, where: str, load: Callable[[], Any], source: Path | None = None) -> None:
        """Import a plugin and collect its specs; whatever goes wrong is reported and the plugin skipped."""
        with redirect_stdout(sys.stderr):  # stdout is for results
            self._collect(name, where, load, source)

    def _collect(self, name: str, where: str, load: Callable[[], Any], source: Path | None) -> None:
        try:
            # Hashed before it is run, so that the version is never newer than the code.
            version = hashlib.sha256(source.read_bytes()).hexdigest()[:12] if source else ""
            plugin = load()
            if self._manager.is_registered(plugin) or self._manager.has_plugin(name):
                return
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (Exception, SystemExit) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self.problems.append(Problem(where, f"could not be imported ({describe(error)}); skipped"))
            return
        offered = 0
        for hook_name, kinds, take in (
            ("register_models", (ModelSpec, ModelFamily), self._take_model),
            ("register_benchmarks", (BenchmarkSpec,), self.benchmarks.add),
            ("register_metrics", (MetricSpec,), self.metrics.add),
        ):
            for implementation in getattr(self._manager.hook, hook_name).get_hookimpls():
                if implementation.plugin is not plugin:
                    continue
                offered += 1
                try:
                    specs = list(implementation.function())
                    wrong = [type(s).__name__ for s in specs if not isinstance(s, kinds)]
                    if wrong:
                        raise TypeError(f"it returned {wrong[0]}, not {' or '.join(k.__name__ for k in kinds)}")
                except (Exception, SystemExit) as error:
                    self.problems.append(Problem(where, f"{hook_name} failed ({describe(error)}); skipped"))
                    continue
                for spec in specs:
                    self._sources[id(spec)] = version
                    self._plugins[id(spec)] = plugin
                    take(spec)
        if not offered:
            self.problems.append(
                Problem(
                    where, "it implements no hook (register_models, register_benchmarks or register_metrics); skipped"
                )
            )

    def _take_model(self, spec: ModelSpec | ModelFamily) -> None:
        names = (spec.prefix,) if isinstance(spec, ModelFamily) else spec.names
        if any(name.partition("/")[0] == OWN for name in names):
            kept = f"{OWN}/... is kept for modules scored from Python; give {names[0]!r} another name; skipped"
            self.problems.append(Problem(spec.origin, kept))
            return
        if isinstance(spec, ModelFamily):
            self.families.append(spec)
        else:
            self.models.add(spec)

    def _find_family_conflicts(self) -> None:
        """Make unusable what two families, or a family and a model outside it, both claim."""
        for prefix in sorted({family.prefix for family in self.families}):
            claims = [family for family in self.families if family.prefix == prefix]
            if len(claims) > 1:
                self.problems.append(Problem(f"{prefix}/...", _conflict("model family", f"{prefix}/...", claims)))
            for name, specs in self.models.by_name.items():
                if name.startswith(prefix + "/"):
                    specs.extend(claims)  # type: ignore[arg-type]  # only counted and named, never returned

    def version(self, spec: ModelSpec | BenchmarkSpec | MetricSpec) -> str:
        """Return the version that enters keys: the declared one, with the source hash of a drop-in file."""
        source = self._sources.get(id(spec))
        return f"{spec.version}+{source}" if source else str(spec.version)

    def plugin(self, spec: ModelSpec | ModelFamily | BenchmarkSpec | MetricSpec) -> Any:
        """Return the module (or object) whose hook offered a spec; None for a spec that came in another way."""
        return self._plugins.get(id(spec))

    def model(self, identifier: str) -> Resolved:
        """Return the model an identifier names, with its parameters.

        Raises
        ------
        InputError
            For a bad identifier, an unknown name or parameter.
        """
        name, pairs = split_identifier(identifier)
        return resolve(self._model_spec(name), name, pairs)

    def _model_spec(self, name: str) -> ModelSpec:
        if name.startswith(f"{OWN}/") and name not in self.models.by_name:
            raise InputError(
                f"{name!r} names a module that was scored from Python; only there it can be scored again: "
                "benchmark_core.score(module, benchmark)"
            )
        families = [f for f in self.families if name.startswith(f.prefix + "/")]
        if not families or name in self.models.by_name:
            return self.models.find(name, self._hint())
        if len(families) > 1:
            raise InputError(_conflict("model identifier", name, families))
        if name not in self._from_families:
            self._from_families[name] = self._resolve_in(families[0], name)
        return self._from_families[name]

    def _resolve_in(self, family: ModelFamily, name: str) -> ModelSpec:
        try:
            with redirect_stdout(sys.stderr):
                spec = family.resolve(name.removeprefix(family.prefix + "/"))
        except KeyError:
            raise InputError(f"unknown model {name!r}.{did_you_mean(name, self._names_in(family))}") from None
        except BenchError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(f"the model family {family.prefix}/... cannot give {name!r} ({describe(error)})") from None
        if not isinstance(spec, ModelSpec) or name not in spec.names:
            shown = repr(spec.name) if isinstance(spec, ModelSpec) else type(spec).__name__
            raise InputError(f"the model family {family.prefix}/... gave {shown} for {name!r} ({family.origin})")
        self._sources[id(spec)] = self._sources.get(id(family), "")
        self._plugins[id(spec)] = self._plugins.get(id(family))
        return spec

    def _names_in(self, family: ModelFamily) -> list[str]:
        try:
            with redirect_stdout(sys.stderr):
                return [f"{family.prefix}/{n}" for n in family.names()]
        except BenchError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(
                f"the model family {family.prefix}/... cannot list its names ({describe(error)})"
            ) from None

    def metric(self, identifier: str) -> Resolved:
        """Return the metric an identifier names, with its parameters."""
        name, pairs = split_identifier(identifier)
        return resolve(self.metrics.find(name, self._hint()), name, pairs)

    def benchmark(self, name: str) -> BenchmarkSpec:
        """Return the benchmark of this name."""
        return self.benchmarks.find(name, self._hint())

    def expand_models(self, pattern: str) -> list[Resolved]:
        """Return the models that a name or glob (with or without parameters) stands for, each once."""
        name, colon, rest = pattern.partition(":")
        if not is_glob(name):
            return [self.model(pattern)]
        candidates = [*self.models.names(), *self.names_in_families(name)]
        matches = fnmatch.filter(candidates, name)
        if not matches:
            raise InputError(f"no model matches {name!r}. See: bench list models.")
        resolved = {r.identifier: r for r in (self.model(m + colon + rest) for m in matches)}
        return list(resolved.values())

    def names_in_families(self, pattern: str) -> list[str]:
        """Return the names of those open-ended families that a glob opens, whether or not each matches it.

        A family is only opened by a pattern with a slash: ``*`` means every model that a plain list shows.
        """
        names = []
        for family in self.families:
            depth = family.prefix.count("/") + 1
            head = pattern.split("/")[:depth]
            if pattern.count("/") >= depth and fnmatch.fnmatch(family.prefix, "/".join(head)):
                names += self._names_in(family)
        return names

    def expand_benchmarks(self, pattern: str) -> list[BenchmarkSpec]:
        """Return the benchmarks that a name or glob stands for."""
        if not is_glob(pattern):
            return [self.benchmark(pattern)]
        matches = fnmatch.filter(self.benchmarks.names(), pattern)
        if not matches:
            raise InputError(f"no benchmark matches {pattern!r}. See: bench list benchmarks.")
        return [self.benchmark(m) for m in matches]

    def datasets(self) -> list[DatasetSpec]:
        """Return the datasets that benchmarks need, by name."""
        found = {d.name: d for specs in self.benchmarks.by_name.values() for spec in specs for d in spec.needs}
        return [found[name] for name in sorted(found)]

    def _hint(self) -> str:
        skipped = len(self.problems)
        return f" ({skipped} plugin problem{'s' * (skipped > 1)}: see bench list)" if skipped else ""


def _installed(problems: list[Problem]) -> Sequence[EntryPoint]:
    try:
        return offered_in(ENTRY_POINTS)
    except Exception as error:  # a malformed entry_points.txt of any package makes all of them unreadable
        problems.append(Problem("entry points", f"could not be read ({describe(error)}); skipped"))
        return []


def _conflict(kind: str, name: str, specs: Sequence[Any]) -> str:
    places = " and ".join(spec.origin for spec in specs)
    return f"the {kind} {name!r} is claimed {len(specs)} times, by {places}; rename one of them"


def is_glob(text: str) -> bool:
    """Whether a name contains a wildcard."""
    return any(c in text for c in "*?[")


def describe(error: BaseException) -> str:
    """Return an exception as one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def check_ownership() -> None:
    """Check that the package ``plugins`` that Python finds is the one that lies beside ``benchmark_core``.

    Raises
    ------
    InputError
        Naming the intruder.
    """
    ours = Path(__file__).resolve().parent.parent / "plugins"
    loaded = sys.modules.get("plugins")
    found = importlib.util.find_spec("plugins") if loaded is None else loaded.__spec__
    places = [Path(p).resolve() for p in (found.submodule_search_locations or [])] if found else []
    if places == [ours]:
        return
    intruder = (found.origin or (places and str(places[0])) or "an unknown place") if found else None
    if intruder is None:
        raise InputError(f"the package 'plugins' of cortex-bench is missing from {ours}; install cortex-bench again")
    raise InputError(
        f"another package named 'plugins' hides ours: {intruder} (expected {ours}); "
        "run from another folder, or rename or uninstall that package"
    )


def _import_file(path: Path) -> ModuleType:
    """Import a drop-in file under a name of its own."""
    name = f"cortex_bench_dropin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
