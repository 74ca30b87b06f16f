"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import os
from functools import cache
from pathlib import Path

import pytest
import typer.testing
from hypothesis import settings

# No deadline: on a busy machine any one example may be slow.
settings.register_profile("suite", deadline=None, max_examples=50)
settings.load_profile("suite")

# Modules and tests live to the end: looking for garbage among them takes an eighth of the time to collect.
gc.disable()

# Typer builds the command line anew for every call, which is most of what a refusal costs.
typer.testing._get_command = cache(typer.testing._get_command)

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """Leave what is there out of later searches, and begin with those."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let what was left out be tidied up at the end; some libraries complain of what is left."""
    gc.unfreeze()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point BENCH_HOME and BENCH_CACHE to new folders below ``tmp_path``; return the first (not yet made)."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real recordings (``BENCH_TEST_DATA``), or skip the test.

    Where ``BENCH_TEST_DATA_REQUIRED`` is set, as in the checks of every change, their absence is a failure.
    """
    folder = Path(os.environ.get("BENCH_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "cowley2023").is_dir():
        message = f"no real recordings in {folder}; set BENCH_TEST_DATA to a folder that holds cowley2023/"
        (pytest.fail if os.environ.get("BENCH_TEST_DATA_REQUIRED") else pytest.skip)(message)
    return folder
