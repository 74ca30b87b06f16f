"""EfficientNet-Lite0: timm's architecture with the weights of the installed package."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from benchmark_core.errors import InputError
from plugins.models._trained_weights import read_tensors
from plugins.models.efficientnet_lite import INSTALL, weights_file

_COUNTER = "num_batches_tracked"  # of batch normalisation; plays no part in inference


def load(path: Path | None = None) -> nn.Module:
    """Return the trained network in evaluation mode, on the CPU.

    Parameters
    ----------
    path
        Weights file; that of the installed package by default. Its tensors follow timm's one to one, in the same
        order, under other names.

    Raises
    ------
    MissingDataError
        If the package with the weights is not installed.
    InputError
        If the file cannot be read, or does not fit the architecture.
    """
    path = weights_file() if path is None else path
    with torch.device("meta"):  # draws no weights and so leaves the global generator alone
        network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = read_tensors(path, f"install them again: {INSTALL} --force-reinstall")
    network.load_state_dict(_rename(stored, network.state_dict(), path), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _rename(stored: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Give the stored tensors the architecture's names, by order; counts, kinds and shapes must agree."""
    names = [name for name in stored if not name.endswith(_COUNTER)]
    targets = [name for name in expected if not name.endswith(_COUNTER)]
    for name, target in zip(names, targets, strict=False):
        same_kind = name.rpartition(".")[2] == target.rpartition(".")[2]
        if not same_kind or stored[name].shape != expected[target].shape:
            raise InputError(
                f"{path}: tensor {name!r} of shape {tuple(stored[name].shape)} does not fit {target!r} of shape "
                f"{tuple(expected[target].shape)}; the weights are not those of EfficientNet-Lite0"
            )
    if len(names) != len(targets):
        raise InputError(f"{path} holds {len(names)} tensors where EfficientNet-Lite0 has {len(targets)}")
    renamed = {target: stored[name].float() for name, target in zip(names, targets, strict=True)}
    return renamed | {
        name: torch.zeros_like(t, device="cpu") for name, t in expected.items() if name.endswith(_COUNTER)
    }
