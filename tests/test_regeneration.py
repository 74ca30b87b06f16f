"""What is committed in leaderboard/ is what `make leaderboard` makes of the committed records, byte for byte."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark_core.cli import command_line

REPOSITORY = Path(__file__).resolve().parent.parent
GIVEN = {"records", "published.csv"}  # what nothing makes


def commands() -> list[list[str]]:
    """Return the words of every command of `make leaderboard`, without the program's name."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(r"^leaderboard:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found, "the Makefile has no target leaderboard"
    lines = found.group(1).replace("$(BIN)/", "").replace("$(RECORDS)", "leaderboard/records").splitlines()
    words = [shlex.split(line.strip().lstrip("@-")) for line in lines]
    assert {line[0] for line in words} <= {"bench", "rm"}  # what is stale is removed: in an empty folder nothing is
    return [line[1:] for line in words if line[0] == "bench"]


@pytest.mark.slow
def test_a_fresh_clone_regenerates_everything(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "leaderboard"
    folder.mkdir()
    shutil.copytree(REPOSITORY / "leaderboard" / "records", folder / "records")
    shutil.copy(REPOSITORY / "leaderboard" / "published.csv", folder)
    monkeypatch.chdir(tmp_path)
    for words in commands():
        result = CliRunner().invoke(command_line(), words)
        assert result.exit_code == 0, result.output
    made, committed = (
        {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}
        for place in (folder, REPOSITORY / "leaderboard")
    )
    assert sorted(made) == sorted(committed)
    assert [name for name in made if made[name] != committed[name]] == []


def test_everything_in_the_folder_is_made_by_the_target() -> None:
    """A file that no command names would go stale."""
    named = {word for words in commands() for word in words if word.startswith("leaderboard/")}
    present = {f"leaderboard/{p.name}" for p in (REPOSITORY / "leaderboard").iterdir() if p.name not in GIVEN}
    assert present <= named, f"`make leaderboard` does not write {', '.join(sorted(present - named))}"
    assert "leaderboard/leaderboard.csv" in present
