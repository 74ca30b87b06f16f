"""The expansion model against outputs of the published one, given the same weights.

``golden_activations.json`` holds what the published models (Kazemian et al., DOI 10.5281/zenodo.16920087) put out for
a fixed input. The weights are drawn here as that file describes: seed 42 on the CPU, layers 2 to 5 in order, each
constructed (which draws its default initialisation) and at once drawn again with the named one.
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
from torch.nn import functional as F

from plugins.models._filter_banks import curvature_bank
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


@lru_cache(maxsize=1)  # a set of full-size weights is 0.9 GB
def published_weights(init: str, *widths: int) -> dict[str, torch.Tensor]:
    """Draw the weights of layers 2 to 5 as the published code does."""
    weights = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        channels = 108
        for layer, (filters, kernel) in enumerate(zip(widths, (7, 5, 3, 3), strict=True), start=2):
            convolution = torch.nn.Conv2d(channels, filters, kernel, bias=False)
            getattr(torch.nn.init, f"{init}_")(convolution.weight)
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
    with torch.inference_mode():
        features = model(images).double()
    std = golden["std"]
    assert list(features.shape) == golden["shape"]
    assert sum(p.numel() for p in model.parameters()) == golden["nparams"]
    assert features.std().item() == pytest.approx(std, rel=1e-4)
    assert features.abs().sum().item() == pytest.approx(golden["sum_abs"], rel=1e-4)
    # Features standardised over channels average to zero but for rounding, where no relative tolerance can hold.
    nothing = 1e-6 * std if parameters.get("nonlinearity") == "zscore" else 0
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


def test_expansion_256_300(images: torch.Tensor) -> None:
    check("expansion_256_300", images, filters=300, **NARROW)


def test_expansion_3(images: torch.Tensor) -> None:
    check("expansion_3", images, filters=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "parameters"),
    [
        ("expansion_linear_3", {"nonlinearity": "none"}),
        ("expansion_3_elu", {"nonlinearity": "elu"}),
        ("expansion_3_abs", {"nonlinearity": "abs"}),
        ("expansion_3_zscore", {"nonlinearity": "zscore"}),
        ("expansion_3_kaiming_normal", {"init": "kaiming_normal"}),
        ("expansion_30", {"filters": 30}),
    ],
)
def test_full_size_variants(case: str, parameters: dict[str, Any], images: torch.Tensor) -> None:
    check(case, images, **{"filters": 3, **parameters})
