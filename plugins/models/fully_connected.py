"""The fully connected model: untrained, and without any notion of space (Kazemian, Elmoznino and Bonner)."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import ModelSpec, Width

WIDEST_INPUT = 5000  # features that the last layer sees
STEM = 150528 * 108 + 108 * 1000 + 1000 * 3000 + 3000 * WIDEST_INPUT  # weights before it


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer the fully connected model."""
    return [
        ModelSpec(
            name="fully-connected",
            version=1,
            load="plugins.models._fully_connected_network:load",
            layers=("layer5",),
            parameters=(
                Parameter("features", "int", 10800, minimum=1, maximum=2**32 - 2, help="units of the last layer"),
                Parameter("seed", "int", 0, minimum=0, maximum=10**15, help="seed of the random weights"),
            ),
            weights="philox-1",
            width=Width(
                parameter="features",
                layer="layer5",
                wide="plugins.models._fully_connected_network:load_wide",
                is_wide=lambda features, seed: features > WIDEST_INPUT,
            ),
            flops=lambda features, seed: 2.0 * (STEM + WIDEST_INPUT * features),
            description="five wide dense layers, untrained: 150528 -> 108 -> 1000 -> 3000 -> 5000 -> features",
            reference="Kazemian, Elmoznino and Bonner; code: https://doi.org/10.5281/zenodo.16920087",
        )
    ]
