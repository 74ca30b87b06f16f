"""Trees of image folders that users added with ``bench data add-tree``: one benchmark of classification for each."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark_core import trees
from benchmark_core.home import has_data
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return the benchmarks of all trees on this machine."""
    return trees.added_trees() if has_data() else []
