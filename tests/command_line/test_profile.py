"""``bench run --profile``: a table on stderr, a document in a file, and what a run of recorded scores imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench_command import Bench

RUN = ("run", "--model", "toy-pixels", "--benchmark", "toy.V4", "--metric", "encoding:n_bootstrap=100")
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "pandas",
    "xarray",
    "sklearn",
    "PIL",
    "matplotlib",
    "netCDF4",
}


def test_table_and_file(bench: Bench, part: Path, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    done = bench(*RUN, "--json", "--profile", path)
    assert done.status == 0, done
    assert [r["status"] for r in done.results] == ["ok"]  # stdout is one document
    lines = done.stderr.splitlines()
    assert any(line.startswith("profile: ") and "processor time" in line for line in lines)
    assert lines[-1] == f"profile: {path}"
    stages = [line.split()[0] for line in lines]
    for name in ("plan", "decoding", "forward", "kernel", "decomposition", "record"):
        assert name in stages
    document = json.loads(path.read_text())
    (_, cell) = document["cells"]
    assert cell["name"] == "toy-pixels on toy.V4: encoding:n_bootstrap=100"
    assert (cell["cached"], cell["layers_computed"]) == (False, 1)
    assert sum(one["wall_s"] for one in document["stages"].values()) == pytest.approx(
        document["total"]["wall_s"], rel=1e-6
    )

    again = bench(*RUN, "--profile")  # nothing follows
    assert again.status == 0
    assert "recorded" in again.stdout
    assert "plan" in again.stderr
    assert "kernel" not in again.stderr
    for before in (("--profile", *RUN[1:]), ("--profile", "-", *RUN[1:]), ("--profile=-", *RUN[1:])):
        done = bench("run", *before)
        assert (done.status, "profile: " in done.stderr) == (0, True), done


def test_a_file_that_cannot_be_written(bench: Bench, part: Path, tmp_path: Path) -> None:
    done = bench(*RUN, "--profile", tmp_path / "none" / "profile.json")
    assert done.status == 2
    assert "there is no folder" in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "none").exists()


def test_what_is_recorded_needs_no_torch_nor_numpy(bench: Bench, part: Path, home: Path) -> None:
    """In a process of its own: this one has imported all of it long since."""
    assert bench(*RUN).status == 0
    code = f"""
import sys
sys.argv = ["bench", *{list(RUN)!r}]
from benchmark_core.cli import main
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "recorded" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"
