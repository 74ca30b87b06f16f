"""Import and fetch of Cowley et al. (2023): small made-up sessions, then the real recordings where they are at hand."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from miniatures.cowley_folder import IMAGES, MEAN, RAW, SMALL, jpeg, left_behind, name, run, save, spikes, write_source

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.keys import file_sha256
from plugins.benchmarks import _cowley2023_fetch as fetching
from plugins.benchmarks._cowley2023_import import import_folder
from plugins.benchmarks._download import Patience, RemoteFile
from plugins.benchmarks.cowley2023 import DATASET, FILES, SESSIONS, register_benchmarks


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source")


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
