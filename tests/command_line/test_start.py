"""Starting ``bench``: as a script or a module, and how it leaves the process for the command."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark_core import __main__, cli

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_package_is_a_command_too() -> None:
    command = [sys.executable, "-m", "benchmark_core", "list", "metrics", "encoding"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "encoding" in done.stdout


def test_garbage_is_collected_while_a_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    collecting = []
    monkeypatch.setattr(cli, "main", lambda: collecting.append(gc.isenabled()))
    __main__.main()
    gc.unfreeze()
    assert collecting == [True]
    assert gc.isenabled()
