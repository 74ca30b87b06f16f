"""Published scores beside ours: the same cells, on r_pattern, with what differs between the recipes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures.majajhong_layouts import (  # noqa: F401 (fixtures)
    no_waiting_for_the_disk,
    parts,
    take,
    written_layouts,
)
from typer.testing import CliRunner

from benchmark_core.agreement import agreements, cells_of, published_for, recipe_differences, summary, what_is_needed
from benchmark_core.cli import command_line
from benchmark_core.leaderboard import leaderboard, to_csv
from benchmark_core.published import Published, published_on, table_path
from benchmark_core.records import read_records, write_record

PAPER = "encoding:selection=paper"
TABLE = published_on({"majajhong.IT", "nsd.ventral"})


def record(model: str, r_pattern: float | None, **changes: Any) -> dict[str, Any]:
    """Return a made-up record of an encoding score."""
    base: dict[str, Any] = {
        "format": 1,
        "models": [model],
        "model_versions": ["1"],
        "trained": [model == "alexnet-trained"],
        "benchmark": "majajhong.IT",
        "benchmark_version": 1,
        "simulated": False,
        "metric": PAPER,
        "metric_version": "1",
        "layer": "layer5",
        "requested_layer": "auto",
        "status": "ok",
        "score": 0.5,
        "r_pattern": r_pattern,
        "precision": "exact",
        "details": {"r_pattern_ci": None if r_pattern is None else [r_pattern - 0.01, r_pattern + 0.01]},
        "error": None,
    } | changes
    return {"key": (str(abs(hash(json.dumps(base, sort_keys=True)))) * 10)[:64], **base}


def published(model: str, benchmark: str = "majajhong.IT", metric: str = PAPER) -> Published:
    return next(s for s in TABLE if (s.model, s.benchmark, s.metric) == (model, benchmark, metric))


def test_the_published_score_stands_beside_ours() -> None:
    rows = leaderboard([record("alexnet-trained", 0.6), record("pixels", 0.1)])
    theirs = published("alexnet-trained")
    assert (theirs.r_pattern, theirs.analysis) == (0.5979, "main")
    row, other = (next(r for r in rows if r["model"] == m) for m in ("alexnet-trained", "pixels"))
    assert [row[n] for n in ("published_r_pattern", "published_ci_low", "published_ci_high")] == [
        0.5979,
        0.5872,
        0.6084,
    ]
    assert row["published_recipe"] is None
    assert other["published_r_pattern"] is None
    (first, _) = csv.DictReader(io.StringIO(to_csv(rows)))
    assert first["published_r_pattern"] == "0.5979"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"metric": "encoding"}, True),
        ({"metric": "encoding:alpha_per_target=true"}, True),
        ({"models": ["expansion5l:filters=3,seed=4"]}, True),
        ({"metric": "encoding:components=7"}, False),
        ({"metric": "encoding:preset=brainscore-pls"}, False),
        ({"metric": "encoding:choose_components=true,components=1000"}, False),
        ({"metric": "rsa"}, False),
        ({"requested_layer": "layer5"}, False),
        ({"benchmark": "majajhong.IT-ownsplit"}, False),
        ({"models": ["expansion5l:filters=4"]}, False),
        ({"models": ["expansion5l:filters=3", "pixels"]}, False),
        ({"status": "failed", "score": None}, False),
    ],
)
def test_which_cells_are_the_same(changes: dict[str, Any], expected: bool) -> None:
    r_pattern = None if "status" in changes else 0.3
    (row,) = leaderboard([record("expansion5l:filters=3", r_pattern, **changes)], published=TABLE)
    assert (published_for(row, cells_of(TABLE)) is not None) is expected
    assert (row["published_r_pattern"] == 0.3197) is expected  # that of the main analysis, not of the one of inits


def test_principal_components_have_cells_of_their_own() -> None:
    metric = "encoding:components=10,selection=paper,standardise=true"
    theirs = published("expansion5l:filters=30", metric=metric)
    (row,) = leaderboard([record("expansion5l:filters=30", 0.3, metric=metric)], published=TABLE)
    assert row["published_r_pattern"] == theirs.r_pattern
    assert "standardise: published when components are fitted" in row["published_recipe"]
    (row,) = leaderboard([record("expansion5l:filters=30", 0.3, metric="encoding:components=10")], published=TABLE)
    assert row["published_recipe"].startswith(
        "selection: published paper, here default; standardise: published true, here default"
    )


def test_where_the_recipes_differ() -> None:
    def said(**changes: Any) -> list[str]:
        one = record("expansion5l:filters=3", 0.3, **changes)
        return recipe_differences(leaderboard([one], published=TABLE)[0], published("expansion5l:filters=3"))

    assert said() == ["weights: another draw"]
    assert said(trained=[True]) == []
    assert said(metric="encoding") == ["selection: published paper, here default", "weights: another draw"]
    assert said(metric="encoding:n_bootstrap=500,selection=paper", trained=[True]) == []
    assert said(precision="fast", trained=[True]) == ["precision: here fast"]
    assert said(metric="encoding:alpha_per_target=true,selection=paper", trained=[True]) == [
        "alpha_per_target: published default, here true"
    ]


def test_draws_count_as_one_and_differences_are_ours_minus_theirs() -> None:
    draws = {"expansion5l:filters=3": 0.30, "expansion5l:filters=3,seed=1": 0.33, "expansion5l:filters=3,seed=2": 0.36}
    records = [record(model, value) for model, value in draws.items()]
    rows = leaderboard([*records, record("alexnet-trained", 0.58), record("alexnet-trained", 0.1, metric="encoding")])
    found = agreements(rows, TABLE)
    assert [(a.metric, a.model) for a in found] == [
        ("encoding", "alexnet-trained"),
        (PAPER, "alexnet-trained"),
        (PAPER, "expansion5l:filters=3"),
    ]
    one = found[2]
    values = np.array(list(draws.values()))
    assert one.r_pattern == pytest.approx(values.mean())
    assert (one.n_seeds, one.seed_sd) == (3, pytest.approx(values.std(ddof=1)))
    assert (one.ci_low, one.ci_high) == (pytest.approx(0.32), pytest.approx(0.34))
    assert one.difference == pytest.approx(values.mean() - 0.3197)
    assert len(one.keys) == 3
    total = summary(found)
    assert total["n_cells"] == 3
    assert total["median_difference"] == pytest.approx(np.median([0.1 - 0.5979, 0.58 - 0.5979, 0.33 - 0.3197]))
    assert total["median_absolute_difference"] == pytest.approx(0.58 - 0.5979, abs=1e-9) or total[
        "median_absolute_difference"
    ] == pytest.approx(0.5979 - 0.58)
    assert (total["largest"]["model"], total["largest"]["difference"]) == (
        "alexnet-trained",
        pytest.approx(0.1 - 0.5979),
    )


def test_the_order_of_records_does_not_matter() -> None:
    records = [record(f"expansion5l:filters=3,seed={i}", 0.3 + i / 70) for i in range(1, 5)]
    assert agreements(leaderboard(records), TABLE) == agreements(leaderboard(records[::-1]), TABLE)


def run(*words: str) -> Any:
    return CliRunner().invoke(command_line(), ["leaderboard", *words])


def test_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    for one in (record("alexnet-trained", 0.6), record("expansion5l:filters=3", 0.31), record("pixels", 0.2)):
        write_record(folder, one)
    result = run("--records", str(folder), "--against", "published")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("alexnet-trained"))
    assert line.split() == [
        "alexnet-trained",
        "0.600",
        "0.590",
        "to",
        "0.610",
        "0.598",
        "0.587",
        "to",
        "0.608",
        "+0.002",
        "-",
    ]
    assert not any(line.startswith("pixels") for line in lines)
    assert "2 cells: difference -0.004 in the median, 0.006 without its sign, -0.010 at most" in result.stdout
    assert "recipe of expansion5l:filters=3: weights: another draw" in lines
    assert "no test" in lines[-1]
    assert not (tmp_path / "leaderboard.csv").exists()
    document = json.loads(run("--records", str(folder), "--against", "published", "--json").stdout)
    assert [c["model"] for c in document["cells"]] == ["alexnet-trained", "expansion5l:filters=3"]
    assert document["summary"]["n_cells"] == 2
    shown = run("--records", str(folder))
    assert "published" in shown.stdout
    assert "0.598" in shown.stdout
    assert (tmp_path / "leaderboard.csv").is_file()


def test_without_a_published_counterpart(tmp_path: Path) -> None:
    write_record(tmp_path / "records", record("pixels", 0.2, benchmark="simulated.V4"))
    result = run("--records", str(tmp_path / "records"), "--against", "published")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("no score in ")
    for words in what_is_needed():
        assert words in result.stdout
    assert "bench data fetch majajhong" in result.stdout
    assert not any("published" in line for line in run("--records", str(tmp_path / "records")).stdout.splitlines()[:-1])
    bad = run("--records", str(tmp_path / "records"), "--against", "brainscore")
    assert bad.exit_code == 2
    assert "use published" in bad.stderr


def test_the_table_comes_with_the_program() -> None:
    assert table_path().is_file()
    assert {score.benchmark for score in TABLE} == {"majajhong.IT", "nsd.ventral"}
    assert published_on({"simulated.V4"}) == []


@pytest.mark.slow
def test_scores_on_an_import_find_their_counterparts(
    home: Path,
    layouts: Path,
) -> None:
    """A made-up MajajHong, imported in its published layout: what is scored on it stands beside the published scores."""
    take(layouts / "paper")
    metrics = ("--metric", PAPER, "--metric", "encoding:n_bootstrap=100")
    done = CliRunner().invoke(
        command_line(), ["run", "--model", "alexnet-untrained", "--benchmark", "majajhong.V4", *metrics]
    )
    assert done.exit_code == 0, done.output
    document = json.loads(run("--against", "published", "--json").stdout)
    other, same = document["cells"]
    assert [c["metric"] for c in (other, same)] == ["encoding:n_bootstrap=100", PAPER]
    (theirs,) = (s for s in published_on({"majajhong.V4"}) if (s.model, s.metric) == ("alexnet-untrained", PAPER))
    for cell in (other, same):
        assert (cell["published"], cell["published_ci_low"]) == (theirs.r_pattern, theirs.ci_low)
        assert (cell["n_seeds"], cell["seed_sd"]) == (1, None)
        assert cell["difference"] == pytest.approx(cell["r_pattern"] - theirs.r_pattern)
    assert same["recipe"] == ["weights: another draw"]
    assert other["recipe"][0] == "selection: published paper, here default"
    (ours,) = (r for r in read_records(home / "records") if r["metric"] == PAPER)
    assert same["r_pattern"] == ours["r_pattern"]
    assert [same["ci_low"], same["ci_high"]] == ours["details"]["r_pattern_ci"]
    assert f"{theirs.r_pattern:.3f}" in run().stdout
