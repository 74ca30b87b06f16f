"""The metric ``classification``: how well the category of a stimulus can be read off a layer's principal components."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import MetricSpec


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Return the metric's spec."""
    return [
        MetricSpec(
            name="classification",
            version=1,
            compute="plugins.metrics._classification:compute",
            accepts=("labels",),
            components="components",
            parameters=(
                Parameter(
                    "classifier",
                    "str",
                    "logistic",
                    choices=("logistic", "nearest-centroid"),
                    help="logistic regression (at most 200 iterations) or the nearest mean of a category",
                ),
                Parameter(
                    "components", "int", 1000, minimum=1, maximum=10_000, help="principal components, at most the rank"
                ),
                Parameter("folds", "int", 5, minimum=2, maximum=100, help="folds of the labelled test stimuli"),
                Parameter("n_bootstrap", "int", 1000, minimum=100, maximum=100_000, help="number of resamples"),
                Parameter("seed", "int", 42, minimum=0, maximum=2**32 - 1, help="seed of folds and resamples"),
            ),
            description="accuracy of a classifier of categories on principal components of the training stimuli",
            reference="Kazemian, Elmoznino & Bonner, doi:10.5281/zenodo.16920087; as docs/metrics.md defines it",
        )
    ]
