"""The paper's widest models by blocks: the same features as held whole, and the first ones at every width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmark_core.errors import InputError
from benchmark_core.registry import Registry
from benchmark_core.widths import differ_in_width_only, is_wide
from plugins.models._expansion_network import Expansion5L, WideExpansion5L
from plugins.models._fully_connected_network import FullyConnected

SMALL: dict[str, Any] = {
    "filters_1": None,
    "filters_2": 4,
    "filters_3": 5,
    "filters_4": 6,
    "seed": 3,
    "bank": "curvature",
}


def expansion(**changes: Any) -> dict[str, Any]:
    """Return all parameters of a small expansion model."""
    others = {"init": "kaiming_uniform", "nonlinearity": "relu", "layer_5": "convolution"}
    return {**SMALL, **others, "filters": 10, "nonlinearity_5": None, "shuffle_5": False, **changes}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"init": "xavier_normal"},
        {"layer_5": "dense"},
        {"shuffle_5": True},
        {"nonlinearity_5": "none", "init": "normal"},
    ],
    ids=str,
)
def test_blocks_of_the_expansion_model_are_the_whole(images: torch.Tensor, changes: dict[str, Any]) -> None:
    parameters = expansion(**changes)
    whole, wide = Expansion5L(**parameters), WideExpansion5L(**parameters)
    with torch.inference_mode():
        expected = whole(images)
        stem = wide.stem(images)
        parts = [wide.head(stem, first, last) for first, last in ((0, 3), (3, 4), (4, 10))]
    assert [p.shape[1] for p in parts] == [
        3 * wide.features_per_unit,
        wide.features_per_unit,
        6 * wide.features_per_unit,
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-5, atol=1e-6)


def test_blocks_of_the_fully_connected_model_are_the_whole(images: torch.Tensor) -> None:
    whole, wide = FullyConnected(50, seed=1), FullyConnected(50, seed=1, held=False)
    with torch.inference_mode():
        stem = wide.stem(images)
        parts = [wide.head(stem, first, last) for first, last in ((0, 20), (20, 50))]
        torch.testing.assert_close(torch.cat(parts, dim=1), whole(images), rtol=1e-5, atol=1e-7)
    assert wide.layer5.weight.numel() == 0


def test_what_depends_on_all_filters_is_not_cut() -> None:
    with pytest.raises(InputError, match="cannot be cut"):
        WideExpansion5L(**expansion(init="orthogonal"))
    registry = Registry()
    wide = {
        m: is_wide(registry.model(m))
        for m in (
            "expansion5l:filters=30000",
            "expansion5l",
            "expansion5l:filters=30000,init=orthogonal",
            "expansion5l:filters=30000,nonlinearity=zscore",
            "expansion5l:filters=30000,init=xavier_uniform",
            "expansion5l-256:filters=3000",
            "expansion5l-lrp:filters=3000",
            "expansion5l-lrp:filters=108000",
            "fully-connected:features=1080000",
            "fully-connected:features=1080",
            "pixels",
        )
    }
    assert [m for m, by_blocks in wide.items() if by_blocks] == [
        "expansion5l:filters=30000",
        "expansion5l:filters=30000,init=xavier_uniform",
        "expansion5l-256:filters=3000",
        "expansion5l-lrp:filters=108000",
        "fully-connected:features=1080000",
    ]


def test_which_widths_share_a_pass() -> None:
    registry = Registry()

    def together(one: str, other: str) -> bool:
        return differ_in_width_only(registry.model(one), registry.model(other))

    assert together("expansion5l:filters=3", "expansion5l:filters=30000")
    assert together("expansion5l-norelu:filters=3", "expansion5l-norelu")
    assert together("fully-connected", "fully-connected:features=1080000")
    assert not together("expansion5l:filters=3", "expansion5l-256:filters=30")
    assert not together("expansion5l:filters=3,init=xavier_normal", "expansion5l:filters=30,init=xavier_normal")
    assert not together("expansion5l:filters=3,nonlinearity=zscore", "expansion5l:filters=30,nonlinearity=zscore")


def test_features_are_those_of_the_published_order(images: torch.Tensor) -> None:
    wide = WideExpansion5L(**expansion())
    with torch.inference_mode():
        features = wide.head(wide.stem(images), 2, 3).numpy()
        maps = Expansion5L(**expansion()).layer5(wide.network.stem(images)).numpy()
    np.testing.assert_allclose(features.reshape(2, 6, 6), maps[:, 2], rtol=1e-5, atol=1e-6)
