"""Crops of the photographs that lie inside the scikit-image and scikit-learn packages."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark_core.errors import InputError, MissingDataError

CROP = 96  # side in pixels: at 112, the everyday photographs would give fewer than 200 crops
LOWEST_CONTRAST = 8.0  # standard deviation of grey levels (0..255); below it lie plain sky and black surrounds
MOST = 36  # crops of one photograph, so that none weighs more than a tenth

# Photographs (not drawings, text or test patterns; one of a stereo pair) and the SHA-256 of each file, as shipped with
# scikit-image and scikit-learn.
PHOTOGRAPHS = {
    "astronaut": ("skimage/data/astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    "brick": ("skimage/data/brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    "camera": ("skimage/data/camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    "cat": ("skimage/data/chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    "china": ("sklearn/datasets/images/china.jpg", "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
    "coffee": ("skimage/data/coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    "coins": ("skimage/data/coins.png", "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    "flower": (
        "sklearn/datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    ),
    "galaxies": (
        "skimage/data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    "grass": ("skimage/data/grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    "gravel": ("skimage/data/gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    "moon": ("skimage/data/moon.png", "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577"),
    "motorcycle": (
        "skimage/data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    ),
    "retina": ("skimage/data/retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"),
    "rocket": ("skimage/data/rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
    "tissue": ("skimage/data/ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
}


@dataclass(frozen=True, eq=False)
class Crop:
    """A square piece of a photograph.

    Parameters
    ----------
    photograph
        Its name in :data:`PHOTOGRAPHS`.
    top, left
        Upper left corner in the photograph, pixels.
    pixels
        (96, 96, 3) uint8; the three channels of a grey photograph are equal.
    """

    photograph: str
    top: int
    left: int
    pixels: np.ndarray

    @property
    def stimulus_id(self) -> str:
        """``PHOTOGRAPH-TOP-LEFT``."""
        return f"{self.photograph}-{self.top:04d}-{self.left:04d}"

    @property
    def luma(self) -> np.ndarray:
        """Grey levels 0..255 (ITU-R 601), float64 (96, 96)."""
        return luma(self.pixels)

    def encode(self) -> bytes:
        """Return a BMP file, whose bytes (unlike PNG's) do not depend on a compression library."""
        out = io.BytesIO()
        Image.fromarray(self.pixels).save(out, format="BMP")
        return out.getvalue()


def luma(pixels: np.ndarray) -> np.ndarray:
    """Return the grey levels (ITU-R 601) of (..., 3) pixels, float64."""
    return np.asarray(np.asarray(pixels, dtype=np.float64) @ np.array([0.299, 0.587, 0.114]))


def all_crops() -> list[Crop]:
    """Return the stimuli: non-overlapping 96 x 96 crops of 16 photographs.

    Each photograph is cut along a centred grid. Crops of flat content (contrast below 8 of 255 grey levels) are left
    out; of a photograph with more than 36 others, those 36 stay whose ids have the lowest SHA-256.

    Raises
    ------
    MissingDataError
        If a package does not hold a photograph.
    InputError
        If a photograph is not the one that the benchmark is defined on.
    """
    return [crop for name in sorted(PHOTOGRAPHS) for crop in crops_of(name, read_photograph(name))]


def crops_of(name: str, pixels: np.ndarray) -> list[Crop]:
    """Return the crops of one photograph, (height, width, 3) uint8, sorted by position."""
    (height, width), grid = pixels.shape[:2], []
    first_top, first_left = (height % CROP) // 2, (width % CROP) // 2
    for top in range(first_top, height - CROP + 1, CROP):
        for left in range(first_left, width - CROP + 1, CROP):
            crop = Crop(name, top, left, pixels[top : top + CROP, left : left + CROP])
            if crop.luma.std() >= LOWEST_CONTRAST:
                grid.append(crop)
    kept = sorted(grid, key=lambda crop: hashlib.sha256(crop.stimulus_id.encode()).digest())[:MOST]
    return sorted(kept, key=lambda crop: crop.stimulus_id)


def read_photograph(name: str) -> np.ndarray:
    """Return a photograph as (height, width, 3) uint8, after checking its file's SHA-256."""
    path, sha256 = PHOTOGRAPHS[name]
    package, _, inside = path.partition("/")
    found = find_spec(package)
    if found is None or found.origin is None:
        raise MissingDataError(f"simulated.V4 is made from photographs in {package}, which is not installed")
    file = Path(found.origin).parent / inside
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MissingDataError(
            f"simulated.V4 needs the photograph {file} ({error.strerror}); reinstall {package}"
        ) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{file} is not the photograph that simulated.V4 is defined on; install another {package}")
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
