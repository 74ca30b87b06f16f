"""Files of trained weights over the command line: absent, damaged, of another network, or holding code."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_command import Bench
from safetensors.torch import save

from benchmark_core.records import read_records

MODEL = "alexnet-trained"
RUN = ("run", "--benchmark", "toy.V4", "--layer", "features.2", "--json")


@pytest.fixture(autouse=True)
def _no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's own files nor, whatever happens, the network."""
    for variable in ("TORCH_HOME", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "caches"))
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)

    def refuse(*_: Any, **__: Any) -> Path:
        raise AssertionError("a download was tried")

    monkeypatch.setattr("plugins.models._weights_download.download", refuse)


@pytest.mark.parametrize(
    ("how", "model", "source", "place"),
    [
        (
            "--offline",
            "alexnet-trained",
            "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            "alexnet-owt-7be5be79.pth",
        ),
        ("BENCH_OFFLINE", "resnet50-barlowtwins", "/resnet50.pth", "resnet50-barlowtwins.pth"),
        ("--offline", "vit-trained", "https://huggingface.co/timm/vit_base_patch16_224.augreg2", ".safetensors"),
    ],
)
def test_absent(
    bench: Bench, part: Path, home: Path, monkeypatch: pytest.MonkeyPatch, how: str, model: str, source: str, place: str
) -> None:
    """One line: which file, from where, to put where; the other model is scored."""
    if how == "BENCH_OFFLINE":
        monkeypatch.setenv("BENCH_OFFLINE", "1")
    options = [how] if how == "--offline" else []
    done = bench(*RUN[:3], "--json", "-m", model, "-m", "toy-pixels", *options)
    words = ("save https://", source, f" as {home / 'weights'}", place, f"{model}:weights=FILE")
    done.fails(3, f"missing-data: {model} on toy.V4: ", "--offline or BENCH_OFFLINE forbids the download", *words)
    assert [r["status"] for r in done.results] == ["missing-data", "ok"]


def test_a_download_that_fails_says_why(bench: Bench, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --offline it is tried; the option does not outlive its command."""
    bench(*RUN, "-m", MODEL, "--offline")
    done = bench(*RUN, "-m", MODEL)
    done.fails(3, f"missing-data: {MODEL} on toy.V4: ", "the download failed: AssertionError: a download was tried")


class Payload:
    """Would write a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def as_pth(tensors: Any) -> bytes:
    out = io.BytesIO()
    torch.save(tensors, out)
    return out.getvalue()


TENSORS = {"features.0.weight": torch.zeros(64, 3, 11, 11), "features.0.bias": torch.zeros(64)}
OTHER = {**TENSORS, "features.0.weight": torch.zeros(96, 3, 11, 11)}
FILES: dict[str, tuple[str, Callable[[], bytes], list[str]]] = {
    "truncated pth": ("w.pth", lambda: as_pth(TENSORS)[:5000], ["(it is cut short)"]),
    "truncated safetensors": ("w.safetensors", lambda: save(TENSORS)[:5000], ["(it has 5000 of ", " bytes)"]),
    "a web page": ("w.pth", lambda: b"<!DOCTYPE html><html>404</html>", ["(it is a web page)"]),
    "a web page as safetensors": ("w.safetensors", lambda: b"<html>404</html>", ["(it is a web page)"]),
    "empty": ("w.pt", lambda: b"", ["(it is empty)"]),
    "another file": ("w.pth", lambda: b"hello world" * 100, ["(it is not a file that torch has saved)"]),
    "code": ("w.pth", lambda: pickle.dumps(Payload(Path("ran"))), ["more than tensors, which may be code"]),
    "another network": (
        "w.safetensors",
        lambda: save(OTHER),
        ["tensor 'features.0.weight' has shape (96, 3, 11, 11), where the network has (64, 3, 11, 11)"],
    ),
    "a part of the network": (
        "w.pth",
        lambda: as_pth(TENSORS),
        ["lacks the tensor 'features.3.weight' of shape (192,"],
    ),
    "a list": ("w.pth", lambda: as_pth([torch.zeros(3)]), ["is not a file of named tensors"]),
}


@pytest.mark.parametrize("case", FILES)
def test_file(bench: Bench, part: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.chdir(tmp_path)
    name, content, words = FILES[case]
    path = tmp_path / name
    path.write_bytes(content())
    short = "@" + hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    done = bench(*RUN, "-m", f"{MODEL}:weights={name}")
    done.fails(2, f"failed: {MODEL}:weights={short} on toy.V4: ", str(path), *words)
    assert [r["model"] for r in read_records(home / "records")] == [f"{MODEL}:weights={short}"]
    assert not (tmp_path / "ran").exists()


def test_file_that_is_not_there(bench: Bench, part: Path, tmp_path: Path) -> None:
    done = bench(*RUN, "-m", f"{MODEL}:weights={tmp_path}/gone.pth")
    done.fails(3, f"missing-data: {MODEL}", f"there is no weights file {tmp_path}/gone.pth")
    bench(*RUN, "-m", f"{MODEL}:weights=gone.ckpt").fails(2, "weights=gone.ckpt is not a file of named tensors", ".pth")
    done = bench(*RUN, "-m", f"{MODEL}:weights=@0123456789ab")
    done.fails(3, "no weights file with the SHA-256 0123456789ab", f"name the file: {MODEL}:weights=FILE")


def test_the_record_holds_the_hash_of_the_weights(bench: Bench, part: Path, home: Path, tmp_path: Path) -> None:
    """In the identifier, among the parameters of the key, and whole in the provenance; never the path."""
    sizes = {"0": (64, 3, 11), "3": (192, 64, 5), "6": (384, 192, 3), "8": (256, 384, 3), "10": (256, 256, 3)}
    dense = {"1": (4096, 9216), "4": (4096, 4096), "6": (1000, 4096)}
    tensors = {}
    for index, (filters, channels, kernel) in sizes.items():
        tensors[f"features.{index}.weight"] = torch.full((1,), 0.01).expand(filters, channels, kernel, kernel)
        tensors[f"features.{index}.bias"] = torch.zeros(filters)
    for index, shape in dense.items():
        tensors[f"classifier.{index}.weight"] = torch.zeros(1).expand(shape)
        tensors[f"classifier.{index}.bias"] = torch.zeros(shape[0])
    path = tmp_path / "mine.pth"
    torch.save(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    done = bench(*RUN, "-m", f"{MODEL}:weights={path}")
    assert done.status == 0, done.stderr
    (record,) = read_records(home / "records")
    assert record["model"] == f"{MODEL}:weights=@{digest[:12]}"
    (representation,) = record["provenance"]["representations"]
    assert representation["weights"] == digest
    assert representation["parameters"] == {"weights": f"@{digest[:12]}"}
    assert str(tmp_path) not in (home / "records" / f"{record['key']}.json").read_text()
    moved = path.rename(tmp_path / "moved.pth")
    (result,) = bench(*RUN, "-m", f"{MODEL}:weights={moved}").results
    assert (result["cached"], result["key"]) == (True, record["key"])
