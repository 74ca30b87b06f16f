"""Plans where a benchmark's own metric is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark_core.cells import make_plan
from benchmark_core.errors import InputError
from benchmark_core.registry import Registry

PLUGIN = """
from benchmark_core import BenchmarkSpec, KFold, MetricSpec, ModelSpec, hookimpl


@hookimpl
def register_models():
    return [ModelSpec(name="m", version=1, load=print)]


@hookimpl
def register_metrics():
    return [
        MetricSpec(name="there", version=1, compute=print, accepts=("rdms", "responses")),
        MetricSpec(name="ceiling", version=1, compute=print, n_models=(0, 0)),
    ]


@hookimpl
def register_benchmarks():
    shared = {"version": 1, "stimuli": print, "target": print, "splits": KFold()}
    return [
        BenchmarkSpec(name="d.a", metric="absent", target_kind="rdms", **shared),
        BenchmarkSpec(name="d.b", metric="there", **shared),
    ]
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return Registry([tmp_path], built_in=False, installed=False)


def test_a_benchmark_whose_metric_is_absent_is_an_error_when_named(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"d\.a is scored by 'absent': unknown metric 'absent'"):
        make_plan(registry, ["m"], ["d.a"])


def test_and_is_left_out_with_a_note_when_a_glob_gives_it(registry: Registry) -> None:
    cells, notes = make_plan(registry, ["m"], ["d.*"])
    assert [cell.benchmark.name for cell in cells] == ["d.b"]
    assert len(notes) == 1
    assert notes[0].startswith("skipped: d.a is scored by 'absent'")


def test_another_metric_scores_it(registry: Registry) -> None:
    cells, notes = make_plan(registry, ["m"], ["d.*"], metric="there")
    assert [cell.benchmark.name for cell in cells] == ["d.a", "d.b"]
    assert notes == []


def test_an_absent_metric_that_is_named_is_an_error(registry: Registry) -> None:
    with pytest.raises(InputError, match=r"^unknown metric 'nowhere'"):
        make_plan(registry, ["m"], ["d.*"], metric="nowhere")


def test_several_metrics_of_one_model_on_one_benchmark_stand_together(registry: Registry) -> None:
    cells, _ = make_plan(registry, ["m"], ["d.b"], metric=["there", "ceiling", "there"])
    assert [(cell.metric.identifier, cell.models == ()) for cell in cells] == [("ceiling", True), ("there", False)]


def test_a_metric_of_the_target_alone_needs_no_model(registry: Registry) -> None:
    cells, _ = make_plan(registry, [], ["d.b"], metric="ceiling")
    assert [cell.name for cell in cells] == ["ceiling on d.b"]
    with pytest.raises(InputError, match="name at least one model"):
        make_plan(registry, [], ["d.b"], metric=["ceiling", "there"])


def test_models_and_layers_named_for_a_metric_that_takes_none_are_left_out_with_a_note(registry: Registry) -> None:
    cells, notes = make_plan(registry, ["m"], ["d.b"], metric="ceiling")
    assert [cell.models for cell in cells] == [()]
    assert notes == ["ceiling takes no model: m left out"]
    (named,), notes = make_plan(registry, [], ["d.b"], metric="ceiling", layer="one")
    assert (named.address, notes) == (cells[0].address, ["ceiling takes no model: --layer one left out"])
    assert make_plan(registry, [], ["d.b"], metric="ceiling")[1] == []
    assert make_plan(registry, ["m"], ["d.b"], metric=["there", "ceiling"])[1] == []


@pytest.mark.parametrize(
    ("name", "metric", "words"),
    [
        ("simulated.V4", "encoding:preset=brainscore-pls,components=3", "a recipe of its own, without components"),
        ("kriegeskorte92.mIT", "rsa:target_distance=crossnobis", "target_distance=crossnobis is for responses"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused_before_anything_is_computed(
    name: str, metric: str, words: str
) -> None:
    registry = Registry(installed=False)
    with pytest.raises(InputError, match=words):
        make_plan(registry, ["pixels"], [name], metric=metric)
    _, notes = make_plan(registry, ["pixels"], [name.replace("V4", "*").replace("mIT", "*")], metric=metric)
    assert all(words in note for note in notes)
    assert notes
