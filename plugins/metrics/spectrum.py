"""The metric ``spectrum``: how the variance of a layer's features falls off over principal components."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import MetricSpec


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Return the metric's spec."""
    return [
        MetricSpec(
            name="spectrum",
            version=1,
            compute="plugins.metrics._spectrum:compute",
            accepts=("responses", "labels", "rdms"),
            standardise="standardise",
            unit="dimensions",
            parameters=(
                Parameter(
                    "stimuli",
                    "str",
                    "all",
                    choices=("all", "train"),
                    help="all stimuli, or each training set of the splits (then the mean over these)",
                ),
                Parameter("share", "float", 0.85, minimum=0.0, maximum=1.0, help="share of the variance to reach"),
                Parameter(
                    "components",
                    "int",
                    minimum=1,
                    help="how many components may be used to reach it (all, unless given; null if they do not suffice)",
                ),
                Parameter("fit_low", "int", 10, minimum=1, help="first rank of the fit of the power law"),
                Parameter(
                    "fit_high",
                    "int",
                    minimum=3,
                    help="last rank of that fit (unless given: half the rank, 1000 at most)",
                ),
                Parameter(
                    "standardise", "bool", False, help="divide features by their deviation over training stimuli first"
                ),
            ),
            description="effective dimensionality of a layer; variance explained by k components, exponent of the power law",
            reference="analysis of Kazemian, Elmoznino & Bonner, doi:10.5281/zenodo.16920087; as docs/metrics.md defines it",
        )
    ]
