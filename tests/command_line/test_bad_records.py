"""Records that are damaged, foreign or from the future."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_command import RECORD, Bench, Tree

from benchmark_core.records import write_record

RUN = ("run", "--model", "toy-pixels", "--benchmark", "toy.V4", "--json")
SPOILT = RECORD | {"key": "spoilt"}


def changed(**changes: Any) -> bytes:
    return json.dumps(SPOILT | changes).encode()


def without(name: str) -> bytes:
    return json.dumps({k: v for k, v in SPOILT.items() if k != name}).encode()


DAMAGE = {
    "empty": b"",
    "cut off": json.dumps(SPOILT).encode()[:40],
    "binary": b"\xff\xfe\x00\x01",
    "not an object": b"[1, 2]",
    "nested": b"[" * 100_000,
    "no format": without("format"),
    "no models": without("models"),
    "no layer": without("layer"),
    "models no list": changed(models="toy-pixels"),
    "models no texts": changed(models=[1]),
    "version no number": changed(benchmark_version="one"),
    "score a text": changed(score="high"),
    "score not a number": changed(score=float("nan")),
    "score infinite": json.dumps(SPOILT).encode().replace(b"0.5", b"1e999"),
    "interval a text": changed(ci_low="low"),
    "key of another": changed(key="other"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_the_leaderboard_names_a_damaged_record(bench: Bench, home: Path, tree: Tree, case: str) -> None:
    write_record(home / "records", RECORD | {"key": "good"})
    path = home / "records" / "spoilt.json"
    path.write_bytes(DAMAGE[case])
    before = tree()
    done = bench("leaderboard", "--json")
    done.fails(2, f"error: {path} is not a score record (", "delete it or restore it")
    assert done.stdout == ""
    assert tree() == before, "nothing is deleted, and no CSV is written of half the records"


@pytest.mark.parametrize("content", [changed(format=2), changed(format="1"), changed(status="pending")])
def test_the_leaderboard_names_a_record_of_another_format(bench: Bench, home: Path, tree: Tree, content: bytes) -> None:
    path = home / "records" / "spoilt.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    before = tree()
    bench("leaderboard").fails(2, f"error: {path} is a record of another format", "upgrade cortex-bench")
    assert tree() == before


def test_a_folder_among_the_records(bench: Bench, home: Path) -> None:
    (home / "records" / "spoilt.json").mkdir(parents=True)
    bench("leaderboard").fails(2, "cannot read", "spoilt.json", "Is a directory")


@pytest.fixture
def scored(bench: Bench, part: Path, home: Path) -> Path:
    """Score a cell and return the file of its record."""
    assert bench(*RUN).status == 0
    (path,) = (home / "records").glob("*.json")
    return path


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:200], lambda text: "", lambda text: text.replace('"models"', '"modles"')]
)
def test_run_sets_a_damaged_record_aside(bench: Bench, scored: Path, home: Path, spoil: Callable[[str], str]) -> None:
    text = scored.read_text()
    scored.write_text(spoil(text))
    done = bench(*RUN)
    done.fails(0, "warning: ", str(scored), "is not a score record", "set aside as", "computed again")
    (result,) = done.results
    assert (result["status"], result["cached"]) == ("ok", False)
    assert result["score"] == json.loads(text)["score"]
    assert {p.name for p in (home / "records").iterdir()} == {scored.name, scored.name + ".bad"}
    again = bench(*RUN)
    assert (again.status, again.stderr, again.results[0]["cached"]) == (0, "", True)


def test_run_leaves_a_record_of_the_future_alone(bench: Bench, scored: Path) -> None:
    future = json.dumps(json.loads(scored.read_text()) | {"format": 2})
    scored.write_text(future)
    bench(*RUN).fails(2, "failed: toy-pixels on toy.V4", str(scored), "another format", "upgrade cortex-bench")
    assert scored.read_text() == future
    scored.write_text(json.dumps(json.loads(future) | {"format": 1}))  # as it was, for the check after every test


def test_what_was_recorded_without_a_score_is_tried_again(bench: Bench, part: Path, home: Path) -> None:
    kept = part.rename(part.with_name("elsewhere"))
    bench(*RUN).fails(3, "missing-data: toy-pixels on toy.V4", "bench data import toy --from DIR")
    assert len(list((home / "records").glob("*.json"))) == 1
    kept.rename(part)
    assert [r["status"] for r in bench(*RUN).results] == ["ok"]
    rows = bench("leaderboard", "--json").json["rows"]
    assert [(row["model"], row["status"]) for row in rows] == [("toy-pixels", "ok")]
