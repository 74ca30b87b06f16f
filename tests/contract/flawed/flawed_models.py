"""Models that each break one part of the contract."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from benchmark_core import ModelSpec, Parameter, Preprocessing, Width, hookimpl

SMALL = Preprocessing(size=(8, 8), colour="grey", mean=(0.0,), std=(1.0,))
NOWHERE = ("192.0.2.1", 80)  # an address kept for documents


def network(flaw):
    """Return a module that does what its name says."""
    import numpy as np
    import torch

    class Flawed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            random = np.random.Generator(np.random.Philox(1))
            weight = random.standard_normal((64, 12))
            if flaw == "draws-from-numpy":
                weight = np.random.standard_normal((64, 12))  # noqa: NPY002
            elif flaw == "draws-from-the-system":
                weight = np.frombuffer(os.urandom(64 * 12), dtype=np.uint8).reshape(64, 12) / 255
            elif flaw == "seeds-torch":
                torch.manual_seed(7)
            self.dense = torch.nn.Linear(64, 12, bias=False)
            if flaw not in ("default-weights", "seeds-torch"):
                self.dense.weight.data = torch.tensor(weight.T, dtype=torch.float32)
            self.side = torch.nn.Identity()
            self.calls = 0

        def forward(self, images):
            x = self.dense(images.flatten(1))
            if flaw == "reads-the-batch":
                x = x - x.mean(dim=0)
            elif flaw == "reads-its-place":
                x = x + torch.arange(len(x))[:, None]
            elif flaw == "not-a-number":
                x[:, 3] = float("nan")
            elif flaw == "wrong-batch":
                x = x.reshape(-1, 4)
            elif flaw == "counts-calls":
                self.calls += 1
                x = x * (1 + 1e-5 * self.calls)
            elif flaw == "draws-in-forward":
                x = x + 0 * torch.rand(1)
            elif flaw == "asks-the-network":
                with suppress(OSError):
                    socket.create_connection(NOWHERE, timeout=1)
            return x

    if flaw == "needs-the-network":
        socket.create_connection(NOWHERE, timeout=1)
    if flaw == "raises":
        raise RuntimeError("no such\ncolour space")
    return Flawed()


def widened(units, scaled):
    """Return a layer of some units, of which the first do or do not depend on how many there are."""
    import numpy as np
    import torch

    weight = np.random.Generator(np.random.Philox(2)).standard_normal((units, 64)) / (units if scaled else 1)
    layer = torch.nn.Linear(64, units, bias=False)
    layer.weight.data = torch.tensor(weight, dtype=torch.float32)
    return torch.nn.Sequential(torch.nn.Flatten(), layer)


FLAWS = (
    "none",
    "draws-from-numpy",
    "draws-from-the-system",
    "default-weights",
    "seeds-torch",
    "draws-in-forward",
    "reads-the-batch",
    "reads-its-place",
    "counts-calls",
    "not-a-number",
    "wrong-batch",
    "asks-the-network",
    "needs-the-network",
    "raises",
)


@hookimpl
def register_models():
    """Offer one model for each flaw."""
    shared = {"version": 1, "preprocessing": SMALL, "description": "flawed on purpose"}
    size = (Parameter("units", "int", 6, minimum=1), Parameter("scaled", "bool", False))
    return [
        *(
            ModelSpec(name=f"flaw-{flaw}", load=lambda flaw=flaw: network(flaw), layers=("dense", "output"), **shared)
            for flaw in FLAWS
        ),
        ModelSpec(name="flaw-unreached", load=lambda: network("none"), layers=("dense", "side"), **shared),
        ModelSpec(name="flaw-unknown-layer", load=lambda: network("none"), layers=("dence", "output"), **shared),
        ModelSpec(name="flaw-returns-text", load=lambda: "weights", **shared),
        ModelSpec(name="flaw-silent", load=lambda: network("none"), **shared | {"description": ""}),
        ModelSpec(name="flaw-trained", load=lambda: network("none"), trained=True, weights="imagenet", **shared),
        ModelSpec(
            name="flaw-absent", load=lambda: network("none"), weights=lambda: Path("/nowhere/weights.pth"), **shared
        ),
        ModelSpec(
            name="flaw-width",
            load=widened,
            parameters=size,
            width=Width(parameter="units", layer="output"),
            **shared,
        ),
    ]
