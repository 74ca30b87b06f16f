"""The expansion model as a torch module and as a plugin."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal, special

from benchmark_core.errors import InputError
from benchmark_core.specs import import_target, resolve
from plugins.models._expansion_network import NONLINEARITIES, ExpansionLayer
from plugins.models._philox_weights import INITS, RECIPE
from plugins.models.expansion import Expansion5L, register_models

SMALL: dict[str, Any] = {"filters_2": 6, "filters_3": 8, "filters_4": 10, "filters": 4}


def global_generators() -> tuple[Any, ...]:
    """Return the state of every global random generator."""
    state: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), state[1].tolist(), state[2:], random.getstate()


def images(n: int = 2, height: int = 224, width: int = 224) -> torch.Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("filters_1", [None, 5])
@pytest.mark.parametrize("filters", [1, 3, 30])
def test_output_has_36_features_a_filter(filters_1: int | None, filters: int) -> None:
    model = Expansion5L(filters_1, 2, 2, 2, filters)
    with torch.inference_mode():
        features = model(images())
    assert features.shape == (2, 36 * filters)
    assert features.dtype == torch.float32
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_intermediate_sizes() -> None:
    """Every layer's output has the published number of positions (after pooling: 111, 52, 24, 11, 6)."""
    model, x, sides = Expansion5L(**SMALL), images(1), []
    for layer in model.layers:
        x = layer(x)
        sides.append(tuple(x.shape[1:]))
    assert sides == [(108, 111, 111), (6, 52, 52), (8, 24, 24), (10, 11, 11), (4, 6, 6)]


def test_default_widths_are_the_published_ones() -> None:
    declared = {p.name: p.default for p in register_models()[0].parameters}
    assert declared == {
        "filters_1": None,
        "filters_2": 1000,
        "filters_3": 3000,
        "filters_4": 5000,
        "filters": 3000,
        "init": "kaiming_uniform",
        "nonlinearity": "relu",
        "seed": 0,
    }
    code = Expansion5L.__init__.__defaults__
    assert code == tuple(declared.values())


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * special.ndtr(x),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "abs": np.abs,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "zscore": lambda x: (x - x.mean(axis=0)) / x.std(axis=0, ddof=1),
    "none": lambda x: x,
}


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize(("pool", "stride"), [(2, 2), (4, 1)])
def test_layer_is_the_formula(nonlinearity: str, pool: int, stride: int) -> None:
    """Cross-correlation (scipy), nonlinearity (formula), mean over windows (loop)."""
    generator = np.random.default_rng(0)
    weight, x = generator.standard_normal((5, 3, 3, 3)), generator.standard_normal((3, 12, 13))
    summed = np.stack([sum(signal.correlate(x[c], w[c], mode="valid") for c in range(3)) for w in weight])
    active = FORMULAS[nonlinearity](summed)
    rows, columns = ((side - pool) // stride + 1 for side in active.shape[1:])
    expected = np.empty((5, rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = active[:, i * stride : i * stride + pool, j * stride : j * stride + pool]
            expected[:, i, j] = window.mean(axis=(1, 2))
    layer = ExpansionLayer(torch.from_numpy(weight), nonlinearity, pool=pool, stride=stride)
    np.testing.assert_allclose(layer(torch.from_numpy(x)[None])[0].numpy(), expected, rtol=1e-10, atol=1e-12)


def test_first_layer_filters_each_colour_apart() -> None:
    """Outputs 0 to 35 see R only, 36 to 71 G, 72 to 107 B, all through the same filters."""
    layer = Expansion5L(**SMALL, nonlinearity="none").layer1
    red = images(1)
    red[:, 1:] = 0
    green = red.roll(1, dims=1)
    out, rolled = layer(red)[0], layer(green)[0]
    assert (out[:36].abs().amax(dim=(1, 2)) > 0).all()
    assert (out[36:] == 0).all()
    torch.testing.assert_close(rolled, out.roll(36, dims=0))


def test_zscore_of_equal_channels_is_zero() -> None:
    model = Expansion5L(**SMALL, nonlinearity="zscore")
    assert torch.equal(model(torch.zeros(1, 3, 224, 224)), torch.zeros(1, 144))


@pytest.mark.parametrize("nonlinearity", ["relu", "zscore"])
def test_images_in_a_batch_do_not_meet(nonlinearity: str) -> None:
    model, batch = Expansion5L(**SMALL, nonlinearity=nonlinearity), images(3, 142, 150)
    together = model(batch)
    alone = torch.cat([model(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(batch.flip(0)), together.flip(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_nothing_that_can_be_read_is_overwritten(nonlinearity: str) -> None:
    """Inputs and every layer's output are the same after the forward pass as when they were made."""
    model, batch = Expansion5L(**SMALL, nonlinearity=nonlinearity), images(1, 142, 142)
    original, held, copies = batch.clone(), [], []

    def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        held.append(output)
        copies.append(output.clone())

    for layer in model.layers:
        layer.register_forward_hook(keep)
    features = model(batch)
    assert torch.equal(batch, original)
    assert len(held) == 5
    assert all(torch.equal(a, b) for a, b in zip(held, copies, strict=True))
    assert torch.equal(features, held[-1].flatten(1))


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_gradient_with_respect_to_images(nonlinearity: str) -> None:
    """Image synthesis needs gradients through the in-place nonlinearities; compared with a finite difference."""
    model = Expansion5L(3, 2, 2, 2, 2, nonlinearity=nonlinearity).double()
    x = images(1, 142, 142).double().requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None
    step = 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    with torch.no_grad():
        difference = (model(x + step) - model(x - step)).sum()
    torch.testing.assert_close(difference, 2 * (x.grad * step).sum(), rtol=1e-3, atol=1e-12)


def test_widths_share_their_filters() -> None:
    narrow, wide = Expansion5L(**SMALL), Expansion5L(**{**SMALL, "filters": 40})
    for a, b in zip(narrow.layers, wide.layers, strict=True):
        assert torch.equal(a.weight, b.weight[: a.weight.shape[0]])
    batch = images(1)
    torch.testing.assert_close(narrow(batch), wide(batch)[:, : 4 * 36], rtol=1e-5, atol=1e-6)


def test_seed_decides_the_weights_and_no_global_generator_is_touched() -> None:
    before = global_generators()
    first, again, other = (Expansion5L(5, 6, 8, 10, 4, seed=seed) for seed in (3, 3, 4))
    assert global_generators() == before
    for a, b, c in zip(first.layers, again.layers, other.layers, strict=True):
        assert torch.equal(a.weight, b.weight)
        assert not torch.isclose(a.weight, c.weight).any(dim=0).all()


@pytest.mark.parametrize("filters_1", [None, 5])
def test_smallest_image(filters_1: int | None) -> None:
    model = Expansion5L(filters_1, 2, 2, 2, 2)
    side = model.smallest_input
    assert model(images(1, side, side + 7)).shape[0] == 1
    with pytest.raises(InputError, match=f"at least {side} x {side} pixels, not {side - 1} x {side}"):
        model(images(1, side - 1, side))


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 1, 224, 224), (1, 224, 224, 3)])
def test_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"shape \(N, 3, H, W\), not \(" + ", ".join(map(str, shape))):
        Expansion5L(**SMALL)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nonlinearity": "tanh"}, "unknown nonlinearity 'tanh'; use one of relu"),
        ({"init": "zeros"}, "unknown init 'zeros'"),
        ({"filters": 0}, "layer 5 of the expansion model has 0 filters; it needs at least 1"),
        ({"filters_3": 1, "nonlinearity": "zscore"}, "layer 3 .* needs at least 2 with nonlinearity 'zscore'"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Expansion5L(**{**SMALL, **parameters})


def test_spec_offers_what_the_network_knows() -> None:
    (spec,) = register_models()
    choices = {p.name: p.choices for p in spec.parameters}
    assert choices["init"] == INITS
    assert choices["nonlinearity"] == tuple(NONLINEARITIES)
    assert spec.weights == RECIPE


def test_variant_is_a_name_for_parameters() -> None:
    (spec,) = register_models()
    named = resolve(spec, "expansion5l-256", {"filters": "300"})
    spelled = resolve(
        spec, "expansion5l", {"filters": "300", "filters_2": "256", "filters_3": "256", "filters_4": "256"}
    )
    assert named.identifier == spelled.identifier == "expansion5l-256:filters=300"
    assert named.parameters == spelled.parameters
    with pytest.raises(InputError, match="filters must be a whole number of at least 1"):
        resolve(spec, "expansion5l", {"filters": "abc"})


def test_loading_by_identifier() -> None:
    (spec,) = register_models()
    pairs = {key: str(value) for key, value in SMALL.items()} | {"init": "xavier_normal", "seed": "5"}
    loaded = import_target(spec.load)(**resolve(spec, "expansion5l", pairs).parameters)
    direct = Expansion5L(**SMALL, init="xavier_normal", seed=5)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(loaded.layers, direct.layers, strict=True))
    assert callable(spec.layers) or set(spec.layers) <= {name for name, _ in loaded.named_modules()}
