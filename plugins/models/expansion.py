"""The expansion model: untrained and wide (Kazemian, Elmoznino and Bonner).

>>> from plugins.models.expansion import Expansion5L
>>> model = Expansion5L(filters=300, seed=0)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter, Value
from benchmark_core.specs import ModelSpec, Width

if TYPE_CHECKING:
    from plugins.models._expansion_network import Expansion5L

__all__ = ["Expansion5L", "register_models"]

NONLINEARITIES = ("relu", "gelu", "elu", "abs", "leaky_relu", "zscore", "none")
HOMOGENEOUS = ("relu", "abs", "leaky_relu", "none")
"""Nonlinearities with f(a x) = a f(x) for a > 0."""
PARAMETERS = (
    Parameter(
        "filters_1",
        "int",
        minimum=1,
        help="random 15x15 filters over RGB in layer 1; without it, the fixed bank of 36 filters x RGB",
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
        choices=NONLINEARITIES,
        help="applied in all five layers; zscore standardises over channels",
    ),
    Parameter("seed", "int", 0, minimum=0, maximum=10**15, help="seed of the random weights"),
    Parameter(
        "bank",
        "str",
        "curvature",
        choices=("curvature", "gabor"),
        help="fixed filters of layer 1; gabor's parameters are ours, the paper gives none",
    ),
    Parameter(
        "layer_5",
        "str",
        "convolution",
        choices=("convolution", "dense"),
        help="dense: every unit sees all of layer 4's output, with a bias; as many features as filters",
    ),
    Parameter("nonlinearity_5", "str", choices=NONLINEARITIES, help="of layer 5, if not that of the others"),
    Parameter("shuffle_5", "bool", False, help="put rows and columns of layer 5's input into random orders (one draw)"),
)
NARROW = {"filters_2": 256, "filters_3": 256, "filters_4": 256}
VARIANTS: dict[str, dict[str, Value]] = {
    "expansion5l-256": {**NARROW},
    "expansion5l-linear": {"nonlinearity": "none"},
    "expansion5l-random": {"filters_1": 3000},
    "expansion5l-lrp": {**NARROW, "layer_5": "dense"},
    "expansion5l-norelu": {"nonlinearity_5": "none"},
    "expansion5l-nospatial": {"shuffle_5": True},
}


def is_apart(**parameters: Any) -> bool:
    """Whether a filter of layer 5 gives the same features whatever other filters there are, but for a factor."""
    return bool(parameters["init"] != "orthogonal" and _nonlinearity_5(parameters) != "zscore")


def is_prefix(**parameters: Any) -> bool:
    """Whether a narrower model's features are a wider one's first, but for xavier's factor.

    That factor comes before the nonlinearity, so only where ``f(a x) = a f(x)``, and not with biases, which have none.
    """
    homogeneous = _nonlinearity_5(parameters) in HOMOGENEOUS and parameters["layer_5"] != "dense"
    return is_apart(**parameters) and (homogeneous or not _is_xavier(parameters))


def xavier_scale(**parameters: Any) -> float:
    """Return what xavier's draws for layer 5 are multiplied with, as far as it depends on the number of filters."""
    if not _is_xavier(parameters) or parameters["layer_5"] == "dense":
        return 1.0
    return float((9.0 * (parameters["filters_4"] + parameters["filters"])) ** -0.5)


def is_wide(**parameters: Any) -> bool:
    """Whether layer 5 has more features than its input, which is then what is spooled."""
    features = parameters["filters"] * (1 if parameters["layer_5"] == "dense" else 36)
    return is_apart(**parameters) and bool(features > parameters["filters_4"] * 11 * 11)


def flops(**parameters: Any) -> float:
    """Return the operations of the convolutions for one image, two for each product."""
    fixed = parameters["filters_1"] is None
    channels = 108 if fixed else parameters["filters_1"]
    side_1, side_2, side_3 = (222, 105, 48) if fixed else (224, 106, 49)
    layer_5 = 121 if parameters["layer_5"] == "dense" else 9 * 81
    products: int = (
        225 * (1 if fixed else 3) * channels * side_1**2
        + 49 * channels * parameters["filters_2"] * side_2**2
        + 25 * parameters["filters_2"] * parameters["filters_3"] * side_3**2
        + 9 * parameters["filters_3"] * parameters["filters_4"] * 22**2
        + layer_5 * parameters["filters_4"] * parameters["filters"]
    )
    return 2.0 * products


def _nonlinearity_5(parameters: Mapping[str, Any]) -> Any:
    return parameters["nonlinearity_5"] or parameters["nonlinearity"]


def _is_xavier(parameters: Mapping[str, Any]) -> bool:
    return str(parameters["init"]).startswith("xavier")


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer the expansion model and its ablations."""
    return [
        ModelSpec(
            name="expansion5l",
            version=1,
            load="plugins.models._expansion_network:load",
            layers=("layer5",),
            parameters=PARAMETERS,
            variants=VARIANTS,
            weights="philox-1",
            width=Width(
                parameter="filters",
                layer="layer5",
                shared=is_prefix,
                scale=xavier_scale,
                wide="plugins.models._expansion_network:load_wide",
                is_wide=is_wide,
                apart=is_apart,
                head_only=("layer_5", "nonlinearity_5", "shuffle_5"),
            ),
            trained=False,
            flops=flops,
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
