"""The metric ``cka``: centred kernel alignment of a layer and the responses."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import MetricSpec


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Return the metric's spec."""
    return [
        MetricSpec(
            name="cka",
            version=1,
            compute="plugins.metrics._cka:compute",
            combine="plugins.metrics._similarity:combine_subjects",
            accepts=("responses",),
            parameters=(
                Parameter(
                    "debiased",
                    "bool",
                    True,
                    help="unbiased estimate, around 0 for unrelated features; the usual one grows with few stimuli",
                ),
                Parameter(
                    "stimuli",
                    "str",
                    "test",
                    choices=("test", "all"),
                    help="each fold's test stimuli, or all stimuli (where no layer is chosen)",
                ),
                Parameter("n_bootstrap", "int", 1000, minimum=100, maximum=100_000, help="number of resamples"),
                Parameter("seed", "int", 0, minimum=0, help="seed of the resamples, the same for every model"),
            ),
            description="centred kernel alignment of a layer and the mean responses, linear kernels (CKA)",
            reference="Kornblith et al. 2019, ICML; debiased: Song et al. 2012, JMLR 13:1393; as docs/metrics.md defines it",
        )
    ]
