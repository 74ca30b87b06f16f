"""Pixels: the baseline that any model of visual cortex has to beat."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.specs import ModelSpec


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer the pixels of a small grey image, in [0, 1], as features (P = 3136)."""
    return [
        ModelSpec(
            name="pixels",
            version=1,
            load="plugins.models._pixel_features:load",
            layers=("output",),
            preprocessing=Preprocessing(size=(56, 56), colour="grey", mean=(0.0,), std=(1.0,)),
            description="baseline: the grey values of the image at 56 x 56 pixels",
        )
    ]
