"""Every model of still images that torchvision lists, as ``torchvision/NAME``."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import ModelFamily
from plugins.models._zoo import Zoo


@hookimpl
def register_models() -> list[ModelFamily]:
    """Offer torchvision's models: classification, detection and segmentation."""
    return [Zoo("torchvision", "every image model of torchvision, e.g. torchvision/resnet50").family()]
