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
from benchmark_core.specs import ModelSpec, import_target
from plugins.models import efficientnet_lite, expansion, pixels

MODULES = (efficientnet_lite, expansion, pixels)


def test_specs_come_in_by_the_hook() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for module in MODULES:
        manager.register(module)
    specs: list[ModelSpec] = [spec for specs in manager.hook.register_models() for spec in specs]
    assert {name for spec in specs for name in spec.names} == {
        "efficientnet-lite0",
        "expansion5l",
        "expansion5l-256",
        "pixels",
    }
    assert {spec.name for spec in specs if spec.trained} == {"efficientnet-lite0"}


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
        expansion.Expansion6L  # noqa: B018


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
