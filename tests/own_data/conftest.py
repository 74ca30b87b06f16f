"""The laboratory's images, and the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from lab import Lab, make_images
from said import Bench, Said

from benchmark_core import cli


@pytest.fixture(scope="session")
def lab_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the images once; no test changes them."""
    return make_images(tmp_path_factory.mktemp("lab") / "images")


@pytest.fixture
def lab(lab_images: Path, tmp_path: Path, home: Path) -> Lab:
    """Return the laboratory, with an empty BENCH_HOME and a folder for its files."""
    (tmp_path / "files").mkdir()
    return Lab(lab_images, tmp_path / "files")


@pytest.fixture(scope="session")
def built() -> Callable[..., None]:
    """Return the command line as typer builds it."""
    return typer.main.get_command(cli.command_line())


@pytest.fixture
def bench(
    home: Path, built: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Return a function that runs ``bench ARGUMENTS`` in this process."""
    monkeypatch.setattr(cli, "command_line", lambda *asked: built)
    monkeypatch.setenv("BENCH_DEBUG", "")
    monkeypatch.delenv("BENCH_PLUGINS", raising=False)

    def run(*arguments: str | Path) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else 0
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return run


@pytest.fixture(autouse=True)
def nothing_half_written(home: Path) -> Iterator[None]:
    """After every test: no temporary file below BENCH_HOME, nothing set aside."""
    yield
    assert [p for p in home.rglob("*") if p.name.endswith((".tmp", ".old", ".part"))] == []
