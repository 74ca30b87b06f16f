"""Every model that timm lists, as ``timm/NAME``."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import ModelFamily
from plugins.models._zoo import Zoo


@hookimpl
def register_models() -> list[ModelFamily]:
    """Offer timm's models; its own names of weights, ``NAME.TAG``, are names here too."""
    return [Zoo("timm", "every model of timm, e.g. timm/vit_base_patch16_224", named_tags=True).family()]
