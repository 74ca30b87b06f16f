"""Untrained models against outputs of the published ones, given the same weights.

``golden_activations.json`` holds what the published models (Kazemian et al., DOI 10.5281/zenodo.16920087) put out for
a fixed input. The weights are drawn here as that file describes: seed 42 on the CPU (0 for AlexNet), layers in order.
Those of the expansion model are each constructed (which draws the default initialisation) and at once drawn again
with the named one; those of the others keep the default.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark_core.torch_models import HookedModel
from plugins.models import _alexnet_network, _transformed_convolution
from plugins.models._filter_banks import curvature_bank
from plugins.models._fully_connected_network import FullyConnected
from plugins.models._vision_transformer_networks import CustomViT
from plugins.models.expansion import Expansion5L

GOLDEN = json.loads((Path(__file__).parent.parent / "golden_activations.json").read_text(encoding="utf-8"))["cases"]
NARROW = {"filters_2": 256, "filters_3": 256, "filters_4": 256}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1234))


@pytest.fixture(scope="module", autouse=True)
def _free_weights() -> Iterator[None]:
    yield
    published_weights.cache_clear()


@pytest.fixture
def by_transforms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Convolve wide layers by transforms, or directly: without measuring which of them is faster here and now."""
    durations = (9.0, 0.0, 0.0) if request.param else (0.0, 9.0, 9.0)  # directly; of transforms
    asked = []
    monkeypatch.setattr(_transformed_convolution, "_seconds", lambda *computations: asked.append(0) or durations)
    _transformed_convolution.choose.cache_clear()
    yield
    _transformed_convolution.choose.cache_clear()
    assert asked


@lru_cache(maxsize=1)  # a set of full-size weights is 0.9 GB
def published_weights(init: str, *widths: int) -> dict[str, torch.Tensor]:
    """Draw the weights of layers 2 to 5 as the published code does."""
    weights = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        channels = 108
        for layer, (filters, kernel) in enumerate(zip(widths, (7, 5, 3, 3), strict=True), start=2):
            convolution = nn.Conv2d(channels, filters, kernel, bias=False)
            getattr(nn.init, f"{init}_")(convolution.weight)
            weights[f"layer{layer}.weight"] = convolution.weight.detach()
            channels = filters
    return weights


def check(case: str, images: torch.Tensor, **parameters: Any) -> None:
    """Compare the model's features with a golden case, at the tolerances that the file states."""
    golden = GOLDEN[case]
    model = Expansion5L(**parameters)
    widths = [layer.weight.shape[0] for layer in model.layers[1:]]
    weights = published_weights(parameters.get("init", "kaiming_uniform"), *widths)
    model.load_state_dict({"layer1.weight": model.layer1.weight, **weights}, strict=True, assign=True)
    assert sum(p.numel() for p in model.parameters()) == golden["nparams"]
    with torch.inference_mode():
        features = model(images)
    # Features standardised over channels average to zero but for rounding, where no relative tolerance can hold.
    compare(case, features, nothing=1e-6 * golden["std"] if parameters.get("nonlinearity") == "zscore" else 0)


def compare(case: str, features: torch.Tensor, nothing: float = 0) -> None:
    """Compare features with a golden case, at the tolerances that the file states."""
    golden, features = GOLDEN[case], features.double()
    std = golden["std"]
    assert list(features.shape) == golden["shape"]
    assert features.std().item() == pytest.approx(std, rel=1e-4)
    if "sum_abs" in golden:  # AlexNet's cases have none
        assert features.abs().sum().item() == pytest.approx(golden["sum_abs"], rel=1e-4)
    assert features.mean().item() == pytest.approx(golden["mean"], rel=1e-4, abs=nothing)
    np.testing.assert_allclose(features[0, :8].numpy(), golden["first8"], rtol=0, atol=1e-4 * std)


def test_curvature_bank() -> None:
    golden, bank = GOLDEN["curvature_bank"], curvature_bank().astype(np.float32)
    assert golden["shape"] == [36, 1, 15, 15]
    assert bank.shape == (36, 15, 15)
    assert abs(float(bank.sum())) < 1e-5
    assert float((bank.astype(float) ** 2).sum()) == pytest.approx(golden["sumsq"], rel=1e-6)
    np.testing.assert_allclose(bank[0, 7], golden["f0_row7"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(bank[17, 3], golden["f17_row3"], rtol=0, atol=1e-7)


def test_curvature_convolution(images: torch.Tensor) -> None:
    golden = GOLDEN["curvature_conv"]
    layer = Expansion5L(filters_2=1, filters_3=1, filters_4=1, filters=1).layer1
    convolved = F.conv2d(images, layer.weight, padding=layer.padding, groups=layer.groups).double()
    assert list(convolved.shape) == golden["shape"]
    assert convolved.mean().item() == pytest.approx(golden["mean"], rel=1e-4)
    assert convolved.std().item() == pytest.approx(golden["std"], rel=1e-4)
    # The file does not say where its eight values lie: second image, channel 40 (filter 4 of G), row 100, columns 100-107.
    np.testing.assert_allclose(convolved[1, 40, 100, 100:108].numpy(), golden["v"], rtol=0, atol=1e-4 * golden["std"])


@pytest.mark.usefixtures("by_transforms")
@pytest.mark.parametrize("by_transforms", [False, True], indirect=True)
def test_expansion_256_300(images: torch.Tensor) -> None:
    check("expansion_256_300", images, filters=300, **NARROW)


@pytest.mark.usefixtures("by_transforms")
@pytest.mark.parametrize("by_transforms", [True], indirect=True)
def test_expansion_3(images: torch.Tensor) -> None:
    check("expansion_3", images, filters=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "parameters"),
    [
        ("expansion_linear_3", {"nonlinearity": "none"}),
        ("expansion_no_relu_3", {"nonlinearity_5": "none"}),
        ("expansion_3_elu", {"nonlinearity": "elu"}),
        ("expansion_3_abs", {"nonlinearity": "abs"}),
        ("expansion_3_zscore", {"nonlinearity": "zscore"}),
        ("expansion_3_kaiming_normal", {"init": "kaiming_normal"}),
        ("expansion_30", {"filters": 30}),
    ],
)
def test_full_size_variants(case: str, parameters: dict[str, Any], images: torch.Tensor) -> None:
    check(case, images, **{"filters": 3, **parameters})


def draw(layers: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Construct layers in order with torch's generator and return their weights and biases by name."""
    weights = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, (kind, *sizes) in layers.items():
            for which, tensor in kind(*sizes).state_dict().items():
                weights[f"{name}.{which}"] = tensor
    return weights


def test_fully_connected_1080(images: torch.Tensor) -> None:
    model = FullyConnected(features=1080)
    widths = (3 * 224 * 224, 108, 1000, 3000, 5000, 1080)
    layers = {f"layer{i}": (nn.Linear, widths[i - 1], widths[i]) for i in range(1, 6)}
    model.load_state_dict(draw(layers, seed=42), strict=True, assign=True)
    assert sum(p.numel() for p in model.parameters()) == GOLDEN["fully_connected_1080"]["nparams"]
    with torch.inference_mode():
        compare("fully_connected_1080", model(images))


def test_vit_60(images: torch.Tensor) -> None:
    model = CustomViT(D=60)
    layers: dict[str, Any] = {"trunk.patch_embed.proj": (nn.Conv2d, 3, 768, 16, 16)}
    for block in range(11):
        for name, sizes in (
            ("attn.qkv", (768, 2304)),
            ("attn.proj", (768, 768)),
            ("mlp.fc1", (768, 3072)),
            ("mlp.fc2", (3072, 768)),
        ):
            layers[f"trunk.blocks.{block}.{name}"] = (nn.Linear, *sizes)
    layers["dense"] = (nn.Linear, 768, 60)
    missing, unexpected = model.load_state_dict(draw(layers, seed=42), strict=False, assign=True)
    assert not unexpected
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in missing} == {"trunk", "norm1", "norm2"}
    # The published model's count includes a 12th block, of width D, that is never read.
    unread = 12 * 60**2 + 13 * 60
    assert sum(p.numel() for p in model.parameters()) + unread == GOLDEN["vit_60"]["nparams"]
    with torch.inference_mode():
        compare("vit_60", model(images).flatten(1))


def test_alexnet_untrained(images: torch.Tensor) -> None:
    model = _alexnet_network.untrained(seed=0)
    convolutions = (
        (3, 64, 11, 4, 2),
        (64, 192, 5, 1, 2),
        (192, 384, 3, 1, 1),
        (384, 256, 3, 1, 1),
        (256, 256, 3, 1, 1),
    )
    layers: dict[str, Any] = {
        f"features.{i}": (nn.Conv2d, *sizes) for i, sizes in zip((0, 3, 6, 8, 10), convolutions, strict=True)
    }
    # The dense layers come after the convolutions and are not read.
    missing, unexpected = model.load_state_dict(draw(layers, seed=0), strict=False, assign=True)
    assert not unexpected
    assert {name.partition(".")[0] for name in missing} == {"classifier"}
    with torch.inference_mode():
        features = HookedModel(model).features(images, ["features.2", "features.12"])
    for layer, values in features.items():
        compare(f"alexnet_untrained_{layer}", values)
