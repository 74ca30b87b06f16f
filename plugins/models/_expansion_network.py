"""The expansion model as a torch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark_core.errors import InputError
from plugins.models._dense_layer import DenseLayer
from plugins.models._filter_banks import BANKS
from plugins.models._nonlinearities import NONLINEARITIES
from plugins.models._philox_weights import draw_filters, draw_permutation
from plugins.models._transformed_convolution import Transform, choose, transformed_convolution
from plugins.models._unrolled_convolution import unrolled_convolution

LAYER_5 = ("convolution", "dense")
_SIDE = 11  # height and width of layer 5's input for images of 224 x 224
_SHUFFLE = 6  # number of the shuffle's random streams, after those of layers 1 to 5


class ExpansionLayer(nn.Module):
    """Convolution without bias, nonlinearity and average pooling, as one module.

    On the CPU, in float32 and without gradients, wide layers are convolved by a transform where that is faster, and
    groups of channels by products of matrices.

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
        if self.nonlinearity == "none":
            # Averaging commutes with the convolution, which is then needed at the kept positions alone.
            x = F.avg_pool2d(F.pad(x, (self.padding,) * 4), self.pool, 1)
            transform = self._transform(x) if self.stride == 1 else None
            if transform is not None:
                return transformed_convolution(x, self.weight, transform)
            return F.conv2d(x, self.weight, stride=self.stride, groups=self.groups)
        nonlinearity = NONLINEARITIES[self.nonlinearity]
        # What standardises over channels needs all of them; others are applied, and averaged, block by block.
        fused = self.nonlinearity != "zscore" and self.pool == self.stride == 2
        by_blocks = (nonlinearity, True) if fused else (None, False)
        transform = self._transform(x, fused) if self.padding == 0 else None
        if transform is not None:
            x = transformed_convolution(x, self.weight, transform, *by_blocks)
        elif self.groups > 1 and self._is_plain(x):
            x = unrolled_convolution(x, self.weight, self.padding, self.groups, *by_blocks)
        else:
            x, fused = F.conv2d(x, self.weight, padding=self.padding, groups=self.groups), False
        return x if fused else F.avg_pool2d(nonlinearity(x), self.pool, self.stride)

    def _transform(self, x: Tensor, pool: bool = False) -> Transform | None:
        """Return how to convolve without padding by a transform, or None to do it directly."""
        if self.groups > 1 or not self._is_plain(x):
            return None
        height, width = x.shape[2:]
        return choose(tuple(self.weight.shape), height, width, pool, torch.get_num_threads())

    def _is_plain(self, x: Tensor) -> bool:
        """Whether all is float32 on the CPU, and no gradients are kept."""
        keeps_gradients = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        return x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32 and not keeps_gradients

    def smallest_input(self, output: int) -> int:
        """Return the smallest input side that gives at least ``output`` positions."""
        return (output - 1) * self.stride + self.pool + self.weight.shape[-1] - 1 - 2 * self.padding

    def extra_repr(self) -> str:
        """Describe the layer in ``repr(model)``."""
        filters, channels, kernel, _ = self.weight.shape
        return f"{channels * self.groups} -> {filters}, kernel={kernel}, pool={self.pool}, {self.nonlinearity}"


class SpatialShuffle(nn.Module):
    """Puts the rows of its input into one random order and the columns into another, the same for all channels.

    Parameters
    ----------
    seed
        Decides the orders, with the number of rows or columns.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        rows, columns = (
            torch.from_numpy(draw_permutation(side, seed=self.seed, layer=_SHUFFLE, number=axis)).to(x.device)
            for axis, side in enumerate(x.shape[2:])
        )
        return x[:, :, rows[:, None], columns]


def check_parameters(
    widths: Mapping[int, int | None], nonlinearity: str, nonlinearity_5: str, bank: str, layer_5: str
) -> None:
    """Check that parameters are known and go together.

    Raises
    ------
    InputError
        For those that do not.
    """
    for what, name, known in (
        ("nonlinearity", nonlinearity, NONLINEARITIES),
        ("nonlinearity", nonlinearity_5, NONLINEARITIES),
        ("bank", bank, BANKS),
        ("layer_5", layer_5, LAYER_5),
    ):
        if name not in known:
            raise InputError(f"unknown {what} {name!r}; use one of {', '.join(known)}")
    if widths[1] is not None and bank != "curvature":
        raise InputError(f"bank={bank} has no effect with filters_1={widths[1]}; leave one of them out")
    for number, width in widths.items():
        follows = nonlinearity_5 if number == 5 else nonlinearity
        fewest = 2 if follows == "zscore" else 1
        if width is not None and width < fewest:
            raise InputError(
                f"layer {number} of the expansion model has {width} filters; "
                f"it needs at least {fewest} with nonlinearity {follows!r}"
            )


class Expansion5L(nn.Module):
    """The five-layer expansion model of Kazemian, Elmoznino and Bonner: untrained, convolutional, very wide.

    The first layer is a fixed bank of 36 filters applied to each of R, G and B (108 outputs, R's first) or,
    if ``filters_1`` is given, that many random filters over RGB. Layers 2 to 5 are random convolutions (7x7, 5x5, 3x3
    and 3x3). Every layer is followed by the nonlinearity and average pooling; there are no biases and nothing is
    learned. Inputs of 224 x 224 give 6 x 6 positions, so P = 36 x ``filters`` features.

    Weights are drawn by :func:`plugins.models._philox_weights.draw_filters`, so the first 300 filters of a model with
    ``filters=3000`` are those of the model with ``filters=300`` (see there for orthogonal and xavier), and all
    models with the same seed and widths 1 to 4 share their first four layers. No global generator is touched.

    Parameters
    ----------
    filters_1
        None for the fixed bank, or the number of random 15x15 filters (padding 7, drawn with ``init``).
    filters_2, filters_3, filters_4, filters
        Number of filters of layers 2, 3, 4 and 5.
    init
        Distribution of the random weights; a name of :data:`plugins.models._philox_weights.INITS`.
    nonlinearity
        ``relu``, ``gelu``, ``elu`` (alpha 1), ``abs``, ``leaky_relu`` (slope .01), ``zscore`` (over channels,
        unbiased standard deviation) or ``none``.
    seed
        Seed of the random weights, from 0 to 2**64 - 1.
    bank
        Fixed bank of layer 1: ``curvature`` (the published one) or ``gabor``, whose parameters are ours
        (:func:`plugins.models._filter_banks.gabor_bank`).
    layer_5
        ``convolution``, or ``dense``: every unit sees all of layer 4's output (of images of 224 x 224), with a bias,
        drawn like torch's dense layers'; then there is no pooling, and P = ``filters``.
    nonlinearity_5
        Nonlinearity of layer 5, if not that of the others.
    shuffle_5
        Put the rows of layer 5's input into one random order and the columns into another, both decided by the seed.
        The published code draws new orders for every batch, so that a feature does not mean the same throughout.

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
        bank: str = "curvature",
        layer_5: str = "convolution",
        nonlinearity_5: str | None = None,
        shuffle_5: bool = False,
    ) -> None:
        super().__init__()
        last_nonlinearity = nonlinearity if nonlinearity_5 is None else nonlinearity_5
        widths = {1: filters_1, 2: filters_2, 3: filters_3, 4: filters_4, 5: filters}
        check_parameters(widths, nonlinearity, last_nonlinearity, bank, layer_5)

        def random(number: int, width: int, channels: int, kernel: int) -> Tensor:
            weight = torch.empty(width, channels, kernel, kernel, dtype=torch.float32, device="cpu")
            draw_filters(width, (channels, kernel, kernel), seed=seed, layer=number, init=init, out=weight.numpy())
            return weight

        if filters_1 is None:
            filters_of_rgb = np.tile(BANKS[bank](), (3, 1, 1))[:, None]
            weight = torch.from_numpy(filters_of_rgb.astype(np.float32))
            self.layer1 = ExpansionLayer(weight, nonlinearity, padding=6, groups=3, learnable=False)
        else:
            self.layer1 = ExpansionLayer(random(1, filters_1, 3, 15), nonlinearity, padding=7)
        channels_2 = self.layer1.weight.shape[0]
        self.layer2 = ExpansionLayer(random(2, filters_2, channels_2, 7), nonlinearity)
        self.layer3 = ExpansionLayer(random(3, filters_3, filters_2, 5), nonlinearity)
        self.layer4 = ExpansionLayer(random(4, filters_4, filters_3, 3), nonlinearity)
        self.shuffle = SpatialShuffle(seed) if shuffle_5 else nn.Identity()
        self.layer5: ExpansionLayer | DenseLayer
        if layer_5 == "dense":
            inputs = filters_4 * _SIDE**2
            self.layer5 = DenseLayer(inputs, filters, seed=seed, layer=5, init=init, nonlinearity=last_nonlinearity)
        else:
            self.layer5 = ExpansionLayer(random(5, filters, filters_4, 3), last_nonlinearity, pool=4, stride=1)
        self.eval()

    @property
    def trunk(self) -> tuple[ExpansionLayer, ...]:
        """Layers 1 to 4."""
        return (self.layer1, self.layer2, self.layer3, self.layer4)

    @property
    def layers(self) -> tuple[ExpansionLayer | DenseLayer, ...]:
        """The five layers, from input to output."""
        return (*self.trunk, self.layer5)

    @property
    def smallest_input(self) -> int:
        """Smallest height and width of an input, in pixels."""
        side = _SIDE if isinstance(self.layer5, DenseLayer) else self.layer5.smallest_input(1)
        for layer in reversed(self.trunk):
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
        features: Tensor = self.layer5(self.shuffle(self.stem(images)))
        return features.flatten(1)

    def stem(self, images: Tensor) -> Tensor:
        """Return the output of layer 4, (N, filters_4, rows, columns), of images that :meth:`forward` takes."""
        x = images
        for layer in self.trunk:
            x = layer(x)
        if isinstance(self.layer5, DenseLayer) and x.shape[2:] != (_SIDE, _SIDE):
            height, width = images.shape[2:]
            raise InputError(
                f"expansion5l with a dense layer 5 needs images of 224 x 224 pixels, not {height} x {width}"
            )
        return x


class WideExpansion5L:
    """The expansion model with its last layer apart (:class:`benchmark_core.heads.WideModel`).

    Layers 1 to 4 are made when :meth:`stem` first needs them, the filters of layer 5 when :meth:`head` does.

    Parameters
    ----------
    **parameters
        Those of :class:`Expansion5L`; images must be 224 x 224.
    """

    def __init__(self, **parameters: Any) -> None:
        self.parameters = parameters
        self.filters: int = parameters["filters"]
        self.init: str = parameters["init"]
        self.seed: int = parameters["seed"]
        self.nonlinearity: str = parameters["nonlinearity_5"] or parameters["nonlinearity"]
        self.channels: int = parameters["filters_4"]
        widths = {n: parameters[f"filters_{n}"] for n in range(1, 5)} | {5: self.filters}
        check_parameters(
            widths, parameters["nonlinearity"], self.nonlinearity, parameters["bank"], parameters["layer_5"]
        )
        self.shuffle = SpatialShuffle(self.seed) if parameters["shuffle_5"] else nn.Identity()
        self.dense: DenseLayer | None = None
        if parameters["layer_5"] == "dense":
            streams: dict[str, Any] = {"seed": self.seed, "layer": 5, "init": self.init}
            inputs = self.channels * _SIDE**2
            apart = self.init != "orthogonal" and self.nonlinearity != "zscore"
            self.dense = DenseLayer(inputs, self.filters, nonlinearity=self.nonlinearity, held=not apart, **streams)
        self.features_per_unit = 36 if self.dense is None else 1
        self._device = "cpu"
        self._network: Expansion5L | None = None
        self._block: tuple[int, int, ExpansionLayer] | None = None

    def to(self, device: str) -> WideExpansion5L:
        """Compute on a device from now on."""
        self._device, self._block = device, None
        if self._network is not None:
            self._network.to(device)
        if self.dense is not None:
            self.dense.to(device)
        return self

    def stem(self, images: Tensor) -> Tensor:
        """Return the output of layer 4 flattened, (N, filters_4 * 11 * 11), of images (N, 3, 224, 224)."""
        if images.shape[1:] != (3, 224, 224):
            raise InputError(f"expansion5l by blocks takes images of shape (N, 3, 224, 224), not {tuple(images.shape)}")
        if self._network is None:
            alone = {"filters": 2, "layer_5": "convolution", "nonlinearity_5": None, "shuffle_5": False}
            self._network = Expansion5L(**{**self.parameters, **alone}).to(self._device)
        return self._network.stem(images).flatten(1)

    def head(self, stem: Tensor, first: int, last: int) -> Tensor:
        """Return the features of filters ``first`` to ``last`` (exclusive), (N, (last - first) * features_per_unit)."""
        maps = self.shuffle(stem.reshape(len(stem), self.channels, _SIDE, _SIDE))
        if self.dense is not None:
            return self.dense.block(maps.flatten(1), first, last)
        if self._block is None or self._block[:2] != (first, last):
            self._block = (first, last, self._draw(first, last).to(stem.device))
        features: Tensor = self._block[2](maps)
        return features.flatten(1)

    def _draw(self, first: int, last: int) -> ExpansionLayer:
        """Return layer 5 with some of its filters only."""
        shape = (self.channels, 3, 3)
        weight = torch.empty(last - first, *shape, dtype=torch.float32, device="cpu")
        streams: dict[str, Any] = {"seed": self.seed, "layer": 5, "init": self.init, "first": first, "last": last}
        draw_filters(self.filters, shape, out=weight.numpy(), **streams)
        return ExpansionLayer(weight, self.nonlinearity, pool=4, stride=1)


def load(**parameters: Any) -> Expansion5L:
    """Return the model for the parameters of ``expansion5l``, which are those of the module."""
    return Expansion5L(**parameters)


def load_wide(**parameters: Any) -> WideExpansion5L:
    """Return the model in two parts for the parameters of ``expansion5l``."""
    return WideExpansion5L(**parameters)
