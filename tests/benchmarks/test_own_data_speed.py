"""Timings of users' own data: a plain list with 20 datasets, and a long table of a million responses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]


def images(folder: Path, n: int) -> Path:
    """Write n small images."""
    folder.mkdir()
    random = np.random.Generator(np.random.Philox(1))
    for i in range(n):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"im{i:04d}.png")
    return folder


def test_plain_list_with_20_datasets(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark_core.own_data import add
    from benchmark_core.own_data_manifest import dataset_folder, to_toml
    from benchmark_core.own_data_reading import Request

    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    rows = [f"im{i:04d},{i},{i * i % 7}" for i in range(200)]
    (tmp_path / "a.csv").write_text("id,n1,n2\n" + "\n".join(rows))
    added = add("lab0", Request(images(tmp_path / "images", 200), (tmp_path / "a.csv",), ("V4",)))
    for i in range(1, 20):
        folder = dataset_folder(f"lab{i}")
        shutil.copytree(added.folder, folder)
        (folder / "dataset.toml").write_text(to_toml(replace(added.dataset, name=f"lab{i}")))
        part = folder / "V4" / "manifest.json"
        part.write_text(json.dumps(json.loads(part.read_text()) | {"dataset": f"lab{i}"}))

    def plain_list() -> str:
        command = [sys.executable, "-m", "benchmark_core", "list"]
        return subprocess.run(
            command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=True
        ).stdout

    shown = benchmark.pedantic(plain_list, rounds=5, warmup_rounds=1)
    assert shown.count("your own recordings") == 20


def test_long_table_of_a_million_responses(benchmark: Any, tmp_path: Path) -> None:
    from benchmark_core.own_data_layout import Hints, read_table
    from benchmark_core.own_data_tables import open_table

    path = tmp_path / "long.csv"
    with path.open("w") as handle:
        handle.write("stimulus_id,neuroid_id,repetition,response\n")
        for i in range(1_000_000):
            handle.write(f"im{i % 500:04d},n{i // 500 % 100},{i // 50_000},{i % 97 / 7!r}\n")
    (recording,) = benchmark.pedantic(lambda: read_table(open_table(path), Hints(), "V4", "M1"), rounds=1)
    assert recording.values.shape == (500, 20, 100)
    assert np.isfinite(recording.values).all()
