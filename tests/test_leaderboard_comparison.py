"""What moved between two leaderboards, and why: every part of a key that can change is named."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark_core.cli import command_line
from benchmark_core.errors import InputError
from benchmark_core.leaderboard import leaderboard, to_csv, write_csv
from benchmark_core.leaderboard_comparison import Moves, compare_leaderboards, read_leaderboard, told
from benchmark_core.records import read_records, write_record

REPOSITORY = Path(__file__).resolve().parent.parent
RECORDS = [
    r
    for r in read_records(REPOSITORY / "leaderboard" / "records")
    if (r["benchmark"], r["metric"]) == ("cowley2023.V4", "encoding")
    and r["models"][0] in ("pixels", "efficientnet-lite0", "expansion5l:filters=300", "expansion5l:filters=3")
]
ONE = "pixels"


def changed(change: Callable[[dict[str, Any]], None], key: str | None = "f" * 64) -> list[dict[str, Any]]:
    """Return the records with one of them changed, under another key unless told otherwise."""
    records = copy.deepcopy(RECORDS)
    (record,) = (r for r in records if r["models"] == [ONE])
    change(record)
    record["key"] = key or record["key"]
    return records


def moves(tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Moves:
    write_csv(leaderboard(old), tmp_path / "old.csv")
    rows, absent = read_leaderboard(tmp_path / "old.csv")
    return compare_leaderboards(rows, leaderboard(new), absent)


def set_score(record: dict[str, Any]) -> None:
    record["score"] += 0.01


def of_representation(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["provenance"]["representations"][0].update(values)


def of_inputs(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["provenance"]["inputs"].update(values)


def of_kernel(record: dict[str, Any]) -> None:
    record["provenance"]["representations"][0]["layers"]["output"]["key"] = "0" * 64


def test_nothing_moves_between_a_table_and_itself(tmp_path: Path) -> None:
    found = moves(tmp_path, RECORDS, RECORDS)
    assert (found.moves, found.n_old, found.n_new, found.recomputed) == ((), len(RECORDS), len(RECORDS), 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.update(benchmark_version=2), "version of the benchmark 1 -> 2"),
        (lambda r: r.update(metric_version="2"), "version of the metric 1 -> 2"),
        (lambda r: r.update(model_versions=["1+abc"]), "version of the model 1 -> 1+abc"),
        (lambda r: r.update(precision="fast"), "precision exact -> fast"),
        (of_representation(weights="a" * 64), "weights none -> aaaaaaaaaaaa"),
        (of_representation(preprocessing={"size": [8, 8]}), "preprocessing b03adc89a256 -> "),
        (of_inputs(stimuli="b" * 64), "images aac2c83d6795 -> bbbbbbbbbbbb"),
        (of_inputs(target="c" * 64), "responses, labels or RDMs 276b0fa75d3e -> cccccccccccc"),
        (of_inputs(splits="d" * 64), "splits dbb4717d93d9 -> dddddddddddd"),
        (of_inputs(grouped=True), "groups of stimuli false -> true"),
        (of_inputs(metric_parameters={"seed": 1}), "n_bootstrap 1000 -> none"),
        (of_kernel, "kernels (the layers to choose from, or a parameter of the model)"),
        (lambda r: None, "another key: groups or metadata of the stimuli, or the benchmark's plugin file"),
    ],
)  # fmt: skip
def test_each_part_of_the_key_is_a_reason(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    def both(record: dict[str, Any]) -> None:
        change(record)
        set_score(record)

    (move,) = moves(tmp_path, RECORDS, changed(both)).moves
    (old,) = (r for r in RECORDS if r["models"] == [ONE])
    assert (move.kind, move.model, move.new_key, move.old_key) == ("changed", ONE, "f" * 64, old["key"])
    assert move.difference == pytest.approx(0.01, abs=1e-6)
    assert (move.old, move.ci_low) == (pytest.approx(old["score"], abs=1e-6), pytest.approx(old["ci_low"], abs=1e-6))
    assert len(move.reasons) == 1
    assert reason in move.reasons[0]
    (move,) = moves(tmp_path, RECORDS, changed(change)).moves
    assert move.difference == 0
    assert reason in move.reasons[0]
    # Another version competes with nobody, so it becomes the best of its own.
    assert move.kind == ("changed" if list(move.columns) == ["in_best_set"] else "same values")
    assert (move.kind == "changed") == (("benchmark" in reason or "metric 1" in reason) and "plugin" not in reason)


def test_a_changed_model_moves_its_kernels_for_one_reason(tmp_path: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        set_score(record)
        of_kernel(record)
        record["model_versions"] = ["2"]

    (move,) = moves(tmp_path, RECORDS, changed(change)).moves
    assert move.reasons == ("version of the model 1 -> 2",)


def test_the_same_key_computed_anew(tmp_path: Path) -> None:
    def anew(record: dict[str, Any]) -> None:
        record["provenance"]["versions"] |= {"numpy": "3.0", "torch": "2.16"}
        record["device"] = "cuda:0"

    found = moves(tmp_path, RECORDS, changed(anew, key=None))
    assert (found.moves, found.recomputed) == ((), 1)

    def both(record: dict[str, Any]) -> None:
        anew(record)
        record["details"]["score_median"] = 0.7

    (move,) = moves(tmp_path, RECORDS, changed(both, key=None)).moves
    assert move.difference == 0
    assert move.reasons == ("same key, computed anew: device cpu -> cuda, numpy 2.4.6 -> 3.0, torch 2.15.0 -> 2.16",)
    assert list(move.columns) == ["score_median"]
    (old,) = (r for r in RECORDS if r["models"] == [ONE])
    assert told(move).endswith(f"; moved: score_median {old['details']['score_median']:.6g} -> 0.7")


def test_rows_that_came_and_went_and_what_they_did_to_others(tmp_path: Path) -> None:
    best = "efficientnet-lite0"
    without = [r for r in RECORDS if r["models"] != [best]]
    found = moves(tmp_path, without, RECORDS)
    kinds = {move.model: move.kind for move in found.moves}
    assert kinds.pop(best) == "added"
    assert kinds
    assert set(kinds.values()) == {"changed"}
    others = [move for move in found.moves if move.kind == "changed"]
    assert all(move.reasons == ("other rows of the table moved",) and move.difference == 0 for move in others)
    assert all(move.columns["in_best_set"] == ("true", "false") for move in others)
    (gone,) = (move for move in moves(tmp_path, RECORDS, without).moves if move.kind == "removed")
    assert (gone.model, gone.new, gone.difference) == (best, None, None)
    assert gone.old == pytest.approx(0.4686, abs=1e-3)


def test_a_cell_that_failed_before(tmp_path: Path) -> None:
    def fail(record: dict[str, Any]) -> None:
        record.update(status="failed", score=None, ci_low=None, ci_high=None, error="no memory", provenance={})

    (move,) = moves(tmp_path, changed(fail), RECORDS).moves
    assert move.reasons == ("failed before, ok now (no memory)",)
    assert (move.old, move.difference) == (None, None)


def test_an_older_format_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    lines = to_csv(leaderboard(RECORDS)).splitlines()
    kept = ("benchmark", "benchmark_version", "metric", "model", "requested_layer", "layer", "status", "score", "ci_low", "ci_high", "key")  # fmt: skip
    with (tmp_path / "old.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(csv.DictReader(lines))
    rows, absent = read_leaderboard(tmp_path / "old.csv")
    assert "weights" in absent
    assert not set(kept) & set(absent)
    found = compare_leaderboards(rows, leaderboard(changed(set_score)), absent)
    (move,) = found.moves
    assert move.reasons == ("another key; the older file does not hold the parts that would say why",)
    assert found.absent == absent


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has no column benchmark, benchmark_version"),
        (b"hello\nworld\n", "is no leaderboard, or of a format too old: it has no column benchmark"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is no leaderboard"),
        (b'"benchmark\n', "is no leaderboard"),
        (None, "row 2: wrong number of columns"),
    ],
)
def test_what_is_no_leaderboard(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "old.csv"
    if content is None:
        head, first, *_ = to_csv(leaderboard(RECORDS[:1])).splitlines()
        content = f"{head}\n{first.rpartition(',')[0][:40]}\n".encode()
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_leaderboard(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_numbers_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    text = to_csv(leaderboard(RECORDS[:1]))
    score = f"{RECORDS[0]['score']:.6g}"
    path.write_text(text.replace(score, "high", 1))
    with pytest.raises(InputError, match="row 2: score 'high' is not a number"):
        read_leaderboard(path)
    path.write_text(text.replace("cowley2023.V4,1,", "cowley2023.V4,one,"))
    with pytest.raises(InputError, match="benchmark_version 'one' is not a whole number"):
        read_leaderboard(path)
    with pytest.raises(InputError, match=r"cannot read the leaderboard .*: No such file"):
        read_leaderboard(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"cannot read the leaderboard .*: Is a directory"):
        read_leaderboard(tmp_path)


def test_the_command(tmp_path: Path) -> None:
    write_csv(leaderboard(RECORDS), tmp_path / "leaderboard.csv")
    before = (tmp_path / "leaderboard.csv").read_bytes()

    def of_a_newer_metric(record: dict[str, Any]) -> None:
        set_score(record)
        record["metric_version"] = "2"

    for record in changed(of_a_newer_metric):
        write_record(tmp_path / "records", record)
    options = ["leaderboard", "--records", str(tmp_path / "records"), "--compare", str(tmp_path / "leaderboard.csv")]
    result = CliRunner().invoke(command_line(), options)
    assert result.exit_code == 0, result.output
    assert "changed: cowley2023.V4 v1, encoding" in result.stdout
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("pixels"))
    assert " +0.010 " in line
    assert "version of the metric 1 -> 2" in line
    assert "0 added, 0 removed, 1 changed" in result.stdout
    assert (tmp_path / "leaderboard.csv").read_bytes() == before
    result = CliRunner().invoke(command_line(), [*options, "--json", "--csv", str(tmp_path / "leaderboard.csv")])
    document = json.loads(result.stdout)
    assert document["csv"] == str(tmp_path / "leaderboard.csv")
    (move,) = document["compare"]["moves"]
    assert (move["kind"], move["reasons"]) == ("changed", ["version of the metric 1 -> 2"])
    assert move["columns"]["score"][0] != move["columns"]["score"][1]
    assert (tmp_path / "leaderboard.csv").read_bytes() != before
    result = CliRunner().invoke(command_line(), options)
    assert "nothing moved" in result.stdout
    (tmp_path / "garbage.csv").write_text("a,b\n")
    result = CliRunner().invoke(command_line(), [*options[:-1], str(tmp_path / "garbage.csv")])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
