"""Extraction on a GPU: the trunk of the expansion model, and pass 1 as a run does it, at three widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gpu_extraction
import pytest
from gpu_timing import gpu, kept

from benchmark_core.extraction import Precision

pytestmark = pytest.mark.gpu


def test_trunk(benchmark: Any) -> None:
    """Images a second and share of the device's own product rate, by policy and memory order."""
    device = gpu()
    kept(benchmark, lambda: gpu_extraction.trunk(device))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("filters", [300, 3000, 30_000])
def test_pass_1(benchmark: Any, tmp_path: Path, filters: int, precision: Precision) -> None:
    """From 512 files to the spool; layer 5 of 30 000 filters by blocks besides."""
    device = gpu()
    rows = kept(benchmark, lambda: gpu_extraction.pass_1(device, precision, filters, 512, tmp_path))
    assert rows[1]["images_per_s"] > 0
