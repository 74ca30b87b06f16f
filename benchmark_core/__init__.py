"""cortex-bench: score vision models against recordings of visual cortex.

>>> from benchmark_core import score
>>> result = score("pixels", "simulated.V4")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark_core.errors import BenchError, InputError, MissingDataError, ModelError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.specs import BenchmarkSpec, DatasetSpec, MetricSpec, ModelFamily, ModelSpec, SubjectSpec, Width
from benchmark_core.splits import Fold, KFold, Splits, fixed_split

if TYPE_CHECKING:
    from benchmark_core.api import run, score
    from benchmark_core.assembly import Responses
    from benchmark_core.comparison import Comparison, Difference, best_set, compare
    from benchmark_core.estimators import RidgeGCV
    from benchmark_core.labels import Labels
    from benchmark_core.model_check import ModelCheck, check_model
    from benchmark_core.rdms import RDMs
    from benchmark_core.records import Score
    from benchmark_core.results import Leaderboard, Results
    from benchmark_core.stimuli import StimulusSet
    from benchmark_core.suites import SuiteCell, run_suite, suite_cells

__version__ = "0.1.0"

_LAZY = {
    "Comparison": "benchmark_core.comparison",
    "Difference": "benchmark_core.comparison",
    "Labels": "benchmark_core.labels",
    "Leaderboard": "benchmark_core.results",
    "ModelCheck": "benchmark_core.model_check",
    "RDMs": "benchmark_core.rdms",
    "Responses": "benchmark_core.assembly",
    "Results": "benchmark_core.results",
    "RidgeGCV": "benchmark_core.estimators",
    "Score": "benchmark_core.records",
    "StimulusSet": "benchmark_core.stimuli",
    "SuiteCell": "benchmark_core.suites",
    "best_set": "benchmark_core.comparison",
    "check_model": "benchmark_core.model_check",
    "compare": "benchmark_core.comparison",
    "run": "benchmark_core.api",
    "run_suite": "benchmark_core.suites",
    "score": "benchmark_core.api",
    "suite_cells": "benchmark_core.suites",
}

__all__ = [
    "BenchError",
    "BenchmarkSpec",
    "Comparison",
    "DatasetSpec",
    "Difference",
    "Fold",
    "InputError",
    "KFold",
    "Labels",
    "Leaderboard",
    "MetricSpec",
    "MissingDataError",
    "ModelCheck",
    "ModelError",
    "ModelFamily",
    "ModelSpec",
    "Parameter",
    "Preprocessing",
    "RDMs",
    "Responses",
    "Results",
    "RidgeGCV",
    "Score",
    "Splits",
    "StimulusSet",
    "SubjectSpec",
    "SuiteCell",
    "Width",
    "__version__",
    "best_set",
    "check_model",
    "compare",
    "fixed_split",
    "hookimpl",
    "run",
    "run_suite",
    "score",
    "suite_cells",
]


def __getattr__(name: str) -> Any:
    """Import what needs numpy or torch only when it is asked for."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
