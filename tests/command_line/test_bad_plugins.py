"""Plugins that cannot be imported, clash, or break their contract: the rest goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from bench_command import TOY_PLUGINS, Bench, Tree

from benchmark_core.records import read_records

TOY = TOY_PLUGINS / "toy.py"

MODELS = {
    "toy-nan": ["layer 'output'", "not finite", "'toy/00'"],
    "toy-batch": ["layer 'output' has shape (2, 64) for a batch of 1"],
    "toy-tuple": ["layer 'output' returns tuple, not a tensor"],
    "toy-scalar": ["layer 'output' returns a single number for a whole batch"],
    "toy-empty": ["layer 'output' has no features"],
    "toy-raise": ["ValueError: no such colour space"],
    "toy-text": ["load() returned str", "torch.nn.Module"],
    "toy-none": ["load() returned NoneType", "torch.nn.Module"],
    "toy-import": ["ModuleNotFoundError: No module named 'no_such_module'"],
    "toy-needy": ["TypeError", "required"],
    "toy-exit": ["SystemExit: this model needs a licence"],
    "toy-unreached": ["layer 'side' was never reached in forward"],
    "toy-nolayers": ["cannot tell the layers"],
    "toy-layertext": ["layers is a text", "layers=('output',)"],
}
METRICS = {
    "toy-type": ["metric toy-type returned dict, not Score"],
    "toy-value": ["metric toy-value gave value 'high', not a number"],
    "toy-details": ["TypeError: object is not plain data"],
    "toy-raise": ["ZeroDivisionError: division by zero"],
    "toy-nowhere": ["ModuleNotFoundError: No module named 'no_such_module'"],
}


@pytest.mark.parametrize("model", MODELS)
def test_a_bad_model_fails_its_cell_and_the_others_are_scored(bench: Bench, part: Path, home: Path, model: str) -> None:
    done = bench("run", "-m", model, "-m", "toy-pixels", "-b", "toy.V4", "--json")
    done.fails(4, f"failed: {model} on toy.V4: ", *MODELS[model])
    assert {r["model"]: r["status"] for r in done.results} == {model: "failed", "toy-pixels": "ok"}
    assert done.results[1]["score"] is not None
    assert done.results[0]["error"] in done.stderr
    assert {r["model"]: r["status"] for r in read_records(home / "records")} == {model: "failed", "toy-pixels": "ok"}
    rows = bench("leaderboard", "--json").json["rows"]
    assert [(row["model"], row["status"]) for row in rows] == [("toy-pixels", "ok"), (model, "failed")]


@pytest.mark.parametrize("metric", METRICS)
def test_a_bad_metric_fails_its_cell(bench: Bench, part: Path, home: Path, metric: str) -> None:
    done = bench("run", "-m", "toy-pixels", "-b", "toy.V4", "--metric", metric, "--json")
    done.fails(4, "failed: toy-pixels on toy.V4: ", *METRICS[metric])
    assert [r["status"] for r in read_records(home / "records")] == ["failed"]


def test_a_bad_benchmark_fails_its_cells(bench: Bench, part: Path) -> None:
    done = bench("run", "-m", "toy-pixels", "-b", "toy.V4-failing", "-b", "toy.V4", "--json")
    done.fails(4, "failed: toy-pixels on toy.V4-failing: RuntimeError: the database is gone")
    assert [r["status"] for r in done.results] == ["failed", "ok"]


def test_missing_data_beside_data_that_is_there(bench: Bench, part: Path) -> None:
    done = bench("run", "-m", "toy-pixels", "-b", "toy.V4-absent", "-b", "toy.V4", "--json")
    done.fails(3, "missing-data: toy-pixels on toy.V4-absent", "toy/two", "`bench data import toy --from DIR`")
    assert [r["status"] for r in done.results] == ["missing-data", "ok"]


def test_missing_weights(bench: Bench, part: Path, home: Path) -> None:
    done = bench("run", "-m", "toy-weights", "-m", "toy-pixels", "-b", "toy.V4", "--json")
    done.fails(3, "missing-data: toy-weights on toy.V4", str(home / "weights.safetensors"))
    assert [r["status"] for r in done.results] == ["missing-data", "ok"]


def test_the_first_status_that_applies(bench: Bench, part: Path) -> None:
    """2 bad input comes before 4 failed, and that before 3 missing."""
    cells = ("run", "-m", "toy-nan", "-m", "toy-pixels", "-b", "toy.V4", "--json")
    assert bench(*cells, "-b", "toy.V4-absent").status == 4
    assert bench(*cells, "-b", "toy.V4-absent", "-b", "toy.V4-folds").status == 2


def test_layers_that_cannot_be_told_fail_one_model_of_many(bench: Bench, part: Path) -> None:
    done = bench("run", "-m", "toy-nolayers", "-m", "toy-layers", "-b", "toy.V4", "--layer", "all", "--json")
    done.fails(4, "failed: toy-nolayers on toy.V4: ", "cannot tell the layers")
    assert [r["status"] for r in done.results] == ["failed", "ok", "ok"]
    bench("info", "toy-nolayers").fails(4, "error: ", "toy-nolayers", "cannot tell the layers")


def test_what_a_plugin_prints_is_no_result(bench: Bench, part: Path) -> None:
    done = bench("run", "-m", "toy-talk", "-b", "toy.V4", "--json")
    assert done.status == 0
    assert done.results[0]["status"] == "ok"
    assert done.stderr.startswith("loading weights ...\none batch\n")


def test_interrupted_results_so_far_are_printed(bench: Bench, part: Path, home: Path) -> None:
    done = bench("run", "-m", "toy-pixels", "-m", "toy-interrupt", "-m", "toy-layers", "-b", "toy.V4", "--json")
    done.fails(130, "interrupted after 1 of 3 scores", "run the same command again")
    assert [(r["model"], r["status"]) for r in done.results] == [("toy-pixels", "ok")]
    assert [r["model"] for r in read_records(home / "records")] == ["toy-pixels"]
    table = bench("run", "-m", "toy-pixels", "-m", "toy-interrupt", "-b", "toy.V4")
    assert table.status == 130
    assert "toy-pixels" in table.stdout


FILES = {
    "syntax error": (b"def register_models(:\n", ["SyntaxError", "skipped"]),
    "not UTF-8": (b"name = 'caf\xe9'\n", ["could not be imported", "skipped"]),
    "raises": (b"raise RuntimeError('no licence\\nfound')\n", ["RuntimeError: no licence found", "skipped"]),
    "exits": (b"raise SystemExit('bye')\n", ["SystemExit: bye", "skipped"]),
    "imports what is not there": (b"import no_such_module\n", ["No module named 'no_such_module'", "skipped"]),
    "no hook": (b"models = []\n", ["implements no hook", "skipped"]),
    "hook raises": (
        b"from benchmark_core import hookimpl\n@hookimpl\ndef register_models():\n    return 1 / 0\n",
        ["register_models failed", "ZeroDivisionError", "skipped"],
    ),
    "hook gives nothing": (
        b"from benchmark_core import hookimpl\n@hookimpl\ndef register_models():\n    pass\n",
        ["register_models failed", "NoneType", "skipped"],
    ),
    "hook gives a name": (
        b"from benchmark_core import hookimpl\n@hookimpl\ndef register_models():\n    return ['mine']\n",
        ["register_models failed", "it returned str, not ModelSpec", "skipped"],
    ),
    "bad name": (
        b"from benchmark_core import ModelSpec, hookimpl\n"
        b"@hookimpl\ndef register_models():\n    return [ModelSpec(name='my model', version=1, load='m:f')]\n",
        ["register_models failed", "'my model' cannot be a model's name", "skipped"],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_plugin_file_is_reported_and_skipped(bench: Bench, tmp_path: Path, case: str) -> None:
    content, words = FILES[case]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plugin.py").write_bytes(content)
    done = bench("list", "models", "--plugins", tmp_path / "mine", "--json")
    done.fails(0, "warning: ", str(tmp_path / "mine" / "plugin.py"), *words)
    assert "toy-pixels" in {row["name"] for row in done.json["models"]}
    assert len(done.json["problems"]) == 1


def test_a_bad_plugin_file_keeps_nobody_from_running(bench: Bench, part: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for number, (content, _) in enumerate(FILES.values()):
        (tmp_path / "mine" / f"plugin{number}.py").write_bytes(content)
    run = bench("run", "-m", "toy-pixels", "-b", "toy.V4", "--plugins", tmp_path / "mine", "--json")
    assert (run.status, run.results[0]["status"]) == (0, "ok")
    assert len(run.stderr.splitlines()) == len(FILES)


def test_two_plugins_with_one_identifier(bench: Bench, part: Path, tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "mine").mkdir()
    other = tmp_path / "mine" / "other.py"
    other.write_text(
        "from benchmark_core import ModelSpec, hookimpl\n\n"
        "@hookimpl\ndef register_models():\n    return [ModelSpec(name='toy-large', version=1, load='m:f')]\n"
    )
    before = tree()
    options = ("--plugins", tmp_path / "mine")
    done = bench("run", "-m", "toy-large", "-b", "toy.V4", *options)
    assert (done.status, done.stdout) == (2, "")
    warning, error = done.stderr.splitlines()
    for line in (warning, error):
        assert "'toy-large' is claimed 2 times" in line
        assert f"{TOY}:" in line
        assert f"{other}:5" in line
        assert "rename one of them" in line
    assert {p for p in tree() if "__pycache__" not in p} == {p for p in before if "__pycache__" not in p}
    fine = bench("run", "-m", "toy-pixels", "-b", "toy.V4", *options, "--json")
    assert (fine.status, fine.results[0]["status"]) == (0, "ok")
    names = {row["name"] for row in bench("list", "models", *options, "--json").json["models"]}
    assert "toy-large" not in names
    assert "toy-pixels" in names


def test_one_file_reached_twice_is_one_plugin(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(TOY.parent)
    done = bench("list", "--plugins", TOY.parent, "--plugins", tmp_path / "link", "--json")
    assert (done.status, done.stderr) == (0, "")


def test_the_same_plugin_copied_claims_everything_twice(bench: Bench, part: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(TOY, tmp_path / "mine" / "copy.py")
    done = bench("list", "--plugins", tmp_path / "mine", "--json")
    assert done.status == 0
    listed = json.loads(done.stdout)
    assert "expansion5l" in {row["name"] for row in listed["models"]}
    assert not any(row["name"].startswith("toy") for row in listed["models"])
    assert len(listed["problems"]) == len(done.stderr.splitlines())
