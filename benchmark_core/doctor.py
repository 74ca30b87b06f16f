"""What is installed, which devices and data are at hand."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark_core import dataset_checks
from benchmark_core.cells import splits_of
from benchmark_core.errors import BenchError
from benchmark_core.home import bench_cache, bench_home
from benchmark_core.listing import data_listing, size_text
from benchmark_core.provenance import package_versions
from benchmark_core.registry import Registry, describe
from benchmark_core.specs import BenchmarkSpec


def examine(registry: Registry, verify: bool = False) -> dict[str, Any]:
    """Return versions, devices, folders with their free space, datasets, benchmarks and plugin problems.

    Parameters
    ----------
    registry
        Whose datasets and benchmarks to look at.
    verify
        Read every file of the data that is here and check it; without it only manifests are read.
    """
    listed = data_listing(registry)
    specs = {dataset.name: dataset for dataset in registry.datasets()}
    for dataset in listed["datasets"]:
        dataset["bytes"] = sum(part["bytes"] for part in dataset["parts"])
        here = any(part["present"] for part in dataset["parts"])
        dataset["damage"] = dataset_checks.verify(specs[dataset["name"]]) if verify and here else None
    return {
        "python": platform.python_version(),
        "packages": package_versions(),
        "devices": _devices(),
        "cupy": find_spec("cupy") is not None,
        "folders": {
            name: _folder(path) for name, path in (("BENCH_HOME", bench_home()), ("BENCH_CACHE", bench_cache()))
        },
        **listed,
        "benchmarks": [_benchmark(registry, name) for name in registry.benchmarks.names()],
        "problems": [str(problem) for problem in registry.problems],
    }


def _benchmark(registry: Registry, name: str) -> dict[str, Any]:
    """Say whether a benchmark's data is here, and what it still needs."""
    (spec,) = registry.expand_benchmarks(name)
    missing = ""
    if not spec.simulated:  # simulated data is built on first use
        try:
            _read_manifests(spec)
        except BenchError as error:
            missing = str(error)
        except Exception as error:  # a plugin may raise anything
            missing = describe(error)
    return {"name": name, "ready": not missing, "missing": missing}


def _read_manifests(spec: BenchmarkSpec) -> None:
    for part in spec.parts.values():
        stimuli = part.stimuli()
        if part.target_hash:
            part.target_hash()
        splits_of(part, stimuli)


def _devices() -> list[str]:
    import torch

    names = [f"cpu ({torch.get_num_threads()} threads)"]
    if torch.cuda.is_available():
        names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return names


def _folder(path: Path) -> dict[str, Any]:
    existing = path
    while not existing.exists():
        existing = existing.parent
    problem = "" if existing.is_dir() else f"{existing} is not a folder"
    if not problem and not os.access(existing, os.W_OK | os.X_OK):
        problem = f"{existing} is read-only"
    return {
        "path": str(path),
        "exists": path.exists(),
        "free_bytes": shutil.disk_usage(existing).free,
        "problem": problem,
    }


def print_examination(document: Mapping[str, Any]) -> None:
    """Print an examination."""
    print(f"python {document['python']}; " + ", ".join(f"{k} {v}" for k, v in document["packages"].items()))
    print("devices: " + ", ".join(document["devices"]))
    print(
        "cupy: "
        + (
            "installed"
            if document["cupy"]
            else "not installed (only needed for --backend cupy: pip install 'cortex-bench[gpu]')"
        )
    )
    for name, folder in document["folders"].items():
        state = "" if folder["exists"] else " (created when needed)"
        state = f" (cannot be used: {folder['problem']})" if folder["problem"] else state
        print(f"{name}: {folder['path']}{state}, {size_text(folder['free_bytes'])} free")
    for dataset in document["datasets"]:
        here = [p for p in dataset["parts"] if p["present"] and not p["problem"]]
        size = f", {size_text(dataset['bytes'])}" if here else ""
        if dataset["damage"] is not None:
            size += ", DAMAGED" if dataset["damage"] else ", verified"
        missing = "" if len(here) == len(dataset["parts"]) else f"; the rest: {dataset['get']}"
        print(f"dataset {dataset['name']}: {len(here)} of {len(dataset['parts'])} parts here{size}{missing}")
        for line in dataset["damage"] or []:
            print(f"  {line}")
    print("benchmarks ready: " + (", ".join(b["name"] for b in document["benchmarks"] if b["ready"]) or "none"))
    waiting: dict[str, list[str]] = {}
    for benchmark in document["benchmarks"]:
        if not benchmark["ready"]:
            waiting.setdefault(benchmark["missing"], []).append(benchmark["name"])
    for missing, names in waiting.items():
        print(f"{', '.join(names)}: {missing}")
    for problem in document["problems"]:
        print(f"plugin problem: {problem}")
