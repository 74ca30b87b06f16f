"""Reading layers of a plain :class:`torch.nn.Module` by module path."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from benchmark_core.errors import ModelError, UnknownLayerError, did_you_mean

OUTPUT = "output"


class _AllRead(BaseException):
    """Raised inside forward once every layer has been read: what comes after need not be computed.

    Not an :class:`Exception`, so that a module that catches those does not go on.
    """


class HookedModel:
    """A torch module as the harness sees it: ``features(images, layers)`` in one forward pass.

    Parameters
    ----------
    module
        Any module that takes an image batch (B, C, H, W).
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)

    def to(self, device: str) -> HookedModel:
        """Move the weights to a device."""
        self.module.to(device)
        return self

    def check_layers(self, layers: Sequence[str]) -> None:
        """Check that every layer exists.

        Raises
        ------
        UnknownLayerError
            Naming the layers there are that look alike.
        """
        known = self._modules()
        for layer in layers:
            if layer != OUTPUT and layer not in known:
                hint = did_you_mean(layer, [*known, OUTPUT]) or f" It has {', '.join([*[*known][:8], OUTPUT])}."
                raise UnknownLayerError(f"the model has no layer {layer!r}.{hint}")

    def _modules(self) -> dict[str, torch.nn.Module]:
        # A module may be reached under several names.
        return {name: module for name, module in self.module.named_modules(remove_duplicate=False) if name}

    def features(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the outputs of layers, each flattened to (B, P) float32 in the order (C, H, W), on the module's device.

        A layer is a module path, or ``output`` for what ``forward`` returns. The forward pass ends as soon as the
        last layer has been read. A module that is called several times is read at its first call.
        """
        self.check_layers(layers)
        modules = self._modules()
        read: dict[str, torch.Tensor] = {}
        wanted = [layer for layer in layers if layer != OUTPUT]
        handles = []
        for layer in wanted:

            def hook(_module: Any, _inputs: Any, output: Any, layer: str = layer) -> None:
                if layer not in read:
                    read[layer] = self.read(output, layer)
                if len(read) == len(set(layers)):
                    raise _AllRead

            handles.append(modules[layer].register_forward_hook(hook))
        try:
            output = self.module(images)
            if OUTPUT in layers:
                read[OUTPUT] = self.read(output, OUTPUT)
        except _AllRead:
            pass
        finally:
            for handle in handles:
                handle.remove()
        unread = [layer for layer in layers if layer not in read]
        if unread:
            raise ModelError(f"layer {', '.join(map(repr, unread))} was never reached in forward")
        return {layer: read[layer] for layer in layers}

    def read(self, output: Any, layer: str) -> torch.Tensor:
        """Return a layer's output as its features, (B, P) float32; here, all of it."""
        return flatten(output, layer)


def flatten(output: Any, layer: str) -> torch.Tensor:
    """Return a layer's output as a (B, P) float32 copy where it lies (a later in-place operation cannot change it).

    Maps are flattened in the order (C, H, W), in whatever order their numbers lie in memory.
    """
    if not isinstance(output, torch.Tensor):
        raise ModelError(f"layer {layer!r} returns {type(output).__name__}, not a tensor; choose a module inside it")
    if output.ndim == 0:
        raise ModelError(f"layer {layer!r} returns a single number for a whole batch")
    values = output.detach().to(dtype=torch.float32, copy=True, memory_format=torch.contiguous_format)
    return values.reshape(output.shape[0], math.prod(output.shape[1:]))


def is_convolutional(module: torch.nn.Module) -> bool:
    """Whether a module holds filters over rows and columns (weights of four dimensions)."""
    return any(weight.ndim == 4 for weight in (*module.parameters(), *module.buffers()))


@contextmanager
def seeded_globals(seed: int = 0) -> Iterator[None]:
    """Seed the global CPU generators of torch, NumPy and Python inside the block, and put them back afterwards.

    Weights that a framework's default initialisation draws are then the same in every run, whatever ran before.
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
