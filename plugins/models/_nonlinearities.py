"""Nonlinearities of the untrained models, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def _zscore(x: Tensor) -> Tensor:
    """Standardise over channels (unbiased standard deviation) at every position; 0 where all channels are equal."""
    std, mean = torch.std_mean(x, dim=1, keepdim=True, correction=1)
    return (x - mean).div_(std.clamp_min(torch.finfo(x.dtype).tiny))


# In place where that is safe: the input is always the fresh output of a linear map, which no hook can hold.
NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "gelu": F.gelu,
    "elu": lambda x: F.elu(x, inplace=True),
    "abs": torch.abs_,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01, inplace=True),
    "zscore": _zscore,
    "none": lambda x: x,
}
