"""The hooks a plugin implements. Each implementation returns specs and computes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from benchmark_core.specs import BenchmarkSpec, MetricSpec, ModelFamily, ModelSpec

PROJECT = "cortex_bench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_models() -> Iterable[ModelSpec | ModelFamily]:  # type: ignore[empty-body]
    """Return the models (and open-ended model families) that this plugin offers."""


@hookspec
def register_benchmarks() -> Iterable[BenchmarkSpec]:  # type: ignore[empty-body]
    """Return the benchmarks that this plugin offers."""


@hookspec
def register_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Return the metrics that this plugin offers."""
