"""The expansion model: untrained and wide (Kazemian, Elmoznino and Bonner).

>>> from plugins.models.expansion import Expansion5L
>>> model = Expansion5L(filters=300, seed=0)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import ModelSpec, Parameter

if TYPE_CHECKING:
    from plugins.models._expansion_network import Expansion5L

__all__ = ["Expansion5L", "register_models"]

PARAMETERS = (
    Parameter(
        "filters_1",
        "int",
        minimum=1,
        help="random 15x15 filters over RGB in layer 1; without it, the fixed bank of 36 curvature filters x RGB",
    ),
    Parameter("filters_2", "int", 1000, minimum=1, help="filters of layer 2 (7x7)"),
    Parameter("filters_3", "int", 3000, minimum=1, help="filters of layer 3 (5x5)"),
    Parameter("filters_4", "int", 5000, minimum=1, help="filters of layer 4 (3x3)"),
    Parameter(
        "filters", "int", 3000, minimum=1, help="filters of layer 5 (3x3); the model has 36 times as many features"
    ),
    Parameter(
        "init",
        "str",
        "kaiming_uniform",
        choices=(
            "kaiming_uniform",
            "kaiming_normal",
            "xavier_uniform",
            "xavier_normal",
            "orthogonal",
            "uniform",
            "normal",
        ),
        help="distribution of the random weights (torch.nn.init's definitions)",
    ),
    Parameter(
        "nonlinearity",
        "str",
        "relu",
        choices=("relu", "gelu", "elu", "abs", "leaky_relu", "zscore", "none"),
        help="applied in all five layers; zscore standardises over channels",
    ),
    Parameter("seed", "int", 0, minimum=0, maximum=10**15, help="seed of the random weights"),
)


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer the expansion model and its narrow variant."""
    return [
        ModelSpec(
            name="expansion5l",
            version=1,
            load="plugins.models._expansion_network:load",
            layers=("layer5",),
            parameters=PARAMETERS,
            variants={"expansion5l-256": {"filters_2": 256, "filters_3": 256, "filters_4": 256}},
            weights="philox-1",
            trained=False,
            description="five wide convolutional layers, untrained, behind a fixed bank of curvature filters",
            reference="Kazemian, Elmoznino and Bonner; code: https://doi.org/10.5281/zenodo.16920087",
        )
    ]


def __getattr__(name: str) -> Any:
    """Import torch only when the network itself is asked for."""
    if name == "Expansion5L":
        from plugins.models._expansion_network import Expansion5L

        return Expansion5L
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
