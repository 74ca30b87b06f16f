"""Finding and reading files of trained weights."""

from __future__ import annotations

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
from benchmark_core.specs import ModelSpec
from plugins.models import alexnet, barlow_twins, vision_transformer
from plugins.models._trained_weights import load_trained
from plugins.models._weights_files import find_weights, huggingface_cache, torch_cache

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
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    return home


@by_name
def test_absent_weights_say_which_file_from_where_to_put_where(spec: ModelSpec, no_caches: Path) -> None:
    with pytest.raises(MissingDataError, match=f"the weights of {spec.name} are not on this machine: ") as raised:
        find(spec, None)
    message = str(raised.value)
    assert raised.value.status == 3
    assert "\n" not in message
    source = message.partition("download ")[2].partition(" ")[0]
    place = Path(message.partition(" save it as ")[2].partition(", or name a file you have: ")[0])
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
    with pytest.raises(InputError, match=r"weights=mine\.ckpt is not a \.safetensors or \.pth file"):
        find(spec, "mine.ckpt")


def test_own_folder_comes_before_the_libraries_caches(no_caches: Path) -> None:
    cached = torch_cache("a.pth")
    own = no_caches / "weights" / "a.pth"
    for path in (cached, own):
        path.parent.mkdir(parents=True)
        path.touch()
        assert find_weights("m", None, "https://a", "a.pth", [cached]) == path


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
        torch_cache("a.pth")
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
        "import sys; from plugins.models import alexnet, vision_transformer as v\n"
        "for find in (alexnet.weights_file, v.weights_file):\n"
        "    try: find(weights=None)\n"
        "    except Exception as error: assert 'not on this machine' in str(error), error\n"
        "print('torch' in sys.modules)"
    )
    environment = {"BENCH_HOME": str(home), "HF_HOME": str(home), "TORCH_HOME": str(home)}
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
    loaded = load_trained(network(), path, "a net")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor.double(), tensors()[name].double())
        assert tensor.dtype == (torch.int64 if name.endswith("tracked") else torch.float32)
        assert not tensor.is_meta
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": torch.zeros(2, 4)}, r"tensor '0.weight' has shape \(2, 4\), not \(2, 3\); .* not those of a net"),
        ({"0.weight": None}, r"holds no tensor '0.weight' of shape \(2, 3\); the weights are not those of a net"),
        ({"2.weight": torch.zeros(4)}, r"holds a tensor '2.weight' of shape \(4,\) too many"),
    ],
)
def test_weights_of_another_architecture(tmp_path: Path, change: dict[str, torch.Tensor | None], message: str) -> None:
    changed = {name: t for name, t in {**tensors(), **change}.items() if t is not None}
    torch.save(changed, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"weights\.pth.*" + message):
        load_trained(network(), tmp_path / "weights.pth", "a net")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", None])
def test_damaged_file(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(tensors(), path) if suffix == ".safetensors" else torch.save(tensors(), path)
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    with pytest.raises(
        InputError, match=rf"cannot read the weights .*weights\{suffix} \(.*get the file again"
    ) as raised:
        load_trained(network(), path, "a net")
    assert "\n" not in str(raised.value)


class Payload:
    """Would write a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_file_that_holds_code_is_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": Payload(tmp_path / "ran")}, tmp_path / "weights.pth", pickle_module=pickle)
    with pytest.raises(InputError, match="cannot read the weights"):
        load_trained(network(), tmp_path / "weights.pth", "a net")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_of_a_training_run_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": tensors()}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="is not a file of named tensors"):
        load_trained(network(), tmp_path / "weights.pth", "a net")
