"""Places365 in small: the names, folders and label lines of the real layout, with images made up or taken from a tree."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

LABELS = (0, 17, 118, 364)
TRAINING = ("airfield", "bakery-shop", "forest_path", "zen_garden")
"""Folders of the training subset; they need not be the labelled categories."""


def made_up(label: int, number: int, size: int = 24) -> bytes:
    """Return a JPEG whose coarse pattern tells its label, with noise."""
    pattern = np.random.Generator(np.random.Philox(label)).integers(0, 256, (4, 4, 3))
    noise = np.random.Generator(np.random.Philox([label + 1, number])).normal(0, 40, (4, 4, 3))
    pixels = np.clip(pattern + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST).save(out, format="JPEG", quality=90)
    return out.getvalue()


def write_places(
    folder: Path,
    n_val: int = 6,
    n_train: int = 5,
    labels: Sequence[int] = LABELS,
    tested: Sequence[Sequence[bytes]] | None = None,
    trained: Sequence[Sequence[bytes]] | None = None,
) -> Path:
    """Write ``places365_val.txt``, ``val_images/val_256/`` and ``train_images_subset/<category>/``; return the folder.

    Parameters
    ----------
    n_val, n_train
        Made-up images of every label, and of every training category.
    labels
        Labels that occur.
    tested, trained
        Image files to use instead, for every label and every training category.
    """
    tested = tested or [[made_up(label, i) for i in range(n_val)] for label in labels]
    trained = trained or [[made_up(500 + c, i) for i in range(n_train)] for c in range(len(TRAINING))]
    images = folder / "val_images" / "val_256"
    images.mkdir(parents=True)
    # The real file is ordered by number, so that labels come mixed.
    pairs = [(label, image) for label, files in zip(labels, tested, strict=True) for image in files]
    order = np.random.Generator(np.random.Philox(1)).permutation(len(pairs))
    lines = []
    for number, position in enumerate(order, start=1):
        label, content = pairs[position]
        name = f"Places365_val_{number:08d}.jpg"
        (images / name).write_bytes(content)
        lines.append(f"{name} {label}\n")
    (folder / "places365_val.txt").write_text("".join(lines), encoding="utf-8")
    for category, files in zip(TRAINING, trained, strict=False):
        subset = folder / "train_images_subset" / category
        subset.mkdir(parents=True)
        for number, content in enumerate(files, start=1):
            (subset / f"{number:08d}.jpg").write_bytes(content)
    return folder
