"""Reading files of trained weights: tensors and nothing else."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark_core.errors import InputError


def read_tensors(path: Path, advice: str) -> dict[str, Tensor]:
    """Read the named tensors of a ``.safetensors`` file or a torch checkpoint, in its order, onto the CPU.

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
            from timm.models import load_state_dict

            stored = load_state_dict(str(path))
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever they meet in a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read the weights {path} ({reason}); {advice}") from None
    if not isinstance(stored, dict) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise InputError(f"{path} is not a file of named tensors; {advice}")
    return stored


def load_trained(network: nn.Module, path: Path, architecture: str, ignored: str = "", optional: str = "") -> nn.Module:
    """Give a network (on the meta device) the tensors of a file and return it for inference, on the CPU.

    Parameters
    ----------
    network
        Its tensors must be in the file, under the same names and of the same shapes, and no others.
    path
        Weights file.
    architecture
        Name of the architecture, for messages.
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
    stored = {
        name: tensor
        for name, tensor in read_tensors(path, "get the file again").items()
        if not (ignored and name.startswith(ignored))
    }
    for name, tensor in expected.items():
        if optional and name.endswith(optional):
            stored.setdefault(name, torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu"))
    wrong = f"the weights are not those of {architecture}"
    for name, tensor in expected.items():
        if name not in stored:
            raise InputError(f"{path} holds no tensor {name!r} of shape {tuple(tensor.shape)}; {wrong}")
        if stored[name].shape != tensor.shape:
            raise InputError(
                f"{path}: tensor {name!r} has shape {tuple(stored[name].shape)}, not {tuple(tensor.shape)}; {wrong}"
            )
    for name, tensor in stored.items():
        if name not in expected:
            raise InputError(f"{path} holds a tensor {name!r} of shape {tuple(tensor.shape)} too many; {wrong}")
    network.load_state_dict({name: t.to(expected[name].dtype) for name, t in stored.items()}, strict=True, assign=True)
    return network.eval().requires_grad_(False)
