"""Untrained weights for networks that a library builds, from counter-based random streams."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from plugins.models._philox_weights import DEFAULT, draw_biases, draw_filters


def default_weights(network: nn.Module, seed: int, dense_std: float | None = None) -> dict[str, Tensor]:
    """Draw an untrained network's weights.

    Convolutions and dense layers get torch's default initialisation, layer normalisations the identity. The layers
    are numbered from 1 in the network's own order; unit i of layer j comes from the stream (seed, j, i).

    Parameters
    ----------
    network
        Only its structure counts; it may be on the meta device.
    seed
        From 0 to 2**64 - 1.
    dense_std
        If given, dense layers get weights from N(0, dense_std) and biases of zero instead.

    Returns
    -------
    dict
        Tensors by their names in ``network.state_dict()``, float32, on the CPU. Parameters of modules of other kinds
        are left to the caller.
    """
    weights: dict[str, Tensor] = {}
    number = 0
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm):
            weights[f"{name}.weight"] = torch.ones(module.normalized_shape, device="cpu")
            weights[f"{name}.bias"] = torch.zeros(module.normalized_shape, device="cpu")
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            number += 1
            filters, *shape = module.weight.shape
            scaled = dense_std is not None and isinstance(module, nn.Linear)
            init = "normal" if scaled else DEFAULT
            weight = torch.from_numpy(draw_filters(filters, tuple(shape), seed=seed, layer=number, init=init))
            weights[f"{name}.weight"] = weight.mul_(dense_std) if scaled and dense_std is not None else weight
            if module.bias is not None:
                drawn = draw_biases(filters, math.prod(shape), seed=seed, layer=number)
                weights[f"{name}.bias"] = torch.zeros(filters) if scaled else torch.from_numpy(drawn)
    return weights


def normal_tensor(rows: int, columns: int, std: float, *, seed: int, layer: int) -> Tensor:
    """Draw a (rows, columns) tensor from N(0, std), row i from the stream (seed, layer, i)."""
    return torch.from_numpy(draw_filters(rows, (columns,), seed=seed, layer=layer, init="normal")).mul_(std)
