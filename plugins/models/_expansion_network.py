"""The expansion model as a torch module."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark_core.errors import InputError
from plugins.models._filter_banks import curvature_bank
from plugins.models._philox_weights import draw_filters


def _zscore(x: Tensor) -> Tensor:
    """Standardise over channels (unbiased standard deviation) at every position; 0 where all channels are equal."""
    std, mean = torch.std_mean(x, dim=1, keepdim=True, correction=1)
    return (x - mean).div_(std.clamp_min(torch.finfo(x.dtype).tiny))


# In place where that is safe: the input is always the fresh output of a convolution, which no hook can hold.
NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "gelu": F.gelu,
    "elu": lambda x: F.elu(x, inplace=True),
    "abs": torch.abs_,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01, inplace=True),
    "zscore": _zscore,
    "none": lambda x: x,
}


class ExpansionLayer(nn.Module):
    """Convolution without bias, nonlinearity and average pooling, as one module.

    Parameters
    ----------
    weight
        Float tensor (filters, channels / groups, kernel, kernel).
    nonlinearity
        Name of the nonlinearity.
    padding, groups
        Of the convolution.
    pool, stride
        Of the average pooling.
    learnable
        False for a fixed filter bank, which is then a buffer and not counted among the parameters.
    """

    weight: Tensor

    def __init__(
        self,
        weight: Tensor,
        nonlinearity: str,
        *,
        padding: int = 0,
        groups: int = 1,
        pool: int = 2,
        stride: int = 2,
        learnable: bool = True,
    ) -> None:
        super().__init__()
        if learnable:
            self.weight = nn.Parameter(weight, requires_grad=False)
        else:
            self.register_buffer("weight", weight)
        self.nonlinearity = nonlinearity
        self.padding, self.groups, self.pool, self.stride = padding, groups, pool, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, filters, H', W')."""
        x = F.conv2d(x, self.weight, padding=self.padding, groups=self.groups)
        x = NONLINEARITIES[self.nonlinearity](x)
        return F.avg_pool2d(x, self.pool, self.stride)

    def smallest_input(self, output: int) -> int:
        """Return the smallest input side that gives at least ``output`` positions."""
        return (output - 1) * self.stride + self.pool + self.weight.shape[-1] - 1 - 2 * self.padding

    def extra_repr(self) -> str:
        """Describe the layer in ``repr(model)``."""
        filters, channels, kernel, _ = self.weight.shape
        return f"{channels * self.groups} -> {filters}, kernel={kernel}, pool={self.pool}, {self.nonlinearity}"


class Expansion5L(nn.Module):
    """The five-layer expansion model of Kazemian, Elmoznino and Bonner: untrained, convolutional, very wide.

    The first layer is a fixed bank of 36 curvature filters applied to each of R, G and B (108 outputs, R's first) or,
    if ``filters_1`` is given, that many random filters over RGB. Layers 2 to 5 are random convolutions (7x7, 5x5, 3x3
    and 3x3). Every layer is followed by the nonlinearity and average pooling; there are no biases and nothing is
    learned. Inputs of 224 x 224 give 6 x 6 positions, so P = 36 x ``filters`` features.

    Weights are drawn by :func:`plugins.models._philox_weights.draw_filters`, so the first 300 filters of a model with
    ``filters=3000`` are those of the model with ``filters=300`` (see there for orthogonal and xavier), and all
    models with the same seed and widths 1 to 4 share their first four layers. No global generator is touched.

    Parameters
    ----------
    filters_1
        None for the curvature bank, or the number of random 15x15 filters (padding 7, drawn with ``init``).
    filters_2, filters_3, filters_4, filters
        Number of filters of layers 2, 3, 4 and 5.
    init
        Distribution of the random weights; a name of :data:`plugins.models._philox_weights.INITS`.
    nonlinearity
        ``relu``, ``gelu``, ``elu`` (alpha 1), ``abs``, ``leaky_relu`` (slope .01), ``zscore`` (over channels,
        unbiased standard deviation) or ``none``.
    seed
        Seed of the random weights, from 0 to 2**64 - 1.

    Raises
    ------
    InputError
        For a parameter that is not allowed.

    References
    ----------
    Kazemian, Elmoznino and Bonner; code: https://doi.org/10.5281/zenodo.16920087
    """

    def __init__(
        self,
        filters_1: int | None = None,
        filters_2: int = 1000,
        filters_3: int = 3000,
        filters_4: int = 5000,
        filters: int = 3000,
        init: str = "kaiming_uniform",
        nonlinearity: str = "relu",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if nonlinearity not in NONLINEARITIES:
            raise InputError(f"unknown nonlinearity {nonlinearity!r}; use one of {', '.join(NONLINEARITIES)}")
        widths = {1: filters_1, 2: filters_2, 3: filters_3, 4: filters_4, 5: filters}
        fewest = 2 if nonlinearity == "zscore" else 1
        for number, width in widths.items():
            if width is not None and width < fewest:
                raise InputError(
                    f"layer {number} of the expansion model has {width} filters; "
                    f"it needs at least {fewest} with nonlinearity {nonlinearity!r}"
                )

        def random(number: int, width: int, channels: int, kernel: int) -> Tensor:
            weight = torch.empty(width, channels, kernel, kernel, dtype=torch.float32, device="cpu")
            draw_filters(width, (channels, kernel, kernel), seed=seed, layer=number, init=init, out=weight.numpy())
            return weight

        if filters_1 is None:
            bank = np.tile(curvature_bank(), (3, 1, 1))[:, None]
            weight = torch.from_numpy(bank.astype(np.float32))
            self.layer1 = ExpansionLayer(weight, nonlinearity, padding=6, groups=3, learnable=False)
        else:
            self.layer1 = ExpansionLayer(random(1, filters_1, 3, 15), nonlinearity, padding=7)
        channels_2 = self.layer1.weight.shape[0]
        self.layer2 = ExpansionLayer(random(2, filters_2, channels_2, 7), nonlinearity)
        self.layer3 = ExpansionLayer(random(3, filters_3, filters_2, 5), nonlinearity)
        self.layer4 = ExpansionLayer(random(4, filters_4, filters_3, 3), nonlinearity)
        self.layer5 = ExpansionLayer(random(5, filters, filters_4, 3), nonlinearity, pool=4, stride=1)
        self.eval()

    @property
    def layers(self) -> tuple[ExpansionLayer, ...]:
        """The five layers, from input to output."""
        return (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5)

    @property
    def smallest_input(self) -> int:
        """Smallest height and width of an input, in pixels."""
        side = 1
        for layer in reversed(self.layers):
            side = layer.smallest_input(side)
        return side

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of normalised images.

        Parameters
        ----------
        images
            Float tensor (N, 3, H, W), usually 224 x 224.

        Returns
        -------
        torch.Tensor
            (N, P), flattened from (filters, rows, columns).

        Raises
        ------
        InputError
            For another number of dimensions or channels, or images that are too small.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"expansion5l takes images of shape (N, 3, H, W), not {tuple(images.shape)}")
        if min(images.shape[2:]) < self.smallest_input:
            height, width = images.shape[2:]
            raise InputError(
                f"expansion5l needs images of at least {self.smallest_input} x {self.smallest_input} pixels, "
                f"not {height} x {width}"
            )
        x = images
        for layer in self.layers:
            x = layer(x)
        return x.flatten(1)


def load(
    *,
    filters_1: int | None,
    filters_2: int,
    filters_3: int,
    filters_4: int,
    filters: int,
    init: str,
    nonlinearity: str,
    seed: int,
) -> Expansion5L:
    """Return the model for the parameters of ``expansion5l``."""
    return Expansion5L(filters_1, filters_2, filters_3, filters_4, filters, init, nonlinearity, seed)
