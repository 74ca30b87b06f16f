"""``bench compare`` reads records, and says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import RECORD, Bench

from benchmark_core.records import pack_resamples, write_record

METRIC = "encoding:n_bootstrap=100"  # by which toy.V4 is scored
COMPARE = ("compare", "--benchmark", "toy.V4")


def put(home: Path, model: str, score: float | None, seed: int = 1, **changes: Any) -> None:
    """Write a record with resamples of standard error .01."""
    random = np.random.Generator(np.random.Philox(seed))
    document = RECORD | {
        "key": f"{model}-{len(changes)}",
        "models": [model],
        "metric": METRIC,
        "metric_version": "1",
        "requested_layer": "auto",
        "score": score,
        "ci_low": None if score is None else score - 0.02,
        "ci_high": None if score is None else score + 0.02,
        "ceiling": None,
        "subjects": {},
        "details": {},
        "warnings": [],
        "error": None,
        "resamples": pack_resamples(0.01 * random.standard_normal(200), "k"),
    }
    write_record(home / "records", document | changes)


def test_recorded_models_side_by_side(bench: Bench, home: Path) -> None:
    for number, (model, score) in enumerate((("toy-pixels", 0.50), ("toy-weights", 0.49), ("toy-layers", 0.2))):
        put(home, model, score, number)
    put(home, "toy-other", 0.9, metric="another")
    done = bench(*COMPARE, "toy-*")
    assert (done.status, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"toy.V4 v1, {METRIC}: 200 shared resamples"
    assert [line.split()[:2] for line in lines[3:6]] == [
        ["toy-pixels", "0.500*"],
        ["toy-weights", "0.490*"],
        ["toy-layers", "0.200"],
    ]
    assert any(line.split()[:2] == ["toy-pixels", "toy-layers"] and "< .001" in line for line in lines)
    document = bench(*COMPARE, "toy-pixels", "toy-layers", "--json").json
    assert [m["in_best_set"] for m in document["models"]] == [True, False]
    (difference,) = document["differences"]
    assert difference["difference"] == pytest.approx(0.3)
    assert difference["ci_low"] < 0.3 < difference["ci_high"]
    assert difference["p"] < 0.001


def test_a_missing_record_names_the_command(bench: Bench, home: Path) -> None:
    put(home, "toy-pixels", 0.5)
    done = bench(*COMPARE, "toy-pixels", "toy-weights", "--records", home / "records")
    done.fails(3, f"no score of toy-weights on toy.V4 by {METRIC} in", "run: bench run --model toy-weights ")
    done.fails(3, f"--benchmark toy.V4 --records {home / 'records'}")
    done = bench(*COMPARE, "toy-weights", "toy-layers", "--metric", "encoding:seed=1", "--layer", "0")
    done.fails(3, "--model toy-weights --model toy-layers --benchmark toy.V4 --metric encoding:seed=1 --layer 0")


def test_a_record_without_resamples_names_the_command(bench: Bench, home: Path) -> None:
    put(home, "toy-pixels", 0.5)
    put(home, "toy-layers", 0.5, resamples=None)
    bench(*COMPARE, "toy-pixels", "toy-layers").fails(
        2, "records without resamples: toy-layers", "bench run --model toy-layers --benchmark toy.V4 --force"
    )


def test_resamples_that_are_not_shared(bench: Bench, home: Path) -> None:
    put(home, "toy-pixels", 0.5)
    put(home, "toy-layers", 0.4, resamples=pack_resamples(np.zeros(200), "other"))
    bench(*COMPARE, "toy-pixels", "toy-layers").fails(2, "toy-layers does not share its resamples with toy-pixels")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("toy-pixels",), 2, "name at least two models"),
        (("toy-pixels", "toy-pixel"), 2, "unknown model 'toy-pixel'. Did you mean"),
        (("zebra*",), 2, "no model recorded on toy.V4 matches 'zebra*'"),
        (("toy-*", "--metric", "nonsense"), 2, "unknown metric 'nonsense'"),
        (("toy-*", "--precision", "half"), 2, "unknown precision 'half'"),
        (("toy-*", "--metric", "noise-ceiling"), 2, "noise-ceiling does not score one model at a time"),
    ],
)
def test_what_cannot_be_compared(bench: Bench, home: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    put(home, "toy-pixels", 0.5)
    bench(*COMPARE, *arguments).fails(status, words)


def test_unknown_benchmark_and_no_records_at_all(bench: Bench) -> None:
    bench("compare", "toy-pixels", "toy-layers", "--benchmark", "toy.V5").fails(2, "unknown benchmark 'toy.V5'")
    bench(*COMPARE, "toy-pixels", "toy-layers").fails(3, "no score of toy-pixels, toy-layers")
