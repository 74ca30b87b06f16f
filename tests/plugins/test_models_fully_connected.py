"""The fully connected model; its outputs are compared with published ones in test_models_golden."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from benchmark_core.errors import InputError
from plugins.models import _dense_layer, _fully_connected_network
from plugins.models._dense_layer import DenseLayer
from plugins.models._fully_connected_network import FullyConnected
from plugins.models.fully_connected import register_models


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model() -> FullyConnected:
    return FullyConnected(features=60)


def test_is_the_formula(model: FullyConnected) -> None:
    """Five times relu(W x + b), in float64; widths, and bounds of torch's default initialisation."""
    x = images().flatten(1).double().numpy()
    sizes = []
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4, model.layer5):
        weight, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
        x = np.maximum(x @ weight.T + bias, 0)
        sizes.append(weight.shape)
        for values in (weight, bias):
            assert np.abs(values).max() == pytest.approx(weight.shape[1] ** -0.5, rel=0.1)
    assert sizes == [(108, 150528), (1000, 108), (3000, 1000), (5000, 3000), (60, 5000)]
    np.testing.assert_allclose(model(images()).numpy(), x, rtol=1e-3, atol=1e-6)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_head_gives_any_range_of_features(model: FullyConnected) -> None:
    stem, features = model.stem(images()), model(images())
    assert stem.shape == (2, 5000)
    for first, last in ((0, 60), (7, 8), (13, 50)):
        torch.testing.assert_close(model.head(stem, first, last), features[:, first:last], rtol=1e-5, atol=1e-7)


def test_features_that_are_never_held(model: FullyConnected, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn block by block, the last layer gives the same features; a narrower model's are the first of them."""
    monkeypatch.setattr(_fully_connected_network, "LARGEST_HELD", 100_000)
    monkeypatch.setattr(_dense_layer, "BLOCK", 17)
    wide = FullyConnected(features=90)
    assert wide.layer5.weight.numel() == wide.layer5.bias.numel() == 0
    features, stem = wide(images()), wide.stem(images())
    assert features.shape == (2, 90)
    torch.testing.assert_close(features[:, :60], model(images()), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(wide.head(stem, 30, 71), features[:, 30:71], rtol=1e-5, atol=1e-7)


def test_widest_published_model_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []

    def layer(*_sizes: int, **options: Any) -> torch.nn.Module:
        held.append(options.get("held", True))
        return torch.nn.Identity()

    monkeypatch.setattr(_fully_connected_network, "DenseLayer", layer)
    for features in (10800, 1_080_000):
        FullyConnected(features)
    assert held == [*[True] * 5, *[True] * 4, False]


def test_seed_decides_the_weights_and_no_global_generator_is_touched() -> None:
    state: Any = np.random.get_state()  # noqa: NPY002
    before = torch.get_rng_state().tolist(), state[1].tolist(), random.getstate()
    layers = [DenseLayer(30, 20, seed=seed, layer=layer) for seed, layer in ((0, 1), (0, 1), (1, 1), (0, 2))]
    state = np.random.get_state()  # noqa: NPY002
    assert (torch.get_rng_state().tolist(), state[1].tolist(), random.getstate()) == before
    same, *others = ([layer.weight, layer.bias] for layer in layers)
    for (weight, bias), equal in zip(others, (True, False, False), strict=True):
        assert torch.equal(weight, same[0]) is torch.equal(bias, same[1]) is equal


@pytest.mark.parametrize("shape", [(2, 3, 224, 225), (3, 224, 224), (2, 1, 224, 224)])
def test_wrong_shape_is_named(model: FullyConnected, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"shape \(N, 3, 224, 224\), not \(" + ", ".join(map(str, shape))):
        model(torch.zeros(shape))


def test_no_features() -> None:
    with pytest.raises(InputError, match="has 0 features; it needs at least 1"):
        FullyConnected(features=0)


def test_default_width_is_that_of_the_expansion_model_with_300_filters() -> None:
    (spec,) = register_models()
    assert {p.name: p.default for p in spec.parameters} == {"features": 36 * 300, "seed": 0}
    assert FullyConnected.__init__.__defaults__ == (10800, 0, None)
