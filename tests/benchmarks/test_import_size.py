"""Import of a recording of MajajHong's full size: 148 480 presentations x 256 neuroids, 3200 images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from miniatures import majajhong as mini

# In a process of its own, whose peak is that of the import alone.
IMPORT = """
import json, resource, sys, time
from pathlib import Path
from plugins.benchmarks._majajhong_import import import_folder
started = time.perf_counter()
import_folder(Path(sys.argv[1]), lambda line: print(line, file=sys.stderr))
cpu = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": time.perf_counter() - started, "cpu_seconds": cpu.ru_utime + cpu.ru_stime, "peak_rss_gb": cpu.ru_maxrss / 1e6}))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the assembly and 3200 images of 256 x 256 pixels."""
    folder = tmp_path_factory.mktemp("full size")
    mini.write_full_size(folder / mini.ASSEMBLY)
    rows = sorted({(i, f"{i}.png", o, "Cars", v) for i, o, v, _ in mini.full_size_presentations()})
    columns = ["image_id", "image_file_name", "object_name", "category_name", "variation"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "stimulus_hvm-public.csv", index=False)
    mini.write_noise_images(folder / "stimulus_hvm-public.zip", [row[1] for row in rows])
    return folder


def test_full_size_import(benchmark: Any, source: Path, tmp_path: Path) -> None:
    """Both regions, single trials; peak memory and processor time in ``extra_info``."""
    environment = {**os.environ, "BENCH_HOME": str(tmp_path / "home"), "BENCH_CACHE": str(tmp_path / "cache")}

    def run() -> None:
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, str(source)], check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        benchmark.extra_info.update(json.loads(done.stdout))

    benchmark.pedantic(run, rounds=1)
    size = sum(f.stat().st_size for f in (tmp_path / "home").rglob("*") if f.is_file())
    benchmark.extra_info |= {"stored_gb": size / 1e9, "assembly_gb": (source / mini.ASSEMBLY).stat().st_size / 1e9}
    print(benchmark.extra_info)
