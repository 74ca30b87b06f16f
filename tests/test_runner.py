"""Cells, the runner, records: what is computed, what is kept, and what a failure leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy import make_toy_world

from benchmark_core import InputError, MissingDataError, run, score
from benchmark_core.cells import cell_key, make_plan
from benchmark_core.records import Score, plain, read_records
from benchmark_core.registry import Registry
from benchmark_core.store import Store, read_arrays

CONTRACT = [
    "models",
    "model",
    "benchmark",
    "benchmark_version",
    "metric",
    "layer",
    "status",
    "score",
    "ci_low",
    "ci_high",
    "r_neuroid",
    "r_neuroid_median",
    "r_pattern",
    "ceiling",
    "alpha",
    "n_neuroids_valid",
    "n_stimuli",
    "n_neuroids",
    "subjects",
    "n_features",
    "seconds",
    "peak_rss_bytes",
    "device",
    "cached",
    "key",
    "error",
    "details",
]


@pytest.fixture
def world(tmp_path: Path, home: Path) -> Path:
    """Return a plugin folder with the toy model, benchmark and metric."""
    return make_toy_world(tmp_path / "toys")


def test_a_result_has_every_field_of_the_contract(world: Path, home: Path) -> None:
    (result,) = run("toy", "toy.V4", plugins=[world])
    assert [name for name in CONTRACT if name not in result] == []
    assert result["status"] == "ok"
    assert result["model"] == "toy"
    assert 0.1 < result["score"] < 1  # quadrant brightness is a linear function of the first layer
    assert result["ci_low"] < result["score"] < result["ci_high"]
    assert set(result["subjects"]) == {"A", "B"}
    assert (result["n_stimuli"], result["n_neuroids"], result["n_neuroids_valid"]) == (40, 8, 8)
    json.dumps(result, allow_nan=False)
    provenance = result["provenance"]
    assert {"python", "torch", "numpy"} <= set(provenance["versions"])
    assert provenance["precision"] == "exact"
    layers = provenance["representations"][0]["layers"]
    assert set(layers) == {"0", "2"}
    assert layers["0"]["extracted_layers"] == ["0", "2"]


def test_a_recorded_cell_is_not_computed_again(world: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = run("toy", "toy.V4", plugins=[world])
    monkeypatch.setattr("benchmark_core.runner.Runner._score", lambda *a: pytest.fail("computed again"))
    (second,) = run("toy", "toy.V4", plugins=[world])
    assert (first["cached"], second["cached"]) == (False, True)
    assert {k: v for k, v in first.items() if k != "cached"} == {k: v for k, v in second.items() if k != "cached"}


def test_force_computes_again_and_gives_the_same_digits(world: Path, home: Path) -> None:
    (first,) = run("toy", "toy.V4", plugins=[world])
    (second,) = run("toy", "toy.V4", plugins=[world], force=True)
    assert not second["cached"]
    for name in ("key", "score", "ci_low", "ci_high", "subjects", "details"):
        assert first[name] == second[name]


def test_a_failing_cell_is_recorded_and_the_run_goes_on(world: Path, home: Path) -> None:
    broken, missing, good = run(["toy-broken", "toy-missing", "toy"], "toy.V4", plugins=[world])
    assert (broken["status"], missing["status"], good["status"]) == ("failed", "missing-data", "ok")
    assert broken["error"] == "RuntimeError: this model never loads"
    assert "toy.pth" in missing["error"]
    recorded = {r["model"]: r["status"] for r in read_records(home / "records")}
    assert recorded == {"toy-broken": "failed", "toy-missing": "missing-data", "toy": "ok"}


def test_a_failure_gives_way_once_the_cell_has_a_score(world: Path, home: Path) -> None:
    plugin = world / "toy_plugin.py"
    text = plugin.read_text()
    plugin.write_text(text.replace("    net = torch", '    raise RuntimeError("not yet")\n    net = torch'))
    (failed,) = run("toy", "toy.V4", plugins=[world])
    assert failed["status"] == "failed"
    plugin.write_text(text)
    (done,) = run("toy", "toy.V4", plugins=[world])
    assert done["status"] == "ok"
    assert [r["status"] for r in read_records(home / "records")] == ["ok"]


def test_missing_data_of_one_benchmark_leaves_the_other_alone(world: Path, home: Path) -> None:
    good, absent = run("toy", ["toy.V4", "toy.absent"], plugins=[world])
    assert (good["status"], absent["status"]) == ("ok", "missing-data")
    assert "bench data fetch" in absent["error"]


def test_key_depends_on_what_the_score_depends_on_and_nothing_else(world: Path, home: Path) -> None:
    def key(model: str = "toy", layer: str = "auto", metric: str | None = None, precision: str = "exact") -> str:
        registry = Registry([world])
        (cell,), _ = make_plan(registry, [model], ["toy.V4"], metric, layer)
        return cell_key(cell, registry, precision, Store.default())

    base = key()
    assert key() == base
    assert key("toy:width=4") == base
    others = [
        key("toy:width=5"),
        key(layer="0"),
        key(metric="count"),
        key(precision="fast"),
        key(metric="encoding:seed=1"),
    ]
    assert len({base, *others}) == 6
    plugin = world / "toy_plugin.py"
    plugin.write_text(plugin.read_text() + "\n# another source\n")
    assert key() != base


def test_order_of_images_and_rows_changes_nothing(
    world: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = run("toy", "toy.V4", plugins=[world])
    data = world / "toy_data"
    heading, *lines = (data / "stimuli.csv").read_text().splitlines()
    random = np.random.default_rng(3)
    (data / "stimuli.csv").write_text("\n".join([heading, *random.permutation(lines)]) + "\n")
    content = dict(np.load(data / "responses.npz"))
    order = random.permutation(40)
    np.savez(data / "responses.npz", **{**content, "ids": content["ids"][order], "values": content["values"][order]})
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "another cache"))
    (after,) = run("toy", "toy.V4", plugins=[world], records=tmp_path / "other records")
    assert after["key"] == before["key"]
    for name in ("score", "ci_low", "ci_high", "details", "subjects"):
        assert after[name] == before[name]


@pytest.mark.parametrize("batch_size", [1, 3, 40])
def test_batch_size_moves_no_score(
    world: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    (before,) = run("toy", "toy.V4", plugins=[world])
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "another cache"))
    (after,) = run("toy", "toy.V4", plugins=[world], batch_size=batch_size, force=True)
    assert after["key"] == before["key"]
    assert after["score"] == pytest.approx(before["score"], abs=1e-6)


@pytest.mark.parametrize(("change", "said"), [("drop", "missing"), ("add", "not in the stimulus set")])
def test_an_id_too_few_or_too_many_is_named(world: Path, home: Path, change: str, said: str) -> None:
    path = world / "toy_data" / "responses.npz"
    content = dict(np.load(path))
    if change == "drop":
        content = {**content, "ids": content["ids"][1:], "values": content["values"][1:]}
        named = "im000"
    else:
        extra = np.append(content["ids"], "stranger")
        content = {**content, "ids": extra, "values": np.concatenate([content["values"], content["values"][:1]])}
        named = "stranger"
    np.savez(path, **content)
    (result,) = run("toy", "toy.V4", plugins=[world])
    assert result["status"] == "failed"
    assert named in result["error"]
    assert said in result["error"]


def test_held_out_predictions_lie_under_the_scores_key(world: Path, home: Path) -> None:
    (result,) = run("toy", "toy.V4", plugins=[world])
    stored = read_arrays(Store.default().predictions_path(result["key"]))
    assert stored is not None
    arrays, _ = stored
    assert arrays["predictions"].shape == (40, 8)
    measured = np.nanmean(np.load(world / "toy_data" / "responses.npz")["values"], axis=1)
    r = [np.corrcoef(arrays["predictions"][:, j], measured[:, j])[0, 1] for j in range(8)]
    assert np.mean(r) == pytest.approx(result["r_neuroid"], abs=0.1)


def test_layer_all_gives_a_cell_for_each_layer(world: Path, home: Path) -> None:
    results = run("toy", "toy.V4", plugins=[world], layer="all")
    assert [r["layer"] for r in results] == ["0", "2"]
    assert results[0]["n_features"] == 4 * 12 * 12


def test_pairs_that_cannot_go_together(world: Path, home: Path) -> None:
    with pytest.raises(InputError, match=r"encoding cannot score toy\.labels"):
        run("toy", "toy.labels", metric="encoding", plugins=[world])
    cells, notes = make_plan(Registry([world]), ["toy"], ["toy.*"], "encoding")
    assert {c.benchmark.name for c in cells} == {"toy.V4", "toy.absent"}
    assert len(notes) == 1
    assert "toy.labels" in notes[0]


def test_the_same_cell_asked_for_twice_is_one_cell(world: Path, home: Path) -> None:
    cells, _ = make_plan(Registry([world]), ["toy", "toy:width=4", "to?"], ["toy.V4", "toy.V*"])
    assert len(cells) == 1


def test_score_from_python(world: Path, home: Path) -> None:
    result = score("toy", "toy.V4", plugins=[world])
    assert isinstance(result, Score)
    assert result.value == result.record["score"]
    assert result.fields["ceiling"] == pytest.approx(0.95, abs=0.05)
    with pytest.raises(MissingDataError):
        score("toy", "toy.absent", plugins=[world])


def test_metric_parameters_reach_the_metric(world: Path, home: Path) -> None:
    (result,) = run("toy", "toy.V4", metric="count:offset=0.5", plugins=[world])
    assert result["score"] == 2.5
    assert result["metric"] == "count:offset=0.5"


def test_plain_turns_what_is_not_finite_into_none() -> None:
    value = {"a": np.float32(1.5), "b": [float("nan"), np.inf], "c": np.arange(2), 3: None, "d": (True, np.int64(2))}
    assert plain(value) == {"a": 1.5, "b": [None, None], "c": [0, 1], "3": None, "d": [True, 2]}
    with pytest.raises(TypeError):
        plain(object())


def test_a_record_names_what_the_number_was_computed_from(world: Path, home: Path) -> None:
    (result,) = run("toy:width=5", "toy.V4", metric="encoding:n_bootstrap=200", plugins=[world])
    provenance = result["provenance"]
    assert set(provenance["inputs"]) == {"stimuli", "target", "splits", "grouped", "metric_parameters"}
    assert provenance["inputs"]["metric_parameters"]["n_bootstrap"] == 200
    (representation,) = provenance["representations"]
    assert representation["parameters"] == {"width": 5}
    assert representation["weights"] == "torch-1"
    assert representation["preprocessing"]["size"] == [16, 16]


def test_a_record_does_not_name_the_users_folders(world: Path, home: Path) -> None:
    plugin = world / "toy_plugin.py"
    plugin.write_text(plugin.read_text().replace("this model\\nnever loads", f"cannot read {home}/weights"))
    (result,) = run("toy-broken", "toy.V4", plugins=[world])
    assert str(home) in result["error"]
    (recorded,) = read_records(home / "records")
    assert recorded["error"] == "RuntimeError: cannot read BENCH_HOME/weights"


def test_an_unknown_layer_leaves_no_record(world: Path, home: Path) -> None:
    (result,) = run("toy", "toy.V4", layer="3x", plugins=[world])
    assert result["status"] == "failed"
    assert result["error"].startswith("the model has no layer '3x'.")
    assert not (home / "records").exists() or not list(read_records(home / "records"))
