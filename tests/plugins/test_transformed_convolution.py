"""Convolutions by transforms: the same as direct ones, in few products and without losing many digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from torch import Tensor
from torch.nn import functional as F

from plugins.models import _expansion_network as network
from plugins.models import _transformed_convolution as module
from plugins.models._nonlinearities import NONLINEARITIES
from plugins.models._transformed_convolution import Transform, choose, fourier, toom_cook, transformed_convolution

USED = [transform for kernel in range(1, 12) for transform in module.transforms(kernel)]
OTHERS = [toom_cook(2, 3, ("0", "1", "-1")), toom_cook(2, 5, ("0", "1", "-1", "2", "-2")), fourier(9, 2), fourier(8, 3)]
POINTWISE = [name for name in NONLINEARITIES if name != "zscore"]


def name_of(transform: Transform) -> str:
    return transform.name


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.Philox(seed)).standard_normal(shape))


def transform_of(kernel: int, pool: bool) -> Transform | None:
    """Return a transform for a layer, whatever is faster."""
    fit = [t for t in module.transforms(kernel) if not pool or t.outputs % 2 == 0]
    return fit[-1] if fit else None


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Make the network transform every layer that can be; return what it asks for."""
    asked = []

    def chosen(shape: tuple[int, ...], height: int, width: int, pool: bool, threads: int) -> Transform | None:
        asked.append((shape, height, width, pool))
        return transform_of(shape[2], pool)

    monkeypatch.setattr(network, "choose", chosen)
    return asked


@pytest.mark.parametrize("transform", USED + OTHERS, ids=name_of)
def test_one_tile_is_the_correlation(transform: Transform) -> None:
    """``y = A ((G w) * (B x))`` for every pair of a pixel and a tap, against scipy."""
    t, r = transform.tile, transform.kernel
    x, w = normal(t, t).numpy(), normal(r, r, seed=1).numpy()
    products = (transform.filter_matrix @ w.ravel()) * (transform.input_matrix @ x.ravel())
    expected = signal.correlate(x, w, mode="valid")
    found = (transform.output_matrix @ products).reshape(transform.outputs, transform.outputs)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max() + 1e-13)
    assert len(products) == transform.products < (transform.outputs * r) ** 2


def test_numbers_of_products() -> None:
    """(m + r - 1)^2 real ones; of Fourier tiles one for a real frequency and three for a pair of complex ones."""
    assert toom_cook(2, 3, ("0", "1", "-1")).products == 16
    assert {t.name: t.products for t in module.transforms(3)} == {
        "Toom-Cook F(4 x 4, 3 x 3)": 36,
        "Toom-Cook F(3 x 3, 3 x 3)": 25,
    }
    assert [fourier(tile, 5).products for tile in (12, 13)] == [4 + 3 * 70, 1 + 3 * 84]
    assert [len(module.transforms(kernel)) for kernel in (1, 2, 10, 15)] == [0, 0, 0, 0]


def test_published_matrices() -> None:
    """F(2, 3) of Lavin and Gray is this one, but for the scale of each product."""
    ours = toom_cook(2, 3, ("0", "1", "-1"))
    inputs = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
    filters = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    outputs = np.array([[1, 1, 1, 0], [0, 1, -1, 1]])
    theirs = np.einsum(
        "op,pr,pt->ort", np.kron(outputs, outputs), np.kron(filters, filters), np.kron(inputs, inputs), optimize=True
    )
    mine = np.einsum("op,pr,pt->ort", ours.output_matrix, ours.filter_matrix, ours.input_matrix, optimize=True)
    np.testing.assert_allclose(mine, theirs, atol=1e-14)
    for a, b in ((ours.input_matrix, np.kron(inputs, inputs)), (ours.filter_matrix, np.kron(filters, filters))):
        parallel = np.abs((a * b).sum(axis=1)) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        np.testing.assert_allclose(parallel, 1, atol=1e-14)


@pytest.mark.parametrize("points", [("0", "1"), ("0", "1", "1"), ("0", "1", "2/2"), ("0", "1", "-1", "2")])
def test_wrong_points(points: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="needs 3 different points, not 0, 1"):
        toom_cook(2, 3, points)


@settings(max_examples=20, deadline=None)
@given(
    transform=st.sampled_from(USED + OTHERS),
    n=st.integers(1, 3),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    more=st.tuples(st.integers(1, 22), st.integers(1, 22)),
    pool=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_size(
    transform: Transform, n: int, channels: int, filters: int, more: tuple[int, int], pool: bool, seed: int
) -> None:
    pool = pool and transform.outputs % 2 == 0
    x = normal(n, channels, *(transform.kernel + side for side in more), seed=seed)
    weight = normal(filters, channels, transform.kernel, transform.kernel, seed=seed + 1)
    expected = F.conv2d(x, weight)
    if pool:
        expected = F.avg_pool2d(expected.abs(), 2)
    found = transformed_convolution(x, weight, transform, torch.abs_ if pool else None, pool)
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("transform", USED[:4], ids=name_of)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (20_000, 30_000, 4_000), (10**9, 40_000, 2_000)], ids=str)
def test_blocks_and_groups_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, transform: Transform, sizes: tuple[int, int, int]
) -> None:
    """Groups of images, blocks of filters and pieces for the cache, down to one each, give the same."""
    x, weight = normal(5, 6, 31, 29), normal(7, 6, transform.kernel, transform.kernel, seed=1)
    expected = transformed_convolution(x, weight, transform)
    for name, size in zip(("_PLANES_BYTES", "_BLOCK_BYTES", "_CACHE_BYTES"), sizes, strict=True):
        monkeypatch.setattr(module, name, size)
    torch.testing.assert_close(transformed_convolution(x, weight, transform), expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(F.conv2d(x, weight), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("transform", [t for t in USED if t.kernel in (3, 5, 7)], ids=name_of)
def test_digits_in_float32(transform: Transform) -> None:
    """On inputs as layers 3 to 5 get them, the error is a small multiple of that of a direct float32 convolution."""
    side = transform.kernel + 23
    x = F.avg_pool2d(normal(2, 300, 2 * side, 2 * side).relu_(), 2)
    weight = normal(8, 300, transform.kernel, transform.kernel, seed=1) / (300**0.5 * transform.kernel)
    exact = F.conv2d(x, weight)
    size = exact.square().mean().sqrt()
    errors = [y - exact for y in (transformed_convolution(x.float(), weight.float(), transform),
                                  F.conv2d(x.float(), weight.float()))]  # fmt: skip
    ours, direct = (error.square().mean().sqrt() for error in errors)
    most = 2.5 if transform.name.startswith("Fourier") else 7
    assert ours < most * direct
    assert errors[0].abs().max() < 1e-5 * size


@pytest.mark.parametrize("nonlinearity", POINTWISE)
def test_nonlinearity_and_averaging_are_fused(nonlinearity: str) -> None:
    x, weight = normal(2, 3, 17, 20), normal(5, 3, 5, 5, seed=1)
    function: Callable[[Tensor], Tensor] = NONLINEARITIES[nonlinearity]
    before = x.clone(), weight.clone()
    found = transformed_convolution(x, weight, module.transforms(5)[0], function, pool=True)
    torch.testing.assert_close(found, F.avg_pool2d(function(F.conv2d(x, weight)), 2), rtol=0, atol=1e-12)
    assert torch.equal(x, before[0])
    assert torch.equal(weight, before[1])


def test_no_images() -> None:
    found = transformed_convolution(torch.zeros(0, 3, 12, 12), torch.zeros(4, 3, 3, 3), module.transforms(3)[0])
    assert found.shape == (0, 4, 10, 10)


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize(("kernel", "pool", "stride"), [(3, 2, 2), (7, 2, 2), (3, 4, 1), (5, 4, 1)])
def test_layer_by_a_transform_is_the_layer(
    always: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    nonlinearity: str,
    kernel: int,
    pool: int,
    stride: int,
) -> None:
    x, weight = normal(3, 20, 30, 27).float().relu_(), normal(6, 20, kernel, kernel, seed=1).float()
    layer = network.ExpansionLayer(weight, nonlinearity, pool=pool, stride=stride)
    with torch.inference_mode():
        found = layer(x)
        monkeypatch.setattr(network, "choose", lambda *_: None)
        expected = layer(x)
    # A linear layer with a stride is done directly: it needs a quarter of the products.
    assert len(always) == (0 if nonlinearity == "none" and stride == 2 else 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.square().mean().sqrt().item())


@pytest.fixture
def small() -> network.Expansion5L:
    return network.Expansion5L(None, 6, 8, 10, 4)


@pytest.mark.parametrize("nonlinearity", ["relu", "none"])
def test_network_by_transforms(
    always: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, nonlinearity: str
) -> None:
    """Layers 2 to 5 of images of 224 x 224; an image's features do not depend on the others in its batch."""
    model, images = network.Expansion5L(None, 6, 8, 10, 4, nonlinearity=nonlinearity), normal(2, 3, 224, 224).float()
    with torch.inference_mode():
        found = model(images)
        alone = torch.cat([model(image[None]) for image in images.flip(0)]).flip(0)
        asked = [(shape[2], height, width, pool) for shape, height, width, pool in always[: len(always) // 3]]
        monkeypatch.setattr(network, "choose", lambda *_: None)
        expected = model(images)
    fused = nonlinearity == "relu"
    trunk = [(7, 111, 111, fused), (5, 52, 52, fused), (3, 24, 24, fused)]
    assert asked == ([(3, 8, 8, False)] if nonlinearity == "none" else [*trunk, (3, 11, 11, False)])
    size = expected.square().mean().sqrt().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * size)
    torch.testing.assert_close(found, alone, rtol=0, atol=2e-5 * size)


def test_when_a_layer_is_done_directly(always: list[tuple[Any, ...]], small: network.Expansion5L) -> None:
    """With gradients, in float64, in groups, with padding, and on other devices, no transform is asked for."""
    x = normal(1, 6, 20, 20).float()
    small.layer3(x.clone().requires_grad_())
    small.layer3.double()(x.double())
    small.layer1(normal(1, 3, 30, 30).float())
    network.ExpansionLayer(normal(5, 6, 3, 3).float(), "relu", padding=1)(x)
    network.ExpansionLayer(torch.empty(5, 6, 3, 3, device="meta"), "relu")(x.to("meta"))
    assert always == []
    with torch.no_grad():
        small.layer3.float()(x.clone().requires_grad_())
    assert always == [((8, 6, 5, 5), 20, 20, True)]


WIDE = (256, 1000, 3, 3)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forget what was measured."""
    choose.cache_clear()
    yield
    choose.cache_clear()


def clock(direct: float, inputs: float, outputs: float) -> Callable[..., tuple[float, ...]]:
    """Return a stand-in for the stop-watch."""
    return lambda *_computations: (direct, inputs, outputs)


def test_choice_is_measured(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    """Inputs are transformed once for all filters (here 256, of which 64 are timed), outputs for each."""
    monkeypatch.setattr(module, "_seconds", clock(1.0, 0.8, 0.6))
    chosen = choose(WIDE, 24, 24, True, 1)
    assert chosen is module.transforms(3)[0]
    monkeypatch.setattr(module, "_seconds", None)  # fails when anything is measured again
    assert choose(WIDE, 24, 24, True, 1) is chosen
    monkeypatch.setattr(module, "_seconds", clock(1.0, 0.8, 0.65))  # not enough of a gain
    assert choose(WIDE, 24, 24, True, 2) is None


def test_choice_of_the_transform_with_the_fewest_products(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    for (shape, side, pool), name in {
        ((3000, 5000, 3, 3), 11, False): "Toom-Cook F(3 x 3, 3 x 3)",
        ((3000, 5000, 3, 3), 11, True): "Toom-Cook F(4 x 4, 3 x 3)",
        ((5000, 3000, 3, 3), 24, True): "Toom-Cook F(4 x 4, 3 x 3)",
        ((5000, 300, 5, 5), 24, True): "Fourier tiles of 12 x 12 for 5 x 5",
    }.items():
        choose.cache_clear()
        monkeypatch.setattr(module, "_seconds", clock(1e9, 1.0, 1.0))
        chosen = choose(shape, side, side, pool, 1)
        assert chosen is not None
        assert chosen.name == name


def test_small_layers_and_other_kernels_are_not_measured(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setattr(module, "_seconds", None)  # fails when anything is measured
    assert choose((8, 6, 5, 5), 52, 52, True, 1) is None
    assert choose((3000, 3, 15, 15), 238, 238, True, 1) is None
    assert choose((3000, 1000, 5, 4), 52, 52, True, 1) is None
    assert choose((3000, 1000, 5, 5), 4, 52, True, 1) is None


def test_measuring_for_real(fresh: None) -> None:
    """A layer of a billion products: whatever comes out, it is a transform of that kernel or None, and stays."""
    chosen = choose((128, 256, 5, 5), 39, 39, True, torch.get_num_threads())
    assert chosen in (None, *module.transforms(5))
    assert choose((128, 256, 5, 5), 39, 39, True, torch.get_num_threads()) is chosen
