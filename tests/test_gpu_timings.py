"""The GPU timings, on the CPU and in sizes that take no time: they run where no GPU is, and what they time is right."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import make_toy_world

from benchmark_core.arrays import Backend
from benchmark_core.extraction import Precision, numeric_policy
from benchmark_core.registry import Registry
from benchmark_core.representation import from_spool
from plugins.models._expansion_network import Expansion5L, ExpansionLayer

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import gpu_extraction
import gpu_precision
import gpu_products
import gpu_timing
import markdown_table
from reduced_precision import TF32Products, round_to_tf32

HEAD = {"what", "size", "ours_s", "baseline", "baseline_s", "ratio", "limit", "share_of_limit", "threads", "device"}


def test_rows_hold_what_the_table_needs() -> None:
    row = gpu_timing.row("a", "b", 2.0, "cpu", baseline="c", baseline_s=3.0, limit="d", share=0.25, tflops=1)
    assert row.keys() >= HEAD
    assert (row["ratio"], row["share_of_limit"]) == (1.5, 0.25)


def test_rows_become_a_table_for_the_documents() -> None:
    row = gpu_timing.row("a | b", "c", 2.0, "cpu", baseline="d", baseline_s=3.0, limit="e", share=0.256)
    alone = gpu_timing.row("f", "g", 0.5, "cpu")
    text = markdown_table.markdown({"benchmarks": [{"extra_info": {"rows": [row]}}, {"extra_info": {"rows": [alone]}}]})
    *_, head, _, first, second = text.splitlines()
    assert head == "| what | size | seconds | share of limit | against | times faster |"
    assert first == "| a / b | c | 2 | 26 % of e | d: 3 | 1.5 |"
    assert second == "| f | g | 0.5 |  |  |  |"
    assert markdown_table.markdown({}) == "Nothing was timed.\n"


def test_without_a_gpu_there_is_one_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("torch", "cupy"):
        with pytest.raises(pytest.skip.Exception, match=r"^no CUDA device$"):
            gpu_timing.gpu_backend(name)


@pytest.mark.slow
def test_operations_of_the_trunk_are_those_of_the_paper() -> None:
    """0.6 TFLOP an image for layers 1 to 4, counted by hand; layer 5 has .22 at 30 000 filters."""
    shapes = ((1000, 108, 7, 105), (3000, 1000, 5, 48), (5000, 3000, 3, 22), (30_000, 5000, 3, 9))
    first = Expansion5L(**gpu_extraction.parameters(2, **gpu_extraction.NARROW)).layer1
    with torch.device("meta"):
        layers = [first, *(ExpansionLayer(torch.empty(f, c, k, k), "relu") for f, c, k, _ in shapes)]
    by_hand = [2 * f * c * k * k * side**2 for f, c, k, side in shapes]
    trunk = 2 * 108 * 225 * 222**2 + sum(by_hand[:3])
    assert gpu_extraction.operations(layers[:4]) == trunk == pytest.approx(0.6e12, rel=0.05)
    assert gpu_extraction.operations(layers) - trunk == by_hand[3] == pytest.approx(0.22e12, rel=0.01)


@pytest.mark.slow
def test_trunk() -> None:
    rows = gpu_extraction.trunk("cpu", 1, 64, 110, **gpu_extraction.NARROW)
    assert len(rows) == 5
    assert all(row["share_of_limit"] > 0 and row["images_per_s"] > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "filters", "n_rows"), [("fast", 3, 2), ("exact", 20, 3)])
def test_pass_1(tmp_path: Path, precision: Precision, filters: int, n_rows: int) -> None:
    rows = gpu_extraction.pass_1("cpu", precision, filters, 3, tmp_path, 64, **gpu_extraction.NARROW)
    assert len(rows) == n_rows
    assert all(row.keys() >= HEAD for row in rows)
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("backend", [Backend("torch"), Backend()], ids=["torch", "numpy"])
@pytest.mark.parametrize(("exact", "tolerance"), [(True, 1e-12), (False, 1e-4)])
def test_kernel(backend: Backend, exact: bool, tolerance: float) -> None:
    row, made = gpu_products.kernel(backend, exact, 40, 9000, rate_size=64)
    blocks = gpu_products.MadeUpBlocks(40, 9000)
    expected = from_spool(blocks, "layer", made.stimulus_ids, key="", backend=Backend()).gram()
    np.testing.assert_allclose(made.gram(), expected, rtol=0, atol=tolerance * np.abs(expected).max())
    assert row["tflops"] > 0


def test_ridge() -> None:
    rows = gpu_products.ridge([Backend(), Backend("torch")], 60, 20, 5, baselines=False)
    assert len({row["what"] for row in rows}) == 2


@pytest.mark.slow
def test_what_fast_does_to_a_score(home: Path, tmp_path: Path) -> None:
    """Both passes and the metric on a small world: rounding shows, and little."""
    registry = Registry.default([make_toy_world(tmp_path / "toys")])
    found, taken = gpu_precision.scores("toy", "toy.V4", "cpu", tmp_path, registry=registry)
    row = gpu_precision.change("toy", found, taken, "cpu")
    assert row["emulated"]
    assert 0 < abs(row["score_change"]) < 0.01
    assert f"{row['score_change']:+.1e}" in row["what"]


def test_rounding_to_tf32() -> None:
    """10 bits after the leading one, ties to even: what is exact stays, the error is half a unit at most."""
    exact = torch.tensor([0.0, 1.0, -1.5, 1 + 2**-10, 2.0**-120, -(2.0**100), float("inf")])
    assert torch.equal(round_to_tf32(exact), exact)
    between = torch.tensor([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-20])
    assert round_to_tf32(between).tolist() == [1.0, 1 + 2**-9, 1 + 2**-10]
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    off = ((round_to_tf32(x) - x) / x).abs()
    assert 2**-12 < float(off.max()) <= 2**-11


def test_only_products_are_rounded() -> None:
    generator = torch.Generator().manual_seed(1)
    x, w, b = (torch.randn(s, generator=generator) for s in ((5, 30), (7, 30), (7,)))
    expected = torch.nn.functional.linear(round_to_tf32(x), round_to_tf32(w), b)
    precision: Precision
    for precision in ("exact", "fast"):
        with numeric_policy(precision), TF32Products():
            assert torch.equal(torch.nn.functional.linear(x, w, b), expected)
            assert torch.equal(x * 1.0001 + 1, x * 1.0001 + 1)
            assert not torch.equal(x.clone() * w[:5], round_to_tf32(x) * round_to_tf32(w[:5]))
    with TF32Products(), torch.no_grad():
        assert torch.equal(torch.addmm(b, x, w.T), torch.addmm(b, round_to_tf32(x), round_to_tf32(w).T))
