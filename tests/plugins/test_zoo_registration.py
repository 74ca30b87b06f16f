"""The zoos' identifiers, catalogues, preprocessing and the places where weights are looked for."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import timm
import torchvision
from PIL import Image
from toy import make_toy_world

from benchmark_core.cells import make_plan
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.listing import listing
from benchmark_core.offline import is_offline
from benchmark_core.pipeline import preprocessing_of
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.registry import Registry
from benchmark_core.runner import Runner
from plugins.models import _weights_download, _weights_files, _zoo_catalogue, _zoo_timm

SMALL = "torchvision/shufflenet_v2_x0_5"
HUB_FILE = "resnet50-11ad3fa6.pth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(autouse=True)
def _places(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One catalogue for the module; neither the user's own files nor the network."""
    monkeypatch.setenv("BENCH_CACHE", str(folder / "cache"))
    for variable, name in {"BENCH_HOME": "home", "TORCH_HOME": "torch", "HF_HUB_CACHE": "hub"}.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("BENCH_OFFLINE", "1")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(installed=False)


def test_every_model_has_a_name(registry: Registry) -> None:
    """All of timm's list; of torchvision's, what takes still images."""
    names = set(registry.names_in_families("*/*"))
    assert {n for n in names if n.startswith("timm/")} == {f"timm/{n}" for n in timm.list_models()}
    ours = {n.removeprefix("torchvision/") for n in names if n.startswith("torchvision/")}
    left = set(torchvision.models.list_models()) - ours
    assert len(ours) > 90
    modules = {torchvision.models.get_model_builder(n).__module__.split(".")[2] for n in left}
    assert modules == {"video", "optical_flow", "quantization"}


def test_globs_and_mistakes(registry: Registry) -> None:
    """A plain list shows the family, a glob its members; mistakes are met with suggestions."""
    plain = [row["name"] for row in listing(registry, "models")["models"]]
    assert {"timm/...", "torchvision/..."} <= set(plain)
    assert not any(name.startswith("timm/r") for name in plain)
    rows = {row["name"]: row for row in listing(registry, "models", "timm/test_*")["models"]}
    assert rows["timm/test_vit"]["trained"]
    assert not rows["timm/test_vit4"]["trained"]
    assert [m.identifier for m in registry.expand_models("torchvision/resnet5*:weights=none")] == [
        "torchvision/resnet50:weights=none"
    ]
    for identifier, message in {
        "torchvision/resnt50": "Did you mean torchvision/resnet50",
        "timm/resnet50.a1_in2k": "unknown model",
        "timm/resnet50:weights=a1_in2k": "Did you mean a1_in1k",
        "torchvision/resnet50:seed=1": "seed=1 is for untrained weights",
        "torchvision/resnet50:pool=avg99": "pool must be one of none, avg",
        "torchvision/resnet50:weights=some/notes.txt": "not a file of named tensors",
    }.items():
        with pytest.raises(InputError, match=message):
            registry.model(identifier)


def test_one_identifier_for_one_model(registry: Registry) -> None:
    """The default's tag is the default; timm's NAME.TAG is a name; a missing file keeps its path."""
    assert registry.model("torchvision/resnet50:weights=IMAGENET1K_V2").identifier == "torchvision/resnet50"
    named = registry.model("timm/resnet50.a2_in1k")
    assert named.identifier == registry.model("timm/resnet50:weights=a2_in1k").identifier == "timm/resnet50.a2_in1k"
    assert named.given == {"weights": "a2_in1k"}
    assert registry.model("timm/resnet50.a1_in1k").identifier == "timm/resnet50"
    assert registry.model(f"{SMALL}:weights=/not/here.pth").identifier == f"{SMALL}:weights=/not/here.pth"


def test_weights_enter_the_identifier_by_their_hash(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"any bytes")
    model = registry.model(f"{SMALL}:weights={path}")
    assert model.given == {"weights": "@" + hashlib.sha256(b"any bytes").hexdigest()[:12]}
    assert model.parameters["weights"] == str(path)


def test_the_list_of_a_zoo_is_light(registry: Registry) -> None:
    """Once a library's version has been asked, its names come without it."""
    registry.names_in_families("*/*")
    script = (
        "import sys; from benchmark_core.registry import Registry; from benchmark_core.listing import listing;"
        "found = listing(Registry(installed=False), 'models', '*/resnet*')['models']; assert len(found) > 20, found;"
        "print(sorted({'torch', 'numpy', 'pandas', 'xarray', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"


def test_a_damaged_catalogue_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(_zoo_catalogue, "_READ", {})
    made: list[int] = []

    def find() -> dict[str, Any]:
        made.append(1)
        return {"a": 1}

    assert _zoo_catalogue.remembered("timm", "names", find) == {"a": 1}
    (path,) = tmp_path.rglob("names.json")
    assert timm.__version__ in str(path)
    assert json.loads(path.read_text()) == {"a": 1}
    _zoo_catalogue._READ.clear()
    assert _zoo_catalogue.remembered("timm", "names", find) == {"a": 1}
    path.write_text('{"a": ')
    _zoo_catalogue._READ.clear()
    assert _zoo_catalogue.remembered("timm", "names", find) == {"a": 1}
    assert len(made) == 2
    with pytest.raises(MissingDataError, match="pip install no-such-library"):
        _zoo_catalogue.library_version("no-such-library")


@pytest.mark.parametrize("shape", [(300, 401), (500, 333), (224, 224)])
def test_own_preprocessing(registry: Registry, shape: tuple[int, int]) -> None:
    """Inputs equal those of the libraries' own transforms: bilinear and bicubic, cropped and squashed."""
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((shape[1], shape[0]))
    squashed = next(
        name
        for name in timm.list_models()
        if (c := timm.get_pretrained_cfg(name))
        and c.crop_mode == "squash"
        and c.crop_pct == 1.0
        and c.input_size[1] < 400
    )
    for name, transform in {
        "torchvision/resnet50": torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms(),
        "torchvision/resnet50:weights=IMAGENET1K_V1": torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms(),
        "torchvision/swin_v2_t": torchvision.models.Swin_V2_T_Weights.DEFAULT.transforms(),
        **{f"timm/{n}": timm_transform(n) for n in ("test_vit", "vit_base_patch16_224", "resnet50", squashed)},
    }.items():
        ours = preprocessing_of(registry.model(name))(image)
        assert np.allclose(ours, transform(image).numpy(), atol=1e-5), name


def timm_transform(name: str) -> Any:
    config: Any = timm.get_pretrained_cfg(name)
    return timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config.to_dict()))


def test_other_preprocessing(registry: Registry) -> None:
    """The paper's on request; a transform that has no counterpart, or a size that does not fit, is an error."""
    assert preprocessing_of(registry.model("torchvision/resnet50:preprocessing=paper")) == Preprocessing()
    for identifier, message in {
        "torchvision/fasterrcnn_resnet50_fpn": "ObjectDetection has no fixed input size.*preprocessing=paper",
        "timm/vit_base_patch16_384:preprocessing=paper": "takes images of 384 x 384 pixels only",
    }.items():
        with pytest.raises(InputError, match=message):
            preprocessing_of(registry.model(identifier))
    config: Any = timm.get_pretrained_cfg("resnet50")
    for change, message in {
        "border": "crops by mode 'border'",
        "nearest": "by interpolation 'nearest'",
        "one channel": "takes 1 channels",
    }.items():
        other = {
            "border": {"crop_mode": "border"},
            "nearest": {"interpolation": "nearest"},
            "one channel": {"input_size": (1, 224, 224)},
        }[change]
        assert message in _zoo_timm._input(config.__class__(**{**vars(config), **other}))["problem"]


def published(registry: Registry, identifier: str) -> Path:
    model = registry.model(identifier)
    found = model.spec.weights(**model.parameters)
    assert isinstance(found, Path)
    return found


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def test_where_weights_are_looked_for(registry: Registry, tmp_path: Path) -> None:
    """BENCH_HOME/weights before the libraries' own caches; without a file, one line says which to put where."""
    home, url = tmp_path / "home/weights", f"https://download.pytorch.org/models/{HUB_FILE}"
    with pytest.raises(MissingDataError, match=rf"save {url} as {home}/torchvision/{HUB_FILE}") as caught:
        published(registry, "torchvision/resnet50")
    assert "BENCH_OFFLINE" in str(caught.value)
    cached = put(tmp_path / "torch/hub/checkpoints" / HUB_FILE)
    assert published(registry, "torchvision/resnet50") == cached
    own = put(home / "torchvision" / HUB_FILE)
    assert published(registry, "torchvision/resnet50") == own

    with pytest.raises(MissingDataError, match=r"save https://huggingface.co/timm/test_vit.r160_in1k/resolve/main/"):
        published(registry, "timm/test_vit")
    hub = tmp_path / "hub/models--timm--test_vit.r160_in1k"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs/main").write_text("abc")
    cached = put(hub / "snapshots/abc/model.safetensors")
    assert published(registry, "timm/test_vit") == cached
    own = put(home / "timm/test_vit.r160_in1k.safetensors")
    assert published(registry, "timm/test_vit") == own
    with pytest.raises(MissingDataError, match=r"has no trained weights for test_vit4; use .*weights=none"):
        published(registry, "timm/test_vit4")


def test_downloads(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries download into their own caches; one that fails is missing data and says why."""
    monkeypatch.setenv("BENCH_OFFLINE", "0")
    monkeypatch.setattr(_weights_files, "_UNREACHABLE", {})
    calls: list[Any] = []

    def fetch(url: str, path: Path) -> None:
        calls.append(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")

    monkeypatch.setattr(_weights_download, "fetch", fetch)
    assert published(registry, "torchvision/resnet50") == tmp_path / "torch/hub/checkpoints" / HUB_FILE
    published(registry, "torchvision/resnet50")
    assert calls == [f"https://download.pytorch.org/models/{HUB_FILE}"]
    # The paper's models come the same way; torch would mistake Barlow Twins' file for another's.
    for identifier, place in {
        "alexnet-trained": "torch/hub/checkpoints/alexnet-owt-7be5be79.pth",
        "resnet50-barlowtwins": "home/weights/resnet50-barlowtwins.pth",
    }.items():
        assert published(registry, identifier) == tmp_path / place
    assert published(registry, "torchvision/alexnet") == published(registry, "alexnet-trained")
    calls.clear()

    def unreachable(*args: Any, **options: Any) -> str:
        calls.append(args)
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(MissingDataError, match="download failed: ConnectionError: no route to host"):
        published(registry, "timm/test_vit")
    assert not is_offline()
    # One server without an answer is not asked again for every model of a glob.
    with pytest.raises(MissingDataError, match=r"as .*test_vit2"):
        published(registry, "timm/test_vit2")
    assert len(calls) == 1


def test_a_download_is_checked_by_the_hash_in_its_name(tmp_path: Path) -> None:
    content = b"weights" * 1000
    digits = hashlib.sha256(content).hexdigest()[:8]
    served, cache = tmp_path / "served", tmp_path / "cache"
    served.mkdir()
    for name in (f"net-{digits}.pth", "net-00000000.pth", "net.pth"):
        (served / name).write_bytes(content)
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for name in (f"net-{digits}.pth", "net.pth"):
            _weights_download.fetch(f"{address}/{name}", cache / name)
            assert (cache / name).read_bytes() == content
        with pytest.raises(ValueError, match=r"net-00000000\.pth has not the hash that its name gives"):
            _weights_download.fetch(f"{address}/net-00000000.pth", cache / "net-00000000.pth")
        server.shutdown()
    assert sorted(p.name for p in cache.iterdir()) == sorted([f"net-{digits}.pth", "net.pth"])


@pytest.fixture
def toy_world(tmp_path: Path) -> Registry:
    return Registry([make_toy_world(tmp_path / "toy", n=12)], installed=False)


def test_runs(toy_world: Registry, tmp_path: Path) -> None:
    """A cell whose weights are missing says so and the others run, with every default layer asked for at once."""
    runner = Runner(toy_world, records=tmp_path / "records")
    names = [SMALL, f"{SMALL}:pool=avg,weights=none", "timm/test_vit:class_token=false,pool=avg,weights=none"]
    cells, _ = make_plan(toy_world, names, ["toy.V4"], "count")
    started = time.perf_counter()
    missing, first, second = runner.run(cells)
    assert time.perf_counter() - started < 60
    assert missing["status"] == "missing-data"
    assert [first["status"], second["status"]] == ["ok", "ok"], (first["error"], second["error"])
    assert [first["score"], second["score"]] == [3.0, 6.0]  # the toy metric counts layers
    assert second["model"] == names[2]
    assert len(make_plan(toy_world, [names[1]], ["toy.V4"], "count", "all")[0]) == 3
