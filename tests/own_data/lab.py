"""A small laboratory: 24 images, two animals, three repetitions; and its files in every format."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark_core.own_data_layout import Hints
from benchmark_core.own_data_reading import Request

N_STIMULI, N_REPETITIONS, N_NEUROIDS = 24, 3, 4
IDS = tuple(f"im{i:02d}" for i in range(N_STIMULI))
NEUROIDS = tuple(f"u{i}" for i in range(N_NEUROIDS))
_RANDOM = np.random.Generator(np.random.Philox(20))
TRIALS = 3 * _RANDOM.normal(size=(N_STIMULI, 1, N_NEUROIDS)) + _RANDOM.normal(
    size=(N_STIMULI, N_REPETITIONS, N_NEUROIDS)
)
TRIALS[5, 2] = TRIALS[7, 1:] = np.nan  # shown twice, shown once


def picture(seed: int, size: int = 8) -> Image.Image:
    """Return a picture of random pixels."""
    return Image.fromarray(
        np.random.Generator(np.random.Philox(seed)).integers(0, 256, (size, size, 3), dtype=np.uint8)
    )


def make_images(folder: Path) -> Path:
    """Write a PNG for every stimulus."""
    folder.mkdir(parents=True)
    for i, stimulus_id in enumerate(IDS):
        picture(i).save(folder / f"{stimulus_id}.png")
    return folder


def presentations(trials: np.ndarray = TRIALS) -> list[tuple[str, int, np.ndarray]]:
    """Return (stimulus_id, repetition, responses) of each presentation, all first ones, then all second ones."""
    return [
        (IDS[s], r, trials[s, r])
        for r in range(trials.shape[1])
        for s in reversed(range(trials.shape[0]))
        if np.isfinite(trials[s, r]).any()
    ]


def write_csv(path: Path, header: list[str], rows: list[list[Any]], **dialect: Any) -> Path:
    """Write a table."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, **dialect)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def wide_rows(trials: np.ndarray = TRIALS) -> list[list[Any]]:
    """Return the rows of a table with a column for each neuroid."""
    return [[stimulus_id, *map(float, values)] for stimulus_id, _, values in presentations(trials)]


def write_wide(path: Path, trials: np.ndarray = TRIALS) -> Path:
    """Write a column for each neuroid; repetitions are repeated rows."""
    return write_csv(path, ["stimulus_id", *NEUROIDS], wide_rows(trials))


def write_long(path: Path) -> Path:
    """Write a row for each response, the last first."""
    rows = [[i, n, r, float(v)] for i, r, values in presentations() for n, v in zip(NEUROIDS, values, strict=True)]
    return write_csv(path, ["stimulus_id", "neuroid_id", "repetition", "response"], rows[::-1])


@dataclass(frozen=True)
class Lab:
    """Where the images lie, and a folder for files."""

    images: Path
    folder: Path

    def request(self, *responses: Path, **options: Any) -> Request:
        """Return a request; options of reading go to its hints."""
        hints = {k: options.pop(k) for k in list(options) if k in Hints.__dataclass_fields__}
        options.setdefault("regions", ("V4",))
        return Request(options.pop("images", self.images), responses, hints=Hints(**hints), **options)
