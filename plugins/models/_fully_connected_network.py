"""The fully connected model as a torch module."""

from __future__ import annotations

from torch import Tensor, nn

from benchmark_core.errors import InputError
from plugins.models._dense_layer import DenseLayer

WIDTHS = (108, 1000, 3000, 5000)
SHAPE = (3, 224, 224)
LARGEST_HELD = 2**30
"""Bytes of weights of the last layer above which they are drawn block by block, not held."""


class FullyConnected(nn.Module):
    """The fully connected model of Kazemian et al.: untrained, as wide as the expansion model, blind to space.

    Dense layers with biases, 150 528 -> 108 -> 1000 -> 3000 -> 5000 -> P, each followed by ReLU, all with torch's
    default initialisation, drawn unit by unit (:class:`plugins.models._dense_layer.DenseLayer`): a unit of the last
    layer does not depend on how many others there are. A last layer of more than 1 GiB is never held whole.

    Parameters
    ----------
    features
        Number of units of the last layer, P.
    seed
        Seed of the weights, from 0 to 2**64 - 1.
    held
        Whether to hold the last layer; by default, if it is not too large.

    Raises
    ------
    InputError
        For fewer than one feature.

    References
    ----------
    Kazemian, Elmoznino and Bonner; code: https://doi.org/10.5281/zenodo.16920087
    """

    features_per_unit = 1

    def __init__(self, features: int = 10800, seed: int = 0, held: bool | None = None) -> None:
        super().__init__()
        if features < 1:
            raise InputError(f"the fully connected model has {features} features; it needs at least 1")
        inputs = (SHAPE[0] * SHAPE[1] * SHAPE[2], *WIDTHS)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            DenseLayer(before, after, seed=seed, layer=number)
            for number, (before, after) in enumerate(zip(inputs, WIDTHS, strict=False), start=1)
        )
        held = 4 * features * WIDTHS[-1] <= LARGEST_HELD if held is None else held
        self.layer5 = DenseLayer(WIDTHS[-1], features, seed=seed, layer=5, held=held)
        self.eval()

    def stem(self, images: Tensor) -> Tensor:
        """Return what the last layer sees, (N, 5000), of images (N, 3, 224, 224).

        Raises
        ------
        InputError
            For another shape.
        """
        if images.shape[1:] != SHAPE:
            raise InputError(f"fully-connected takes images of shape (N, 3, 224, 224), not {tuple(images.shape)}")
        x: Tensor = images.flatten(1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return x

    def head(self, stem: Tensor, first: int, last: int) -> Tensor:
        """Return features ``first`` to ``last`` (exclusive), (N, last - first), from what :meth:`stem` returned."""
        return self.layer5.block(stem, first, last)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, 224, 224) to (N, P)."""
        features: Tensor = self.layer5(self.stem(images))
        return features


def load(*, features: int, seed: int) -> FullyConnected:
    """Return the model for the parameters of ``fully-connected``."""
    return FullyConnected(features, seed)


def load_wide(*, features: int, seed: int) -> FullyConnected:
    """Return the model with a last layer that is drawn by blocks (:class:`benchmark_core.heads.WideModel`)."""
    return FullyConnected(features, seed, held=False)
