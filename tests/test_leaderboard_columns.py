"""Every column of the leaderboard is documented, in order, and says what the records say."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from benchmark_core.leaderboard import COLUMNS as IN_THE_CSV
from benchmark_core.leaderboard import leaderboard_entries
from benchmark_core.leaderboard_columns import COLUMNS, NAMES, documentation, row_of, text_of
from benchmark_core.records import read_records

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "docs" / "leaderboard.md").read_text(encoding="utf-8")
RECORDS = list(read_records(REPOSITORY / "leaderboard" / "records"))


def test_every_column_is_documented_in_order_with_its_unit_and_what_empty_means() -> None:
    table = PAGE.partition("## The columns")[2]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table.splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == list(NAMES)
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)
    assert documentation() in PAGE
    with (REPOSITORY / "leaderboard" / "leaderboard.csv").open(newline="", encoding="utf-8") as handle:
        assert next(csv.reader(handle)) == list(NAMES)
    assert len(set(NAMES)) == len(NAMES)
    assert tuple(IN_THE_CSV) == NAMES


def one(metric: str, *models: str) -> dict[str, Any]:
    """Return the committed record of a metric and models on the first benchmark that has it."""
    found = [r for r in RECORDS if r["metric"] == metric and r["models"] == list(models)]
    return min(found, key=lambda r: r["benchmark"])


def test_conventions_of_an_encoding_score() -> None:
    record = one("encoding", "efficientnet-lite0")
    row, details = row_of(record), record["details"]
    assert record["benchmark"] == "cowley2023.V4"
    for name, value in details["conventions"].items():
        if not name.startswith("r_neuroid"):
            assert row[name] == value
    for name in ("score", "ci_low", "ci_high", "ceiling", "r_neuroid", "r_neuroid_median", "r_pattern"):
        assert row[name] == record[name]
    for name in ("r_pattern_ceiling", "r_pattern_intercept", "r_pattern_z", "r_pattern_z_ceiling", "score_median"):
        assert row[name] == details[name]
    assert [row["r_pattern_ci_low"], row["r_pattern_ci_high"]] == details["r_pattern_ci"]
    assert [row["r_neuroid_ci_low"], row["r_neuroid_ci_high"]] == details["r_neuroid_ci"]
    inputs = record["provenance"]["inputs"]
    assert all(inputs[name].startswith(row[name]) and len(row[name]) == 12 for name in ("stimuli", "target", "splits"))
    assert (row["n_layers"], row["n_resamples"], row["n_subjects"]) == ("7", 1000, 1)
    assert "selection=loo" in row["metric_parameters"].split(",")
    assert row["weights"] == record["provenance"]["representations"][0]["weights"][:12]


def test_headline_values_of_other_metrics() -> None:
    row = row_of(one("classification", "pixels"))
    assert (row["n_categories"], row["chance"]) == (15, pytest.approx(1 / 15))
    row = row_of(one("spectrum", "pixels"))
    assert row["effective_dimensionality"] == row["score"]
    assert row["power_law_exponent"] == pytest.approx(1.51, abs=0.01)
    assert row["components_to_share"] == 37
    models = ("efficientnet-lite0", "expansion5l:filters=300")
    row = row_of(one("variance-partitioning", *models))
    assert row["unique_A"] + row["unique_B"] + row["shared"] == pytest.approx(row["score"], abs=0.001)
    assert row["explained_A"] == pytest.approx(row["unique_A"] + row["shared"], abs=0.001)
    assert row["unique_A_ci_low"] < row["unique_A"] < row["unique_A_ci_high"]
    assert row["unique_C"] is None
    three = one("variance-partitioning", *models, "pixels")
    assert row_of(three)["shared"] == three["details"]["parts"]["shared_ABC"]["value"]
    assert row_of(three)["unique_C_ci_high"] == three["details"]["parts"]["unique_C"]["ci_high"]
    row = row_of(one("rsa", "efficientnet-lite0"))
    assert row["score_test"] == row["score"]
    assert row_of(one("noise-ceiling"))["ceiling_of"] == "reliability"
    assert row_of(one("noise-ceiling"))["model"] == ""


def test_subjects_that_are_scored_one_by_one() -> None:
    parts = {
        name: {"stimuli": name * 64, "target": name * 64, "splits": name * 64, "grouped": name == "b"} for name in "ab"
    }
    kernels = {name: {"layer": {"key": name}, "other": {"key": name}} for name in "ab"}
    provenance = {
        "inputs": {"subjects": parts, "metric_parameters": {"seed": 0, "x": 1e-10, "components": None}},
        "representations": [{"weights": "w", "preprocessing": {}, "subjects": kernels}],
    }
    record = {"models": ["m:seed=3"], "metric": "encoding", "provenance": provenance, "subjects": {"a": {}, "b": {}}}
    row = row_of(record)
    assert row["n_layers"] == "2"
    assert row["grouped"] is True
    assert row["metric_parameters"] == "seed=0,x=1e-10"
    assert (row["seed"], row["n_subjects"]) == ("3", 2)
    other = row_of(record | {"provenance": provenance | {"inputs": {"subjects": {"a": parts["a"], "b": parts["a"]}}}})
    assert other["stimuli"] != row["stimuli"]
    assert other["representations"] == row["representations"]


def test_a_record_of_which_nothing_else_is_known_has_empty_fields() -> None:
    row = row_of(
        {
            "models": ["m"],
            "metric": "mine",
            "key": "k",
            "benchmark": "b.V4",
            "benchmark_version": 1,
            "details": {"alpha": {}},
        }
    )
    known = {name for name, value in row.items() if value not in (None, "")}
    assert known == {"benchmark", "benchmark_version", "metric", "model", "key", "trained"}


def test_entries_hold_every_row_with_its_record() -> None:
    entries = leaderboard_entries(reversed(RECORDS))
    assert len(entries) == len(RECORDS)
    assert all(e.row["key"] == e.record["key"] and list(e.row) == list(NAMES) for e in entries)
    assert all(isinstance(v, (str, int, float, bool, type(None))) for e in entries for v in e.row.values())
    groups = {c.group for c in COLUMNS}
    assert groups == {"which score", "score", "conventions", "other metrics", "draws", "published", "key", "provenance"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (1 / 3, "0.333333"), (-0.0, "0"), (1e-10, "1e-10"), (7, "7"), ("x", "x")],
)
def test_texts(value: Any, text: str) -> None:
    assert text_of(value) == text
