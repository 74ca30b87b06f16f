"""The metric ``variance-partitioning``: what each of two or three models explains alone, and what they share."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import MetricSpec


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Return the metric's spec."""
    return [
        MetricSpec(
            name="variance-partitioning",
            version=1,
            compute="plugins.metrics._variance_partitioning:compute",
            combine="plugins.metrics._partition_average:combine_subjects",
            accepts=("responses",),
            n_models=(2, 3),
            parameters=(
                Parameter(
                    "alpha_per_target",
                    "bool",
                    True,
                    help="choose the models' weights and the penalty for each neuroid, not each subject",
                ),
                Parameter(
                    "components",
                    "int",
                    1000,
                    minimum=1,
                    maximum=10_000,
                    help="principal components of each model in the published variant, at most the rank",
                ),
                Parameter("n_bootstrap", "int", 1000, minimum=100, maximum=100_000, help="number of resamples"),
                Parameter(
                    "ratios",
                    "str",
                    "auto",
                    choices=("auto", "decades", "half-decades"),
                    help="steps between the weights of two models; auto: half-decades for two models, decades for three",
                ),
                Parameter("seed", "int", 0, minimum=0, help="seed of the resamples, the same for every model"),
                Parameter(
                    "standardise",
                    "bool",
                    False,
                    help="published variant: divide features by their deviation over the training stimuli first",
                ),
            ),
            standardise="standardise",
            description="banded ridge on two or three models: share of the reliable variance each explains alone, and together",
            reference="Dupré la Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728; published variant: Kazemian, "
            "Elmoznino & Bonner, doi:10.5281/zenodo.16920087; as docs/metrics.md defines it",
        )
    ]
