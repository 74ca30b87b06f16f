"""The metric ``encoding``: how well a ridge map from a layer predicts held-out responses of each neuroid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark_core.errors import InputError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import MetricSpec

PRESETS = ("brainscore-pls", "brainscore-ridge")
"""Recipes of Brain-Score, each with splits, a regression and a score of its own."""


def metadata(preset: str | None = None, **_: object) -> tuple[str, ...]:
    """Return what a score depends on of the stimuli's metadata."""
    return ("object_name",) if preset else ()


def check(parameters: Mapping[str, Any], target_kind: str = "responses") -> None:
    """Check that nothing else is asked for beside a preset."""
    if parameters.get("preset") is None:
        return
    (spec,) = register_metrics()
    others = [p.name for p in spec.parameters if p.name != "preset" and parameters.get(p.name, p.default) != p.default]
    if others:
        raise InputError(
            f"encoding:preset={parameters['preset']} is a recipe of its own, without {' and '.join(others)}; "
            "leave out one or the other"
        )


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Return the metric's spec."""
    return [
        MetricSpec(
            name="encoding",
            version=1,
            compute="plugins.metrics._encoding:compute",
            combine="plugins.metrics._combination:combine_subjects",
            accepts=("responses",),
            check=check,
            metadata=metadata,
            parameters=(
                Parameter(
                    "alpha_per_target", "bool", False, help="choose the penalty for each neuroid, not each subject"
                ),
                Parameter(
                    "selection",
                    "str",
                    "loo",
                    choices=("loo", "paper"),
                    help="criterion for penalty and layer: loo (unbiased by the leave-one-out mean) or paper (published)",
                ),
                Parameter(
                    "components",
                    "int",
                    minimum=1,
                    help="fit on this many leading principal components of the training stimuli (default: on features)",
                ),
                Parameter(
                    "choose_components",
                    "bool",
                    False,
                    help="choose the number of components on training stimuli: 1, 10, 100, ... up to components",
                ),
                Parameter(
                    "standardise", "bool", False, help="divide features by their deviation over the training stimuli"
                ),
                Parameter(
                    "optimism",
                    "bool",
                    False,
                    help="report how much higher r would be, had all been chosen by the test stimuli",
                ),
                Parameter(
                    "preset",
                    "str",
                    choices=PRESETS,
                    help="a recipe of Brain-Score, with its own splits, score and ceiling",
                ),
                Parameter(
                    "resample",
                    "str",
                    "stimuli",
                    choices=("stimuli", "neuroids", "both", "hierarchical"),
                    help="what intervals speak of: other stimuli, neuroids, both, or subjects as well",
                ),
                Parameter("n_bootstrap", "int", 1000, minimum=100, maximum=100_000, help="number of resamples"),
                Parameter("seed", "int", 0, minimum=0, help="seed of the resamples, the same for every model"),
            ),
            components="components",
            standardise="standardise",
            description="ridge from features to responses; explained share of the reliable variance on held-out stimuli",
            reference="Kazemian, Elmoznino & Bonner, doi:10.5281/zenodo.16920087; score as docs/statistics.md defines it",
        )
    ]
