"""The pixels of an image as a torch module."""

from __future__ import annotations

from torch import Tensor, nn


class Pixels(nn.Module):
    """Hands on its input, flattened from (channels, rows, columns)."""

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C H W)."""
        return images.flatten(1)


def load() -> Pixels:
    """Return the model."""
    return Pixels().eval()
