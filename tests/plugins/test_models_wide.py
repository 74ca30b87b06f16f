"""The paper's widest models by blocks: the same features as held whole, and the first ones at every width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from toy import make_toy_world

from benchmark_core.pipeline import Numerics, Pipeline
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from benchmark_core.stimuli import StimulusSet
from benchmark_core.store import Store
from benchmark_core.widths import can_share_a_pass, differ_in_width_only, is_wide
from plugins.models._expansion_network import Expansion5L, WideExpansion5L
from plugins.models._fully_connected_network import FullyConnected
from plugins.models._vision_transformer_networks import CustomViT

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
    assert not together("expansion5l:filters=3", "expansion5l-norelu:filters=30")
    assert together("expansion5l:filters=3,init=xavier_normal", "expansion5l:filters=30,init=xavier_normal")
    gelu = "init=xavier_normal,nonlinearity_5=gelu"
    assert not together(f"expansion5l:filters=3,{gelu}", f"expansion5l:filters=30,{gelu}")
    assert not together("expansion5l-lrp:filters=3,init=xavier_normal", "expansion5l-lrp:filters=30,init=xavier_normal")
    assert not together("expansion5l:filters=3,nonlinearity=zscore", "expansion5l:filters=30,nonlinearity=zscore")


def test_which_models_share_a_stem() -> None:
    registry = Registry()

    def together(one: str, other: str) -> bool:
        return can_share_a_pass(registry.model(one), registry.model(other))

    assert together("expansion5l:filters=3", "expansion5l-norelu:filters=300")
    assert together("expansion5l-nospatial", "expansion5l-norelu")
    assert together("expansion5l-256", "expansion5l-lrp:filters=30")
    assert together("expansion5l:init=orthogonal", "expansion5l:filters=30,init=orthogonal")
    assert together("expansion5l:nonlinearity=zscore", "expansion5l:filters=30,nonlinearity=zscore")
    assert together("vit-custom:D=12", "vit-custom:D=6000")
    assert not together("expansion5l", "expansion5l-linear")
    assert not together("expansion5l", "expansion5l-random")
    assert not together("expansion5l", "expansion5l:seed=1")
    assert not together("expansion5l", "expansion5l-256")
    assert not together("expansion5l:init=orthogonal", "expansion5l")
    assert not together("vit-custom:D=12", "fully-connected")


BANK = "filters_2=3,filters_3=4,filters_4=5"
TINY = f"filters_1=4,{BANK}"  # instead of the fixed bank of 108
ONE_STEM = {
    "last layers": [
        f"expansion5l:{TINY},filters=4",
        f"expansion5l:{TINY},filters=9",
        f"expansion5l:{TINY},filters=20",
        f"expansion5l:{TINY},filters=7,nonlinearity_5=none",
        f"expansion5l:{TINY},filters=7,shuffle_5=true",
        f"expansion5l:{TINY},filters=7,nonlinearity_5=zscore",
        f"expansion5l:{TINY},filters=3,nonlinearity_5=zscore",
        f"expansion5l:{TINY},filters=50,layer_5=dense",
        f"expansion5l:{TINY},filters=8,layer_5=dense",
    ],
    "xavier": [
        f"expansion5l:{TINY},filters={filters},init=xavier_uniform{more}"
        for filters in (3, 11)
        for more in ("", ",nonlinearity_5=gelu", ",nonlinearity_5=leaky_relu", ",layer_5=dense")
    ],
    "orthogonal": [
        f"expansion5l:{TINY},filters={filters},init=orthogonal{more}"
        for filters in (3, 11, 60)
        for more in ("", ",layer_5=dense")
    ],
}


@pytest.mark.parametrize("models", ONE_STEM.values(), ids=list(ONE_STEM))
def test_kernels_do_not_depend_on_what_shares_the_stem(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, models: list[str]
) -> None:
    stimuli = StimulusSet.from_manifest(
        make_toy_world(tmp_path / "toys", 5) / "toy_data" / "stimuli.csv", tmp_path / "toys" / "toy_data" / "images"
    )
    registry = Registry()
    resolved = [registry.model(m) for m in models]
    forwarded = 0
    stem = Expansion5L.stem

    def counting(self: Expansion5L, images: torch.Tensor) -> torch.Tensor:
        nonlocal forwarded
        forwarded += len(images)
        return stem(self, images)

    monkeypatch.setattr(Expansion5L, "stem", counting)
    together = Pipeline(Store(tmp_path / "together"), Numerics())
    found = {}
    for model in resolved:
        siblings = [m for m in resolved if m is not model]
        assert all(can_share_a_pass(model, other) for other in siblings)
        found[model.identifier] = together.representations(model, "1", stimuli, ["layer5"], siblings)["layer5"][0]
    assert forwarded == 5
    assert not list((tmp_path / "together" / "spools").glob("*/plan.json"))
    for model in resolved:
        folder = tmp_path / model.identifier.replace(":", " ")
        alone = Pipeline(Store(folder), Numerics()).representations(model, "1", stimuli, ["layer5"])["layer5"][0]
        expected, mine = alone.gram(centred=False), found[model.identifier].gram(centred=False)
        assert found[model.identifier].n_features == alone.n_features
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("left", [2, 4], ids=["wide", "narrow"])
def test_a_pass_that_was_killed_between_two_last_layers_goes_on_from_its_stems(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    folder = make_toy_world(tmp_path / "toys", 8) / "toy_data"
    stimuli = StimulusSet.from_manifest(folder / "stimuli.csv", folder / "images")
    done, to_do = (Registry().model(ONE_STEM["last layers"][n]) for n in (3, left))
    pipeline = Pipeline(Store(tmp_path / "store"), Numerics())

    class Killed(BaseException):
        pass

    save = Representation.save

    def save_once(self: Representation, *args: Any) -> None:
        save(self, *args)
        raise Killed

    monkeypatch.setattr(Representation, "save", save_once)
    with pytest.raises(Killed):
        pipeline.representations(done, "1", stimuli, ["layer5"], [to_do])
    monkeypatch.setattr(Representation, "save", save)
    monkeypatch.setattr(Expansion5L, "stem", None)  # fails if anything is forwarded again
    for model in (done, to_do):
        assert pipeline.representations(model, "1", stimuli, ["layer5"])["layer5"][0].n_features
    assert not list((tmp_path / "store" / "spools").glob("*/plan.json"))


def test_units_of_the_custom_transformer_are_those_of_its_output(images: torch.Tensor) -> None:
    model = CustomViT(24, seed=2)
    with torch.inference_mode():
        units = model.head(model.stem(images), 9, 24).reshape(2, 15, 196)
        torch.testing.assert_close(units, model(images)[:, :, 9:].transpose(1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [f"layer{n}" for n in range(1, 6)])
def test_averaging_before_a_linear_convolution_is_averaging_after_it(layer: str) -> None:
    network = Expansion5L(None, 4, 5, 6, 7, nonlinearity="none")
    module = getattr(network, layer)
    channels = module.weight.shape[1] * module.groups
    x = torch.randn(2, channels, 23, 21, generator=torch.Generator().manual_seed(0))
    plain = functional.conv2d(x, module.weight, padding=module.padding, groups=module.groups)
    expected = functional.avg_pool2d(plain, module.pool, module.stride)
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


def test_features_are_those_of_the_published_order(images: torch.Tensor) -> None:
    wide = WideExpansion5L(**expansion())
    with torch.inference_mode():
        features = wide.head(wide.stem(images), 2, 3).numpy()
        maps = Expansion5L(**expansion()).layer5(wide.stem(images).reshape(2, 6, 11, 11)).numpy()
    np.testing.assert_allclose(features.reshape(2, 6, 6), maps[:, 2], rtol=1e-5, atol=1e-6)
