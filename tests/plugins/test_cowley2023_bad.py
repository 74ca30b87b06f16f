"""Folders of Cowley et al. (2023) that are broken, incomplete or hostile, and imports that fail or are killed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures.cowley_folder import IMAGES, MEAN, RAW, jpeg, left_behind, name, pack, run, save, spikes, write_source

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import BenchError, InputError, MissingDataError
from plugins.benchmarks.cowley2023 import DATASET


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source")


def change(file: str, edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda source: save(source / file, edit(np.load(source / file)))


def repack(**changes: Any) -> Callable[[Path], None]:
    """Return a step that packs the archive anew with members replaced (None leaves one out)."""

    def step(source: Path) -> None:
        members = {name(i): jpeg(i) for i in range(1, 7)} | changes
        pack(source / IMAGES, {k: v for k, v in members.items() if v is not None})

    return step


def add_member(info: zipfile.ZipInfo, content: bytes) -> Callable[[Path], None]:
    def step(source: Path) -> None:
        with zipfile.ZipFile(source / IMAGES, "a") as archive:
            archive.writestr(info, content)

    return step


def cut(file: str, keep: float) -> Callable[[Path], None]:
    def step(source: Path) -> None:
        content = (source / file).read_bytes()
        (source / file).write_bytes(content[: int(keep * len(content))])

    return step


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("image0007.jpg")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def damage_member(source: Path) -> None:
    """Change a byte of an image inside the archive, so that its CRC is wrong."""
    content = bytearray((source / IMAGES).read_bytes())
    content[200] ^= 0xFF
    (source / IMAGES).write_bytes(bytes(content))


def duplicate(source: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(source / IMAGES, "a") as archive:
        archive.writestr(name(1), jpeg(9))


def encrypt(source: Path) -> None:
    """Set the flag of encryption on the first member, in both headers."""
    content = (source / IMAGES).read_bytes()
    local, central = content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8
    for position in (local, central):
        content = content[:position] + bytes([content[position] | 1]) + content[position + 1 :]
    (source / IMAGES).write_bytes(content)


def lying_header(source: Path) -> None:
    """Claim a shape of 8 EB."""
    out = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (3, 6, 10**17)}
    np.lib.format.write_array_header_1_0(out, header)
    (source / RAW).write_bytes(out.getvalue() + b"\0" * 64)


def pickled(source: Path) -> None:
    np.save(source / RAW, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def bomb(source: Path) -> None:
    with zipfile.ZipFile(source / IMAGES, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image0007.jpg", bytes(50_000_000))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zip cut": (cut(IMAGES, 0.7), "cannot be read as a zip archive"),
    "zip empty": (lambda s: (s / IMAGES).write_bytes(b""), "cannot be read as a zip archive"),
    "zip is a folder": (lambda s: ((s / IMAGES).unlink(), (s / IMAGES).mkdir()), "images_210325.zip missing"),
    "zip member damaged": (damage_member, "cannot be read as a zip archive"),
    "zip encrypted": (encrypt, "cannot be read as a zip archive"),
    "zip ..": (repack(**{"../image0007.jpg": b"x"}), r"unsafe name '\.\./image0007\.jpg'"),
    "zip inner ..": (repack(**{"a/../../b.jpg": b"x"}), "unsafe name"),
    "zip absolute": (repack(**{"/etc/passwd": b"x"}), "unsafe name '/etc/passwd'"),
    "zip backslash": (add_member(zipfile.ZipInfo("..\\image0007.jpg"), b"x"), "unsafe name"),
    "zip drive": (add_member(zipfile.ZipInfo("C:image0007.jpg"), b"x"), "unsafe name"),
    "zip link": (add_member(link(), b"/etc/passwd"), "holds a link"),
    "zip bomb": (bomb, "would unpack to 50000000 bytes"),
    "zip duplicate": (duplicate, "holds 'image0001.jpg' twice"),
    "image missing": (repack(**{name(4): None}), "5 images where 6 were shown: it lacks 'image0004.jpg'"),
    "image extra": (repack(**{name(7): jpeg(7)}), "also holds 'image0007.jpg'"),
    "image in a folder": (repack(**{name(4): None, "sub/image0004.jpg": jpeg(4)}), "lacks 'image0004.jpg'"),
    "jpeg cut": (repack(**{name(4): jpeg(4)[:1500]}), "image0004.jpg cannot be decoded"),
    "jpeg empty": (repack(**{name(4): b""}), "image0004.jpg cannot be decoded"),
    "png called jpg": (repack(**{name(4): jpeg(4, kind="PNG")}), "cannot be decoded .not a JPEG"),
    "jpeg of another size": (repack(**{name(4): jpeg(4, size=(100, 112))}), "is 100 x 112 RGB, expected 112 x 112"),
    "jpeg grey": (repack(**{name(4): jpeg(4, mode="L")}), "is 112 x 112 L, expected"),
    "npy cut": (cut(RAW, 0.8), "cannot be read as a NumPy array"),
    "npy empty": (lambda s: (s / RAW).write_bytes(b""), "cannot be read as a NumPy array"),
    "npy is text": (lambda s: (s / RAW).write_text("1,2,3\n"), "cannot be read as a NumPy array"),
    "npy pickled": (pickled, "cannot be read as a NumPy array"),
    "npy header lies": (lying_header, "cannot be read as a NumPy array"),
    "npz": (lambda s: np.savez((s / RAW).open("wb"), a=spikes()), "holds an archive, expected float64"),
    "npy float32": (change(RAW, lambda a: a.astype(np.float32)), "holds float32, expected float64"),
    "npy turned": (change(RAW, lambda a: a.transpose(1, 0, 2)), r"shape \(6, 3, 4\), expected \(3, 6, 'n'\)"),
    "npy averages as raw": (change(RAW, lambda a: a[..., 0]), r"shape \(3, 6\), expected"),
    "npy fewer images": (change(RAW, lambda a: a[:, :5]), r"shape \(3, 5, 4\), expected"),
    "counts negative": (change(RAW, lambda a: a - 9), "not spike counts"),
    "counts fractional": (change(RAW, lambda a: a + 0.5), "not spike counts"),
    "counts infinite": (change(RAW, lambda a: np.where(a == a[0, 0, 0], np.inf, a)), "not spike counts"),
    "image without trials": (
        change(RAW, lambda a: np.where((np.arange(6) == 1)[None, :, None], np.nan, a)),
        "neuron 0 has no trial of image 2",
    ),
    "averages differ": (change(f"{MEAN}/responses_210325.npy", lambda a: a * (1 + 1e-6)), "disagree"),
    "averages NaN": (change(f"{MEAN}/responses_210325.npy", lambda a: a * np.nan), "negative or not finite"),
    "averages turned": (change(f"{MEAN}/responses_210325.npy", lambda a: a.T), r"shape \(6, 3\), expected \(3, 6\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_source_is_one_clear_error_and_leaves_nothing(home: Path, source: Path, case: str) -> None:
    spoil, message = BAD[case]
    spoil(source)
    with pytest.raises(BenchError, match=message) as caught:
        run(source)
    assert caught.value.status in (2, 3)
    assert "\n" not in str(caught.value)
    assert left_behind(home) == set()
    assert not list(source.parent.rglob("passwd"))


@pytest.mark.parametrize(
    "file", [IMAGES, RAW, "images/images_201025.zip", "responses_repeat_averaged/responses_201025.npy"]
)
def test_incomplete_session_names_what_is_missing(home: Path, source: Path, file: str) -> None:
    (source / file).unlink()
    with pytest.raises(MissingDataError, match=rf"is incomplete: .*{file} missing"):
        run(source)
    assert left_behind(home) == set()


def test_wrong_folder(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="does not exist"):
        run(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a folder"):
        run(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match=r"holds no session of cowley2023: expected images/images_210325\.zip"):
        run(tmp_path / "empty")


def test_failed_import_keeps_what_was_there(home: Path, source: Path) -> None:
    run(source)
    old = datasets.target_hash(DATASET, "210325")
    save(source / RAW, spikes() - 9)
    with pytest.raises(InputError):
        run(source)
    assert datasets.target_hash(DATASET, "210325") == old
    assert dataset_checks.verify(DATASET) == []


KILLED = """
import os, sys
from pathlib import Path
from benchmark_core import dataset_checks, datasets
from plugins.benchmarks._cowley2023_import import import_folder
from plugins.benchmarks.cowley2023 import Session
datasets._write_netcdf = lambda *args: os._exit(9)
import_folder(Path(sys.argv[1]), print, [Session("210325", "PE", 6, 3, True, "")])
"""


def test_killed_import_leaves_no_part(home: Path, source: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(source)], check=False, env=os.environ)
    assert died.returncode == 9
    assert "210325" not in left_behind(home)
    assert [s.present for s in dataset_checks.status(DATASET)] == [False, False, False]
    run(source)
    assert left_behind(home) == {"210325", "201025"}
    assert dataset_checks.verify(DATASET) == []
