"""The contract of plugins: what every model, benchmark and metric is checked for, built in or not.

Names and results are here, in the standard library; the checks themselves are in :mod:`contract_models`,
:mod:`contract_benchmarks` and :mod:`contract_metrics`, imported when they are run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from benchmark_core.contract_guards import heavy_imports, refused_network
from benchmark_core.errors import BenchError, InputError, MissingDataError, did_you_mean
from benchmark_core.identifiers import split_identifier
from benchmark_core.offline import offline
from benchmark_core.registry import Registry, describe, is_glob

Kind = Literal["model", "benchmark", "metric"]
Status = Literal["pass", "fail", "skip", "missing"]

CHECKS: dict[Kind, dict[str, str]] = {
    "model": {
        "spec": "the spec is complete, and its identifier stands for itself",
        "import": "importing the plugin imports neither torch nor numpy, pandas or xarray",
        "load": "the model loads",
        "layers": "every declared layer exists and is reached in forward",
        "shapes": "every layer gives (images, features)",
        "finite": "every feature is a finite number",
        "determinism": "two passes, and two loads with the same seed, give the same bits",
        "batch": "an image's features do not depend on how many others are in the batch",
        "order": "an image's features do not depend on its place in the batch",
        "width": "a narrower model's features are the first of a wider one's, where that is declared",
        "global-rng": "the global generators of random, numpy and torch are neither used nor seeded",
        "network": "nothing is asked of the network",
        "cost": "time and memory of one batch",
    },
    "benchmark": {
        "spec": "the spec is complete, and its metric accepts its target",
        "import": "importing the plugin imports neither torch nor numpy, pandas or xarray",
        "data": "stimuli and target load",
        "ids": "stimuli and target have the same ids",
        "images": "images decode to what their manifest says",
        "splits": "folds are the same every time, disjoint, keep groups together and cover the stimuli",
        "reliability": "the reliability of neuroids can be computed on test stimuli",
        "hash": "the target's hash is the same every time",
        "global-rng": "the global generators of random, numpy and torch are neither used nor seeded",
        "network": "nothing is asked of the network",
        "cost": "time of loading",
    },
    "metric": {
        "spec": "the spec is complete",
        "import": "importing the plugin imports neither torch nor numpy, pandas or xarray",
        "compute": "a score comes from small simulated data, with or without groups",
        "score": "the score is a finite number, in its interval, and says what it rests on",
        "truth": "features that explain the responses score higher than features that do not",
        "gaps": "neuroids that cannot be scored are counted, and spoil nothing",
        "determinism": "the same input gives the same score, to the bit",
        "inputs": "representations, target, splits and groups are left as they were",
        "global-rng": "the global generators of random, numpy and torch are neither used nor seeded",
        "network": "nothing is asked of the network",
        "cost": "time and memory of the computation",
    },
}
"""Names of the checks of each kind, in the order in which they are run, and what each asks."""

_ROOMS = {
    "model": "benchmark_core.contract_models:ModelContract",
    "benchmark": "benchmark_core.contract_benchmarks:BenchmarkContract",
    "metric": "benchmark_core.contract_metrics:MetricContract",
}


class CheckFailed(Exception):
    """Raised by a check that fails; its text is the reason, in one line."""


class CheckSkipped(Exception):
    """Raised by a check that has nothing to look at; its text says why."""


class NothingLoaded(CheckSkipped):
    """Raised by a check whose model or data an earlier check could not load."""


@dataclass(frozen=True)
class Finding:
    """What a check that passes has to say: a line for people, and numbers."""

    text: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one identifier.

    Parameters
    ----------
    identifier, kind, check
        What was checked, and the name of the check (a key of :data:`CHECKS`). The kind is ``plugin`` where a file or
        module offers nothing that could be checked.
    status
        ``pass``, ``fail``, ``skip`` (there was nothing to look at) or ``missing`` (data or weights are not here).
    reason
        One line; may be empty for a check that passes.
    seconds
        How long it took.
    measured
        Numbers that the check took (seconds, bytes, counts).
    """

    identifier: str
    kind: Kind | Literal["plugin"]
    check: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    measured: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {
            "identifier": self.identifier,
            "kind": self.kind,
            "check": self.check,
            "status": self.status,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "measured": dict(self.measured),
        }


def kind_of(registry: Registry, identifier: str) -> Kind:
    """Return whether an identifier (or glob) names models, benchmarks or metrics.

    Raises
    ------
    InputError
        If nothing has this name.
    """
    name = identifier.partition(":")[0] if is_glob(identifier) else split_identifier(identifier)[0]
    if is_glob(name):
        import fnmatch

        if fnmatch.filter(registry.benchmarks.names(), name):
            return "benchmark"
        return "metric" if fnmatch.filter(registry.metrics.names(), name) else "model"
    if name in registry.benchmarks.by_name:
        return "benchmark"
    if name in registry.metrics.by_name:
        return "metric"
    if name in registry.models.by_name or any(name.startswith(f.prefix + "/") for f in registry.families):
        return "model"
    known = [*registry.models.by_name, *registry.benchmarks.by_name, *registry.metrics.by_name]
    raise InputError(
        f"no model, benchmark or metric is named {name!r}.{did_you_mean(name, known)} "
        "Install the package that offers it, or name a folder of plugin files with --plugins or BENCH_PLUGINS."
    )


def expand(registry: Registry, identifier: str) -> list[tuple[Kind, str]]:
    """Return the kind and identifier of everything that an identifier or glob stands for.

    Raises
    ------
    InputError
        For a bad identifier, an unknown name or parameter.
    """
    kind = kind_of(registry, identifier)
    if kind == "model":
        return [(kind, m.identifier) for m in registry.expand_models(identifier)]
    if kind == "benchmark":
        if ":" in identifier:
            raise InputError(f"benchmarks have no parameters: {identifier!r}; use {identifier.partition(':')[0]}")
        return [(kind, b.name) for b in registry.expand_benchmarks(identifier)]
    if is_glob(identifier):
        import fnmatch

        return [(kind, name) for name in fnmatch.filter(registry.metrics.names(), identifier)]
    return [(kind, registry.metric(identifier).identifier)]


def run_checks(registry: Registry, kind: Kind, identifier: str) -> Iterator[CheckResult]:
    """Run the contract for one identifier and yield the result of each check, in the order of :data:`CHECKS`.

    Connections are refused and downloads forbidden meanwhile; what the plugin prints goes to stderr. Whatever a
    plugin raises fails the check in which it is raised, and no other.
    """
    module, _, name = _ROOMS[kind].partition(":")
    contract = getattr(import_module(module), name)(registry, identifier)
    attempts: list[str] = []
    missing = ""
    for check in CHECKS[kind]:
        started = time.perf_counter()
        status: Status = "pass"
        finding = Finding()
        before = len(attempts)
        try:
            with refused_network(attempts), offline(), redirect_stdout(sys.stderr):
                if check == "network":
                    finding = _network(attempts)
                else:
                    finding = getattr(contract, "check_" + check.replace("-", "_"))() or Finding()
            reason = finding.text
        except CheckFailed as failure:
            status, reason = "fail", str(failure)
        except CheckSkipped as nothing:
            absent = missing and isinstance(nothing, NothingLoaded)
            status, reason = ("missing", missing) if absent else ("skip", str(nothing))
        except MissingDataError as error:
            status, reason = "missing", str(error)
            missing = missing or reason
            del attempts[before:]  # asked for what is not here, and took no for an answer
        except (Exception, SystemExit) as error:
            status, reason = "fail", str(error) if isinstance(error, BenchError) else describe(error)
        if status == "fail" and len(attempts) > before and check != "network":
            status, reason = "skip", f"stopped at a refused connection to {attempts[-1]}; see network"
        seconds = time.perf_counter() - started
        yield CheckResult(identifier, kind, check, status, " ".join(reason.split()), seconds, finding.measured)


def check_import(plugin: Any) -> None:
    """Fail if a plugin imports something heavy; shared by the contracts of all kinds."""
    if plugin is None:
        raise CheckSkipped("it comes from no plugin module")
    heavy = heavy_imports(plugin)
    if heavy:
        name = getattr(plugin, "__file__", None) or type(plugin).__module__
        raise CheckFailed(
            f"importing {Path(name).name} imports {', '.join(heavy)}; import inside functions, or name them as "
            "'module:function'"
        )


def _network(attempts: Sequence[str]) -> Finding:
    if attempts:
        shown = ", ".join(dict.fromkeys(attempts))
        raise CheckFailed(f"asked the network for {shown}; bring files in with `bench data`, or name them in weights")
    return Finding()


__all__ = [
    "CHECKS",
    "CheckFailed",
    "CheckResult",
    "CheckSkipped",
    "Finding",
    "Kind",
    "NothingLoaded",
    "Status",
    "check_import",
    "expand",
    "kind_of",
    "run_checks",
]
