"""Downloads from a server on this machine that breaks off, corrupts, stalls and ignores ranges."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from faulty_server import Server, serving

from benchmark_core.errors import InputError, MissingDataError
from plugins.benchmarks import _download
from plugins.benchmarks._download import Patience, RemoteFile, check_space, download

CONTENT = {"a/big.bin": bytes(range(256)) * 1200, "small.bin": b"small file"}
FILES = {name: RemoteFile(hashlib.sha256(data).hexdigest(), len(data)) for name, data in CONTENT.items()}
BIG = CONTENT["a/big.bin"]
HASTE = Patience(connect=2.0, read=0.3, tries=3, pause=0.0)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT, "a/big.bin") as server:
        yield server


def fetch(server: Server, folder: Path, said: list[str] | None = None) -> None:
    download(FILES, server.url, folder, (said if said is not None else []).append, HASTE)


def whole(folder: Path) -> bool:
    left = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} - {".lock"}
    return left == set(CONTENT) and all((folder / name).read_bytes() == data for name, data in CONTENT.items())


def test_files_come_once(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    fetch(server, tmp_path, said)
    assert whole(tmp_path)
    assert said[0] == f"downloading 2 files, 0.3 MB, from {server.url}/"
    assert any("a/big.bin: 0.3 MB" in line for line in said)
    assert len(server.requests) == 2
    fetch(server, tmp_path, said)
    assert len(server.requests) == 2, "what is there and right is not asked for again"


def test_broken_off_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.faults, said = ["break off", "break off"], []
    fetch(server, tmp_path, said)
    assert whole(tmp_path)
    first, *others = server.ranges()
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in others if asked]
    assert first is None
    assert len(starts) == 2
    assert len(BIG) // 2 - 8192 < starts[0] <= len(BIG) // 2, "all but the last piece was kept"
    assert starts[0] < starts[1] < len(BIG)
    assert any("continuing at 0.1 MB" in line for line in said)
    assert any("the connection broke off; trying again" in line for line in said)


def test_partial_file_of_an_earlier_run_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.bin.part").write_bytes(BIG[:1000])
    fetch(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges() == ["bytes=1000-"]


def test_complete_partial_file_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.bin.part").write_bytes(BIG)
    fetch(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges() == []


@pytest.mark.parametrize("fault", ["ignore range", "wrong range"])
def test_server_that_does_not_heed_ranges(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults = ["break off", fault]
    fetch(server, tmp_path)
    assert whole(tmp_path)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("corrupt", "does not have the published SHA-256"),
        ("stall", "has stopped answering"),
        ("too long", "more than its 307200 bytes came"),
        ("short", "it ended after 307195 of 307200 bytes"),
        ("500", "status 500"),
        ("503", "status 503"),
    ],
)
def test_passing_fault_is_reported_and_survived(server: Server, tmp_path: Path, fault: str, words: str) -> None:
    server.faults, said = [fault], []
    fetch(server, tmp_path, said)
    assert whole(tmp_path)
    assert any(words in line and "trying again" in line for line in said), said


def test_garbage_partial_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.bin.part").write_bytes(b"garbage" * 100)
    fetch(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges() == ["bytes=700-", None]


def test_partial_file_longer_than_the_server_has(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.bin.part").write_bytes(BIG[:9000])
    server.faults = ["416"]
    fetch(server, tmp_path)
    assert whole(tmp_path)


def test_partial_file_longer_than_the_whole_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.bin.part").write_bytes(BIG + b"more")
    fetch(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges() == [None]


def test_damaged_file_in_place_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / "small.bin").write_bytes(b"tampered!!")
    fetch(server, tmp_path)
    assert whole(tmp_path)


@pytest.mark.parametrize(
    ("fault", "words", "attempts"),
    [
        ("corrupt", "does not have the published SHA-256", HASTE.tries),
        ("404", "status 404", 1),
        ("500", "status 500", HASTE.tries),
    ],
)
def test_lasting_fault_ends_in_one_clear_error(
    server: Server, tmp_path: Path, fault: str, words: str, attempts: int
) -> None:
    server.faults = [fault] * 40
    with pytest.raises(MissingDataError) as caught:
        fetch(server, tmp_path)
    message = str(caught.value)
    assert f"cannot download {server.url}/a/big.bin" in message
    assert words in message
    assert "\n" not in message
    assert len(server.ranges()) == attempts
    assert not list((tmp_path / "a").glob("*")), "nothing worthless is kept"


def test_what_came_before_a_lasting_fault_is_kept(server: Server, tmp_path: Path) -> None:
    server.faults = ["break off", *["500"] * 40]
    with pytest.raises(MissingDataError, match=r"status 500; 0\.1 MB of it are kept, run the command again to go on"):
        fetch(server, tmp_path)
    assert not (tmp_path / "a" / "big.bin").exists()
    assert BIG.startswith((tmp_path / "a" / "big.bin.part").read_bytes())
    server.faults = []
    fetch(server, tmp_path)
    assert whole(tmp_path)


def test_unreachable_server(tmp_path: Path) -> None:
    server = Server(CONTENT, "a/big.bin")
    url = server.url
    server.server_close()
    with pytest.raises(MissingDataError, match="the server cannot be reached"):
        download(FILES, url, tmp_path, lambda line: None, HASTE)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "somewhere", "/tmp", "http://", "file:///tmp"])
def test_bad_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="is not an address to download from"):
        download(FILES, url, tmp_path, lambda line: None, HASTE)


def test_full_disk_is_found_out_beforehand(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=200_000))
    with pytest.raises(InputError, match=r"has 0\.2 MB free and 0\.3 MB are needed; free some space"):
        fetch(server, tmp_path)
    assert server.requests == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big.bin.part").write_bytes(BIG[:-1000])
    fetch(server, tmp_path)
    assert whole(tmp_path), "only what is still to come counts"


def test_space_is_looked_up_where_the_folder_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def disk_usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=110)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    check_space(tmp_path / "not" / "yet", 100)
    assert asked == [tmp_path]
    with pytest.raises(InputError):
        check_space(tmp_path, 101)


def test_disk_that_fills_up_on_the_way(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_download.shutil, "move", full)
    with pytest.raises(InputError, match=r"cannot write to .*No space left"):
        fetch(server, tmp_path)


def test_unwritable_folder(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="BENCH_CACHE"):
        fetch(server, tmp_path / "file" / "downloads")


def test_two_at_once_download_each_file_once(server: Server, tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(lambda: fetch(server, tmp_path),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert whole(tmp_path)
    assert len(server.requests) == 2


UNSIZED = {name: RemoteFile(hashlib.sha1(data).hexdigest(), algorithm="sha1") for name, data in CONTENT.items()}


def test_sha1_and_sizes_from_the_server(server: Server, tmp_path: Path) -> None:
    """Sizes are asked for before anything is downloaded, and shown first."""
    said: list[str] = []
    download(UNSIZED, server.url, tmp_path, said.append, HASTE)
    assert whole(tmp_path)
    assert said[0] == f"downloading 2 files, 0.3 MB, from {server.url}/"
    download(UNSIZED, server.url, tmp_path, said.append, HASTE)
    assert len(server.requests) == 4, "what is there and right is not asked for again, nor its size"


def test_unknown_sizes_count_for_the_space_check(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=200_000))
    with pytest.raises(InputError, match=r"has 0\.2 MB free and 0\.3 MB are needed; free some space"):
        download(UNSIZED, server.url, tmp_path, lambda line: None, HASTE)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("fault", ["break off", "stall", "corrupt", "ignore range", "503", "short", "too long"])
def test_faults_after_the_size_is_known(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults, said = ["", "break off", fault], []
    download(UNSIZED, server.url, tmp_path, said.append, HASTE)
    assert whole(tmp_path)
    assert sum("trying again" in line for line in said) >= 1


def test_fault_while_the_size_is_asked_for(server: Server, tmp_path: Path) -> None:
    server.faults, said = ["503", "stall"], []
    download(UNSIZED, server.url, tmp_path, said.append, HASTE)
    assert whole(tmp_path)
    assert said[0] == f"{server.url}/a/big.bin: the server answers with status 503; trying again"


@pytest.mark.parametrize(("fault", "attempts"), [("404", 1), ("403", 1), ("503", HASTE.tries)])
def test_size_that_cannot_be_had(server: Server, tmp_path: Path, fault: str, attempts: int) -> None:
    server.faults = [fault] * 9
    with pytest.raises(MissingDataError, match=f"cannot download .*/a/big.bin: the server answers with status {fault}"):
        download(UNSIZED, server.url, tmp_path, lambda line: None, HASTE)
    assert len(server.ranges()) == attempts


def test_server_that_does_not_tell_sizes(server: Server, tmp_path: Path) -> None:
    server.faults, said = ["no length"] * 2, []
    download(UNSIZED, server.url, tmp_path, said.append, HASTE)
    assert whole(tmp_path)
    assert said[0] == f"downloading 2 files, 0.0 MB and more, from {server.url}/"
    assert "a/big.bin: size unknown" in said


def test_wrong_sha1_is_named(server: Server, tmp_path: Path) -> None:
    files = {"small.bin": RemoteFile("0" * 40, algorithm="sha1")}
    with pytest.raises(MissingDataError, match="does not have the published SHA-1"):
        download(files, server.url, tmp_path, lambda line: None, HASTE)


def test_progress_tells_how_far_and_how_long(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    download(FILES, server.url, tmp_path, said.append, Patience(2.0, 2.0, 3, 0.0, report=0.0))
    lines = [line for line in said if " of 0.3 MB, " in line]
    assert len(lines) > 5
    assert all(
        re.fullmatch(r"a/big\.bin: 0\.\d MB of 0\.3 MB, [\d.]+ MB/s(, \d+ (s|min) left)?", line) for line in lines
    ), lines
    quiet: list[str] = []
    download(FILES, server.url, tmp_path / "again", quiet.append, HASTE)
    assert not [line for line in quiet if "left" in line], "a download of a moment needs no report"


def test_offline_nothing_is_asked_for(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(
        MissingDataError, match=r"a/big\.bin and small\.bin would have to be downloaded, which BENCH_OFF"
    ):
        download(UNSIZED, server.url, tmp_path, lambda line: None, HASTE)
    assert server.requests == []
    monkeypatch.delenv("BENCH_OFFLINE")
    fetch(server, tmp_path)
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    fetch(server, tmp_path)
    assert whole(tmp_path), "what is there is used"
