"""ResNet-50 of Barlow Twins: torchvision's architecture, with the pooling of Kazemian et al."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet50

from plugins.models._trained_weights import load_trained
from plugins.models._weights_files import find_weights
from plugins.models.barlow_twins import POOLING, PUBLISHED

MODEL = "resnet50-barlowtwins"


class PooledStages(nn.Module):
    """A ResNet whose stages can be read after average pooling, as ``layer1`` to ``layer4``.

    Parameters
    ----------
    trunk
        ResNet of torchvision's structure; unpooled stages are ``trunk.layer1`` to ``trunk.layer4``.
    """

    def __init__(self, trunk: ResNet) -> None:
        super().__init__()
        self.trunk = trunk
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Identity() if width == 1 else nn.AvgPool2d(width) for width in POOLING
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to the last stage, (N, 2048, H / 32, W / 32)."""
        trunk = self.trunk
        x: Tensor = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(images))))
        for number in range(1, 5):
            x = getattr(trunk, f"layer{number}")(x)
            pooled: Tensor = getattr(self, f"layer{number}")(x)
        return pooled


def load(*, weights: str | None) -> PooledStages:
    """Return the trained network in evaluation mode, on the CPU.

    Raises
    ------
    MissingDataError
        If the file is not on this machine.
    InputError
        If it cannot be read, or does not fit the architecture.
    """
    with torch.device("meta"):  # draws no weights and so leaves the global generator alone
        network = resnet50(weights=None)
    network.fc = nn.Identity()  # the published file has no classifier
    path = find_weights(MODEL, PUBLISHED, weights=weights)
    load_trained(network, path, MODEL, ignored="fc.", optional="num_batches_tracked")
    return PooledStages(network).eval()
