"""TF32 on a machine without tensor cores: what goes into a product is rounded as they round it.

A GPU's TF32 products read the first 10 bits after the leading one of every float32 operand, multiply exactly and sum in
float32. Here operands are rounded and then multiplied in float32, so only the order of the sums differs from a GPU's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

KEPT_BITS = 10
ADDED = {"addmm": 0, "baddbmm": 0, "linear": 2, "conv2d": 2, "convolution": 2}
"""Place of the operand that is added to a product (a bias) and so is not rounded."""
PRODUCTS = {
    *ADDED,
    "mm",
    "bmm",
    "matmul",
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
}
"""Operations of torch (``aten``) that multiply matrices; all others take their operands as they are."""


def round_to_tf32(values: torch.Tensor) -> torch.Tensor:
    """Return float32 values with 10 bits after the leading one, ties to even."""
    bits = values.contiguous().view(torch.int32)
    dropped = 23 - KEPT_BITS
    half = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
    return ((bits + half) & ~((1 << dropped) - 1)).view(torch.float32)


class TF32Products(TorchDispatchMode):
    """Inside the block, products of float32 tensors are those of TF32."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, operands: Sequence[Any] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation."""
        name = operation.overloadpacket.__name__
        if name not in PRODUCTS:
            return operation(*operands, **(options or {}))
        rounded = [
            round_to_tf32(o) if isinstance(o, torch.Tensor) and o.dtype == torch.float32 and i != ADDED.get(name) else o
            for i, o in enumerate(operands)
        ]
        return operation(*rounded, **(options or {}))
