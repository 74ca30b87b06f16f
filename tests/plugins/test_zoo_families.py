"""Default layers of architecture families: stages or blocks, reached in a forward pass, with features of every image."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from benchmark_core.errors import ModelError
from benchmark_core.torch_models import seeded_globals
from plugins.models import _zoo_timm, _zoo_torchvision
from plugins.models._zoo_network import ZooNetwork, describe_network, features_of, without_numbers

LIBRARIES = {"timm": _zoo_timm, "torchvision": _zoo_torchvision}
SMALL = [
    "test_",
    "atto",
    "femto",
    "pico",
    "zepto",
    "xxt",
    "nano",
    "xxs",
    "xx_small",
    "xs",
    "micro",
    "tiny",
    "mini",
    "_t0",
    "_m1",
    "_m0",
    "_s0",
    "_b0",
    "_n0",
    "_050",
    "_18",
    "18",
    "_s",
    "small",
]
# Where the name tells little.
SMALLEST = {"vgg": "vgg11", "densenet": "densenet121", "nasnet": "nasnetalarge", "tresnet": "tresnet_m"}


def input_size(name: str) -> tuple[int, int]:
    """Return height and width of what a model of timm takes."""
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    return config.input_size[1], config.input_size[2]


def smallest(module: str) -> str:
    """Return a small model of one of timm's files, by its name and input."""

    def size(name: str) -> tuple[Any, ...]:
        return next((i for i, word in enumerate(SMALL) if word in name), len(SMALL)), input_size(name), len(name), name

    return SMALLEST.get(module) or min(timm.list_models(module=module), key=size)


LARGEST = 520  # pixels
STAGES = [f"stages.{i}" for i in range(4)]
BLOCKS = [f"blocks.{i}" for i in range(12)]


@pytest.mark.parametrize(
    ("library", "name", "layers"),
    [
        ("timm", "crossvit_9_240", BLOCKS[:3]),
        ("timm", "mvitv2_tiny", STAGES),
        ("timm", "tnt_s_legacy_patch16_224", BLOCKS),
        ("timm", "hrnet_w18_small", ["stage2", "stage3", "stage4"]),
        ("timm", "dpn48b", [f"features.{n}" for n in ("conv1_1", "conv2_3", "conv3_4", "conv4_6", "conv5_3")]),
        ("timm", "efficientvim_m1", STAGES[:3]),
        ("torchvision", "ssd300_vgg16", ["backbone.features", *(f"backbone.extra.{i}" for i in range(5))]),
        (
            "torchvision",
            "ssdlite320_mobilenet_v3_large",
            [*(f"backbone.features.{i}" for i in range(2)), *(f"backbone.extra.{i}" for i in range(4))],
        ),
    ],
)
def test_default_layers(library: str, name: str, layers: list[str]) -> None:
    network = without_numbers(lambda: LIBRARIES[library].build(name, None))
    size = input_size(name) if library == "timm" else (224, 224)
    assert describe_network(network, size)["layers"] == layers


def check_family(name: str) -> None:
    """Read the default layers of an untrained model of timm for two images."""
    size = input_size(name)
    known = describe_network(without_numbers(lambda: _zoo_timm.build(name, None)), size)
    assert len(known["layers"]) > 1
    if max(size) > LARGEST:  # a pass without numbers has reached the layers; one with them takes gigabytes and minutes
        return
    with seeded_globals():
        network = _zoo_timm.build(name, None)
    options = {key: known[key] for key in ("prefix_tokens", "channels_last")}
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = ZooNetwork(network, pool="none", class_token=True, **options).features(images, known["layers"])
    for layer, values in features.items():
        assert values.ndim == 2
        assert len(values) == 2
        assert values.isfinite().all(), layer
        assert not torch.equal(values[0], values[1]), layer


@pytest.mark.parametrize("name", ["hrnet_w18_small", "efficientvim_m1"])
def test_some_families(name: str) -> None:
    check_family(name)


@pytest.mark.slow
@pytest.mark.parametrize("module", timm.list_modules())
def test_every_family_of_timm(module: str) -> None:
    check_family(smallest(module))


def test_features_among_what_a_module_returns() -> None:
    """Of a list or mapping all tensors with a row for every image, of a tuple the first; nothing else."""
    one, two, other = torch.zeros(2, 3), torch.zeros(2, 4, 5), torch.zeros(6, 3)
    flat = torch.zeros(2)
    for output, expected in [
        (one, [one]),
        ([one, two], [one, two]),
        ({"a": two, "b": 1, "c": one}, [two, one]),
        ((two, one), [two]),
        ((other, one, (7, 7)), [one]),
        ((two, (7, 7)), [two]),
        ([other, flat, None], []),
        (flat, []),
        (None, []),
    ]:
        found = features_of(output, rows=2)
        assert [t is e for t, e in zip(found, expected, strict=True)] == [True] * len(expected)


class Branches(torch.nn.Module):
    """One layer with maps of two resolutions, one with nothing to read."""

    def __init__(self) -> None:
        super().__init__()

        class Split(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
                return [x, x[:, :, ::2, ::2]]

        class Nothing(torch.nn.Module):
            def forward(self, x: list[torch.Tensor]) -> tuple[torch.Tensor, int]:
                return x[0].sum(), 3

        self.stage, self.end = Split(), Nothing()

    def forward(self, x: torch.Tensor) -> Any:
        return self.end(self.stage(x))


def test_branches_lie_side_by_side() -> None:
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    options = {"class_token": True, "prefix_tokens": 0, "channels_last": False}
    whole = ZooNetwork(Branches(), pool="none", **options).features(x, ["stage"])["stage"]
    assert torch.equal(whole, torch.cat([x.flatten(1), x[:, :, ::2, ::2].flatten(1)], dim=1))
    pooled = ZooNetwork(Branches(), pool="avg", **options).features(x, ["stage"])["stage"]
    expected = torch.cat([x.mean(dim=(2, 3)), x[:, :, ::2, ::2].mean(dim=(2, 3))], dim=1)
    torch.testing.assert_close(pooled, expected)
    with pytest.raises(ModelError, match="layer 'end' returns tuple, not a tensor"):
        ZooNetwork(Branches(), pool="none", **options).features(x, ["end"])
