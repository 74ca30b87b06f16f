"""What one forward pass of a torch module shows of each of its parts, in little memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmark_core.own_module import TOLERANCE, forward_errors
from benchmark_core.torch_models import OUTPUT, HookedModel


@dataclass(frozen=True)
class Seen:
    """What a forward pass showed of one module.

    Parameters
    ----------
    kind
        Class of what it returned.
    shape
        Shape of that, if it is a tensor.
    marks
        (B, 2) float32, norm and a fixed linear combination of each image's values, by which two passes are compared;
        None where the first dimension is not the batch.
    calls
        How often the module was called.
    """

    kind: str
    shape: tuple[int, ...] | None
    marks: torch.Tensor | None
    calls: int = 1


def observe(model: HookedModel, images: torch.Tensor) -> dict[str, Seen]:
    """Run one forward pass and return what every module that was reached gave at its first call.

    Raises
    ------
    ModelError
        If forward fails.
    """
    found: dict[str, Seen] = {}

    def look(name: str, output: Any) -> None:
        if name in found:
            found[name] = replace(found[name], calls=found[name].calls + 1)
        elif not isinstance(output, torch.Tensor):
            found[name] = Seen(type(output).__name__, None, None)
        else:
            whole = output.ndim > 0 and output.shape[0] == len(images) and output.numel() > 0
            found[name] = Seen("Tensor", tuple(output.shape), _marks(output) if whole else None)

    # A hook that returned something would replace the module's output.
    handles = [
        part.register_forward_hook(lambda _module, _inputs, output, name=name: look(name, output))
        for name, part in named_parts(model.module).items()
    ]
    try:
        with forward_errors(images):
            look(OUTPUT, model.module(images))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _marks(output: torch.Tensor) -> torch.Tensor:
    rows = output.detach().reshape(output.shape[0], -1).to(torch.float32)
    weights = torch.cos(torch.arange(rows.shape[1], device=rows.device, dtype=torch.float32))
    return torch.stack([torch.linalg.vector_norm(rows, dim=1), rows @ weights], dim=1).cpu()


def agree(one: Seen | None, other: Seen | None, dtype: torch.dtype, rows: int) -> bool:
    """Whether the first ``rows`` images gave the same in two passes, up to rounding."""
    if one is None or other is None or one.marks is None or other.marks is None:
        return False
    if one.shape is None or other.shape is None or one.shape[1:] != other.shape[1:]:
        return False
    a, b = one.marks[:rows], other.marks[:rows]
    return bool(((a - b).abs() <= TOLERANCE[dtype.itemsize] * a[:, :1]).all())


def problem_of(seen: Seen | None, rows: int) -> str | None:
    """Return why a layer's output is no (B, P) features, or None."""
    if seen is None:
        return "is never reached in forward"
    if seen.shape is None:
        return f"returns {seen.kind}, not a tensor; choose a module inside it"
    if not seen.shape:
        return "returns a single number for a whole batch"
    if seen.shape[0] != rows:
        return f"has shape {seen.shape} for a batch of {rows}: its first dimension is not the batch"
    return "has no features" if seen.marks is None else None


def named_parts(module: torch.nn.Module) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in module.named_modules(remove_duplicate=False) if name}
