"""Model plugins are light to import and come in by the public hook."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pluggy
import pytest
from PIL import Image

from benchmark_core import hookspecs
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.resolution import import_target
from benchmark_core.specs import ModelSpec
from plugins.models import (
    alexnet,
    barlow_twins,
    efficientnet_lite,
    expansion,
    fully_connected,
    pixels,
    vision_transformer,
)

MODULES = (alexnet, barlow_twins, efficientnet_lite, expansion, fully_connected, pixels, vision_transformer)


def test_specs_come_in_by_the_hook() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for module in MODULES:
        manager.register(module)
    specs: list[ModelSpec] = [spec for specs in manager.hook.register_models() for spec in specs]
    assert {name for spec in specs for name in spec.names} == {
        "alexnet-trained",
        "alexnet-untrained",
        "efficientnet-lite0",
        "expansion5l",
        "expansion5l-256",
        "expansion5l-linear",
        "expansion5l-lrp",
        "expansion5l-norelu",
        "expansion5l-nospatial",
        "expansion5l-random",
        "fully-connected",
        "pixels",
        "resnet50-barlowtwins",
        "vit-custom",
        "vit-trained",
        "vit-untrained",
    }
    trained = {"alexnet-trained", "efficientnet-lite0", "resnet50-barlowtwins", "vit-trained"}
    assert {spec.name for spec in specs if spec.trained} == trained


def test_published_models_are_read_and_prepared_as_published() -> None:
    """Layers (module paths) as the paper has them; images resized straight to 224 pixels for every model."""
    specs = {spec.name: spec for module in MODULES for spec in module.register_models()}
    blocks = tuple(f"blocks.{i}" for i in range(12))
    features = ("features.2", "features.5", "features.7", "features.9", "features.12")
    expected = {
        "alexnet-trained": features,
        "alexnet-untrained": features,
        "expansion5l": ("layer5",),
        "fully-connected": ("layer5",),
        "resnet50-barlowtwins": ("layer1", "layer2", "layer3", "layer4"),
        "vit-custom": ("dense",),
        "vit-trained": blocks,
        "vit-untrained": blocks,
    }
    assert {name: specs[name].layers for name in expected} == expected
    assert all(specs[name].preprocessing == Preprocessing() for name in expected)


@pytest.mark.parametrize("module", [module.__name__ for module in MODULES])
def test_registering_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module} as plugin; plugin.register_models();"
        "print(sorted({'torch', 'timm', 'numpy', 'pandas', 'xarray', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_attribute_of_the_lazy_module() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Expansion6L'"):
        _ = expansion.Expansion6L


def test_pixels_are_grey_values_between_0_and_1() -> None:
    import torch

    (spec,) = pixels.register_models()
    colours = np.random.default_rng(0).integers(0, 256, (112, 90, 3), dtype=np.uint8)
    assert isinstance(spec.preprocessing, Preprocessing)
    inputs = spec.preprocessing(Image.fromarray(colours))
    features = import_target(spec.load)()(torch.from_numpy(inputs)[None]).numpy()
    grey = Image.fromarray(colours).convert("L").resize((56, 56), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(features, np.asarray(grey, dtype=np.float64).reshape(1, -1) / 255, atol=1e-7)
    assert features.shape == (1, 3136)
