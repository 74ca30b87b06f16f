"""``bench data``: what cannot be imported, fetched or verified."""

from __future__ import annotations

import io
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import Bench, Tree, flip
from PIL import Image

N_IMAGES, N_NEUROIDS = 640, 50  # of session 210325
ARCHIVE = Path("images") / "images_210325.zip"
TRIALS = Path("responses_raw") / "responses_210325.npy"


def jpeg(size: tuple[int, int] = (112, 112), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, format="JPEG")
    return out.getvalue()


def write_archive(path: Path, extra: dict[str, bytes] | None = None, n: int = N_IMAGES) -> None:
    content = jpeg()
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(1, n + 1):
            archive.writestr(f"image{i:04d}.jpg", content)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)


@pytest.fixture(scope="session")
def session_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder laid out as the authors publish it, with one session of the right size."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "images").mkdir()
    (folder / "responses_raw").mkdir()
    write_archive(folder / ARCHIVE)
    np.save(folder / TRIALS, np.ones((N_NEUROIDS, N_IMAGES, 2)))
    return folder


@pytest.fixture
def source(session_files: Path, tmp_path: Path) -> Path:
    """Return a copy of the session's files that a test may spoil."""
    return shutil.copytree(session_files, tmp_path / "source")


def clear(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put_array(source: Path, values: Any) -> None:
    np.save(source / TRIALS, values, allow_pickle=True)


SOURCES: dict[str, tuple[Callable[[Path], object], int, list[str]]] = {
    "no folder": (shutil.rmtree, 2, ["source does not exist", "images/"]),
    "empty folder": (clear, 3, ["holds no session of cowley2023"]),
    "no responses": (lambda s: (s / TRIALS).unlink(), 3, ["session 210325 is incomplete", TRIALS.name]),
    "truncated zip": (lambda s: cut(s / ARCHIVE), 2, [ARCHIVE.name, "cannot be read as a zip archive"]),
    "no zip": (lambda s: (s / ARCHIVE).write_bytes(b"PK"), 2, [ARCHIVE.name, "cannot be read as a zip archive"]),
    "zip with ..": (lambda s: write_archive(s / ARCHIVE, {"../evil.jpg": b"x"}), 2, ["unsafe name '../evil.jpg'"]),
    "zip with /": (lambda s: write_archive(s / ARCHIVE, {"/etc/evil.jpg": b"x"}), 2, ["unsafe name '/etc/evil.jpg'"]),
    "image missing": (lambda s: write_archive(s / ARCHIVE, n=639), 2, ["639 images", "lacks 'image0640.jpg'"]),
    "image extra": (lambda s: write_archive(s / ARCHIVE, {"x.jpg": jpeg()}), 2, ["641 images", "also holds 'x.jpg'"]),
    "image no jpeg": (
        lambda s: write_archive(s / ARCHIVE, {"image0640.jpg": b"GIF89a"}, n=639),
        2,
        ["image0640.jpg cannot be decoded", "not a JPEG"],
    ),
    "image cut": (
        lambda s: write_archive(s / ARCHIVE, {"image0640.jpg": jpeg()[:500]}, n=639),
        2,
        ["image0640.jpg cannot be decoded"],
    ),
    "image too small": (
        lambda s: write_archive(s / ARCHIVE, {"image0640.jpg": jpeg((10, 20))}, n=639),
        2,
        ["image0640.jpg is 10 x 20 RGB, expected 112 x 112 RGB"],
    ),
    "wrong shape": (
        lambda s: put_array(s, np.ones((N_IMAGES, N_NEUROIDS, 2))),
        2,
        [TRIALS.name, "has shape (640, 50, 2), expected (50, 640, 'n')"],
    ),
    "pickle": (lambda s: put_array(s, np.array([{"a": 1}], dtype=object)), 2, [TRIALS.name, "cannot be read"]),
    "no array": (lambda s: (s / TRIALS).write_text("1,2,3"), 2, [TRIALS.name, "cannot be read as a NumPy array"]),
    "array cut": (lambda s: cut(s / TRIALS), 2, [TRIALS.name, "cannot be read as a NumPy array"]),
    "texts": (lambda s: put_array(s, np.array(["a"])), 2, [TRIALS.name, "expected float64"]),
    "halves of a spike": (
        lambda s: put_array(s, np.full((N_NEUROIDS, N_IMAGES, 2), 0.5)),
        2,
        [TRIALS.name, "not spike counts"],
    ),
    "a neuron without trials": (
        lambda s: put_array(s, np.where(np.arange(N_NEUROIDS)[:, None, None] == 7, np.nan, np.ones((1, N_IMAGES, 2)))),
        2,
        [TRIALS.name, "neuron 7 has no trial of image 1"],
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_import(bench: Bench, home: Path, source: Path, case: str) -> None:
    spoil, status, words = SOURCES[case]
    spoil(source)
    done = bench("data", "import", "cowley2023", "--from", source)
    assert (done.status, done.stdout) == (status, "")
    *notes, error = done.stderr.splitlines()
    assert all(note.startswith("cowley2023/") for note in notes), "lines of progress"
    assert error.startswith("error: ")
    for word in words:
        assert word in error
    written = [p for p in home.rglob("*") if p.suffix != ".lock" and p.is_file()] if home.exists() else []
    assert written == [], "nothing half-imported"
    assert not (source.parent / "evil.jpg").exists()


def test_import_of_a_file(bench: Bench, source: Path, tree: Tree) -> None:
    before = tree()
    bench("data", "import", "cowley2023", "--from", source / ARCHIVE).fails(2, ARCHIVE.name, "is not a folder")
    assert tree() == before


@pytest.fixture
def empty_server() -> Iterator[str]:
    """Yield the address of a server that has nothing."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/data"
    server.shutdown()
    server.server_close()


def test_fetch_from_a_server_without_the_file(
    bench: Bench, home: Path, empty_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_COWLEY2023_URL", empty_server)
    done = bench("data", "fetch", "cowley2023")
    assert (done.status, done.stdout) == (3, "")
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"error: cannot download {empty_server}/images/images_201025.zip: ")
    assert "status 404" in error
    assert "Traceback" not in done.stderr
    assert not list(home.rglob("*")) if home.exists() else True


@pytest.mark.parametrize("address", ["ftp://nowhere/", "file:///etc/", "nonsense", "http://"])
def test_fetch_from_a_bad_address(bench: Bench, tree: Tree, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BENCH_COWLEY2023_URL", address)
    bench("data", "fetch", "cowley2023").fails(2, f"error: {address!r} is not an address", "https://")
    assert tree() == {}


def test_verify_finds_a_flipped_byte(bench: Bench, part: Path) -> None:
    flip(part / "images" / "03.jpg", 100)
    done = bench("data", "verify", "toy")
    assert (done.status, done.stdout) == (2, "toy: 1 problem(s)\n")
    assert done.stderr.splitlines()[0] == "toy/one: checking"
    (error,) = done.stderr.splitlines()[1:]
    assert error.startswith("error: toy/one: image of stimulus_id 'toy/03' has changed since it was imported")
    flip(part / "images" / "03.jpg", 100)
    again = bench("data", "verify")
    assert (again.status, again.stdout) == (0, "toy: whole\n")
    flip(part / "responses.nc", 2000)
    assert "responses.nc has changed since it was written" in bench("data", "verify").stderr


def test_verify_what_is_not_here(bench: Bench, tree: Tree) -> None:
    bench("data", "verify").fails(3, "no dataset is here yet", "bench data list")
    bench("data", "verify", "cowley2023").fails(3, "'cowley2023' is not on this machine", "bench data fetch cowley2023")
    assert tree() == {}
