"""Layouts of MajajHong in miniature for tests: written once, copied where they are to be spoilt, and imported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from miniatures import majajhong as mini

from plugins.benchmarks._majajhong_import import import_folder

WORLD = mini.make(n_objects=3, per_object=(5, 5))
IDS = list(WORLD.stimuli["image_id"])
N = len(IDS)
ASSEMBLY, VARIABLE = mini.ASSEMBLY, mini.VARIABLE
TABLE, ZIP = "stimulus_hvm-public.csv", "stimulus_hvm-public.zip"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(name="layouts", scope="module")
def written_layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all layouts, written once; tests that spoil something work on copies."""
    folder = tmp_path_factory.mktemp("layouts")
    mini.write_brain_score(folder / "older", WORLD)
    mini.write_brain_score(folder / "newer", WORLD, newer=True)
    mini.write_paper(folder / "paper", WORLD)
    mini.write_paper(folder / "averages", WORLD, ids=False)
    mini.write_ids(folder / "ids", WORLD)
    return folder


@pytest.fixture(name="copied")
def copies_of_layouts(layouts: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a layout to where it may be spoilt."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(layouts / name, tmp_path / f"copy of {name}"))

    return copy


def take(source: Path, verify: bool = True) -> list[str]:
    """Import a folder and return what was said."""
    said: list[str] = []
    import_folder(source, said.append, verify)
    return said


def parts(home: Path) -> set[str]:
    folder = home / "data" / "majajhong"
    return {f.name for f in folder.iterdir() if not f.name.endswith(".lock")} if folder.exists() else set()


def spoil_averages(change: Callable[[Any], Any], name: str = "SUBJECT_Tito_REGION_V4") -> Callable[[Path], None]:
    def step(source: Path) -> None:
        path = source / "majajhong" / name
        with xr.open_dataset(path) as data:
            held = data.load()
        held["x"] = change(held["x"])
        held.to_netcdf(path)

    return step


def rewrite(change: Callable[[xr.Dataset], xr.Dataset], name: str = "") -> Callable[[Path], None]:
    """Return a step that changes the assembly, or one of the files of averages."""

    def step(source: Path) -> None:
        path = source / "majajhong" / name if name else source / ASSEMBLY
        with xr.open_dataset(path) as data:
            held = data.load()
        change(held).to_netcdf(path)

    return step


def set_value(value: float) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(data: xr.Dataset) -> xr.Dataset:
        data[VARIABLE][3, 7, 0] = value
        return data

    return change
