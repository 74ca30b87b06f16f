"""`bench show`: one score in depth, from the committed records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from benchmark_core.cli import command_line
from benchmark_core.comparison import compare
from benchmark_core.leaderboard import leaderboard_entries, mean_score
from benchmark_core.records import pack_resamples, read_records, write_record
from benchmark_core.score_text import distribution, neuroid_values, not_told_from

RECORDS = Path(__file__).resolve().parent.parent / "leaderboard" / "records"


@pytest.fixture(scope="module")
def entries() -> list[Any]:
    return leaderboard_entries(read_records(RECORDS))


def show(*words: str, folder: Path = RECORDS) -> Result:
    return CliRunner().invoke(command_line(), ["show", *words, "--records", str(folder)])


def test_an_encoding_score(monkeypatch: pytest.MonkeyPatch, entries: list[Any]) -> None:
    result = show("efficientnet-lite0", "cowley2023.V4", "--metric", "encoding")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "efficientnet-lite0 on cowley2023.V4 v1, encoding"
    (entry,) = (e for e in entries if lines[0] == f"{e.row['model']} on {e.row['benchmark']} v1, {e.row['metric']}")
    row, record = entry.row, entry.record
    assert f"score     {row['score']:.3f}, 95 % interval {row['ci_low']:.3f} to {row['ci_high']:.3f}" in lines
    values = {line.split()[0]: line.split()[1] for line in lines if line.startswith(("r_", "R2", "noise_", "score_"))}
    for name in ("r_neuroid", "r_pattern", "r_pattern_z", "R2_median", "noise_corrected_R2_mean", "score_median"):
        assert values[name] == f"{row[name]:.3f}"
    assert "penalties, PE  100000 100000 100000 100000 100000 (by fold)" in lines
    (curve,) = (line for line in lines if line.startswith("Layers, criterion"))
    assert len(curve.split()[-1]) == 7, "a character for each layer"
    layers = [line for line in lines if line.startswith("blocks.")]
    assert [line.split()[0] for line in layers] == [f"blocks.{i}" for i in range(7)]
    folds = record["details"]["criteria"]["PE"]
    assert [line.split()[1] for line in layers] == [
        f"{np.mean([fold[f'blocks.{i}'] for fold in folds]):.3f}" for i in range(7)
    ]
    assert layers[5].split()[-1] == "5"
    assert any(re.match(r"cannot be told from  nobody of \d{2,} others", line) for line in lines)
    for words in (record["key"], record["provenance"]["finished"], "numpy 2.4.6", "313b3ea69361"):
        assert words in result.stdout
    assert lines[-1] == (
        "again     bench run --model efficientnet-lite0 --benchmark cowley2023.V4 --metric encoding "
        f"--records {RECORDS}"
    )
    assert all(len(line) <= 80 for line in lines if not line.startswith("again"))


def test_quantiles_and_histograms_are_those_of_the_neuroids(entries: list[Any]) -> None:
    (document,) = json.loads(show("pixels", "cowley2023.V4", "--metric", "encoding", "--json").stdout)["scores"]
    record = document["record"]
    assert "resamples" not in record
    r = np.array(record["subjects"]["PE"]["r"])
    found = document["neuroids"]["r"]
    assert found["n"] == 50
    np.testing.assert_allclose(list(found["quantiles"].values()), np.quantile(r, [0.05, 0.25, 0.5, 0.75, 0.95]))
    assert sum(found["histogram"]["counts"]) == 50
    assert found["histogram"]["low"] <= r.min() <= r.max() <= found["histogram"]["high"]
    assert document["row"]["score"] == record["score"]
    assert neuroid_values({"subjects": {"a": {"r": [0.1, None]}, "b": {"r": [0.2]}, "c": 3}}, "r") == [0.1, 0.2]
    assert distribution([0.3])["quantiles"]["0.5"] == 0.3


def test_who_it_cannot_be_told_from_is_what_comparing_says(entries: list[Any]) -> None:
    of = {
        e.row["model"]: e
        for e in entries
        if (e.row["benchmark"], e.row["metric"]) == ("cowley2023.V4", "encoding")
        and e.row["model"] in ("expansion5l", "expansion5l-256", "expansion5l:filters=300", "pixels")
    }
    comparison = compare({name: mean_score([e.record]) for name, e in of.items()})
    n_others = 0
    for name, entry in of.items():
        found = not_told_from(entry, list(of.values()))
        assert found is not None
        assert found["n"] == 3
        alike = {
            (d.second if d.first == name else d.first): d
            for d in comparison.differences
            if name in (d.first, d.second) and (d.p_adjusted or 0) > 0.05
        }
        assert {o["model"] for o in found["others"]} == set(alike)
        for other in found["others"]:
            assert other["difference"] == pytest.approx(entry.row["score"] - of[other["model"]].row["score"])
            assert other["ci_low"] < other["difference"] < other["ci_high"]
        n_others += len(found["others"])
    assert n_others > 0
    assert not_told_from(of["pixels"], [of["pixels"]]) is None


def test_draws_of_another_model_count_as_one(entries: list[Any]) -> None:
    found = {
        e.row["model"]: e for e in entries if (e.row["benchmark"], e.row["metric"]) == ("cowley2023.V4", "encoding")
    }
    like = not_told_from(found["pixels"], list(found.values()))
    assert like is not None
    assert "fully-connected (10 draws)" in {o["model"] for o in like["others"]}
    own = not_told_from(found["fully-connected:seed=3"], list(found.values()))
    assert own is not None
    assert not any(o["model"].startswith("fully-connected (") for o in own["others"])


def test_several_metrics_and_several_models(entries: list[Any]) -> None:
    text = show("pixels", "cowley2023.V4").stdout
    headings = [line for line in text.splitlines() if line.startswith("pixels on ")]
    pixels = [e for e in entries if e.row["model"] == "pixels" and e.row["benchmark"] == "cowley2023.V4"]
    assert len(headings) == len(set(headings)) == len(pixels) >= 10
    assert headings[0] == "pixels on cowley2023.V4 v1, cka"
    text = show("*", "scenes15.*").stdout
    assert next(line for line in text.splitlines() if " on scenes15.test v1, " in line).startswith("efficientnet-lite0")
    assert "Accuracy by category" in text
    assert "note: logistic regression did not converge" in text
    text = show("-", "cowley2023.V4").stdout
    assert "paper-halves" in text
    assert "absent: between-subjects  there is one subject only (PE)" in text
    text = show("efficientnet-lite0 + expansion5l:filters=300", "cowley2023.V4").stdout
    assert "unique_A" in text
    assert "Layers of efficientnet-lite0" in text


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("pixel", "cowley2023.V4"), 2, "no model 'pixel' is recorded in .*. Did you mean pixels"),
        (("pixels", "cowley2023.V5"), 2, "Did you mean cowley2023.V4"),
        (("zzzz", "cowley2023.V4"), 2, "unknown model 'zzzz'"),
        (("zz*", "cowley2023.V4"), 2, "no recorded model matches 'zz\\*'"),
        (("pixels", "zz*"), 2, "no recorded benchmark matches 'zz\\*'"),
        (("pixels", "nsd.ventral"), 3, "run: bench run --model pixels --benchmark nsd.ventral --records"),
        (("pixels:bad=1", "cowley2023.V4"), 2, "Did you mean pixels|no parameter 'bad'"),
        (("pixels", "cowley2023.V4", "--metric", "rsb"), 2, "no metric 'rsb' is recorded in .*. Did you mean rsa"),
        (("pixels", "cowley2023.V4", "--metric", "noise-ceiling"), 3, "by noise-ceiling in .* \\(there is by cka"),
        (("pixels", "cowley2023.V4", "--metric", "zz*"), 3, "by zz\\* in"),
        (
            ("pixels", "cowley2023.V4", "--layer", "conv"),
            2,
            "no such score with the layer 'conv'; layers asked for: auto",
        ),
        (
            ("vit-untrained:seed=7", "cowley2023.V4"),
            3,
            "run: bench run --model vit-untrained:seed=7 --benchmark .* --records",
        ),
    ],
)
def test_what_is_not_there(words: tuple[str, ...], status: int, message: str) -> None:
    result = show(*words)
    assert result.exit_code == status, result.output
    (line,) = result.stderr.splitlines()
    assert re.search(message, line), line


def test_names_that_a_model_has_besides() -> None:
    assert show("expansion5l:filters=3000", "cowley2023.V4").stdout.startswith("expansion5l on cowley2023.V4 v1")


def small(folder: Path, **changes: Any) -> None:
    record = {
        "format": 1,
        "key": (changes.get("models", ["m"])[0] + "k" * 64)[:64],
        "models": ["m"],
        "benchmark": "b.V4",
        "benchmark_version": 1,
        "metric": "mine",
        "layer": "l",
        "status": "ok",
        "score": 0.5,
        "ci_low": None,
        "ci_high": None,
        "error": None,
    }
    write_record(folder, record | changes)


def test_records_that_say_little(tmp_path: Path) -> None:
    """Of another's metric, older, failed, or without a score: whatever is there is shown."""
    small(tmp_path)
    small(tmp_path, models=["n"], status="failed", score=None, error="no memory")
    small(tmp_path, models=["o"], score=None, subjects={"A": {"r": [None, 0.5], "score": None}, "B": {"score": 0.1}})
    flat = pack_resamples(np.zeros(10), "k")
    small(tmp_path, models=["p"], resamples=flat, details={"alphas": {"A": [[1.0, 10.0], []]}, "unit": "bits"})
    assert (
        "score     0.500" in show("m", "b.V4", folder=tmp_path).stdout
        or "score  0.500" in show("m", "b.V4", folder=tmp_path).stdout
    )
    failed = show("n", "b.V4", folder=tmp_path).stdout.splitlines()
    assert failed[1] == "failed: no memory"
    assert failed[2].startswith("again  bench run --model n --benchmark b.V4 --metric mine")
    text = show("o", "b.V4", folder=tmp_path).stdout
    assert "none can be computed" in text
    assert "r of neuroids, 1 neuroids" in text
    text = show("p", "b.V4", folder=tmp_path).stdout
    assert "penalties, A  1..10 - (by fold)" in text
    assert "0.500 bits" in text
    for name in "mnop":
        json.loads(show(name, "b.V4", "--json", folder=tmp_path).stdout, parse_constant=lambda text: pytest.fail(text))
