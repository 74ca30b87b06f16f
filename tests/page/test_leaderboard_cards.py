"""What cards say of a record, against numpy and against what `bench run` makes of the command they show."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_records import LAYERS, record, rich

from benchmark_core.cells import make_plan
from benchmark_core.leaderboard_cards import card_of, ceiling_of_score, environment_of, histogram, layer_curves, rerun
from benchmark_core.records import read_records
from benchmark_core.registry import Registry

REPOSITORY = Path(__file__).resolve().parent.parent.parent
COMMITTED = list(read_records(REPOSITORY / "leaderboard" / "records"))

nested = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["PE", "A", "layers", "criteria", "r", "value", "git", "representations"]), inner
        )
    ),
    max_leaves=12,
)


@given(nested, nested, nested)
def test_any_record_that_can_be_read_has_a_card(details: Any, subjects: Any, provenance: Any) -> None:
    changes = {"details": details, "subjects": subjects, "provenance": provenance}
    strange = record("net", 0.5) | changes
    json.dumps([card_of(strange), environment_of(strange), ceiling_of_score(strange)], allow_nan=False)


def test_the_curve_is_the_mean_over_folds_in_the_order_of_the_model() -> None:
    shown = rich()[0]
    (curve,) = layer_curves(shown)
    folds = shown["subjects"]["one"]["criteria"]
    assert [p["layer"] for p in curve["points"]] == LAYERS  # forward, neither by name nor by number
    for point in curve["points"]:
        values = [fold[point["layer"]] for fold in folds]
        assert point["value"] == pytest.approx(np.mean(values))
        assert (point["low"], point["high"]) == (min(values), max(values))
    assert {p["layer"]: p["chosen"] for p in curve["points"] if p["chosen"]} == {"head": 2, "blocks.10": 1}


def test_layers_of_unknown_order_are_sorted_as_people_count() -> None:
    folds = [{f"blocks.{i}": 0.1 for i in range(12)}]
    (curve,) = layer_curves(record(subjects={"one": {"criteria": folds}}))
    assert [p["layer"] for p in curve["points"]] == [f"blocks.{i}" for i in range(12)]


def test_each_of_several_models_has_its_own_curve() -> None:
    folds = [{"A": {"a": 0.1, "b": 0.2}, "B": {"c": 0.4, "d": 0.3}, "C": {}}]
    layers = [["b", "c", "only"], ["b", "d", "only"]]
    several = record(models=["one", "two", "three"], subjects={"PE": {"criteria": folds, "layers": layers}})
    curves = layer_curves(several)
    assert [c["title"] for c in curves] == ["Layers of one", "Layers of two"]
    assert [{p["layer"]: p["chosen"] for p in c["points"]} for c in curves] == [{"a": 0, "b": 2}, {"c": 1, "d": 1}]


def test_one_layer_makes_no_curve() -> None:
    assert layer_curves(record(subjects={"one": {"criteria": [{"output": 0.3}]}})) == []


@given(st.lists(st.floats(-1, 1) | st.none(), min_size=1), st.lists(st.floats(0, 1), min_size=1))
def test_the_histogram_counts_what_numpy_counts(r: list[float | None], reliability: list[float]) -> None:
    known = [v for v in r if v is not None]
    found = histogram(record(subjects={"one": {"r": r, "reliability": reliability}, "two": {"score": 1}}))
    if not known:
        assert found is None
        return
    assert found is not None
    assert found["n"] == len(r)
    assert (sum(found["r"]), sum(found["reliability"])) == (len(known), len(reliability))
    edges = np.round(found["low"] + 0.1 * np.arange(len(found["r"]) + 1), 12)
    away = [v for v in known if np.abs(edges - v).min() > 1e-6]  # on an edge either bin is right
    ours = histogram(record(subjects={"one": {"r": away, "reliability": reliability}})) if away else None
    if ours is not None:
        grid = np.round(ours["low"] + 0.1 * np.arange(len(ours["r"]) + 1), 12)
        assert ours["r"] == np.histogram(away, grid)[0].tolist()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"metric": "encoding:components=10", "ceiling": 0.7}, [1.0, 1.0]),
        ({"metric": "encoding", "ceiling": None}, None),
        ({"metric": "rsa", "ceiling": 0.3, "details": {"ceiling_lower": 0.3, "ceiling_upper": 0.5}}, [0.3, 0.5]),
        ({"metric": "noise-ceiling", "ceiling": 0.7}, None),
        ({"metric": "a-strangers", "ceiling": 0.7}, None),
    ],
)
def test_the_ceiling_lies_on_the_scale_of_the_score(changes: dict[str, Any], place: list[float] | None) -> None:
    assert ceiling_of_score(record(**changes)) == place


def test_the_command_of_every_committed_record_plans_the_same_cell() -> None:
    registry = Registry.default([])
    for one in COMMITTED:
        words = shlex.split(rerun(one)["command"])
        assert words[:2] == ["bench", "run"]
        options: dict[str, list[str]] = {}
        for name, value in zip(words[2::2], words[3::2], strict=True):
            options.setdefault(name, []).append(value)
        (layer,) = options.pop("--layer", ["auto"])
        assert options.keys() <= {"--model", "--benchmark", "--metric"}
        (cell,), _ = make_plan(registry, options.get("--model", []), options["--benchmark"], options["--metric"], layer)
        assert [m.identifier for m in cell.models] == one["models"]
        assert (cell.benchmark.name, cell.metric.identifier) == (one["benchmark"], one["metric"])
        assert cell.layer == one["requested_layer"]


def test_the_command_is_safe_to_paste_and_names_all_that_is_not_the_default() -> None:
    several = record(models=["a", "b; rm -rf ~"], requested_layer="x.1 + auto", precision="fast")
    words = shlex.split(rerun(several)["command"])
    assert words[2:6] == ["--model", "a", "--model", "b; rm -rf ~"]
    assert words[-4:] == ["--layer", "x.1+auto", "--precision", "fast"]


def test_a_module_given_from_python_is_told_as_a_call() -> None:
    answer = rerun(record("own/Net:module=@0123456789ab"))
    assert answer["command"] == "benchmark_core.score(module, 'toy.V4', metric='encoding', name='Net')"
    assert "torch module" in answer["note"]


def test_a_file_of_weights_is_to_be_filled_in() -> None:
    assert "SHA-256" in rerun(record("net:weights=@0123456789ab"))["note"]


def test_committed_cards_have_what_their_records_hold() -> None:
    """Resamples stay in the record; per-neuroid values become counts."""
    for one in COMMITTED:
        card = card_of(one)
        text = json.dumps(card)
        assert "float32" not in text
        assert "neuroid_ids" not in text
        assert len(text) < 12_000
        if one["metric"] == "encoding":
            assert card["neuroids"]["n"] == one["n_neuroids"]
            assert sum(card["neuroids"]["r"]) == one["n_neuroids_valid"]
