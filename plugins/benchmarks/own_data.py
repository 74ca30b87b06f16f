"""Recordings that users added with ``bench data add``: one benchmark, ``NAME.REGION``, for each region of each.

What there is stands in small manifests, ``BENCH_HOME/data/NAME/dataset.toml``; nothing else is opened here.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmark_core.home import has_data
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return the benchmarks of all datasets that the user added."""
    if not has_data():
        return []
    from benchmark_core.own_data_manifest import benchmarks

    return benchmarks()
