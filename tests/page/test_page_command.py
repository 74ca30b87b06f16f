"""`bench leaderboard --html`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from page_records import rich

from benchmark_core import cli
from benchmark_core.leaderboard import leaderboard_entries
from benchmark_core.leaderboard_page import to_html
from benchmark_core.records import write_record


@pytest.fixture
def records(home: Path) -> Path:
    """Write records where they are looked for."""
    for record in rich():
        write_record(home / "records", record)
    return home / "records"


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command line here and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    return int(ending.value.code or 0)


def test_the_page_is_written_beside_the_table(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "scores.html"
    assert bench(monkeypatch, "leaderboard", "--html", path) == 0
    out = capsys.readouterr().out
    assert f"page in {path}" in out
    assert "deep-trained" in out
    assert path.read_text(encoding="utf-8") == to_html(leaderboard_entries(rich(), []))
    assert bench(monkeypatch, "leaderboard", "--html", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["html"] == str(path)


def test_no_page_without_being_asked(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench(monkeypatch, "leaderboard") == 0
    assert list(tmp_path.rglob("*.html")) == []


def test_a_folder_in_its_place_is_told(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "leaderboard", "--html", tmp_path) == 2
    assert f"{tmp_path} is a folder; name the HTML file to write" in capsys.readouterr().err
