"""Options that are not allowed, or that this machine cannot serve: status 2, one line, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bench_command import Bench, Tree

RUN = ("run", "--model", "toy-pixels", "--benchmark", "toy.V4")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--device", "gpu", ["unknown device 'gpu'", "cuda:N"]),
        ("--device", "", ["unknown device ''"]),
        ("--device", "cuda:", ["unknown device 'cuda:'"]),
        ("--device", "cuda:x", ["unknown device 'cuda:x'"]),
        ("--device", "cuda:²", ["unknown device 'cuda:²'"]),
        ("--device", "cuda:-1", ["unknown device 'cuda:-1'"]),
        ("--device", "cuda:77", ["device 'cuda:77' is not available", "--device cpu"]),
        ("--backend", "jax", ["unknown backend 'jax'", "numpy, torch or cupy"]),
        ("--backend", "", ["unknown backend ''"]),
        ("--precision", "half", ["unknown precision 'half'", "exact or fast"]),
        ("--batch-size", "0", ["--batch-size 0 is not allowed", "at least 1"]),
        ("--batch-size", "-1", ["--batch-size -1 is not allowed"]),
        ("--batch-size", "abc", ["--batch-size abc is not allowed"]),
        ("--batch-size", "1.5", ["--batch-size 1.5 is not allowed"]),
        ("--batch-size", "²", ["--batch-size ² is not allowed"]),
        ("--batch-size", "1" * 5000, ["is not allowed"]),
    ],
)
def test_option(bench: Bench, part: Path, tree: Tree, option: str, value: str, words: list[str]) -> None:
    before = tree()
    bench(*RUN, option, value).fails(2, "error: ", *words)
    assert tree() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "cuda"], ["'cuda' is not available", "no CUDA device", "--device cpu"]),
        (["--backend", "cupy"], ["the cupy backend needs a CUDA device"]),
        (["--backend", "cupy", "--device", "cpu"], ["the cupy backend needs a CUDA device"]),
    ],
    ids=" ".join,
)
def test_without_a_gpu(bench: Bench, part: Path, tree: Tree, options: list[str], words: list[str]) -> None:
    before = tree()
    bench(*RUN, *options).fails(2, *words)
    assert tree() == before
