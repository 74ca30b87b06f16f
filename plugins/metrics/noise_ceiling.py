"""The metric ``noise-ceiling``: how much of a benchmark's responses any model could explain. It takes no model."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import MetricSpec


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Return the metric's spec."""
    return [
        MetricSpec(
            name="noise-ceiling",
            version=1,
            compute="plugins.metrics._noise_ceiling:compute",
            combine="plugins.metrics._noise_ceiling:combine",
            accepts=("responses",),
            n_models=(0, 0),
            parameters=(
                Parameter(
                    "kind",
                    "str",
                    "anova",
                    choices=(
                        "anova",
                        "split-half",
                        "paper-halves",
                        "paper-pairs",
                        "pattern",
                        "pattern-z",
                        "between-subjects",
                        "given",
                    ),
                    help="which ceiling is the score; the others that the data allow stand in details",
                ),
                Parameter(
                    "stimuli",
                    "str",
                    "test",
                    choices=("test", "all"),
                    help="test stimuli, as in encoding's ceiling, or all (the paper's recipes always take all)",
                ),
                Parameter("n_splits", "int", 20, minimum=1, maximum=10_000, help="random halves to average over"),
                Parameter(
                    "between",
                    "str",
                    "pairs",
                    choices=("pairs", "others"),
                    help="predict a subject from each other one (mean over pairs), or from all others together",
                ),
                Parameter("n_bootstrap", "int", 1000, minimum=100, maximum=100_000, help="number of resamples"),
                Parameter("seed", "int", 0, minimum=0, help="seed of halves and resamples"),
            ),
            description="what a perfect model could explain: reliability, ceilings of r_pattern, other subjects; no model",
            reference="recipes of Kazemian, Elmoznino & Bonner, doi:10.5281/zenodo.16920087; as docs/metrics.md defines them",
        )
    ]
