"""Images in rows of an HDF5 file: read one at a time, checked like any other, and one line for what is wrong."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.hdf5_images import is_row, read_row, row_path
from benchmark_core.stimuli import StimulusSet

PIXELS = np.random.Generator(np.random.Philox(1)).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some #1 images.hdf5"
    with h5py.File(path, "w") as handle:
        handle["colour"] = PIXELS
        handle["grey"] = PIXELS[..., 0]
        handle["floats"] = PIXELS / 255
        handle.create_group("folder")
    return path


def stimulus_set(file: Path, array: str = "colour") -> StimulusSet:
    values = PIXELS if array == "colour" else PIXELS[..., 0]
    rows = tuple(row_path(file, array, i) for i in (2, 0))
    hashes = tuple(hashlib.sha256(values[i].tobytes()).hexdigest() for i in (2, 0))
    return StimulusSet(("b", "a"), rows, hashes)


@pytest.mark.parametrize("array", ["colour", "grey"])
def test_rows_are_images(file: Path, array: str) -> None:
    stimuli = stimulus_set(file, array)
    values = PIXELS if array == "colour" else PIXELS[..., 0]
    assert [np.array_equal(np.asarray(stimuli.image(i)), values[row]) for i, row in ((0, 0), (1, 2))] == [True, True]
    manifest = file.with_name("stimuli.csv")
    manifest.write_text(stimuli.to_csv(file.parent), encoding="utf-8")
    again = StimulusSet.from_manifest(manifest, file.parent)
    assert again == stimuli
    assert np.asarray(again.with_shuffled_pixels().image(0)).shape == (224, 224, 3)


def test_what_names_a_row() -> None:
    assert is_row(row_path(Path("a/b.hdf5"), "x", 12))
    assert row_path(Path("a/b.h5"), "x", 12) == Path("a/b.h5#x[12]")
    for name in ("a.png", "b.hdf5", "b.hdf5#x", "b.hdf5#x[-1]", "b.png#x[1]", "b.hdf5#x/y[1]"):
        assert not is_row(Path(name))


def test_changed_pixels_are_noticed(file: Path) -> None:
    stimuli = stimulus_set(file)
    with h5py.File(file, "r+") as handle:
        handle["colour"][0, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="'a' has changed since it was imported"):
        stimuli.image(0)
    assert stimuli.image(1).size == (5, 6)


@pytest.mark.parametrize(
    ("array", "row", "message"),
    [
        ("colour", 4, "holds 4 images in 'colour'; there is no image 4"),
        ("other", 0, "holds no array 'other'; it holds 'colour', 'floats', 'folder', 'grey'"),
        ("folder", 0, "holds no array 'folder'"),
        ("floats", 0, r"'floats' has shape \(4, 6, 5, 3\) of float64; expected .* of uint8"),
    ],
)
def test_rows_that_are_not_there(file: Path, array: str, row: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_row(row_path(file, array, row))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stimuli = stimulus_set(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BenchError, match=r"cannot be read as HDF5 .* it may be cut off"):
        stimuli.image(0)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDataError, match=r"needs h5py; install it: pip install 'cortex-bench\[nsd\]'"):
        stimuli.image(0)
    monkeypatch.undo()
    file.unlink()
    with pytest.raises(MissingDataError, match="image of stimulus_id 'a' is missing"):
        stimuli.image(0)
