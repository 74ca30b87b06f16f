"""A dense layer of untrained models, whose units can be had block by block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plugins.models._nonlinearities import NONLINEARITIES
from plugins.models._philox_weights import DEFAULT, draw_biases, draw_filters

BLOCK = 2048  # units drawn at a time


class DenseLayer(nn.Module):
    """Matrix product, bias and nonlinearity.

    Weights come from the streams (seed, layer, unit) of :mod:`plugins.models._philox_weights`, so that any block of
    units can be drawn without the others. Biases have torch's default distribution whatever that of the weights.

    Parameters
    ----------
    inputs, outputs
        Numbers of features.
    seed, layer
        Of the random streams.
    init
        Distribution of the weights; that of torch's dense layers by default.
    nonlinearity
        Name of the nonlinearity.
    held
        Whether the weights are kept. Otherwise ``weight`` and ``bias`` have no rows, each use draws them again, a block at a time, and only one block is
        ever in memory; ``init`` must then not depend on the other units (as ``orthogonal`` does), nor the
        nonlinearity (as ``zscore`` does).
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        seed: int,
        layer: int,
        init: str = DEFAULT,
        nonlinearity: str = "relu",
        held: bool = True,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.seed, self.layer, self.init, self.nonlinearity = seed, layer, init, nonlinearity
        self.held = held
        weight, bias = self._draw(0, outputs) if held else (torch.empty(0, inputs), torch.empty(0))
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) with ``inputs`` values each to (N, outputs)."""
        x = x.flatten(1)
        if self.held:
            return self.block(x, 0, self.outputs)
        blocks = [(first, min(first + BLOCK, self.outputs)) for first in range(0, self.outputs, BLOCK)]
        return torch.cat([self.block(x, first, last) for first, last in blocks], dim=1)

    def block(self, x: Tensor, first: int, last: int) -> Tensor:
        """Map (N, inputs) to units ``first`` to ``last`` (exclusive) alone, (N, last - first)."""
        if self.held:
            weight, bias = self.weight[first:last], self.bias[first:last]
        else:
            weight, bias = (drawn.to(x) for drawn in self._draw(first, last))
        return NONLINEARITIES[self.nonlinearity](F.linear(x, weight, bias))

    def _draw(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        weight = torch.empty(last - first, self.inputs, dtype=torch.float32, device="cpu")
        streams = {"seed": self.seed, "layer": self.layer, "first": first, "last": last}
        draw_filters(self.outputs, (self.inputs,), init=self.init, out=weight.numpy(), **streams)
        return weight, torch.from_numpy(draw_biases(self.outputs, self.inputs, **streams))

    def extra_repr(self) -> str:
        """Describe the layer in ``repr(model)``."""
        return f"{self.inputs} -> {self.outputs}, {self.nonlinearity}"
