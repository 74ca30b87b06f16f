"""Features of a torch module the way of a script: forward hooks, batches, numpy arrays put together in memory.

Images are decoded for every pass by torch's usual loader without workers, resized, and normalised by ImageNet's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Images(Dataset[torch.Tensor]):
    """Images in files, as tensors (3, 224, 224)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.prepare = transforms.Compose(
            [
                transforms.Resize((224, 224)),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        with Image.open(self.paths[number]) as image:
            tensor: torch.Tensor = self.prepare(image.convert("RGB"))
        return tensor


def hook_loop(
    module: torch.nn.Module, layers: Sequence[str], paths: Sequence[Path], batch_size: int = 32
) -> dict[str, np.ndarray]:
    """Return the outputs (n, P) float32 of some layers for all images, from one pass through the whole module."""
    outputs: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}

    def keep(layer: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_: torch.nn.Module, __: object, output: torch.Tensor) -> None:
            outputs[layer].append(output.flatten(1).cpu().numpy())

        return module.get_submodule(layer).register_forward_hook(hook)

    handles = [keep(layer) for layer in layers]
    with torch.no_grad():
        for images in DataLoader(Images(paths), batch_size):
            module(images)
    for handle in handles:
        handle.remove()
    return {layer: np.concatenate(parts) for layer, parts in outputs.items()}


def features_of_layer(module: torch.nn.Module, layer: str, paths: Sequence[Path], batch_size: int = 32) -> np.ndarray:
    """Return the features (n, P) of one layer: a forward pass of all images for each layer, as the published scripts do."""
    return hook_loop(module, [layer], paths, batch_size)[layer]
