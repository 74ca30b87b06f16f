"""MajajHong from the command line: fetched from a faulty server, imported, verified, scored."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faulty_server import Server, serving
from miniatures import majajhong as mini
from typer.testing import CliRunner

from benchmark_core import dataset_checks
from benchmark_core.cli import command_line
from benchmark_core.errors import InputError, MissingDataError
from plugins.benchmarks import _majajhong_fetch as fetching
from plugins.benchmarks._download import Patience, RemoteFile
from plugins.benchmarks.majajhong import BASE_URL, DATASET, FILES

HASTE = Patience(connect=2.0, read=0.3, tries=3, pause=0.0)
ZIP = "stimulus_hvm-public.zip"


@pytest.fixture(scope="module")
def world() -> mini.Miniature:
    return mini.make(per_object=(5, 5))


@pytest.fixture(scope="module")
def public(world: mini.Miniature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mini.write_brain_score(tmp_path_factory.mktemp("public"), world)


@pytest.fixture
def server(public: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the miniature's files; their hashes take the place of the published ones."""
    content = {f.name: f.read_bytes() for f in public.iterdir()}
    files = {n: RemoteFile(hashlib.sha1(c).hexdigest(), algorithm="sha1") for n, c in content.items()}
    assert set(files) == set(FILES)
    monkeypatch.setitem(fetching.fetch.__kwdefaults__, "files", files)
    monkeypatch.setitem(fetching.fetch.__kwdefaults__, "patience", HASTE)
    with serving(content, ZIP) as server:
        monkeypatch.setenv("BENCH_MAJAJHONG_URL", server.url)
        yield server


def bench(*arguments: str, status: int = 0) -> Any:
    result = CliRunner().invoke(command_line(), [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result


def test_fetch_survives_a_faulty_server(home: Path, server: Server) -> None:
    """Sizes first; then wrong bytes, a break, a stall, an error and an ignored range: whole in the end."""
    server.faults = ["", "corrupt", "break off", "stall", "503", "ignore range"]
    result = bench("data", "fetch", "majajhong")
    said = result.stderr.splitlines()
    total = sum(len(c) for c in server.content.values()) / 1e6
    first = next(line for line in said if not line.startswith("warning: plugins"))
    assert first == f"downloading 3 files, {total:.1f} MB, from {server.url}/"
    for words in ("the connection broke off", "has stopped answering", "status 503", "published SHA-1"):
        assert any(words in line and "trying again" in line for line in said), words
    assert any("continuing at" in line for line in said)
    assert result.stdout == "majajhong: V4, IT ready\n"
    assert dataset_checks.verify(DATASET) == []
    asked = len(server.requests)
    bench("data", "fetch", "majajhong")
    assert len(server.requests) == asked, "what is there is not downloaded again"


@pytest.mark.parametrize(("fault", "words"), [("404", "status 404"), ("corrupt", "does not have the published SHA-1")])
def test_fetch_that_fails_leaves_no_data(home: Path, server: Server, fault: str, words: str) -> None:
    server.faults = ["", *[fault] * 20]
    result = bench("data", "fetch", "majajhong", status=3)
    error = result.stderr.splitlines()[-1]
    assert error.startswith(f"error: cannot download {server.url}/{ZIP}")
    assert error.endswith("bench data import majajhong --from DIR")
    assert words in error
    assert not (home / "data" / "majajhong").exists()


def test_fetch_checks_space_first(home: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="free some space"):
        fetching.fetch(lambda line: None)
    assert not list((home.parent / "cache").rglob("*.part"))


def test_fetch_offline_says_where_it_looked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_MAJAJHONG_URL", raising=False)
    with pytest.raises(MissingDataError, match=r"http://127\.0\.0\.1:9/assy_dicarlo.*cannot be reached"):
        fetching.fetch(lambda line: None, "http://127.0.0.1:9", patience=HASTE)
    assert BASE_URL.startswith("https://brainscore-storage.")


def scores(benchmarks: str, status: int = 0) -> dict[str, dict[str, Any]]:
    result = bench("run", "--model", "pixels", "--benchmark", benchmarks, "--json", status=status)
    return {r["benchmark"].removeprefix("majajhong."): r for r in json.loads(result.stdout)["results"]}


def check_scores(home: Path, world: mini.Miniature, public: Path, folder: Path) -> None:
    """Import, verify and run both layouts; the averages are the same, so r is the same."""
    bench("data", "import", "majajhong", "--from", public)
    assert bench("data", "verify", "majajhong").stdout == "majajhong: whole\n"
    found = scores("majajhong.V4*", status=3)
    assert {n for n, r in found.items() if r["status"] == "ok"} == {"V4-ownsplit", "V4-ownsplit-shuffled"}
    assert all(
        "or use majajhong." in r["error"] and "-ownsplit" in r["error"]
        for r in found.values()
        if r["status"] == "missing-data"
    )
    mini.write_ids(folder / "ids", world)
    bench("data", "import", "majajhong", "--from", folder / "ids")
    trials = scores("majajhong.*")
    assert len(trials) == 10
    for name, result in trials.items():
        assert set(result["subjects"]) == {"Chabo", "Tito"}
        assert 0 < result["ceiling"] < 1, name
        assert result["n_neuroids"] == (5 if name.startswith("V4") else 8)
    n = len(world.stimuli)
    assert [trials[f"IT{v}"]["n_stimuli"] for v in ("", "-demo", "-ownsplit")] == [n // 4, 6, n // 5]
    assert trials["IT"]["key"] != trials["IT-shuffled"]["key"] != trials["IT-ownsplit"]["key"]

    shutil.rmtree(home / "data")
    bench("data", "import", "majajhong", "--from", mini.write_paper(folder / "paper", world))
    assert bench("data", "verify", "majajhong").stdout == "majajhong: whole\n"
    averages = scores("majajhong.IT*")
    assert len(averages) == 5
    for name, result in averages.items():
        assert result["ceiling"] is None
        assert result["r_neuroid"] == pytest.approx(trials[name]["r_neuroid"], rel=1e-9)


def test_import_verify_run(home: Path, world: mini.Miniature, public: Path, tmp_path: Path) -> None:
    check_scores(home, world, public, tmp_path)


@pytest.mark.real
@pytest.mark.slow
def test_import_verify_run_with_photographs(home: Path, real_data: Path, tmp_path: Path) -> None:
    world = mini.make(per_object=(5, 15), photographs=real_data / "scenes15")
    assert np.std([len(c) for c in world.images.values()]) > 50, "photographs, not made-up pictures"
    check_scores(home, world, mini.write_brain_score(tmp_path / "public", world), tmp_path)
