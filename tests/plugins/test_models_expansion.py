"""The expansion model as a torch module and as a plugin."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal, special
from skimage.filters import gabor_kernel
from torch.nn import functional as F

from benchmark_core.errors import InputError
from benchmark_core.identifiers import split_identifier
from benchmark_core.keys import representation_key
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.resolution import import_target, resolve
from plugins.models._dense_layer import DenseLayer
from plugins.models._expansion_network import LAYER_5, ExpansionLayer, SpatialShuffle
from plugins.models._filter_banks import BANKS
from plugins.models._nonlinearities import NONLINEARITIES
from plugins.models._philox_weights import INITS, RECIPE
from plugins.models.expansion import Expansion5L, register_models

NARROW = {"filters_2": 256, "filters_3": 256, "filters_4": 256}
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
        "bank": "curvature",
        "layer_5": "convolution",
        "nonlinearity_5": None,
        "shuffle_5": False,
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
        ({"filters": 1, "nonlinearity_5": "zscore"}, "layer 5 .* needs at least 2 with nonlinearity 'zscore'"),
        ({"nonlinearity_5": "tanh"}, "unknown nonlinearity 'tanh'"),
        ({"bank": "wavelet"}, "unknown bank 'wavelet'; use one of curvature, gabor"),
        ({"layer_5": "attention"}, "unknown layer_5 'attention'; use one of convolution, dense"),
        ({"filters_1": 5, "bank": "gabor"}, "bank=gabor has no effect with filters_1=5"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Expansion5L(**{**SMALL, **parameters})


def test_spec_offers_what_the_network_knows() -> None:
    (spec,) = register_models()
    choices = {p.name: p.choices for p in spec.parameters}
    assert choices["init"] == INITS
    assert choices["nonlinearity"] == choices["nonlinearity_5"] == tuple(NONLINEARITIES)
    assert choices["bank"] == tuple(BANKS)
    assert choices["layer_5"] == LAYER_5
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


@pytest.mark.parametrize(
    ("identifier", "given", "first_key_hex"),
    [
        ("expansion5l", {}, "016ba7b4e316cddd"),
        ("expansion5l:filters=300", {"filters": 300}, "1371310d82ad21e2"),
        ("expansion5l-256:filters=300", {"filters": 300} | NARROW, "4ee7d137c8ff8827"),
    ],
)
def test_keys_of_published_representations_stay(identifier: str, given: dict[str, Any], first_key_hex: str) -> None:
    """What was computed before the ablations came is still found: defaults of new parameters enter no key."""
    (spec,) = register_models()
    resolved = resolve(spec, *split_identifier(identifier))
    assert (resolved.identifier, resolved.given) == (identifier, given)
    assert isinstance(spec.preprocessing, Preprocessing)
    assert isinstance(spec.weights, str)
    assert not callable(spec.layers)
    key = representation_key(
        model=spec.name,
        version=str(spec.version),
        parameters=resolved.given,
        weights=spec.weights,
        preprocessing=spec.preprocessing.as_key(),
        stimuli="x",
        layers=spec.layers,
        policy="exact",
    )
    assert key[:16] == first_key_hex


def test_ablations_are_names_for_parameters() -> None:
    (spec,) = register_models()
    spelled = {
        "expansion5l-linear": "nonlinearity=none",
        "expansion5l-random": "filters_1=3000",
        "expansion5l-lrp": "filters_2=256,filters_3=256,filters_4=256,layer_5=dense",
        "expansion5l-norelu": "nonlinearity_5=none",
        "expansion5l-nospatial": "shuffle_5=true",
    }
    assert {*spelled, "expansion5l-256"} == {*spec.variants}
    for name, parameters in spelled.items():
        named = resolve(spec, *split_identifier(f"{name}:filters=30"))
        written = resolve(spec, *split_identifier(f"expansion5l:filters=30,{parameters}"))
        assert named.identifier == written.identifier == f"{name}:filters=30"
        assert named.given == written.given


def layer_4(model: Expansion5L, batch: torch.Tensor) -> torch.Tensor:
    for layer in model.trunk:
        batch = layer(batch)
    return batch


def test_nonlinearity_of_layer_5_alone() -> None:
    model, plain, batch = Expansion5L(**SMALL, nonlinearity_5="none"), Expansion5L(**SMALL), images(1)
    x = layer_4(plain, batch)
    assert torch.equal(layer_4(model, batch), x)
    expected = F.avg_pool2d(F.conv2d(x, plain.layer5.weight), 4, 1).flatten(1)
    torch.testing.assert_close(model(batch), expected)
    assert (expected < 0).any()
    assert (plain(batch) >= 0).all()


def test_shuffle_of_rows_and_columns() -> None:
    """One order of rows and one of columns for all channels, images and batches; another seed, other orders."""
    x = torch.arange(2 * 3 * 11 * 11.0).reshape(2, 3, 11, 11)
    shuffled = SpatialShuffle(0)(x)
    rows = (shuffled[0, 0] // 11).long()[:, 0]
    columns = (shuffled[0, 0] % 11).long()[0]
    assert sorted(rows.tolist()) == sorted(columns.tolist()) == list(range(11))
    assert rows.tolist() != columns.tolist() != list(range(11)) != rows.tolist()
    assert torch.equal(shuffled, x[:, :, rows][:, :, :, columns])
    assert torch.equal(SpatialShuffle(0)(x[1:]), shuffled[1:])
    assert not torch.equal(SpatialShuffle(1)(x), shuffled)


def test_shuffle_comes_before_layer_5() -> None:
    before = global_generators()
    model, plain, batch = Expansion5L(**SMALL, shuffle_5=True), Expansion5L(**SMALL), images(2)
    features = model(batch)
    x = layer_4(plain, batch)
    torch.testing.assert_close(features, plain.layer5(SpatialShuffle(0)(x)).flatten(1))
    assert not torch.isclose(features, plain(batch)).all()
    assert global_generators() == before


@pytest.mark.parametrize("init", ["kaiming_uniform", "xavier_normal"])
def test_dense_layer_5(init: str) -> None:
    """relu(W x + b): weights of the named distribution over all of layer 4's output, a bias of torch's default."""
    batch, inputs = images(2), 10 * 11 * 11
    model = Expansion5L(**SMALL | {"filters": 300}, layer_5="dense", init=init)
    assert isinstance(model.layer5, DenseLayer)
    weight, bias = model.layer5.weight, model.layer5.bias
    assert weight.shape == (300, inputs)
    std = math.sqrt(2 / inputs) if init == "kaiming_uniform" else math.sqrt(2 / (inputs + 300))
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert bias.abs().max().item() <= inputs**-0.5
    assert bias.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.15)
    features = model(batch)
    expected = layer_4(model, batch).flatten(1).double().numpy() @ weight.double().numpy().T + bias.double().numpy()
    np.testing.assert_allclose(features.numpy(), np.maximum(expected, 0), rtol=1e-4, atol=1e-5)
    if init == "kaiming_uniform":
        narrow = Expansion5L(**SMALL, layer_5="dense", init=init)
        torch.testing.assert_close(narrow(batch), features[:, :4])


def test_dense_layer_5_needs_one_size() -> None:
    model = Expansion5L(**SMALL, layer_5="dense")
    assert model(images(1, model.smallest_input, 224)).shape == (1, 4)
    for height, width in ((260, 224), (224, 300)):
        with pytest.raises(InputError, match=f"needs images of 224 x 224 pixels, not {height} x {width}"):
            model(images(1, height, width))


def test_gabor_bank() -> None:
    """Like skimage's Gabor kernels of the same wavelengths, orientations and bandwidth; mean zero, norm one."""
    bank = BANKS["gabor"]()
    assert bank.shape == BANKS["curvature"]().shape == (36, 15, 15)
    np.testing.assert_allclose(bank.mean(axis=(1, 2)), 0, atol=1e-15)
    np.testing.assert_allclose((bank**2).sum(axis=(1, 2)), 1)
    for number, found in enumerate(bank):
        wavelength, theta = 4 * 2 ** (number // 12 / 2), np.pi * (number % 12) / 12
        kernel = gabor_kernel(1 / wavelength, theta=theta, bandwidth=1.5, n_stds=8).real
        middle = kernel.shape[0] // 2, kernel.shape[1] // 2
        # skimage has x along columns and y along rows; here x runs down the rows and y along them, backwards.
        window = kernel[middle[0] - 7 : middle[0] + 8, middle[1] - 7 : middle[1] + 8].T[:, ::-1]
        expected = window - window.mean()
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_gabor_bank_is_the_first_layer() -> None:
    model = Expansion5L(**SMALL, bank="gabor")
    np.testing.assert_array_equal(model.layer1.weight[:, 0].numpy(), np.tile(BANKS["gabor"](), (3, 1, 1)).astype("f4"))
    assert "layer1.weight" not in dict(model.named_parameters())
    assert torch.equal(model.layer2.weight, Expansion5L(**SMALL).layer2.weight)
