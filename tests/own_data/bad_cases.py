"""Cases of bad input: each writes a user's files, and says what the one line about them must name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from lab import IDS, TRIALS, write_wide

AVERAGES = np.nanmean(TRIALS, axis=1)
Case = Callable[[Path, Path], tuple[list[str], tuple[str, ...]]]
CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    """Add a case: a function of (folder for files, folder of images) that returns options and words of the line."""
    CASES[make.__name__.strip("_").replace("_", " ")] = make
    return make


def table(folder: Path, content: str, name: str = "a.csv", **options: str) -> list[str]:
    (folder / name).write_text(content, encoding="utf-8")
    return responses(folder / name)


def responses(path: Path) -> list[str]:
    return ["--responses", str(path)]


def array(folder: Path, values: np.ndarray, ids: object = IDS) -> list[str]:
    np.save(folder / "a.npy", values)
    (folder / "ids.txt").write_text("\n".join(map(str, ids)) + "\n")
    return [*responses(folder / "a.npy"), "--ids", str(folder / "ids.txt")]


def netcdf(folder: Path, dataset: xr.Dataset) -> list[str]:
    dataset.to_netcdf(folder / "a.nc")
    return responses(folder / "a.nc")


def whole_table(folder: Path) -> list[str]:
    return responses(write_wide(folder / "a.csv"))
