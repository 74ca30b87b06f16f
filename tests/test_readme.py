"""The README's very text: its plugin file and its commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark_core.cli import command_line

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def block(mark: str) -> str:
    """Return the code block that follows ``<!-- test: mark -->``."""
    found = re.search(rf"<!-- test: {re.escape(mark)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block marked {mark!r}"
    return found.group(1)


def test_the_plugin_of_the_readme_is_listed_runs_and_shows_on_the_leaderboard(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = block("my_plugins/edges.py")
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    Path("my_plugins").mkdir()
    Path("my_plugins/edges.py").write_text(source, encoding="utf-8")
    shown = []
    for line in block("run").strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "bench"
        result = CliRunner().invoke(command_line(), arguments)
        assert result.exit_code == 0, result.output
        shown.append(result.stdout)
    listed, ran, board = shown
    assert re.search(r"^edges\b", listed, re.MULTILINE)
    assert re.search(r"^simulated\.V4 v1 \(simulated\), encoding$", ran, re.MULTILINE)
    score = re.search(r"^edges +(\d\.\d{3}) ", ran, re.MULTILINE)
    assert score
    assert re.search(rf"^edges +{re.escape(score.group(1))} ", board, re.MULTILINE)


def test_every_bench_command_in_the_docs_exists() -> None:
    documents = [
        README,
        *(p.read_text(encoding="utf-8") for p in sorted(Path(__file__).parent.parent.glob("docs/*.md"))),
    ]
    blocks = [b for text in documents for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]
    lines = [line for b in blocks for line in b.replace("\\\n", " ").splitlines() if line.startswith("bench ")]
    assert len(lines) >= 8
    help_of: dict[tuple[str, ...], str] = {}
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        commands = []
        for word in words:
            if word.startswith("-"):
                break
            commands.append(word)
        depth = 2 if commands[0] in ("data", "cache", "plugin", "suite") else 1
        command = tuple(commands[:depth])
        if command not in help_of:
            result = CliRunner().invoke(command_line(), [*command, "--help"])
            assert result.exit_code == 0, line
            help_of[command] = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
        for option in (w.split("=")[0] for w in words if w.startswith("--")):
            assert option in help_of[command], f"{line}: no option {option}"


def test_the_two_commands_are_shown() -> None:
    assert "make demo" in README
    assert "make test" in README
