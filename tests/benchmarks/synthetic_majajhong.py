"""A made-up MajajHong of the true dimensions, brought in and scored as users do it, with its time part by part.

3200 grey images of 256 x 256 pixels, 256 neuroids (V4 88, IT 168; of Tito and Chabo), 46 repetitions on average, in
Brain-Score's files. With fewer images everything else stays as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from miniatures import majajhong as mini
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
N_IMAGES, N_NEUROIDS, SIDE = 3200, 256, 256
COARSE = 8  # what neuroids see: the brightness of COARSE x COARSE fields
OBJECTS, PER_OBJECT = 64, 5

PARTS = {
    "decoding": ("decoding",),
    "extraction": ("weights", "forward", "spool write"),
    "kernel": ("spool read", "head", "kernel", "store write"),
    "metric": ("target", "metric", "decomposition", "penalties", "prediction", "bootstrap"),
}
"""Stages of a profile, as parts of a run; the rest (plan, imports, records) is ``other``."""


def size_of(n_images: int) -> tuple[int, int, int, int, int]:
    """Return objects, images of each without and with variation, and the repetitions of those.

    Raises
    ------
    ValueError
        If there is no such recording: a fifth of the images of each object is without variation.
    """
    objects = min(OBJECTS, n_images // PER_OBJECT)
    images, rest = divmod(n_images, objects * PER_OBJECT) if objects else (0, 1)
    if rest or not images:
        raise ValueError(f"{n_images} images cannot be shared out; take a multiple of {PER_OBJECT * OBJECTS}")
    return (objects, images, (PER_OBJECT - 1) * images, *mini.N_FULL[3:])


def write(folder: Path, n_images: int = N_IMAGES) -> Path:
    """Write Brain-Score's three files; return the folder.

    Pictures are coarse fields of brightness, smoothed, under noise (about 40 kB each, as the real ones); the mean responses
    of neuroids are linear in those fields.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = size_of(n_images)
    rows = sorted({(i, f"{i}.png", o, "Cars", v) for i, o, v, _ in mini.full_size_presentations(size)})
    columns = ["image_id", "image_file_name", "object_name", "category_name", "variation"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "stimulus_hvm-public.csv", index=False)
    random = np.random.Generator(np.random.Philox(11))
    weights = random.normal(size=(COARSE * COARSE, N_NEUROIDS)) / COARSE
    signal = {}
    with zipfile.ZipFile(folder / "stimulus_hvm-public.zip", "w") as archive:
        for row in rows:
            coarse = random.integers(32, 192, (COARSE, COARSE), dtype=np.uint8)
            smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            pixels = np.asarray(smooth) + random.integers(0, 32, (SIDE, SIDE), dtype=np.uint8)
            out = BytesIO()
            Image.fromarray(pixels).save(out, format="PNG", compress_level=1)
            archive.writestr(row[1], out.getvalue())
            signal[row[0]] = (coarse.ravel() / 46.0 - 2.4) @ weights
    mini.write_full_size(folder / mini.ASSEMBLY, size=size, signal=signal)
    return folder


@dataclass(frozen=True)
class Place:
    """Where the recording, the cache and the records of one measurement lie."""

    root: Path

    def bench(self, *arguments: str, timeout: float | None = None) -> str:
        """Run ``bench ARGUMENTS`` in a process of its own; return what it wrote to stdout."""
        folders = {"BENCH_HOME": str(self.root / "home"), "BENCH_CACHE": str(self.root / "cache")}
        command = [sys.executable, "-c", "from benchmark_core.__main__ import main; main()", *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **folders}, stdout=subprocess.PIPE, text=True, timeout=timeout
        )
        if done.returncode:
            raise RuntimeError(f"bench {' '.join(arguments)} ended with {done.returncode}")
        return done.stdout

    def profiled_run(self, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Run ``bench run ARGUMENTS``; return its results and its profile."""
        path = self.root / "profile.json"
        results = json.loads(self.bench("run", *arguments, "--json", "--profile", str(path)))["results"]
        return results, json.loads(path.read_text())


def imported(root: Path, n_images: int = N_IMAGES) -> Place:
    """Write a recording and bring it in with ``bench data import majajhong``."""
    place = Place(root)
    source = write(root / "source", n_images)
    place.bench("data", "import", "majajhong", "--from", str(source))
    return place


def by_part(profile: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return seconds by the clock and of all processors, and the peak of memory in GB, of each of :data:`PARTS`."""
    part_of = {stage: part for part, stages in PARTS.items() for stage in stages}
    found = {part: {"wall_s": 0.0, "cpu_s": 0.0, "peak_gb": 0.0} for part in (*PARTS, "other")}
    for stage, spent in profile["stages"].items():
        part = found[part_of.get(stage, "other")]
        part["wall_s"] += spent["wall_s"]
        part["cpu_s"] += spent["cpu_s"]
        part["peak_gb"] = max(part["peak_gb"], spent["peak_rss_bytes"] / 1e9)
    return found
