"""Help shows examples that read well; what needs no numbers imports nothing heavy and answers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench_command import TOY_PLUGINS, Bench
from typer.testing import CliRunner

from benchmark_core import cli

COMMANDS = (
    "",
    "list",
    "info",
    "run",
    "show",
    "compare",
    "leaderboard",
    "figures",
    "doctor",
    "data",
    "data list",
    "data add-tree",
    "data add",
    "data check",
    "data remove",
    "data fetch",
    "data import",
    "data verify",
    "cache",
    "cache info",
    "cache prune",
    "plugin",
    "plugin new",
    "plugin check",
    "suite",
    "suite list",
    "suite show",
)


def commands_in(text: str) -> set[str]:
    """Return the commands that a help text lists."""
    box = text.partition("─ Commands ─")[2].partition("╰")[0]
    return {line.split()[1] for line in box.splitlines()[1:] if line.startswith("│ ") and line[2] != " "}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_fits_a_terminal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = bench(*command.split(), "--help")
    assert (done.status, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    start = next(i for i, line in enumerate(lines) if line in ("Example:", "Examples:"))
    examples = lines[start + 1 :]
    assert examples
    assert lines[start] == ("Examples:" if len(examples) > 1 else "Example:")
    for example in examples:
        assert example.startswith(f"bench {command}".strip()), "a broken line, or another command"


def test_every_command_is_tested(bench: Bench) -> None:
    groups = {"": commands_in(bench("--help").stdout)}
    for group in ("data", "cache", "plugin", "suite"):
        groups[group] = commands_in(bench(group, "--help").stdout)
    assert {"", *(f"{group} {name}".strip() for group, names in groups.items() for name in names)} == set(COMMANDS)


@pytest.mark.parametrize("command", ["", "data", "cache", "plugin", "suite"])
def test_a_bare_command_shows_its_help(bench: Bench, command: str) -> None:
    done = bench(*command.split())
    assert "Commands" in done.stdout + done.stderr
    assert done.status in (0, 2)  # typer's choice


def test_a_command_alone_is_the_same_as_among_all() -> None:
    everything = cli.command_line()
    registered = [*everything.registered_commands, *everything.registered_groups]
    assert [each.name for each in registered] == list(cli.COMMANDS)
    for name in cli.COMMANDS:
        alone, among = (CliRunner().invoke(a, [name, "--help"]) for a in (cli.command_line(name), everything))
        assert (alone.exit_code, alone.output) == (0, among.output)


def test_version(bench: Bench) -> None:
    from benchmark_core import __version__

    done = bench("--version")
    assert (done.status, done.stdout) == (0, f"cortex-bench {__version__}\n")


def test_nothing_heavy_is_imported_where_nothing_is_computed(bench: Bench, part: Path, tmp_path: Path) -> None:
    """List, help, a run of recorded cells, the leaderboard and the cache, one after another in one new process.

    At the end a cell of which the kernel is stored.
    """
    run = ["run", "-m", "toy-pixels", "-b", "toy.V4", "--json"]
    first = bench(*run).results[0]
    commands = [["--help"], ["list"], ["info", "toy.V4"], run, ["leaderboard"], ["cache", "info"], ["data", "list"]]
    code = f"""
import sys
from benchmark_core import cli
for arguments in {commands!r}:
    sys.argv = ["bench", *arguments]
    try:
        cli.main()
    except SystemExit as ending:
        assert not ending.code, (arguments, ending)
    heavy = {{"torch", "numpy", "scipy", "pandas", "xarray", "netCDF4", "PIL", "timm", "sklearn"}} & set(sys.modules)
    assert not heavy, (arguments, heavy)
    print("next command")
sys.argv = ["bench", *{run!r}, "--device", "auto", "--metric", "encoding:n_bootstrap=100"]
try:
    cli.main()
except SystemExit as ending:
    assert not ending.code, ending
import ctypes
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:  # no GPU: scores from stored kernels need no torch
    assert "torch" not in sys.modules
"""
    environment = os.environ | {"BENCH_PLUGINS": str(TOY_PLUGINS)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=TOY_PLUGINS.parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.split("next command")[3])["results"][0]
    assert result["cached"]
    assert result["score"] == first["score"]
