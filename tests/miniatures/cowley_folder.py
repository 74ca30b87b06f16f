"""A folder laid out as the public one of Cowley et al. (2023), with two small made-up sessions."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from plugins.benchmarks._cowley2023_import import import_folder
from plugins.benchmarks.cowley2023 import Session

TRIALS = Session("210325", "PE", 6, 3, True, "made up")
AVERAGES = Session("201025", "PE", 5, 2, False, "made up")
SMALL = (TRIALS, AVERAGES)
IMAGES, RAW, MEAN = "images/images_210325.zip", "responses_raw/responses_210325.npy", "responses_repeat_averaged"


def jpeg(seed: int, size: tuple[int, int] = (112, 112), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    pixels = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(out, format=kind)
    return out.getvalue()


def name(i: int) -> str:
    return f"image{i:04d}.jpg"


def spikes() -> np.ndarray:
    """Return (3 neurons, 6 images, 4 repetitions), NaN-padded."""
    counts = np.random.Generator(np.random.Philox(5)).poisson(4.0, (3, 6, 4)).astype(float)
    counts[:, 2, 3] = counts[:, 4, 2:] = np.nan
    return counts


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def pack(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def write_source(folder: Path) -> Path:
    """Lay a folder out as the public one, with two small sessions; return it."""
    members = {name(i): jpeg(i) for i in range(6, 0, -1)}  # an archive's own order says nothing
    pack(folder / IMAGES, members | {"__MACOSX/._image0001.jpg": b"litter", ".DS_Store": b"x"})
    pack(folder / "images" / "images_201025.zip", {name(i): jpeg(100 + i) for i in range(1, 6)})
    save(folder / RAW, spikes())
    save(folder / MEAN / "responses_210325.npy", np.nanmean(spikes(), axis=2))
    save(folder / MEAN / "responses_201025.npy", np.arange(10.0).reshape(2, 5))
    return folder


def left_behind(home: Path) -> set[str]:
    folder = home / "data" / "cowley2023"
    return {f.name for f in folder.iterdir() if not f.name.endswith(".lock")} if folder.exists() else set()


def run(source: Path, said: list[str] | None = None) -> list[str]:
    return import_folder(source, (said if said is not None else []).append, SMALL)
