"""Preprocessing: equal to torchvision's, and images of every kind."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark_core.errors import InputError
from benchmark_core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

PLAIN: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
GREY: dict[str, Any] = {"colour": "grey", "mean": (0.0,), "std": (1.0,)}


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@settings(max_examples=12)
@given(
    width=st.integers(20, 90),
    height=st.integers(20, 90),
    size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    margin=st.none() | st.integers(0, 20),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_equals_torchvision(
    width: int, height: int, size: tuple[int, int], margin: int | None, interpolation: Literal["bilinear", "bicubic"]
) -> None:
    from torchvision import transforms

    image = photograph(width, height)
    mode = transforms.InterpolationMode(interpolation)
    shorter = None if margin is None else max(size) + margin
    steps = (
        [transforms.Resize(size, interpolation=mode)]
        if shorter is None
        else [transforms.Resize(shorter, interpolation=mode), transforms.CenterCrop(size)]
    )
    expected = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    values = Preprocessing(size=size, shorter_side=shorter, interpolation=interpolation)(image)
    assert values.dtype == np.float32
    assert values.shape == (3, *size)
    assert values.flags.c_contiguous
    assert values.flags.writeable
    np.testing.assert_allclose(values, expected(image).numpy(), rtol=0, atol=1e-6)


def test_the_default_is_the_papers() -> None:
    values = Preprocessing()(Image.new("RGB", (50, 30), (255, 0, 51)))
    assert values.shape == (3, 224, 224)
    for channel, level in enumerate((1.0, 0.0, 0.2)):
        expected = (level - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        np.testing.assert_allclose(values[channel], expected, atol=1e-6)


def test_grey_is_luma_and_one_channel() -> None:
    preprocessing = Preprocessing(size=(4, 4), **GREY)
    assert preprocessing.channels == 1
    values = preprocessing(Image.new("RGB", (4, 4), (200, 100, 50)))
    assert values.shape == (1, 4, 4)
    np.testing.assert_allclose(values * 255, 0.299 * 200 + 0.587 * 100 + 0.114 * 50, atol=0.51)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_images_of_every_kind(mode: str) -> None:
    image = photograph(30, 20).convert(mode)
    values = Preprocessing(size=(20, 30), **PLAIN)(image)
    expected = np.asarray(image.convert("RGB"), dtype=np.float64).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(values, expected, atol=1e-7)


def test_16_bit_grey_keeps_its_levels() -> None:
    """Pillow's own conversion clips every level above 255 to white."""
    levels = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="PNG")
    image = Image.open(io.BytesIO(file.getvalue()))
    assert image.mode.startswith("I;16")
    values = Preprocessing(size=(8, 8), **GREY)(image)
    np.testing.assert_allclose(values[0], levels / 65535, atol=0.5 / 255 + 1e-7)


def test_16_bit_colours_keep_their_upper_8_bits() -> None:
    """A PNG with three 16-bit channels, written by hand (Pillow cannot)."""
    levels = np.random.default_rng(0).integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    values = Preprocessing(size=(8, 8), **PLAIN)(Image.open(io.BytesIO(png)))
    np.testing.assert_allclose(values, levels.transpose(2, 0, 1) / 65535, atol=1 / 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_refused(mode: str) -> None:
    """What they look like depends on a background that only the experimenter knows; alpha that hides nothing passes."""
    image = photograph(8, 8).convert("RGBA")
    image.paste((10, 20, 30, 128), (0, 0, 4, 8))
    image = image.convert(mode) if mode != "P" else image.quantize(8)
    with pytest.raises(InputError, match="it has transparent pixels; save it on the background on which it was shown"):
        Preprocessing()(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_turned_by_a_tag_are_refused(orientation: int) -> None:
    """Some programs obey EXIF and others do not."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    photograph(8, 8).save(file, format="JPEG", exif=exif)
    image = Image.open(io.BytesIO(file.getvalue()))
    if orientation == 1:
        Preprocessing()(image)
        return
    with pytest.raises(InputError, match=f"its EXIF orientation is {orientation}, not upright"):
        Preprocessing()(image)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match=f"images of mode '{mode}' have no agreed range"):
        Preprocessing()(Image.new(mode, (8, 8)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": "grey"}, "colour 'grey' needs a mean and std of 1 values each"),
        ({"mean": (0.5,)}, "colour 'rgb' needs a mean and std of 3 values each"),
        ({"colour": "gray", "mean": (0.0,)}, "colour is rgb or grey"),
        ({"interpolation": "lanczos"}, "interpolation bilinear or bicubic"),
        ({"std": (1.0, 0.0, 1.0)}, "must be positive"),
        ({"std": (1.0, float("nan"), 1.0)}, "must be positive"),
        ({"size": (0, 224)}, r"is not \(height, width\)"),
        ({"size": (224,)}, r"is not \(height, width\)"),
        ({"shorter_side": 200}, "leaves nothing to crop"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocessing(**settings)


def test_an_image_too_small_to_crop() -> None:
    with pytest.raises(InputError, match="an image resized to 64 x 64 pixels is too small to crop"):
        Preprocessing(size=(64, 128), shorter_side=64)(photograph(30, 30))
