"""Import and fetch of Cowley et al. (2023): small made-up sessions, then the real recordings where they are at hand."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.keys import file_sha256
from plugins.benchmarks import _cowley2023_fetch as fetching
from plugins.benchmarks._cowley2023_import import import_folder
from plugins.benchmarks._download import Patience, RemoteFile
from plugins.benchmarks.cowley2023 import DATASET, FILES, SESSIONS, Session, register_benchmarks

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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder laid out as the public one, with two small sessions."""
    folder = tmp_path / "source"
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


def test_trials_are_imported(home: Path, source: Path) -> None:
    said: list[str] = []
    assert run(source, said) == ["210325", "201025"]
    stimuli = datasets.load_stimuli(DATASET, "210325")
    assert stimuli.stimulus_ids == tuple(f"210325/image{i:04d}" for i in range(1, 7))
    for i in range(6):
        assert stimuli.files[i].read_bytes() == jpeg(i + 1), "images go with their names, and keep their bytes"
    responses = datasets.load_responses(DATASET, "210325")
    assert responses.stimulus_ids == stimuli.stimulus_ids
    assert np.array_equal(responses.values, spikes().transpose(1, 2, 0), equal_nan=True)
    assert responses.neuroid_ids == ("210325/00", "210325/01", "210325/02")
    assert responses.subject_names == ("PE",)
    assert responses.region == "V4"
    assert dataset_checks.verify(DATASET) == []
    assert "cowley2023/210325: imported 6 images and 3 neuroids" in said


def test_averages_are_imported(home: Path, source: Path) -> None:
    run(source)
    responses = datasets.load_responses(DATASET, "201025")
    assert not responses.has_trials
    assert np.array_equal(responses.values, np.arange(10.0).reshape(2, 5).T)


def test_sources_are_recorded_and_foreign_files_mentioned(home: Path, source: Path) -> None:
    said: list[str] = []
    run(source, said)
    recorded = datasets.read_manifest(DATASET, "210325")["sources"]
    assert recorded == {
        f: file_sha256(source / f) for f in (IMAGES, RAW, "responses_repeat_averaged/responses_210325.npy")
    }
    assert sum("is not the published file" in line for line in said) == 5


def test_second_import_changes_nothing(home: Path, source: Path) -> None:
    run(source)
    manifest = home / "data" / "cowley2023" / "210325" / "manifest.json"
    before, said = manifest.stat(), []
    assert run(source, said) == ["210325", "201025"]
    assert (manifest.stat().st_mtime_ns, manifest.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert sum("already imported" in line for line in said) == 2


def test_import_repairs_and_updates(home: Path, source: Path) -> None:
    run(source)
    (home / "data" / "cowley2023" / "210325" / "images" / name(3)).write_bytes(b"damaged")
    said: list[str] = []
    run(source, said)
    assert dataset_checks.verify(DATASET) == []
    assert "cowley2023/201025: already imported from the same files" in said
    old = datasets.target_hash(DATASET, "201025")
    save(source / MEAN / "responses_201025.npy", np.ones((2, 5)))
    run(source)
    assert datasets.target_hash(DATASET, "201025") != old


def test_absent_session_is_named_and_left_out(home: Path, source: Path) -> None:
    for path in source.rglob("*201025*"):
        path.unlink()
    said: list[str] = []
    assert run(source, said) == ["210325"]
    assert f"cowley2023/201025: not in {source}, left out" in said
    assert left_behind(home) == {"210325"}


def test_averages_of_a_session_with_trials_may_be_absent(home: Path, source: Path) -> None:
    (source / MEAN / "responses_210325.npy").unlink()
    assert run(source) == ["210325", "201025"]


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


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def test_fetch_downloads_and_imports(home: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        f.relative_to(source).as_posix(): RemoteFile(hashlib.sha256(f.read_bytes()).hexdigest(), f.stat().st_size)
        for f in source.rglob("*.*")
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(source)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("BENCH_COWLEY2023_URL", f"http://127.0.0.1:{server.server_port}")
    options: dict[str, Any] = {"files": files, "sessions": SMALL, "patience": Patience(2, 2, 1, 0)}
    try:
        assert fetching.fetch(lambda line: None, **options) == ["210325", "201025"]
        options["files"] = {f: expected._replace(digest="0" * 64) for f, expected in files.items()}
        url = f"http://127.0.0.1:{server.server_port}/elsewhere"
        with pytest.raises(MissingDataError, match=r"127\.0\.0\.1.*/elsewhere/.*status 404"):
            fetching.fetch(lambda line: None, url, **options)
    finally:
        server.shutdown()
        server.server_close()
    assert dataset_checks.verify(DATASET) == []
    kept = home.parent / "cache" / "downloads" / "cowley2023"
    assert {f.relative_to(kept).as_posix() for f in kept.rglob("*.*") if f.is_file()} - {".lock"} == set(files)


def test_fetch_checks_space_for_the_import(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20_000_000))
    with pytest.raises(InputError, match="free some space"):
        fetching.fetch(lambda line: None, "http://127.0.0.1:9/")


def test_benchmarks_are_declared_without_heavy_imports() -> None:
    code = (
        "import sys\n"
        "import plugins.benchmarks.cowley2023 as module\n"
        "print(*(b.name for b in module.register_benchmarks()))\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'PIL', 'requests', 'pooch', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [
        "cowley2023.V4",
        "cowley2023.V4-201025",
        "cowley2023.V4-210224",
        "cowley2023.V4-demo",
        "cowley2023.V4-shuffled",
    ]


def test_benchmarks_point_to_their_sessions(home: Path, source: Path) -> None:
    run(source)
    trials, averages, absent, demo, shuffled = register_benchmarks()
    with pytest.raises(InputError, match=r"V4-demo takes 64 of cowley2023.V4's stimuli, which are only 6"):
        demo.stimuli()
    assert len(trials.stimuli()) == len(shuffled.stimuli()) == 6
    assert trials.stimuli().manifest_hash != shuffled.stimuli().manifest_hash
    assert trials.target().has_trials
    assert trials.target_hash is not None
    assert trials.target_hash() == trials.target().hash
    assert len(averages.stimuli()) == 5
    with pytest.raises(MissingDataError, match="`bench data fetch cowley2023` or `bench data import cowley2023"):
        absent.stimuli()
    assert all(b.needs == (DATASET,) and not b.simulated for b in (trials, averages, absent))


def test_published_files_cover_the_sessions() -> None:
    expected = {f"images/images_{s.name}.zip" for s in SESSIONS}
    expected |= {f"responses_repeat_averaged/responses_{s.name}.npy" for s in SESSIONS}
    expected |= {f"responses_raw/responses_{s.name}.npy" for s in SESSIONS if s.trials}
    assert set(FILES) == expected
    assert tuple(s.name for s in SESSIONS) == DATASET.parts


@pytest.mark.real
def test_real_files_are_the_published_ones(real_data: Path) -> None:
    for file, (sha256, n_bytes) in FILES.items():
        path = real_data / "cowley2023" / file
        assert (file_sha256(path), path.stat().st_size) == (sha256, n_bytes)


@pytest.mark.real
def test_real_recording(home: Path, real_data: Path) -> None:
    assert import_folder(real_data / "cowley2023", lambda line: None, SESSIONS[:1]) == ["210325"]
    benchmark = next(iter(register_benchmarks()))
    stimuli, responses = benchmark.stimuli(), benchmark.target()
    assert len(stimuli) == 640
    assert responses.values.shape == (640, 10, 50)
    repetitions = np.isfinite(responses.values).sum(axis=1)
    assert (repetitions.min(), np.median(repetitions), repetitions.max()) == (6, 8, 10)
    published = np.load(real_data / "cowley2023" / MEAN / "responses_210325.npy")
    np.testing.assert_allclose(responses.averages(), published.T, rtol=1e-12)
    assert [len(fold.test) for fold in benchmark.splits(stimuli).folds] == [128] * 5
    assert stimuli.image(0).size == (112, 112)
    # Split halves with Spearman-Brown, by plain correlation: the median over neurons is known to be about .76.
    random = np.random.Generator(np.random.Philox(1))
    reliabilities = []
    for _ in range(5):
        keys = np.where(np.isfinite(responses.values), random.random(responses.values.shape), np.inf)
        ranks = keys.argsort(axis=1).argsort(axis=1)
        half = (repetitions // 2)[:, None, :]
        halves = [ranks < half, (ranks >= half) & (ranks < 2 * half)]
        first, second = (np.where(h, responses.values, 0).sum(axis=1) / h.sum(axis=1) for h in halves)
        r = np.array([np.corrcoef(first[:, j], second[:, j])[0, 1] for j in range(50)])
        reliabilities.append(2 * r / (1 + r))
    median = np.median(np.mean(reliabilities, axis=0))
    assert median == pytest.approx(0.76, abs=0.02)
