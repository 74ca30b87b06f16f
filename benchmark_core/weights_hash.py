"""Hashes of tensors, and of all that a module has learned or drawn."""

from __future__ import annotations

import hashlib
from typing import Any

import torch


def weights_hash(module: torch.nn.Module) -> str:
    """Return the SHA-256 (hex) of the names, dtypes, shapes and bytes of all parameters and buffers.

    Buffers that a state dict leaves out are in it. The device and ``requires_grad`` are not.
    """
    total = hashlib.sha256()
    held = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in sorted(held, key=lambda pair: pair[0]):
        feed(total, "weight", name.encode(), tensor_hash(tensor))
    return total.hexdigest()


def tensor_hash(tensor: torch.Tensor) -> bytes:
    """Return a digest of a tensor's dtype, shape and values, wherever it lies."""
    values = tensor.detach()
    if values.layout != torch.strided:
        values = values.to_dense()
    digest = hashlib.sha256()
    if values.is_quantized:
        feed(digest, "quantised", repr((values.qscheme(), str(values.dequantize().double().sum().item()))).encode())
        values = values.int_repr()
    values = values.resolve_conj().resolve_neg().cpu().contiguous()
    values = torch.view_as_real(values) if values.is_complex() else values
    feed(digest, "tensor", str(tensor.dtype).encode(), repr(tuple(tensor.shape)).encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy().data if values.numel() else b"")
    return digest.digest()


def feed(digest: Any, tag: str, *parts: bytes) -> None:
    """Feed parts so that no two lists of parts look alike."""
    digest.update(f"{tag}:{len(parts)}:".encode())
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part)
