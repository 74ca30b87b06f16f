"""The commands of docs/metrics.md, one after the other: those on simulated responses, and those on real recordings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark_core.cli import command_line

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
LINES = [line for b in BLOCKS for line in b.replace("\\\n", " ").splitlines() if line.startswith("bench ")]
NOT_HERE = "majajhong."  # recordings that cannot be handed out with the tests


def run(line: str) -> None:
    """Run a command; what it is piped into is left out."""
    arguments = shlex.split(line.partition(" | ")[0])[1:]
    done = CliRunner().invoke(command_line(), arguments)
    assert done.exit_code == 0, f"{line}\n{done.output}"


def test_commands_on_simulated_responses_run(home: Path) -> None:
    lines = [line for line in LINES if "simulated.V4" in line]
    assert len(lines) >= 11
    for line in lines:
        # All layers of the untrained network take a third of a minute; two stand for them, as in the line that follows.
        every_layer = "alexnet-untrained" in line and "--layer" not in line
        run(f"{line} --layer output+features.12" if every_layer else line)


@pytest.mark.real
def test_commands_on_real_recordings_run(home: Path, real_data: Path) -> None:
    for dataset in ("cowley2023", "kriegeskorte92"):
        run(f"bench data import {dataset} --from {real_data / dataset}")
    lines = [line for line in LINES if "simulated.V4" not in line and NOT_HERE not in line]
    assert len(lines) >= 5
    for line in lines:
        # The trained network takes half a minute for the 640 images; pixels stand for it there.
        run(line.replace("--model efficientnet-lite0", "") if "cowley2023" in line else line)
