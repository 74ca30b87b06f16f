"""Finding and reading files of trained weights."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import save_file

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.registry import Registry
from benchmark_core.specs import ModelSpec
from plugins.models import alexnet, barlow_twins, vision_transformer
from plugins.models._trained_weights import load_trained
from plugins.models._weights_files import Published, find_published, huggingface_cache, torch_cache

TRAINED = [
    spec
    for module in (alexnet, barlow_twins, vision_transformer)
    for spec in module.register_models()
    if any(p.name == "weights" for p in spec.parameters)
]
by_name = pytest.mark.parametrize("spec", TRAINED, ids=lambda spec: spec.name)


def find(spec: ModelSpec, weights: str | None) -> Any:
    assert callable(spec.weights)
    return spec.weights(weights=weights)


@pytest.fixture
def no_caches(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """BENCH_HOME, with neither the user's own files nor the network."""
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    return home


@by_name
def test_absent_weights_say_which_file_from_where_to_put_where(spec: ModelSpec, no_caches: Path) -> None:
    with pytest.raises(MissingDataError, match=f"the weights of {spec.name} are not on this machine ") as raised:
        find(spec, None)
    message = str(raised.value)
    assert raised.value.status == 3
    assert "\n" not in message
    assert "--offline or BENCH_OFFLINE forbids the download" in message
    source, place = message.partition("; save ")[2].partition(", or name a file: ")[0].split(" as ")
    place = Path(place)
    assert source.startswith("https://")
    assert Path(source).suffix == place.suffix
    assert message.endswith(f"{spec.name}:weights=FILE")
    place.parent.mkdir(parents=True)
    place.touch()
    assert find(spec, None) == place
    assert place.is_relative_to(no_caches)


@by_name
def test_named_file(spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.safetensors").touch()
    assert find(spec, "mine.safetensors") == find(spec, "~/mine.safetensors") == tmp_path / "mine.safetensors"
    with pytest.raises(MissingDataError, match=rf"{spec.name}: there is no weights file {tmp_path}/gone\.pth"):
        find(spec, "gone.pth")
    with pytest.raises(
        InputError, match=r"weights=mine\.ckpt is not a file of named tensors; use \.safetensors, \.pth"
    ):
        find(spec, "mine.ckpt")


def test_own_folder_comes_before_the_libraries_caches(no_caches: Path) -> None:
    published = Published(names=("a.pth", "torchvision/a.pth"), url="https://a.org/b/a.pth")
    own = no_caches / "weights"
    for path in (torch_cache("https://a.org/b/a.pth"), own / "torchvision" / "a.pth", own / "a.pth"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert find_published("m", published) == path


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"TORCH_HOME": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/torch"),
        ({"TORCH_HOME": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"HOME": "/c"}, "/c/.cache/torch"),
        ({"HOME": "/c", "TORCH_HOME": "~/d"}, "/c/d"),
    ],
)
def test_torch_cache_is_where_torch_has_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (
        torch_cache("https://a.org/b/a.pth")
        == Path(torch.hub.get_dir(), "checkpoints", "a.pth")
        == Path(folder, "hub/checkpoints/a.pth")
    )


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "a"}, "a"),
        ({"HF_HOME": "b"}, "b/hub"),
        ({"XDG_CACHE_HOME": "c"}, "c/huggingface/hub"),
        ({"HF_HUB_CACHE": "a", "HF_HOME": "b"}, "a"),
        ({"HOME": "d"}, "d/.cache/huggingface/hub"),
    ],
)
def test_hugging_face_cache_is_where_its_library_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    """A file that timm has downloaded is found, without asking a server, and so is its newest version."""
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    repository = vision_transformer.REPOSITORY
    assert not huggingface_cache(repository, "model.safetensors").exists()
    stored = tmp_path / folder / ("models--" + repository.replace("/", "--"))
    for commit in ("old", "new"):
        (stored / "snapshots" / commit).mkdir(parents=True)
        (stored / "snapshots" / commit / "model.safetensors").touch()
        (stored / "refs").mkdir(exist_ok=True)
        (stored / "refs" / "main").write_text(commit)
        found = try_to_load_from_cache(repository, "model.safetensors", cache_dir=tmp_path / folder)
        assert str(huggingface_cache(repository, "model.safetensors")) == found
    assert find(TRAINED[2], None) == stored / "snapshots" / "new" / "model.safetensors"


def test_finding_weights_needs_no_torch(home: Path) -> None:
    code = (
        "import sys; from plugins.models import alexnet, vision_transformer\n"
        "for spec in (alexnet.register_models()[0], vision_transformer.register_models()[1]):\n"
        "    try: spec.weights(weights=None)\n"
        "    except Exception as error: assert 'not on this machine' in str(error), error\n"
        "print('torch' in sys.modules)"
    )
    environment = {"BENCH_HOME": str(home), "HF_HOME": str(home), "TORCH_HOME": str(home), "BENCH_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


def network() -> torch.nn.Module:
    with torch.device("meta"):
        return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def tensors() -> dict[str, torch.Tensor]:
    return {
        "0.weight": torch.arange(6.0).reshape(2, 3),
        "0.bias": torch.ones(2, dtype=torch.float64),
        "1.weight": torch.ones(2, dtype=torch.float16),
        "1.bias": torch.zeros(2),
        "1.running_mean": torch.zeros(2),
        "1.running_var": torch.ones(2),
        "1.num_batches_tracked": torch.tensor(5),
    }


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_reads_both_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(tensors(), path) if suffix == ".safetensors" else torch.save(tensors(), path)
    loaded = load_trained(network(), path, "net")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor.double(), tensors()[name].double())
        assert tensor.dtype == (torch.int64 if name.endswith("tracked") else torch.float32)
        assert not tensor.is_meta
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": torch.zeros(2, 4)}, r"tensor '0.weight' has shape \(2, 4\), where the network has \(2, 3\)"),
        ({"0.weight": None}, r"it lacks the tensor '0.weight' of shape \(2, 3\)"),
        ({"2.weight": torch.zeros(4)}, r"it has a tensor '2.weight' of shape \(4,\) that the network lacks"),
    ],
)
def test_weights_of_another_architecture(tmp_path: Path, change: dict[str, torch.Tensor | None], message: str) -> None:
    changed = {name: t for name, t in {**tensors(), **change}.items() if t is not None}
    torch.save(changed, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"the weights .*weights\.pth do not fit net: " + message):
        load_trained(network(), tmp_path / "weights.pth", "net")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (b"\n<html><body>Not found</body></html>" * 100, "it is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "it is a pointer of Git LFS, not the file itself",
        ),
        (-50, {".pth": "it is cut short", ".safetensors": r"it has (\d+) of (\d+) bytes"}),
        (100, {".pth": "it is cut short", ".safetensors": r"it has 100 of (\d+) bytes"}),
        (3, {".pth": ".*", ".safetensors": "it does not start like a .safetensors file"}),
        (b"nothing of the kind", {".pth": ".*", ".safetensors": "it does not start like a .safetensors file"}),
    ],
)
def test_damaged_file(tmp_path: Path, suffix: str, content: bytes | int, reason: str | dict[str, str]) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(tensors(), path) if suffix == ".safetensors" else torch.save(tensors(), path)
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    reason = reason[suffix] if isinstance(reason, dict) else reason
    with pytest.raises(
        InputError, match=rf"cannot read the weights .*weights\{suffix} \({reason}\); get the file again"
    ) as raised:
        load_trained(network(), path, "net")
    assert "\n" not in str(raised.value)


class Payload:
    """Would write a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_file_that_holds_code_is_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": Payload(tmp_path / "ran")}, tmp_path / "weights.pth", pickle_module=pickle)
    with pytest.raises(InputError, match="it holds more than tensors, which may be code"):
        load_trained(network(), tmp_path / "weights.pth", "net")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_of_a_training_run(tmp_path: Path) -> None:
    """Its weights are read, without what a wrapper added to their names; a file of anything else is refused."""
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors().items()}}, tmp_path / "weights.pth")
    loaded = load_trained(network(), tmp_path / "weights.pth", "net")
    assert torch.equal(loaded.state_dict()["0.weight"], tensors()["0.weight"])
    torch.save({"epoch": 3, **tensors()}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="is not a file of named tensors"):
        load_trained(network(), tmp_path / "weights.pth", "net")


@by_name
def test_a_weights_file_enters_identifier_and_key_by_its_hash(spec: ModelSpec, home: Path, tmp_path: Path) -> None:
    """The same bytes under another name are the same model; what is asked for without a file keeps its key."""
    content = b"any bytes"
    short = "@" + hashlib.sha256(content).hexdigest()[:12]
    paths = [tmp_path / "a.pth", tmp_path / "b.safetensors"]
    for path in paths:
        path.write_bytes(content)
    registry = Registry(installed=False)
    first, second = (registry.model(f"{spec.name}:weights={path}") for path in paths)
    assert first.identifier == second.identifier == f"{spec.name}:weights={short}"
    assert first.given == second.given == {"weights": short}
    assert [first.parameters, second.parameters] == [{"weights": str(path)} for path in paths]
    again = registry.model(first.identifier)
    assert (again.identifier, again.given) == (first.identifier, first.given)
    assert find(spec, short).read_bytes() == content
    for path in paths:
        path.unlink()
    with pytest.raises(MissingDataError, match=f"no weights file with the SHA-256 {short[1:]}"):
        find(spec, short)
    assert registry.model(spec.name).given == {}
    assert registry.model(f"{spec.name}:weights={paths[0]}").given == {"weights": str(paths[0])}  # the cell says so
    with pytest.raises(InputError, match=r"weights=mine\.ckpt is not a file of named tensors"):
        registry.model(f"{spec.name}:weights=mine.ckpt")
