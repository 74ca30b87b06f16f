"""``bench suite`` and ``bench run --suite``: what they show, and what they refuse in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy import make_toy_world
from typer.testing import CliRunner

from benchmark_core.cli import command_line

GRID = """
description = "toys"

[[grid]]
models = ["toy"]
parameters = { width = [2, 3] }
benchmarks = ["toy.V4"]

[[grid]]
models = ["toy-missing", "toy-broken"]
benchmarks = ["toy.V4"]
reference = true

[[grid]]
models = ["toy"]
benchmarks = ["toy.absent"]
"""


@pytest.fixture
def world(tmp_path: Path, home: Path) -> Path:
    """Return a folder with a plugin and, in the home, the suite ``toys``."""
    (home / "suites").mkdir(parents=True)
    (home / "suites" / "toys.toml").write_text(GRID, encoding="utf-8")
    return make_toy_world(tmp_path / "plugins")


def test_a_suite_goes_on_past_what_is_missing_and_fails(world: Path, home: Path) -> None:
    def invoke(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(command_line(), [*words, "--plugins", str(world)])
        return result.exit_code, result.stdout, result.stderr

    code, out, _ = invoke("suite", "show", "toys", "--json")
    assert code == 0
    before = json.loads(out)
    assert [cell["state"] for cell in before["cells"]] == ["compute", "compute", "missing", "compute", "missing"]
    assert [cell["reference"] for cell in before["cells"]] == [False, False, True, True, False]
    assert "put toy.pth into /nowhere" in before["cells"][2]["problem"]
    assert before["estimate"]["n_unknown"] == 3
    assert before["command"] == "bench run --suite toys"
    code, out, err = invoke("run", "--suite", "toys", "--device", "cpu", "--json")
    results = json.loads(out)["results"]
    statuses = {(r["model"], r["benchmark"]): r["status"] for r in results}
    assert statuses == {
        ("toy:width=2", "toy.V4"): "ok",
        ("toy:width=3", "toy.V4"): "ok",
        ("toy-missing", "toy.V4"): "missing-data",
        ("toy-broken", "toy.V4"): "failed",
        ("toy", "toy.absent"): "missing-data",
    }
    assert code == 4
    assert "this model never loads" in err
    code, out, _ = invoke("suite", "show", "toys")
    assert code == 0
    assert "5 scores: 2 recorded, 1 to compute, 2 lacking data or weights" in out
    assert "toy.absent is not on this machine: run `bench data fetch toy`" in out
    code, out, _ = invoke("suite", "show", "toys", "--seeds", "1-2", "--json")
    drawn = json.loads(out)
    assert len(drawn["cells"]) == 8
    assert drawn["command"] == "bench run --suite toys --seeds 1-2"
    # Recorded times of the toy are those of another draw of it: its own are not known.
    assert {cell["basis"] for cell in drawn["cells"] if cell["state"] == "compute"} == {"unknown"}


def test_one_bad_file_does_not_hide_other_suites(world: Path, home: Path) -> None:
    (home / "suites" / "broken.toml").write_text("grid", encoding="utf-8")
    result = CliRunner().invoke(command_line(), ["suite", "list", "--plugins", str(world), "--json"])
    assert result.exit_code == 0
    rows = {row["name"]: row for row in json.loads(result.stdout)["suites"]}
    assert "is not valid TOML" in rows["broken"]["problem"]
    assert rows["toys"]["datasets"] == {"": 5}
    assert rows["paper.sota"]["replaces"] == ["main analyses: sota", "supplementary: sota"]
    assert rows["paper.main"]["datasets"]["cowley2023"] > 20
    assert "warning: " in result.stderr
    text = CliRunner().invoke(command_line(), ["suite", "list", "--plugins", str(world)])
    assert "cannot be used" in text.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --suite paper.man", "unknown suite 'paper.man'. Did you mean paper.main"),
        ("run --suite paper.main", "add --dataset with one of majajhong, nsd, cowley2023, simulated"),
        ("run --suite paper.main --dataset cowley", "has no dataset 'cowley'"),
        ("run --suite paper.classification --dataset simulated", "its images have no labels, use --dataset scenes15"),
        ("run --suite paper.main --dataset nsd --model pixels", "cannot be combined with --model"),
        ("run --suite paper.main --dataset nsd -b simulated.V4", "cannot be combined with --benchmark"),
        ("run --suite paper.main --dataset nsd --metric rsa", "cannot be combined with --metric"),
        ("run --suite paper.main --dataset nsd --layer all", "cannot be combined with --layer"),
        ("run --dataset nsd -m pixels -b simulated.V4", "--dataset belongs to --suite"),
        ("run", "name at least one model and one benchmark"),
        ("suite show absent.toml", "there is no suite file absent.toml"),
        ("suite show paper.main", "add --dataset"),
        ("suite show paper.main --dataset simulated --seeds x", "--seeds x is not allowed"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(home: Path, words: str, message: str) -> None:
    result = CliRunner().invoke(command_line(), words.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
