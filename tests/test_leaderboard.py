"""The leaderboard's CSV is a pure function of the records."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_core.leaderboard import COLUMNS, leaderboard, one_row_a_model, to_csv, without_seed, write_csv
from benchmark_core.records import (
    DamagedRecordError,
    pack_resamples,
    read_record,
    read_records,
    unpack_resamples,
    write_record,
)
from benchmark_core.tables import print_leaderboard

REPOSITORY = Path(__file__).resolve().parent.parent


def record(model: str, score: float | None = 0.5, **changes: Any) -> dict[str, Any]:
    """Return a record as the runner writes it, as far as the leaderboard reads it."""
    base: dict[str, Any] = {
        "format": 1,
        "key": f"key of {model} {score} {changes}",
        "models": [model],
        "model_versions": ["1"],
        "trained": [False],
        "benchmark": "toy.V4",
        "benchmark_version": 1,
        "simulated": False,
        "metric": "encoding",
        "metric_version": "1",
        "layer": "output",
        "requested_layer": "auto",
        "status": "ok",
        "score": score,
        "error": None,
        "seconds": 3.0,
        "provenance": {"finished": "2026-01-01T00:00:00+00:00"},
    }
    return base | changes


def test_best_first_then_by_name_then_those_without_a_score() -> None:
    rows = leaderboard(
        [
            record("b", 0.5),
            record("c", None, status="failed", error="no memory"),
            record("a", 0.5),
            record("d", 0.9),
            record("e", -0.1),
            record("f", None),
        ]
    )
    assert [r["model"] for r in rows] == ["d", "a", "b", "e", "c", "f"]
    assert rows[4]["error"] == "no memory"


def test_scores_equal_to_six_digits_are_ties() -> None:
    rows = leaderboard([record("b", 0.50000001), record("a", 0.5)])
    assert [r["model"] for r in rows] == ["a", "b"]


def test_versions_of_a_benchmark_never_mix() -> None:
    rows = leaderboard([record("a", 0.1), record("b", 0.9, benchmark_version=2), record("c", 0.5)])
    assert [(r["benchmark_version"], r["model"]) for r in rows] == [(1, "c"), (1, "a"), (2, "b")]


def test_a_record_without_a_score_gives_way_to_one_with() -> None:
    rows = leaderboard([record("a", None, status="missing-data"), record("a", 0.4)])
    assert [(r["model"], r["status"]) for r in rows] == [("a", "ok")]
    other_version = record("a", 0.4, benchmark_version=2)
    assert len(leaderboard([record("a", None, status="failed"), other_version])) == 2


@given(st.permutations([record(m, s) for m, s in (("a", 0.1), ("b", 0.5), ("c", 0.5), ("d", None), ("e", -0.0))]))
def test_the_csv_does_not_depend_on_the_order_of_records(records: list[dict[str, Any]]) -> None:
    assert to_csv(leaderboard(records)) == to_csv(leaderboard(sorted(records, key=lambda r: r["key"])))


def test_csv_text() -> None:
    text = to_csv(leaderboard([record("a", 1 / 3, alpha=[1e-10, 1000.0], ceiling=-0.0, error='one, "two"')]))
    (row,) = csv.DictReader(io.StringIO(text))
    assert list(row) == list(COLUMNS)
    assert row["score"] == "0.333333"
    assert row["alpha"] == "1e-10 1000"
    assert row["ceiling"] == "0"
    assert row["simulated"] == "false"
    assert row["r_neuroid"] == ""
    assert row["error"] == 'one, "two"'
    assert "\r" not in text


def test_times_and_hosts_do_not_enter(tmp_path: Path) -> None:
    early = record("a", 0.4, device="cuda:0")
    late = record("a", 0.4, device="cuda:1", seconds=99.0, peak_rss_bytes=7, provenance={"finished": "later"})
    late["provenance"] |= {"platform": "elsewhere", "device_name": "another", "metric_seconds": 3.0}
    text = to_csv(leaderboard([late | {"key": early["key"]}]))
    assert text == to_csv(leaderboard([early]))
    assert not {"later", "elsewhere", "another", "99"} & set(text.replace("\n", ",").split(","))


def test_regenerating_from_files_is_byte_identical(tmp_path: Path) -> None:
    for model, value in (("b", 0.123456789), ("a", 0.7)):
        write_record(tmp_path / "records", record(model, value, key=f"{model}" * 64))
    write_csv(leaderboard(read_records(tmp_path / "records")), tmp_path / "one.csv")
    write_csv(leaderboard(read_records(tmp_path / "records")), tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert b"0.123457" in (tmp_path / "one.csv").read_bytes()


def test_the_committed_csv_is_what_the_committed_records_give() -> None:
    folder = REPOSITORY / "leaderboard"
    if not (folder / "records").is_dir():
        pytest.fail("leaderboard/records is missing from the checkout")
    assert to_csv(leaderboard(read_records(folder / "records"))) == (folder / "leaderboard.csv").read_text()


def test_draws_of_one_model_have_a_mean_and_a_spread() -> None:
    records = [record(f"m:filters=3{seed}", score) for seed, score in (("", 0.2), (",seed=1", 0.3), (",seed=12", 0.7))]
    others = [
        record("m", 0.9),
        record("m:seed=1", None),
        record("m:seed=2", 0.1, benchmark_version=2),
        record("m:filters=3,seed=5", 0.8, metric="other"),
    ]
    rows = leaderboard([*records, *others])
    drawn = [r for r in rows if r["n_seeds"]]
    assert sorted(r["model"] for r in drawn) == sorted(r["models"][0] for r in records)
    for row in drawn:
        assert row["n_seeds"] == 3
        assert row["seed_mean"] == pytest.approx(0.4)
        assert row["seed_sd"] == pytest.approx(np.std([0.2, 0.3, 0.7], ddof=1))
    merged = one_row_a_model(rows)
    assert len(merged) == len(rows) - 2
    (row,) = (r for r in merged if r["n_seeds"])
    assert (row["model"], row["score"]) == ("m:filters=3", pytest.approx(0.4))


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("m", "m"),
        ("m:seed=3", "m"),
        ("m:a=1,seed=3,z=2", "m:a=1,z=2"),
        ("m:seed=3,z=2 + pixels + timm/x:seed=4", "m:z=2 + pixels + timm/x"),
        ("m:my_seed=3", "m:my_seed=3"),
    ],
)
def test_a_model_without_its_seed(models: str, expected: str) -> None:
    assert without_seed(models) == expected


def test_the_table_shows_one_line_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    print_leaderboard(leaderboard([record("m", 0.2), record("m:seed=1", 0.4), record("pixels", 0.1)]))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["m", "pixels"]
    assert "0.300" in lines[3]
    assert "sd 0.141, n = 2" in lines[3]


def with_resamples(model: str, score: float, seed: int, key: str = "k", **changes: Any) -> dict[str, Any]:
    """Return a record with resamples of standard error .01, half of it shared."""
    shared, own = (np.random.Generator(np.random.Philox(s)).standard_normal(400) for s in (0, seed))
    return record(model, score, resamples=pack_resamples(0.01 * (shared + own) / np.sqrt(2), key), **changes)


def members(records: list[dict[str, Any]]) -> dict[str, bool | None]:
    return {row["model"]: row["in_best_set"] for row in leaderboard(records)}


def test_who_cannot_be_told_from_the_best() -> None:
    records = [with_resamples("a", 0.50, 1), with_resamples("b", 0.49, 2), with_resamples("c", 0.40, 3)]
    assert members(records) == {"a": True, "b": True, "c": False}
    assert "in_best_set" in to_csv(leaderboard(records)).splitlines()[0].split(",")


def test_who_competes() -> None:
    best, other = with_resamples("a", 0.50, 1), with_resamples("b", 0.49, 2)
    assert members([best, other, record("old", 0.3)]) == {"a": True, "b": True, "old": None}
    assert members([best, other, record("old", 0.9)]) == {"a": None, "b": None, "old": None}
    assert members([best, other, with_resamples("else", 0.1, 3, key="other stimuli")])["else"] is None
    named = with_resamples("named", 0.9, 3, requested_layer="conv")
    assert members([best, other, named]) == {"a": True, "b": True, "named": None}
    pair = with_resamples("a", 0.9, 4) | {"models": ["a", "b"]}
    assert members([best, other, pair])["a + b"] is None
    assert members([best, with_resamples("b", 0.1, 2, metric="other")]) == {"a": True, "b": True}
    assert members([record("a"), record("b")]) == {"a": None, "b": None}


def test_draws_of_one_model_compete_as_one() -> None:
    lucky = [with_resamples(f"m:seed={seed}", value, seed) for seed, value in ((1, 0.56), (2, 0.40), (3, 0.42))]
    assert members([*lucky, with_resamples("a", 0.52, 9)]) == {
        "a": True,
        "m:seed=1": False,
        "m:seed=2": False,
        "m:seed=3": False,
    }
    lucky[1].pop("resamples")
    assert members([*lucky, with_resamples("a", 0.52, 9)])["m:seed=1"] is None


def test_the_table_marks_the_best_set(capsys: pytest.CaptureFixture[str]) -> None:
    print_leaderboard(leaderboard([with_resamples("a", 0.50, 1), with_resamples("c", 0.40, 3)]))
    text = capsys.readouterr().out
    assert "0.500*" in text
    assert "0.400*" not in text
    assert "* cannot be told from the best" in text


def test_no_number_is_cut_where_the_terminal_is_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = leaderboard([record("m", 0.2)])[0] | {"n_features": 10800, "layer": "a.layer.with.a.rather.long.name"}
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "72")
    print_leaderboard([row])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("m "))
    assert len(line) == 72
    assert " 10800  " in line
    assert line.endswith("…")


def test_resamples_are_read_as_written(tmp_path: Path) -> None:
    values = np.random.Generator(np.random.Philox(1)).standard_normal(1000)
    values[3] = np.nan
    path = write_record(tmp_path, record("a", key="a" * 64, resamples=pack_resamples(values, "k")))
    found = unpack_resamples(read_record(path))
    assert found is not None
    np.testing.assert_allclose(found[0], values, rtol=1e-6)
    assert found[1] == "k"
    assert unpack_resamples(record("a")) is None
    assert path.stat().st_size < 7000


@pytest.mark.parametrize(
    "packed", [7, {}, {"key": "k", "n": 3, "float32": "AAAA"}, {"key": "k", "n": 1, "float32": "*"}, {"key": "k"}]
)
def test_damaged_resamples(tmp_path: Path, packed: Any) -> None:
    path = write_record(tmp_path, record("a", key="a" * 64, resamples=packed))
    with pytest.raises(DamagedRecordError, match="its resamples cannot be read"):
        read_record(path)
