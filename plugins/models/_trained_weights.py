"""Reading files of trained weights: tensors and nothing else, and whether they fit a network."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark_core.errors import InputError

ADVICE = "get the file again, or save its state_dict alone as .safetensors"


def read_tensors(path: Path, advice: str = ADVICE) -> dict[str, Tensor]:
    """Read the named tensors of a ``.safetensors`` file or a torch checkpoint onto the CPU, and nothing but tensors.

    A torch checkpoint is read with ``weights_only=True``, in its order. Of one of a training run the entry
    ``state_dict`` (or ``model``) counts; prefixes that wrappers add are taken off.

    Parameters
    ----------
    path
        File to read.
    advice
        What to do if it cannot be read, for the message.

    Raises
    ------
    InputError
        If the file is damaged, or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            stored: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, of what it then refuses
                stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever they meet in a damaged file
        raise InputError(f"cannot read the weights {path} ({_reason(path, error)}); {advice}") from None
    for key in ("state_dict", "model"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
    tensors = {k: v for k, v in stored.items() if isinstance(v, Tensor)} if isinstance(stored, dict) else {}
    if not tensors or len(tensors) < len(stored):
        raise InputError(f"{path} is not a file of named tensors; save the state_dict of the network in it")
    for prefix in ("_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _reason(path: Path, error: Exception) -> str:
    """Say in words why a file of weights cannot be read."""
    try:
        with path.open("rb") as handle:
            start = handle.read(512)
    except OSError as problem:
        return problem.strerror or str(problem)
    if not start:
        return "it is empty"
    if start.lstrip()[:1] == b"<":
        return "it is a web page"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself"
    if path.suffix == ".safetensors":
        wanted = _safetensors_size(path)
        size = path.stat().st_size
        if wanted is None:
            return "it does not start like a .safetensors file"
        return f"it has {size} of {wanted} bytes" if size < wanted else _first_line(error)
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "it is cut short"
    if "weights_only" in str(error) or "Weights only" in str(error):
        return "it holds more than tensors, which may be code"
    if not start.startswith((b"PK", b"\x80")):  # an archive, or the older form's first pickle
        return "it is not a file that torch has saved"
    return _first_line(error)


def _safetensors_size(path: Path) -> int | None:
    """Return the size that the header of a ``.safetensors`` file gives, or None where there is no such header."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if not 2 <= length <= 100_000_000:  # the format's own limit
            return None
        header = handle.read(length)
    if len(header) < length:
        return 8 + length if header.startswith(b"{") else None
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        return 8 + length + int(max(ends, default=0))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def mismatch(stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Say in words which tensor of a file does not fit an architecture's, shapes first; None if all fit."""
    for name, tensor in expected.items():
        if name in stored and stored[name].shape != tensor.shape:
            return f"tensor {name!r} has shape {tuple(stored[name].shape)}, where the network has {tuple(tensor.shape)}"
    for name, tensor in expected.items():
        if name not in stored:
            return f"it lacks the tensor {name!r} of shape {tuple(tensor.shape)}"
    for name, tensor in stored.items():
        if name not in expected:
            return f"it has a tensor {name!r} of shape {tuple(tensor.shape)} that the network lacks"
    return None


def load_trained(network: nn.Module, path: Path, model: str, ignored: str = "", optional: str = "") -> nn.Module:
    """Give a network (on the meta device) the tensors of a file and return it for inference, on the CPU.

    Parameters
    ----------
    network
        Its tensors must be in the file, under the same names and of the same shapes, and no others.
    path
        Weights file.
    model
        The model's identifier, for messages.
    ignored
        Tensors of the file whose names start so are passed over, if given.
    optional
        Tensors of the network whose names end so are zero where the file lacks them, if given.

    Raises
    ------
    InputError
        If the file cannot be read, or does not fit; the message names the tensor and the shapes.
    """
    expected = network.state_dict()
    stored = {n: t for n, t in read_tensors(path).items() if not (ignored and n.startswith(ignored))}
    for name, tensor in expected.items():
        if optional and name.endswith(optional):
            stored.setdefault(name, torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu"))
    reason = mismatch(stored, expected)
    if reason:
        raise InputError(f"the weights {path} do not fit {model}: {reason}")
    network.load_state_dict({name: t.to(expected[name].dtype) for name, t in stored.items()}, strict=True, assign=True)
    return network.eval().requires_grad_(False)
