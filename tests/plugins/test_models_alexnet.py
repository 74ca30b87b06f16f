"""AlexNet; outputs of the untrained one are compared with published ones in test_models_golden."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torchvision.models import AlexNet_Weights, alexnet

from benchmark_core.resolution import import_target
from benchmark_core.torch_models import HookedModel
from plugins.models._default_weights import default_weights
from plugins.models.alexnet import LAYERS, SOURCE, register_models

TRAINED, UNTRAINED = register_models()


def empty() -> torch.nn.Module:
    with torch.device("meta"):
        network: torch.nn.Module = alexnet(weights=None)
    return network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with torchvision's names and shapes, small because the dense layers repeat one number."""
    stored = {}
    for name, tensor in empty().state_dict().items():
        drawn = torch.randn(tensor.shape if name.startswith("features") else (1,)) * 0.02
        stored[name] = drawn.expand(tensor.shape)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(stored, path)
    return path


def test_trained_model_reads_a_file(weights: Path) -> None:
    """Features of the layers are those of torchvision's network with the file's tensors."""
    assert callable(TRAINED.weights)
    assert TRAINED.weights(weights=str(weights)) == weights
    network = import_target(TRAINED.load)(weights=str(weights))
    stored, reference = torch.load(weights, weights_only=True), empty()
    reference.load_state_dict(stored, assign=True)
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        features = HookedModel(network).features(image, LAYERS)
        x, expected = image, {}
        for index, layer in enumerate(reference.get_submodule("features").children()):
            x = layer(x)
            expected[f"features.{index}"] = x.flatten(1).clone()
    assert {name: v.shape[1] for name, v in features.items()} == {
        "features.2": 64 * 27 * 27,
        "features.5": 192 * 13 * 13,
        "features.7": 384 * 13 * 13,
        "features.9": 256 * 13 * 13,
        "features.12": 256 * 6 * 6,
    }
    for name, values in features.items():
        torch.testing.assert_close(values, expected[name])
    assert not network.training
    assert not any(p.requires_grad or p.is_meta for p in network.parameters())


def test_trained_model_in_torchvisions_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(SOURCE).name)
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert callable(TRAINED.weights)
    assert TRAINED.weights(weights=None) == cached


def test_weights_are_those_that_torchvision_would_take() -> None:
    assert AlexNet_Weights.DEFAULT.url == SOURCE


def test_untrained_weights_have_torchs_default_distributions() -> None:
    """Weights and biases of a layer reach, and never pass, 1 / sqrt(fan_in); another seed gives others."""
    features = empty().get_submodule("features")
    before = torch.get_rng_state()
    ours, other = default_weights(features, 0), default_weights(features, 1)
    assert torch.equal(torch.get_rng_state(), before)
    expected = {name: tuple(t.shape) for name, t in features.state_dict().items()}
    assert {name: tuple(t.shape) for name, t in ours.items()} == expected
    for name, tensor in ours.items():
        bound = math.prod(expected[name.partition(".")[0] + ".weight"][1:]) ** -0.5
        assert 0.9 * bound < tensor.abs().max().item() <= bound * (1 + 1e-6), name
        assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2), name
        assert not torch.isclose(tensor, other[name]).all()
