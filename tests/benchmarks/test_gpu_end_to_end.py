"""MajajHong's shapes from files to scores on a GPU (90 s at most on an H100 is the aim), and what ``fast`` does to scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gpu_end_to_end
import gpu_precision
import pytest
from gpu_timing import gpu, kept


@pytest.mark.gpu
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_majajhong_at_full_size(benchmark: Any, tmp_path: Path, precision: str) -> None:
    """``expansion5l:filters=30000``, both regions: decoding, extraction, kernel and metric apart."""
    device = gpu()
    kept(benchmark, lambda: gpu_end_to_end.majajhong(device, precision, tmp_path))


def test_the_same_on_a_few_images_of_the_cpu(benchmark: Any, tmp_path: Path) -> None:
    """So that the test above is known to run."""
    rows = kept(benchmark, lambda: gpu_end_to_end.majajhong("cpu", "fast", tmp_path, "pixels", 40))
    assert [row["what"].rpartition(": ")[2] for row in rows] == [
        *("decoding", "extraction", "kernel", "metric", "other", "all of it")
    ]


@pytest.mark.gpu
@pytest.mark.real
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("model", gpu_precision.MODELS)
def test_fast_changes_scores_by_less_than_a_thousandth(
    device: str, benchmark: Any, tmp_path: Path, model: str, v4: None
) -> None:
    """``cowley2023.V4``, all layers of a model, the layer chosen as in a run."""
    (found,) = kept(
        benchmark,
        lambda: [gpu_precision.change(model, *gpu_precision.scores(model, "cowley2023.V4", device, tmp_path), device)],
    )
    assert abs(found["score_change"]) < gpu_precision.LIMIT


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize(
    ("model", "layers"), [("alexnet-untrained", ["features.12"]), ("efficientnet-lite0", ["blocks.5", "blocks.6"])]
)
def test_rounded_products_change_scores_by_less_than_a_thousandth(
    benchmark: Any, tmp_path: Path, model: str, layers: list[str], v4: None
) -> None:
    """The same without a GPU, with products rounded as a GPU rounds them; two minutes on a core."""
    (found,) = kept(
        benchmark,
        lambda: [
            gpu_precision.change(model, *gpu_precision.scores(model, "cowley2023.V4", "cpu", tmp_path, layers), "cpu")
        ],
    )
    assert 0 < abs(found["score_change"]) < gpu_precision.LIMIT


@pytest.fixture
def device() -> str:
    """Return the first GPU, or skip before anything is imported."""
    return gpu()


@pytest.fixture
def v4(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring the real recordings in, below ``tmp_path``."""
    from plugins.benchmarks._cowley2023_import import import_folder

    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    import_folder(real_data / "cowley2023", lambda line: None)
