"""ResNet-50 of Barlow Twins: torchvision's architecture, a file's weights, the published pooling."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import resnet50

from benchmark_core.errors import MissingDataError
from benchmark_core.resolution import import_target
from benchmark_core.torch_models import HookedModel
from plugins.models.barlow_twins import register_models

(SPEC,) = register_models()


def empty() -> torch.nn.Module:
    with torch.device("meta"):
        network: torch.nn.Module = resnet50(weights=None)
    network.fc = torch.nn.Identity()
    return network


@pytest.fixture(scope="module")
def stored() -> dict[str, torch.Tensor]:
    """Tensors of the right names and shapes; kernels repeat over filters, so that the file is small."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for name, t in empty().state_dict().items():
        if t.ndim == 4:
            drawn = torch.randn((1, *t.shape[1:]), generator=generator) / t[0].numel() ** 0.5
            tensors[name] = drawn.expand(t.shape)
        elif name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
        elif name.endswith(("running_var", "weight")):
            tensors[name] = torch.rand(t.shape, generator=generator) + 0.5
        else:
            tensors[name] = torch.randn(t.shape, generator=generator) * 0.1
    return tensors


def test_stages_are_pooled_as_published(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "resnet50.pth"
    torch.save(stored, path)
    model = HookedModel(import_target(SPEC.load)(weights=str(path)))
    reference = empty()
    reference.load_state_dict(stored, strict=True, assign=True)
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    names = [f"layer{i}" for i in range(1, 5)]
    assert SPEC.layers == tuple(names)
    with torch.inference_mode():
        features, unpooled = model.features(image, names), HookedModel(reference).features(image, names)
    for name, width, channels, side in zip(names, (3, 2, 2, 1), (256, 512, 1024, 2048), (56, 28, 14, 7), strict=True):
        stage = unpooled[name].reshape(1, channels, side, side)
        torch.testing.assert_close(features[name], F.avg_pool2d(stage, width).flatten(1))
    assert [v.shape[1] for v in features.values()] == [256 * 18 * 18, 512 * 14 * 14, 1024 * 7 * 7, 2048 * 7 * 7]


def test_classifier_is_passed_over_and_counters_may_be_absent(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "resnet50.pth"
    without = {name: t for name, t in stored.items() if not name.endswith("num_batches_tracked")}
    torch.save(without | {"fc.weight": torch.zeros(1000, 1).expand(1000, 2048), "fc.bias": torch.zeros(1000)}, path)
    state = import_target(SPEC.load)(weights=str(path)).trunk.state_dict()
    assert set(state) == set(stored)
    assert all(torch.equal(t, state[name]) for name, t in without.items())


def test_weights_lie_in_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    assert callable(SPEC.weights)
    with pytest.raises(
        MissingDataError,
        match=r"save https://dl\.fbaipublicfiles\.com/barlowtwins/.*/resnet50\.pth as ",
    ) as raised:
        SPEC.weights(weights=None)
    place = Path(str(raised.value).partition("resnet50.pth as ")[2].partition(", or")[0])
    assert place == home / "weights" / "resnet50-barlowtwins.pth"
    place.parent.mkdir(parents=True)
    place.touch()
    assert SPEC.weights(weights=None) == place
