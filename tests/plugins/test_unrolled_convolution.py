"""Convolutions of groups of channels as products of matrices: the same as direct ones."""

from __future__ import annotations

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
from plugins.models import _unrolled_convolution as module
from plugins.models._unrolled_convolution import unrolled_convolution


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.Philox(seed)).standard_normal(shape))


def test_one_map_and_one_filter_are_the_correlation() -> None:
    x, w = normal(9, 12), normal(4, 3, seed=1)
    found = unrolled_convolution(x[None, None], w[None, None])
    np.testing.assert_allclose(found[0, 0], signal.correlate(x.numpy(), w.numpy(), mode="valid"), atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3),
    groups=st.integers(1, 3),
    channels=st.integers(1, 3),
    filters=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(7, 14), st.integers(7, 14)),
    padding=st.integers(0, 3),
    pool=st.booleans(),
    cache=st.sampled_from([1, 20_000, 1 << 22]),
)
def test_any_shape_equals_torch(
    n: int,
    groups: int,
    channels: int,
    filters: int,
    kernel: tuple[int, int],
    size: tuple[int, int],
    padding: int,
    pool: bool,
    cache: int,
) -> None:
    x, weight = normal(n, groups * channels, *size), normal(groups * filters, channels, *kernel, seed=1)
    expected = torch.relu(F.conv2d(x, weight, padding=padding, groups=groups))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CACHE_BYTES", cache)  # few rows at once, or all
        found = unrolled_convolution(x, weight, padding, groups, torch.relu_, pool)
    torch.testing.assert_close(found, F.avg_pool2d(expected, 2) if pool else expected, rtol=0, atol=1e-12)
    assert found.is_contiguous()


def test_images_do_not_depend_on_each_other_nor_on_memory_layout() -> None:
    x, weight = normal(3, 2, 20, 20).float(), normal(6, 1, 5, 5, seed=1).float()
    together = unrolled_convolution(x, weight, groups=2)
    alone = torch.cat([unrolled_convolution(image[None], weight, groups=2) for image in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    striped = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(unrolled_convolution(striped, weight, groups=2), together, rtol=0, atol=0)


@pytest.mark.parametrize("nonlinearity", ["relu", "abs", "zscore"])
def test_first_layer_of_the_expansion_model(nonlinearity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unrolled where it may be, directly in float64 and for gradients; the same features."""
    model = network.Expansion5L(filters_2=2, filters_3=2, filters_4=2, filters=2, nonlinearity=nonlinearity)
    layer, images = model.layer1, normal(2, 3, 57, 64).float()
    shapes = []

    def spy(x: Tensor, *given: Any) -> Tensor:
        shapes.append(tuple(x.shape))
        return unrolled_convolution(x, *given)

    monkeypatch.setattr(network, "unrolled_convolution", spy)
    found = layer(images)
    assert shapes == [(2, 3, 57, 64)]
    with_gradients = layer(images.requires_grad_())
    with_gradients.sum().backward()
    exact = layer.double()(images.detach().double())
    assert len(shapes) == 1
    scale = float(exact.std())
    torch.testing.assert_close(with_gradients.double(), exact, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * scale)
