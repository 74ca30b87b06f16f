"""What figures read from records: quantities with the ceiling that belongs to them, families, draws, versions."""

from __future__ import annotations

import math

import pytest
from made_up import record

from benchmark_core.errors import InputError
from benchmark_core.figure_records import points, quantity, take_apart, usable, widest_trunk
from benchmark_core.figures import widths
from benchmark_core.registry import Registry

WIDTH_OF = widths(Registry(installed=False))


def test_each_quantity_has_its_own_value_interval_and_ceiling() -> None:
    made = record("pixels", 0.3)
    assert quantity("score").of(made) == (0.3, pytest.approx(0.28), pytest.approx(0.32))
    assert quantity("score").ceiling(made) == 1.0
    assert quantity("r_neuroid").of(made) == (0.4, 0.35, 0.45)
    # Roots of .81 and .64, and 0 for the neuroid of negative reliability.
    assert quantity("r_neuroid").ceiling(made) == pytest.approx((0.9 + 0.8 + 0.0) / 3)
    assert quantity("r_pattern").of(made) == (pytest.approx(0.83), 0.81, 0.89)
    assert quantity("r_pattern").ceiling(made) == 0.95
    assert quantity("r_pattern").floor(made) == 0.8
    assert quantity("score").floor(made) == quantity("r_neuroid").floor(made) == 0.0


def test_the_ceiling_of_r_is_averaged_over_neuroids_that_have_r_then_over_subjects() -> None:
    subjects = {
        "A": {"r": [0.1, None], "reliability": [0.25, 0.81]},
        "B": {"r": [0.1, 0.1], "reliability": [0.49, 0.09]},
        "C": {"r": None, "reliability": None},
    }
    made = record("pixels", 0.3, subjects=subjects)
    assert quantity("r_neuroid").ceiling(made) == pytest.approx((0.5 + (0.7 + 0.3) / 2) / 2)


def test_there_is_no_ceiling_without_repetitions() -> None:
    made = record("pixels", 0.3, ceiling=None, details={"r_pattern_ceiling": None}, subjects={"S": {"r": [0.1]}})
    assert [quantity(name).ceiling(made) for name in ("score", "r_neuroid", "r_pattern")] == [None, None, None]


def test_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(InputError, match="score, r_neuroid, r_pattern"):
        quantity("r2")


def test_figures_take_exact_scores_whose_layer_was_chosen_on_training_stimuli() -> None:
    kept = record("a", 0.1)
    only_named = record("b", 0.2, requested_layer="conv1", layer="conv1")
    left_out = [
        record("a", 0.9, requested_layer="conv1"),
        record("c", None, status="failed"),
        record("d", 0.3, precision="fast"),
        record("e", 0.1, requested_layer="conv1"),
        record("e", 0.2, requested_layer="conv2"),
    ]
    found = usable([only_named, *left_out, kept])
    assert sorted((r["models"][0], r["score"]) for r in found) == [("a", 0.1), ("b @ conv1", 0.2)]


def test_layers_named_for_several_models_stand_beside_their_own() -> None:
    made = record(["a", "b"], 0.2, requested_layer="conv1+conv2")
    assert usable([made])[0]["models"] == ["a @ conv1", "b @ conv2"]


def test_the_newest_versions_count() -> None:
    old = record("a", 0.1, metric_version="9", key="k1")
    new = record("a", 0.2, metric_version="10", key="k0")
    elsewhere = record("b", 0.3, benchmark_version=2)
    assert [r["score"] for r in usable([new, old])] == [0.2]
    assert [r["models"][0] for r in usable([old, new, elsewhere])] == ["b"]


def test_identifiers_are_taken_apart_by_what_the_plugins_say_of_widths() -> None:
    model = take_apart("expansion5l:filters=300,init=orthogonal,seed=2", WIDTH_OF)
    assert (model.name, model.width, model.options, model.seed) == ("expansion5l", 300, (("init", "orthogonal"),), "2")
    assert model.series == "expansion5l:init=orthogonal"
    assert take_apart("expansion5l-256", WIDTH_OF).width == 3000  # the default
    assert take_apart("vit-custom:D=12", WIDTH_OF).width == 12
    narrow = take_apart("expansion5l:filters=3,filters_1=16,filters_2=16", WIDTH_OF)
    assert (narrow.series, narrow.width) == ("expansion5l-random", 3)
    unknown = take_apart("somebody/else:filters=3", WIDTH_OF)
    assert (unknown.width, unknown.series) == (None, "somebody/else:filters=3")
    assert take_apart("pixels @ output", WIDTH_OF).series == "pixels @ output"


def test_draws_of_a_model_are_one_point() -> None:
    draws = [record("net", 0.2), record("net:seed=1", 0.4, half=0.04), record("other", 0.1)]
    point, other = points(draws, quantity("score").of)
    assert (point.model, point.n_draws, other.n_draws, other.draw_sd) == ("net", 2, 1, None)
    assert point.value == pytest.approx(0.3)
    assert point.low == pytest.approx((0.18 + 0.36) / 2)
    assert point.high == pytest.approx((0.22 + 0.44) / 2)
    assert point.draw_sd == pytest.approx(math.sqrt(0.02))


def test_the_model_as_published_is_preferred_to_one_with_a_narrow_trunk() -> None:
    both = [record("expansion5l:filters=3", 0.2), record("expansion5l:filters=3,filters_2=16", 0.1)]
    kept, words = widest_trunk(points(both, quantity("score").of), WIDTH_OF)
    assert [(p.value, words) for _, p in kept] == [(0.2, [])]
    kept, words = widest_trunk(points(both[1:], quantity("score").of), WIDTH_OF)
    assert words == ["Reduced trunks: expansion5l with filters_2=16."]
