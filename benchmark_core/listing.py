"""What ``bench list``, ``bench info`` and ``bench data list`` show; standard library only."""

from __future__ import annotations

import fnmatch
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import BenchError, InputError, ModelError, did_you_mean
from benchmark_core.identifiers import Parameter, canonical, format_value, split_identifier
from benchmark_core.registry import Registry, describe
from benchmark_core.resolution import Resolved
from benchmark_core.specs import BenchmarkSpec, MetricSpec, ModelSpec
from benchmark_core.tables import print_table

KINDS = ("models", "benchmarks", "metrics")
_EXAMPLES = {"responses": "simulated.V4", "labels": "scenes15.test", "rdms": "kriegeskorte92.hIT"}


def listing(registry: Registry, kind: str | None = None, pattern: str | None = None) -> dict[str, Any]:
    """Return names and descriptions of what can be used, and what cannot.

    Raises
    ------
    InputError
        For an unknown kind, or a pattern nothing matches.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(
            f"cannot list {kind!r}; there are models, benchmarks and metrics.{did_you_mean(kind, list(KINDS))}"
        )
    document: dict[str, Any] = {}
    if kind in (None, "models"):
        names = registry.models.names()
        if pattern is not None:
            names = fnmatch.filter(names + registry.names_in_families(pattern), pattern)
        rows = []
        for name in names:
            model = registry.model(name)
            rows.append(
                {"name": name, "description": _variant_description(model.spec, name), "trained": _trained(model)}
            )
        if pattern is None:
            rows += [
                {"name": f"{family.prefix}/...", "description": family.description, "trained": None}
                for family in registry.families
            ]
        document["models"] = rows
    if kind in (None, "benchmarks"):
        known: dict[int, list[dataset_checks.PartStatus]] = {}
        document["benchmarks"] = [
            {
                "name": name,
                "version": spec.version,
                "description": spec.description,
                "simulated": spec.simulated,
                "data": _data_state(spec, known),
            }
            for name in registry.benchmarks.names()
            for spec in [registry.benchmarks.find(name)]
        ]
    if kind in (None, "metrics"):
        document["metrics"] = [
            {"name": name, "description": registry.metrics.find(name).description} for name in registry.metrics.names()
        ]
    if pattern is not None:
        for name, rows in document.items():
            document[name] = [row for row in rows if fnmatch.fnmatch(row["name"], pattern)]
        if not any(document.values()):
            raise InputError(f"nothing matches {pattern!r}; see: bench list")
    document["problems"] = [str(problem) for problem in registry.problems]
    return document


def print_listing(document: Mapping[str, Any]) -> None:
    """Print a listing as tables."""
    if document.get("models"):
        rows = [
            (r["name"], {True: "trained", False: "untrained", None: ""}[r["trained"]], r["description"])
            for r in document["models"]
        ]
        print_table(("model", "weights", "description"), rows)
        print()
    if document.get("benchmarks"):
        lines = [
            (
                r["name"],
                f"v{r['version']}",
                r["data"],
                ("simulated: " if r["simulated"] else "") + r["description"],
            )
            for r in document["benchmarks"]
        ]
        print_table(("benchmark", "", "data", "description"), lines)
        print()
    if document.get("metrics"):
        print_table(("metric", "description"), [(r["name"], r["description"]) for r in document["metrics"]])


def _trained(model: Resolved) -> bool:
    try:
        return model.trained
    except BenchError:
        raise
    except Exception as error:  # a plugin's function may raise anything
        raise ModelError(f"{model.identifier} cannot tell whether it is trained ({describe(error)})") from None


def _variant_description(spec: ModelSpec, name: str) -> str:
    if name == spec.name:
        return spec.description
    return f"a name for {canonical(spec.name, spec.variants[name])}"


def _data_state(spec: BenchmarkSpec, known: dict[int, list[dataset_checks.PartStatus]]) -> str:
    """Say whether a benchmark's data are here; ``known`` keeps what was seen of a dataset, by its ``id()``."""
    for dataset in spec.needs:
        if id(dataset) not in known:
            known[id(dataset)] = dataset_checks.status(dataset, sizes=False)
    parts = [part for dataset in spec.needs for part in known[id(dataset)]]
    states = [part.present for part in parts]
    if not spec.needs:
        return "none needed"
    if any(part.problem for part in parts):
        return "damaged"
    if all(states):
        return "here"
    if any(dataset.simulated for dataset in spec.needs):
        return "built on first use"
    return "partly here" if any(states) else "missing"


def information(registry: Registry, identifier: str) -> dict[str, Any]:
    """Return everything a spec says about itself.

    Raises
    ------
    InputError
        If no model, benchmark or metric has this name.
    """
    name, parameters = split_identifier(identifier)
    if name in registry.benchmarks.by_name:
        if parameters:
            raise InputError(f"benchmarks have no parameters: {identifier!r}; use {name}")
        return _benchmark_information(registry, registry.benchmark(name))
    if name in registry.metrics.by_name:
        return _metric_information(registry, registry.metric(identifier).spec)
    known = [*registry.models.by_name, *registry.benchmarks.by_name, *registry.metrics.by_name]
    families = [family.prefix + "/" for family in registry.families]
    if name not in registry.models.by_name and not any(name.startswith(f) for f in families):
        raise InputError(
            f"no model, benchmark or metric is named {name!r}.{did_you_mean(name, known) or ' See: bench list.'}"
        )
    resolved = registry.model(identifier)
    spec: ModelSpec = resolved.spec
    return {
        "kind": "model",
        "name": spec.name,
        "identifier": resolved.identifier,
        "version": registry.version(spec),
        "description": spec.description,
        "reference": spec.reference,
        "trained": _trained(resolved),
        "layers": list(_layers(resolved)),
        "parameters": [_parameter(p, resolved.parameters[p.name]) for p in spec.parameters],
        "variants": {v: canonical(spec.name, values) for v, values in spec.variants.items()},
        "origin": spec.origin,
        "example": f"bench run --model {resolved.identifier} --benchmark simulated.V4",
    }


def _layers(resolved: Resolved) -> Sequence[str]:
    from benchmark_core.pipeline import candidate_layers

    try:
        return candidate_layers(resolved)
    except BenchError:
        raise
    except Exception as error:  # a plugin's function may raise anything
        raise ModelError(f"{resolved.identifier} cannot tell its layers ({describe(error)})") from None


def _benchmark_information(registry: Registry, spec: BenchmarkSpec) -> dict[str, Any]:
    return {
        "kind": "benchmark",
        "name": spec.name,
        "version": registry.version(spec),
        "description": spec.description,
        "reference": spec.reference,
        "simulated": spec.simulated,
        "target": spec.target_kind,
        "metric": spec.metric,
        "needs": [_dataset(d) for d in spec.needs],
        "origin": spec.origin,
        "example": f"bench run --model pixels --benchmark {spec.name}",
    }


def _metric_information(registry: Registry, spec: MetricSpec) -> dict[str, Any]:
    return {
        "kind": "metric",
        "name": spec.name,
        "version": registry.version(spec),
        "description": spec.description,
        "reference": spec.reference,
        "accepts": list(spec.accepts),
        "models": list(spec.n_models),
        "unit": spec.unit,
        "parameters": [_parameter(p, p.default) for p in spec.parameters],
        "origin": spec.origin,
        "example": f"bench run {_models(spec.n_models[0])}--benchmark {_EXAMPLES[spec.accepts[0]]} --metric {spec.name}",
    }


def _models(number: int) -> str:
    """Return the options that name so many models."""
    return "".join(f"--model {'pixels' if n == 0 else f'MODEL{n + 1}'} " for n in range(number))


def _parameter(parameter: Parameter, value: Any) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "value": value,
        "default": parameter.default,
        "allowed": parameter.allowed,
        "help": parameter.help,
    }


def print_information(document: Mapping[str, Any]) -> None:
    """Print what is known about one model, benchmark or metric."""
    print(f"{document['name']} ({document['kind']}, version {document['version']})")
    for key in ("description", "reference", "unit", "target", "metric"):
        if document.get(key):
            print(f"  {key}: {document[key]}")
    if document.get("simulated"):
        print("  responses are simulated")
    if document.get("layers"):
        print(f"  layers: {', '.join(document['layers'])}")
    for dataset in document.get("needs", []):
        here = sum(p["present"] for p in dataset["parts"])
        print(f"  needs: {dataset['name']} ({here} of {len(dataset['parts'])} parts here; {dataset['get']})")
        for part in dataset["parts"]:
            if part["problem"]:
                print(f"  damaged: {part['problem']}")
    for variant, meaning in document.get("variants", {}).items():
        print(f"  {variant} is a name for {meaning}")
    if document.get("parameters"):
        print()
        rows = [
            (p["name"], "-" if p["value"] is None else format_value(p["value"]), p["allowed"], p["help"])
            for p in document["parameters"]
        ]
        _print_parameters(rows)
        print()
    print(f"  defined in {document['origin']}")
    print(f"  example: {document['example']}")


def _print_parameters(rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Print a table, or, where a terminal is too narrow for it, each parameter with its meaning on lines of its own."""
    headings = ("parameter", "value", "allowed", "meaning")
    width = sum(max(len(row[i]) for row in (headings, *rows)) + 2 for i in range(4)) - 2
    limit = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or width <= limit:
        print_table(headings, rows)
        return
    for name, value, allowed, meaning in rows:
        print(f"{name} ({value})")
        for text in (meaning, f"allowed: {allowed}"):
            print(textwrap.fill(text, max(limit, 20), initial_indent="  ", subsequent_indent="    "))


def data_listing(registry: Registry) -> dict[str, Any]:
    """Return every dataset with the state of its parts."""
    return {"datasets": [_dataset(dataset) for dataset in registry.datasets()]}


def _dataset(dataset: Any) -> dict[str, Any]:
    parts = [
        {
            "part": p.part,
            "present": p.present,
            "n_stimuli": p.n_stimuli,
            "n_neuroids": p.n_neuroids,
            "contents": p.contents,
            "bytes": p.n_bytes,
            "path": str(p.path),
            "problem": p.problem,
        }
        for p in dataset_checks.status(dataset)
    ]
    return {
        "name": dataset.name,
        "description": dataset.description,
        "licence": dataset.licence,
        "source": dataset.source,
        "simulated": dataset.simulated,
        "parts": parts,
        "get": "built on first use" if dataset.simulated else datasets.how_to_get(dataset),
    }


def print_data_listing(document: Mapping[str, Any]) -> None:
    """Print datasets and their parts."""
    for dataset in document["datasets"]:
        print(f"{dataset['name']}: {dataset['description']}")
        for part in dataset["parts"]:
            if part["problem"]:
                print(f"  {part['part']:<10} damaged: {part['problem']}")
            elif part["present"]:
                print(
                    f"  {part['part']:<10} {part['n_stimuli']} stimuli, {part['contents']}, {size_text(part['bytes'])}, {part['path']}"
                )
            else:
                print(f"  {part['part']:<10} not here: {dataset['get']}")


def size_text(size: int) -> str:
    """Write a number of bytes for people (powers of 1000)."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
