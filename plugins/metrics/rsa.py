"""The metric ``rsa``: how similar a layer's dissimilarities between stimuli are to those measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark_core.errors import InputError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import MetricSpec

DISTANCES = ("correlation", "euclidean", "sqeuclidean", "cosine")


def check(parameters: Mapping[str, Any], target_kind: str) -> None:
    """Check that dissimilarities of responses are asked for where there are responses."""
    wanted = parameters["target_distance"]
    if target_kind == "rdms" and wanted != "same":
        raise InputError(f"rsa:target_distance={wanted} is for responses; RDMs are compared as they are: leave it out")


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Return the metric's spec."""
    return [
        MetricSpec(
            name="rsa",
            version=1,
            compute="plugins.metrics._rsa:compute",
            combine="plugins.metrics._similarity:combine_subjects",
            accepts=("responses", "rdms"),
            check=check,
            parameters=(
                Parameter(
                    "distance",
                    "str",
                    "correlation",
                    choices=DISTANCES,
                    help="dissimilarity of two stimuli in a layer: correlation is 1 - Pearson r across features",
                ),
                Parameter(
                    "compare",
                    "str",
                    "spearman",
                    choices=("spearman", "pearson", "kendall", "cosine", "whitened-pearson", "whitened-cosine"),
                    help="how the dissimilarities of all pairs are compared (kendall is tau-a)",
                ),
                Parameter(
                    "target_distance",
                    "str",
                    "same",
                    choices=("same", *DISTANCES, "crossnobis", "cv-sqeuclidean"),
                    help="dissimilarity of responses; crossnobis and cv-sqeuclidean are cross-validated over repetitions",
                ),
                Parameter(
                    "stimuli",
                    "str",
                    "test",
                    choices=("test", "all"),
                    help="pairs of each fold's test stimuli, or of all stimuli (where no layer is chosen)",
                ),
                Parameter("n_bootstrap", "int", 1000, minimum=100, maximum=100_000, help="number of resamples"),
                Parameter("seed", "int", 0, minimum=0, help="seed of the resamples, the same for every model"),
            ),
            description="correlation of a layer's dissimilarities between stimuli with those measured (RSA)",
            reference="Kriegeskorte, Mur & Bandettini 2008, doi:10.3389/neuro.06.004.2008; as docs/metrics.md defines it",
        )
    ]
