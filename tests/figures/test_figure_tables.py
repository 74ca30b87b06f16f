"""The tables that figures are drawn from, against values computed by hand from made-up records."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import pytest
from made_up import every_kind, record, with_layers

from benchmark_core.agreement import cells_of
from benchmark_core.figure_predictions import HeldOut, median_neuroid, predictions
from benchmark_core.figure_records import quantity, usable
from benchmark_core.figure_tables import Context, FigureTable
from benchmark_core.figures import FIGURES, Expected, chosen, make_tables, widths
from benchmark_core.published import Published
from benchmark_core.registry import Registry

SPECS = {spec.name: spec for spec in FIGURES}


@pytest.fixture(scope="module")
def context(built_ins: Registry) -> Context:
    """Return what tables of scores depend on."""
    return Context(quantity("score"), widths(built_ins))


def tables(name: str, records: Sequence[dict[str, Any]], context: Context) -> list[FigureTable]:
    """Return the tables of a figure."""
    return make_tables(SPECS[name], usable(records), context)


def only(name: str, records: Sequence[dict[str, Any]], context: Context) -> FigureTable:
    """Return the one table of a figure."""
    (table,) = tables(name, records, context)
    return table


def rows(table: FigureTable, kind: str, *columns: str) -> list[tuple[Any, ...]]:
    """Return some columns of the rows of a kind."""
    return [tuple(row[c] for c in columns) for row in table.kind(kind)]


def test_features_are_curves_of_families_points_and_trained_lines(context: Context) -> None:
    made = [
        record("expansion5l:filters=30", 0.2, n_features=1080),
        record("expansion5l:filters=3", 0.1, n_features=108),
        record("expansion5l:filters=3,seed=1", 0.2, n_features=108),
        record("expansion5l-norelu:filters=3", 0.9, n_features=108),  # an ablation
        record("expansion5l:filters=3,init=orthogonal", 0.9, n_features=108),
        record("pixels", 0.05, n_features=3136),
        record("efficientnet-lite0", 0.4, trained=True),
    ]
    table = only("features", made, context)
    assert rows(table, "curve", "series", "n_features", "value", "n_draws") == [
        ("expansion5l", 108, pytest.approx(0.15), 2),
        ("expansion5l", 1080, 0.2, 1),
    ]
    assert rows(table, "point", "series", "n_features", "value") == [("pixels", 3136, 0.05)]
    assert rows(table, "trained", "model", "value", "low") == [("efficientnet-lite0", 0.4, pytest.approx(0.38))]
    assert rows(table, "ceiling", "value") == [(1.0,)]
    assert not table.kind("floor")
    text = " ".join(table.caption)
    assert text.startswith("cowley2023.V4 (version 1), encoding: 120 stimuli, 3 neuroids.")
    assert "intervals over stimuli" in text
    assert "(up to 2)" in text
    assert table.stem == "features_cowley2023.V4"


def test_a_family_of_one_width_is_no_curve(context: Context) -> None:
    assert tables("features", [record("expansion5l:filters=3", 0.1), record("pixels", 0.1)], context) == []


def test_the_ceiling_drawn_is_that_of_the_quantity(built_ins: Registry) -> None:
    made = [record(f"expansion5l:filters={n}", 0.1, n_features=36 * n) for n in (3, 30)]
    expected = {"score": 1.0, "r_neuroid": (0.9 + 0.8) / 3, "r_pattern": 0.95}
    for name, ceiling in expected.items():
        table = only("features", made, Context(quantity(name), widths(built_ins)))
        assert rows(table, "ceiling", "value") == [(pytest.approx(ceiling),)], name
        assert rows(table, "floor", "value") == ([(0.8,)] if name == "r_pattern" else [])
        assert table.stem == ("features_cowley2023.V4" if name == "score" else f"features_cowley2023.V4_{name}")


def test_other_intervals_and_other_parameters_are_figures_of_their_own(context: Context) -> None:
    metric = "encoding:resample=hierarchical"
    made = [record(f"expansion5l:filters={n}", 0.1, n_features=36 * n, metric=metric) for n in (3, 30)]
    made += [record(f"expansion5l:filters={n}", 0.1, n_features=36 * n, ceiling=None) for n in (3, 30)]
    plain, other = tables("features", made, context)
    assert (plain.options, other.options) == ("", "resample=hierarchical")
    assert other.stem == "features_cowley2023.V4_resample=hierarchical"
    assert any("intervals over subjects, neuroids and stimuli" in s for s in other.caption)
    assert not plain.kind("ceiling")
    assert any("Not divided by a ceiling" in s for s in plain.caption)


def test_published_scores_stand_beside_those_of_the_same_cell(built_ins: Registry) -> None:
    data = {"benchmark": "majajhong.IT", "metric": "encoding:selection=paper"}
    made = [record(f"expansion5l:filters={n}", 0.1, n_features=36 * n, **data) for n in (3, 30)]
    published = [
        Published("main", "expansion5l:filters=3", "majajhong.IT", "encoding:selection=paper", 0.31, 0.3, 0.32, 108),
        Published("main", "expansion5l", "majajhong.IT", "encoding:selection=paper", 0.5),
        Published("main", "expansion5l:filters=30", "majajhong.V4", "encoding:selection=paper", 0.5),
    ]
    table = only("features", made, Context(quantity("r_pattern"), widths(built_ins), cells_of(published)))
    columns = ("model", "series", "n_features", "value", "low", "high")
    assert rows(table, "published", *columns) == [("expansion5l:filters=3", "expansion5l", 108, 0.31, 0.3, 0.32)]
    assert any("Open diamonds" in s for s in table.caption)
    # What was published is r_pattern and nothing else.
    table = only("features", made, Context(quantity("score"), widths(built_ins), cells_of(published)))
    assert not table.kind("published")


def test_components_end_with_the_features_themselves(context: Context) -> None:
    used = {"components_used": {"S": [10, 9]}}
    made = [
        record("pixels", 0.3, metric="encoding:components=10", details=used),
        record("pixels", 0.1, metric="encoding:components=1"),
        record("pixels", 0.4),
        record("expansion5l", 0.5),  # never scored on components
    ]
    table = only("components", made, context)
    assert rows(table, "curve", "series", "n_components", "value", "used") == [
        ("pixels", 1, 0.1, None),
        ("pixels", 10, 0.3, 9),
        ("pixels", "all", 0.4, None),
    ]
    assert "encoding: 120 stimuli" in table.caption[0]


def test_ablations_stand_at_widths_where_there_are_two(context: Context) -> None:
    made = [
        record("expansion5l:filters=3", 0.1),
        record("expansion5l:filters=30", 0.2),
        record("expansion5l-norelu:filters=30", 0.15),
        record("expansion5l-lrp:filters=30", 0.12),
        record("expansion5l:filters=30,init=orthogonal", 0.9),
    ]
    table = only("ablations", made, context)
    assert rows(table, "bar", "category", "series", "value") == [
        ("full model", "30", 0.2),
        ("no ReLU in layer 5", "30", 0.15),
        ("dense layer 5 (LRP)", "30", 0.12),
    ]


def test_init_and_nonlinearity_have_the_default_first(context: Context) -> None:
    made = [
        record("expansion5l:filters=30", 0.2),
        record("expansion5l:filters=30,init=orthogonal", 0.19),
        record("expansion5l:filters=30,nonlinearity=abs", 0.18),
        record("expansion5l-linear:filters=30", 0.05),
        record("expansion5l:filters=30,init=orthogonal,nonlinearity=abs", 0.9),
    ]
    assert rows(only("init", made, context), "bar", "category", "value") == [
        ("kaiming_uniform", 0.2),
        ("orthogonal", 0.19),
    ]
    assert rows(only("nonlinearity", made, context), "bar", "category", "value") == [
        ("relu", 0.2),
        ("abs", 0.18),
        ("none", 0.05),
    ]


def test_connectivity_pairs_benchmarks_and_first_layers(context: Context) -> None:
    made = [
        record("expansion5l:filters=3", 0.1),
        record("expansion5l:filters=3", 0.04, benchmark="cowley2023.V4-shuffled"),
        record("expansion5l:filters=30", 0.2),
        record("expansion5l-random:filters=30", 0.15),
        record("expansion5l:filters=300", 0.3),  # neither
    ]
    table = only("connectivity", made, context)
    assert rows(table, "bar", "category", "series", "value") == [
        ("expansion5l:filters=3", "intact", 0.1),
        ("expansion5l:filters=3", "pixels shuffled", 0.04),
        ("expansion5l:filters=30", "intact", 0.2),
        ("expansion5l-random:filters=30", "intact", 0.15),
    ]
    assert tables("connectivity", made[2:3], context) == []


def test_classification_is_ranked_and_has_chance(context: Context) -> None:
    data = {"benchmark": "scenes15.test", "metric": "classification", "details": {"chance": 0.0625, "n_categories": 15}}
    made = [record("pixels", 0.15, **data), record("efficientnet-lite0", 0.9, trained=True, **data)]
    table = only("classification", made, context)
    assert rows(table, "bar", "category", "series", "value") == [
        ("efficientnet-lite0", "trained", 0.9),
        ("pixels", "untrained", 0.15),
    ]
    assert rows(table, "chance", "value") == [(0.0625,)]


def test_rsa_has_the_ceiling_over_subjects_or_that_of_noise(context: Context) -> None:
    def ceiling(**details: float) -> list[tuple[Any, ...]]:
        made = record("pixels", 0.1, metric="rsa", details={"compare": "kendall", **details})
        table = only("rsa", [made], context)
        assert table.labels["x"] == "Agreement of RDMs (Kendall tau-a)"
        return [(r.get("low"), r["value"], r.get("high")) for r in table.kind("ceiling")]

    assert ceiling(ceiling_lower=0.3, ceiling_upper=0.6, ceiling_split_half=0.9) == [(0.3, 0.3, 0.6)]
    assert ceiling(ceiling_split_half=0.9) == [(None, 0.9, None)]
    assert ceiling() == []


def test_variance_partitioning_keeps_every_part(context: Context) -> None:
    def share(value: float) -> dict[str, float]:
        return {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}

    details = {
        "explained": {"A": share(0.5), "AB": share(0.6), "B": share(0.4)},
        "parts": {"shared": share(0.3), "unique_A": share(0.2), "unique_B": share(-0.01)},
    }
    made = record(["a", "b"], 0.6, metric="variance-partitioning", details=details)
    table = only("variance-partitioning", [made], context)
    assert [(r["label"], r["value"]) for r in table.rows] == [
        ("A", 0.5),
        ("B", 0.4),
        ("A + B", 0.6),
        ("only A", 0.2),
        ("only B", -0.01),
        ("shared", 0.3),
    ]
    assert table.rows[0]["low"] == pytest.approx(0.4)
    assert table.rows[0]["models"] == "A: a, B: b"


def test_dimensionality_is_that_of_the_layer_which_the_score_rests_on(context: Context) -> None:
    def spectrum(model: str, layer: str) -> dict[str, Any]:
        described = {"components_to_share": 12, "effective_dimensionality": 3.5, "n_features": 99}
        return record(model, 50.0, metric="spectrum", layer="last", details={"layers": {layer: described}})

    made = [
        record("a", 0.3, layer="conv1"),
        spectrum("a", "conv1"),
        record("b", 0.2, layer="last"),
        spectrum("b", "last"),
        record("c", 0.1, layer="conv2"),
        spectrum("c", "last"),
        record("d", 0.1),
    ]
    table = only("dimensionality", made, context)
    columns = ("model", "layer", "components", "effective_dimensionality", "value")
    assert rows(table, "untrained", *columns) == [("a", "conv1", 12, 3.5, 0.3), ("b", "last", 12, 3.5, 0.2)]
    assert any("no spectrum of the layer chosen: c" in s for s in table.caption)


def test_layer_curves_are_in_the_order_of_the_network_with_the_spread_of_folds(context: Context) -> None:
    made = with_layers("net", {"f.2": [0.1, 0.3], "f.12": [0.4, 0.5]}, ["f.12", "f.12"])
    table = only("layers", [made, record("pixels", 0.1)], context)
    assert [(r["position"], r["layer"], r["value"], r["low"], r["high"], r["chosen_in"]) for r in table.rows] == [
        (1, "f.2", pytest.approx(0.2), 0.1, 0.3, 0),
        (2, "f.12", pytest.approx(0.45), 0.4, 0.5, 2),
    ]
    # Without what was extracted together, numbers in names count as numbers.
    table = only("layers", [made | {"provenance": {}}], context)
    assert [r["layer"] for r in table.rows] == ["f.2", "f.12"]


def test_layer_curves_average_subjects_within_folds(context: Context) -> None:
    folds = {"A": [{"x": 0.1, "y": 0.0}, {"x": 0.2, "y": 0.0}], "B": [{"x": 0.3, "y": 0.0}, {"x": 0.6, "y": None}]}
    made = record("net", 0.5, details={"criteria": folds, "layers": {"A": ["x", "y"], "B": ["x", "x"]}})
    x, y = only("layers", [made], context).rows
    assert (x["low"], x["high"], x["value"]) == (pytest.approx(0.2), pytest.approx(0.4), pytest.approx(0.3))
    assert (x["chosen_in"], y["chosen_in"], y["n_folds"]) == (3, 1, 2)


def test_reliability_prefers_the_noise_ceiling_and_keeps_negative_ones(context: Context) -> None:
    anova = {"S": {"neuroids": {"anova": [0.5, None, -0.1], "split-half": [0.4, None, 0.0]}}}
    made = [record("pixels", 0.1), record([], 0.4, metric="noise-ceiling:kind=split-half", subjects=anova)]
    table = only("reliability", made, context)
    columns = ("subject", "neuroid", "value", "split_half")
    assert rows(table, "neuroid", *columns) == [("S", "0", 0.5, 0.4), ("S", "2", -0.1, 0.0)]
    table = only("reliability", made[:1], context)
    assert rows(table, "neuroid", "neuroid", "value") == [("n1", 0.81), ("n2", 0.64), ("n3", -0.1)]
    assert any("mean 0.45 (dashed), median 0.64" in s for s in table.caption)


def test_predictions_are_those_of_the_best_model_for_the_median_neuroid() -> None:
    made = usable([record("a", 0.3), record("b", 0.4), record("b", 0.9, metric="encoding:components=3")])
    asked = []

    def read(of: Any, neuroid: str) -> HeldOut | str:
        asked.append((of["models"], neuroid))
        return HeldOut(("s1", "s2"), (0.5, 1.5), (1.0, 2.0))

    (table,) = predictions(made, read)
    assert asked == [(["b"], "n3")]  # r of .2, .6 and .4
    columns = ("stimulus_id", "predicted", "measured")
    assert rows(table, "stimulus", *columns) == [("s1", 0.5, 1.0), ("s2", 1.5, 2.0)]
    assert table.labels["r"] == "r = 0.40 (mean over folds)"
    (table,) = predictions(made, lambda *_: "They are not here.")
    assert (table.words, table.rows) == ("They are not here.", ())


def test_of_an_even_number_of_neuroids_the_lower_median_is_taken() -> None:
    subjects = {"S": {"r": [0.4, None, 0.1, 0.2, 0.3], "neuroid_ids": list("abcde")}}
    assert median_neuroid(record("a", 0.1, subjects=subjects)) == ("d", 0.2)
    assert median_neuroid(record("a", 0.1, subjects={})) is None


def test_what_the_suite_has_and_the_records_have_not_is_named(context: Context, built_ins: Registry) -> None:
    made = [record("expansion5l:filters=300", 0.3), record("expansion5l-norelu:filters=300", 0.2)]
    table = only("ablations", made, context)
    expected = Expected(built_ins, made)
    missing = expected.missing(SPECS["ablations"], table)
    assert "expansion5l-nospatial:filters=300" in missing
    assert not {"expansion5l:filters=300", "expansion5l-norelu:filters=300"} & set(missing)
    assert table.without(missing).caption[-1].startswith("Not recorded: ")
    assert f"and {len(missing) - 4} more." in table.without(missing).caption[-1]
    assert table.without([]) is table

    made = [record("pixels", n / 20, metric=f"encoding:components={n}") for n in (1, 10)]
    table = only("components", made, context)
    assert "pixels (components=100, 500)" in Expected(built_ins, made).missing(SPECS["components"], table)

    made = [record("expansion5l", 0.1), record("expansion5l", 0.1, benchmark="cowley2023.V4-shuffled")]
    table = only("connectivity", made, context)
    missing = Expected(built_ins, made[:1]).missing(SPECS["connectivity"], table)
    assert "expansion5l (cowley2023.V4-shuffled)" in missing


def test_every_figure_belongs_to_a_suite_that_there_is(built_ins: Registry) -> None:
    from benchmark_core.suites import suite_paths

    assert {spec.suite for spec in FIGURES} == {name for name in suite_paths() if name.startswith("paper.")}


def test_a_suite_chooses_its_figures() -> None:
    assert [spec.name for spec in chosen([], "paper.sota")] == ["networks", "layers"]
    assert [spec.name for spec in chosen(["layers"], "paper.sota")] == ["layers"]
    assert len(chosen([], "mine.toml")) == len(FIGURES)


def test_tables_do_not_depend_on_the_order_of_records(context: Context) -> None:
    made = every_kind()
    for spec in FIGURES:
        if spec.tables is not None:
            first = [(t.stem, t.to_csv(), t.caption) for t in make_tables(spec, usable(made), context)]
            assert first == [(t.stem, t.to_csv(), t.caption) for t in make_tables(spec, usable(made[::-1]), context)]
            assert first, spec.name


def test_csv_has_six_digits_and_nothing_for_what_is_not_known(context: Context) -> None:
    made = [record("expansion5l:filters=3", 1 / 3, n_features=108), record("expansion5l:filters=30", 0.5)]
    table = only("features", made, context)
    text = table.to_csv()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["value"] for row in read] == ["0.5", "0.333333", "1"]
    assert read[2] | {"kind": "", "series": "", "value": ""} == dict.fromkeys(table.columns, "")
    assert "\r" not in text
