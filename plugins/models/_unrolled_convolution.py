"""Convolutions of few channels with large filters as products of matrices, on a CPU.

What the filters see at each position is written out as a column ("unrolled"), for as many rows of positions as a cache
holds, and multiplied with all filters at once; nonlinearity and pooling follow while the outputs are in the cache, too.
Up to twice as fast as torch's grouped convolution of single channels (docs/performance.md).

Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing", 2006.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_CACHE_BYTES = 4 << 20  # unrolled positions


def unrolled_convolution(
    x: Tensor,
    weight: Tensor,
    padding: int = 0,
    groups: int = 1,
    pointwise: Callable[[Tensor], Tensor] | None = None,
    pool: bool = False,
) -> Tensor:
    """Return a convolution without bias, then a function of each value, then means over 2 x 2.

    The same as ``avg_pool2d(pointwise(conv2d(x, weight, padding=padding, groups=groups)), 2)`` but for rounding; each
    image is computed by itself. Gradients are not kept.

    Parameters
    ----------
    x
        (N, channels, H, W), on the CPU.
    weight
        (filters, channels / groups, r, s) of the same dtype.
    padding, groups
        As torch's.
    pointwise
        Applied to values as they come, in any shape; may work in place.
    pool
        Average over 2 x 2; a last odd row or column is dropped.

    Returns
    -------
    torch.Tensor
        (N, filters, H + 2 padding - r + 1, W + 2 padding - s + 1), or half of both sides with ``pool``, contiguous.
    """
    filters, channels, r, s = weight.shape
    x = F.pad(x, (padding,) * 4).contiguous()
    height, width = x.shape[2:]
    down, across = height - r + 1, width - s + 1
    matrices = weight.reshape(groups, filters // groups, -1)
    maps = x.view(len(x) * groups, channels, height, width)
    rows = max(2, _CACHE_BYTES // (matrices.shape[2] * across * x.element_size()) // 2 * 2)
    columns = x.new_empty(matrices.shape[2] * rows * across)
    products = x.new_empty(matrices.shape[1] * rows * across)
    side = 2 if pool else 1
    out = x.new_empty(len(maps), matrices.shape[1], down // side, across // side)
    for number, (image, target) in enumerate(zip(maps, out, strict=True)):
        windows = image.unfold(1, r, 1).unfold(2, s, 1).permute(0, 3, 4, 1, 2)  # (channels, r, s, down, across)
        for first in range(0, down // side * side, rows):
            last = min(down // side * side, first + rows)
            shape = (channels, r, s, last - first, across)
            some = columns[: shape[3] * across * matrices.shape[2]].view(shape).copy_(windows[:, :, :, first:last])
            values = products[: shape[3] * across * matrices.shape[1]].view(matrices.shape[1], -1)
            torch.mm(matrices[number % groups], some.view(matrices.shape[2], -1), out=values)
            if pointwise is not None:
                values = pointwise(values)
            values = values.view(1, matrices.shape[1], shape[3], across)
            target[:, first // side : last // side] = F.avg_pool2d(values, 2)[0] if pool else values[0]
    return out.view(len(x), filters, down // side, across // side)
