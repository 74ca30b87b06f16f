"""AlexNet, trained or untrained: torchvision's architecture."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import alexnet

from plugins.models._default_weights import default_weights
from plugins.models._trained_weights import load_trained
from plugins.models._weights_files import find_weights
from plugins.models.alexnet import PUBLISHED

MODEL = "alexnet-trained"


def trained(*, weights: str | None) -> nn.Module:
    """Return AlexNet with the weights of a file, in evaluation mode, on the CPU.

    Raises
    ------
    MissingDataError
        If the file is not on this machine.
    InputError
        If it cannot be read, or does not fit the architecture.
    """
    return load_trained(_empty(), find_weights(MODEL, PUBLISHED, weights=weights), MODEL)


def untrained(*, seed: int) -> nn.Module:
    """Return AlexNet with weights of torch's default distributions, in evaluation mode, on the CPU."""
    network = _empty()
    network.load_state_dict(default_weights(network, seed), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _empty() -> nn.Module:
    with torch.device("meta"):  # draws no weights and so leaves the global generator alone
        network: nn.Module = alexnet(weights=None)
    return network
