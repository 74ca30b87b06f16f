"""The zoos' networks: layers, pooling, seeds and weights, against the libraries themselves and against formulas."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.registry import Registry
from benchmark_core.resolution import Resolved
from plugins.models import _zoo_torchvision
from plugins.models._trained_weights import mismatch, read_tensors
from plugins.models._zoo_network import ZooNetwork, describe_network, stages, without_numbers

SMALL = "torchvision/shufflenet_v2_x0_5"


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the module, and neither the user's own files nor the network."""
    folder = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        for variable, name in {"BENCH_HOME": "home", "BENCH_CACHE": "cache", "TORCH_HOME": "torch"}.items():
            patch.setenv(variable, str(folder / name))
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        patch.setenv("BENCH_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(installed=False)


def loaded(model: Resolved) -> Any:
    return model.spec.load(**model.parameters)


def network(name: str) -> nn.Module:
    return without_numbers(lambda: _zoo_torchvision.build(name, None))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", [f"layer{i}" for i in (1, 2, 3, 4)]),
        ("vit_b_32", [f"encoder.layers.encoder_layer_{i}" for i in range(12)]),
        ("shufflenet_v2_x0_5", ["stage2", "stage3", "stage4"]),
        ("vgg11", [f"features.{i}" for i in (2, 5, 10, 15, 20)]),
        ("densenet121", [f"features.denseblock{i}" for i in (1, 2, 3, 4)]),
        ("convnext_tiny", [f"features.{i}" for i in (1, 3, 5, 7)]),
        ("efficientnet_b0", [f"features.{i}" for i in range(1, 8)]),
        ("regnet_x_400mf", [f"trunk_output.block{i}" for i in (1, 2, 3, 4)]),
        ("swin_t", [f"features.{i}" for i in (1, 3, 5, 7)]),
        ("fcn_resnet50", [f"backbone.layer{i}" for i in (1, 2, 3, 4)]),
    ],
)
def test_stages(name: str, layers: list[str]) -> None:
    """Default layers are the stages or blocks that the architectures' papers speak of."""
    assert stages(network(name)) == layers


def test_description() -> None:
    """A transformer's class token and channels that come last are found; of a tuple the first tensor counts."""
    assert describe_network(network("vit_b_32"), (224, 224))["prefix_tokens"] == 1
    swin = describe_network(network("swin_t"), (224, 224))
    assert swin["channels_last"]
    assert swin["prefix_tokens"] == 0

    class Pair(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x), 0

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block1, self.block2 = Pair(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.block2(self.block1(x)[0])

    assert describe_network(Odd().to("meta"), (4, 4))["layers"] == ["block1", "block2"]


def test_models_of_a_zoo(registry: Registry) -> None:
    """Layers by any module path come out of an untrained model, in shapes that follow from the architecture."""
    model = registry.model(f"{SMALL}:weights=none")
    assert model.spec.layers(**model.parameters) == ("stage2", "stage3", "stage4")
    outputs = loaded(model).features(torch.zeros(2, 3, 64, 64), ["conv1", "stage4", "output"])
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        "conv1": (2, 24 * 32 * 32),
        "stage4": (2, 192 * 2 * 2),
        "output": (2, 1000),
    }
    vit = registry.model("timm/test_vit:weights=none")
    assert vit.spec.layers(**vit.parameters) == tuple(f"blocks.{i}" for i in range(6))
    assert not vit.trained
    assert registry.model("timm/test_vit").trained
    assert registry.model("torchvision/alexnet").spec.layers(weights="none")[-1] == "features.12"


def generator_states() -> tuple[object, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), state[1].tolist(), random.getstate()


def test_untrained_weights_are_seeded(registry: Registry) -> None:
    """Weights are those that the library draws after torch.manual_seed, and no global generator moves."""
    torch.manual_seed(5)
    reference = torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict()
    torch.manual_seed(77)
    before = generator_states()
    first, second = (loaded(registry.model(f"{SMALL}:weights=none,seed={s}")).module.state_dict() for s in (5, 6))
    assert generator_states() == before
    assert all(torch.equal(first[name], reference[name]) for name in reference)
    assert not torch.equal(first["conv1.0.weight"], second["conv1.0.weight"])


class Maps(nn.Module):
    """Hands on its input as one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)


def read(x: np.ndarray, **options: Any) -> np.ndarray:
    options = {"pool": "none", "class_token": True, "prefix_tokens": 0, "channels_last": False} | options
    return ZooNetwork(Maps(), **options).features(torch.from_numpy(x), ["block"])["block"].numpy()


def test_pooling_of_maps() -> None:
    """Means over positions; channels are found where they are; what is left over at the edges is dropped."""
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 7)).astype(np.float32)
    assert np.array_equal(read(x), x.reshape(2, -1))
    for pool, expected in {
        "avg": x.mean(axis=(2, 3)),
        "avg3": x[:, :, :6, :6].reshape(2, 5, 2, 3, 2, 3).mean(axis=(3, 5)).reshape(2, -1),
        "avg9": x.mean(axis=(2, 3)),
    }.items():
        assert np.allclose(read(x, pool=pool), expected, atol=1e-6)
        assert np.allclose(read(np.moveaxis(x, 1, 3).copy(), pool=pool), expected, atol=1e-6)
    cube = x[:, :, :5, :5]
    last = read(np.moveaxis(cube, 1, 3).copy(), pool="avg", channels_last=True)
    assert np.allclose(last, cube.mean(axis=(2, 3)), atol=1e-6)


def test_tokens() -> None:
    """Class tokens stay apart from the patches: kept or left out, never averaged with them."""
    x = np.random.default_rng(1).normal(size=(2, 1 + 16, 3)).astype(np.float32)
    patches, ahead = x[:, 1:], {"prefix_tokens": 1}
    assert np.array_equal(read(x, class_token=False, **ahead), patches.reshape(2, -1))
    assert np.allclose(read(x, pool="avg", **ahead), np.concatenate([x[:, 0], patches.mean(axis=1)], axis=1), atol=1e-6)
    grid = patches.reshape(2, 2, 2, 2, 2, 3).mean(axis=(2, 4)).reshape(2, -1)
    assert np.allclose(read(x, pool="avg2", class_token=False, **ahead), grid, atol=1e-6)
    # A layer ahead of the class token has none to leave out.
    assert np.array_equal(read(patches.copy(), class_token=False, **ahead), patches.reshape(2, -1))
    with pytest.raises(InputError, match="7 tokens"):
        read(x[:, :7], class_token=False, **ahead)
    with pytest.raises(InputError, match="form no square"):
        read(x[:, :7], pool="avg2")


def test_no_class_token(registry: Registry) -> None:
    with pytest.raises(InputError, match="has no class token"):
        loaded(registry.model(f"{SMALL}:weights=none,class_token=false"))


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    """Weights that no initialisation gives."""
    model, generator = torchvision.models.shufflenet_v2_x0_5(weights=None), torch.Generator().manual_seed(1)
    return {
        name: t if not t.is_floating_point() else t + 0.01 * torch.rand(t.shape, generator=generator)
        for name, t in model.state_dict().items()
    }


@pytest.mark.parametrize("form", ["safetensors", "pth", "checkpoint"])
def test_a_weights_file(registry: Registry, trained: dict[str, torch.Tensor], tmp_path: Path, form: str) -> None:
    """The network computes what the library's own does with these weights; the identifier has the file's hash."""
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(trained, path)
    elif form == "pth":
        torch.save(trained, path)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in trained.items()}}, path)
    model = registry.model(f"{SMALL}:weights={path}")
    assert model.identifier.startswith(f"{SMALL}:weights=@")
    assert model.trained
    assert model.spec.weights(**model.parameters) == path
    reference = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    reference.load_state_dict(trained)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = loaded(model).features(images, ["output"])["output"]
        assert torch.equal(found, reference(images))
    again = registry.model(model.identifier)
    assert again.identifier == model.identifier
    assert again.given == model.given
    assert again.spec.weights(**again.parameters) == path
    path.write_bytes(b"other bytes")
    with pytest.raises(MissingDataError, match="no weights file with the SHA-256"):
        again.spec.weights(**again.parameters)


def test_weights_of_timm(registry: Registry, tmp_path: Path) -> None:
    """Weights go through timm's own conversion."""
    import timm

    source = timm.create_model("test_vit").eval()
    path = tmp_path / "vit.safetensors"
    save_file({name: t + 0.01 for name, t in source.state_dict().items()}, path)
    network = loaded(registry.model(f"timm/test_vit:weights={path}")).module
    name = "blocks.3.mlp.fc1.weight"
    assert torch.equal(network.state_dict()[name], source.state_dict()[name] + 0.01)


def test_weights_that_do_not_fit(registry: Registry, trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """One line names the tensor and its shapes, or what is wrong with the file."""
    other, short, damaged, code = (tmp_path / n for n in ("o.safetensors", "s.pth", "d.pth", "c.pth"))
    save_file(torchvision.models.shufflenet_v2_x1_0(weights=None).state_dict(), other)
    torch.save({k: v for k, v in trained.items() if k != "fc.bias"}, short)
    damaged.write_bytes(short.read_bytes()[:5000])
    torch.save({"conv1.0.weight": trained["conv1.0.weight"], "code": Image.new}, code)
    for path, message in {
        other: r"tensor 'stage2.0.branch1.2.weight' has shape \(58, 24, 1, 1\), where the network has \(24, 24, 1, 1\)",
        short: r"it lacks the tensor 'fc.bias' of shape \(1000,\)",
        damaged: "cannot read the weights",
        code: "it holds more than tensors",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            loaded(registry.model(f"{SMALL}:weights={path}"))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"do not fit timm/test_vit: (tensor|it lacks)"):
        loaded(registry.model(f"timm/test_vit:weights={other}"))
    torch.save([1, 2], short)
    with pytest.raises(InputError, match="not a file of named tensors"):
        read_tensors(short)
    assert mismatch({"a": torch.ones(1)}, {}) == "it has a tensor 'a' of shape (1,) that the network lacks"
