"""What people wait for every day: a list, and a run of which all or nearly all is there already; whole processes.

The run has 50 cells: 50 models on 200 stimuli. ``cached`` has their records, ``kernels`` their representations only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy import make_toy_world

REPOSITORY = Path(__file__).resolve().parents[2]
N_CELLS = 50
MAIN = "from benchmark_core.__main__ import main; main()"


class World:
    """A folder with everything in it, and the command line on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plugins = make_toy_world(root / "toys", n=200)
        self.records = root / "records"

    def bench(self, *arguments: str) -> str:
        """Run a command in a process of its own; return its stdout."""
        folders = {"BENCH_HOME": str(self.root / "home"), "BENCH_CACHE": str(self.root / "cache")}
        command = [sys.executable, "-c", MAIN, *arguments]
        environment = {**os.environ, **folders, "BENCH_PLUGINS": str(self.plugins)}
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def run(self, *arguments: str) -> list[dict[str, Any]]:
        """Score all cells."""
        models = [word for seed in range(N_CELLS) for word in ("--model", f"toy:seed={seed}")]
        said = self.bench("run", *models, "--benchmark", "toy.V4", "--records", str(self.records), "--json", *arguments)
        return list(json.loads(said)["results"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a world in which every cell has been scored."""
    made = World(tmp_path_factory.mktemp("everyday"))
    assert [r["status"] for r in made.run()] == ["ok"] * N_CELLS
    return made


def row(benchmark: Any, what: str, limit: float | None) -> None:
    """Note the best of all rounds for the table, and its share of what is allowed."""
    best = benchmark.stats.stats.min if benchmark.stats else None
    share = None if limit is None or best is None else best / limit
    nothing = dict.fromkeys(("baseline", "baseline_s", "ratio", "threads"))
    benchmark.extra_info["rows"] = [
        {"what": what, "size": "whole process", "ours_s": best, "limit": limit, "share_of_limit": share}
        | {"device": "cpu", **nothing}
    ]


def test_list(benchmark: Any, world: World) -> None:
    listed = benchmark.pedantic(world.bench, args=("list",), rounds=7, warmup_rounds=1)
    assert "toy.V4" in listed
    row(benchmark, "bench list", 0.3)


def test_run_of_50_recorded_cells(benchmark: Any, world: World) -> None:
    results = benchmark.pedantic(world.run, rounds=5, warmup_rounds=1)
    assert [r["cached"] for r in results] == [True] * N_CELLS
    row(benchmark, f"bench run, {N_CELLS} recorded cells", 2.0)


def test_run_of_50_cells_with_cached_kernels(benchmark: Any, world: World, tmp_path: Path) -> None:
    """Records go; the profile tells what the time is spent on."""
    path = tmp_path / "profile.json"

    def again() -> list[dict[str, Any]]:
        return world.run("--profile", str(path))

    results = benchmark.pedantic(again, setup=lambda: shutil.rmtree(world.records), rounds=1)
    assert [(r["status"], r["cached"]) for r in results] == [("ok", False)] * N_CELLS
    profile = json.loads(path.read_text())
    assert "forward" not in profile["stages"]
    benchmark.extra_info["stages"] = {name: round(s["wall_s"], 2) for name, s in profile["stages"].items()}
    row(benchmark, f"bench run, {N_CELLS} cells with cached kernels", None)
