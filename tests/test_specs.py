"""Specs: what they refuse, and what they know of themselves."""

from __future__ import annotations

from typing import Any

import pytest
from test_resolution import PARAMETERS, VARIANTS, toy

from benchmark_core.errors import InputError
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import BenchmarkSpec, MetricSpec, ModelFamily, ModelSpec
from benchmark_core.splits import KFold


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (Parameter("a", "int", "x"), "must be a whole number"),
        (Parameter("a", "int", 0, minimum=1), "at least 1"),
        (Parameter("a", "int", 50, multiple_of=12), "a multiple of 12"),
        (Parameter("a", "str", "x", choices=("y",)), "one of y"),
        (Parameter("a", "str", choices=("has space",)), "has space"),
        (Parameter("a-b", "int"), "keyword"),
        (Parameter("a", "integer"), "use int, float, bool or str"),
    ],
)
def test_a_wrong_declaration_is_refused(parameter: Parameter, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MetricSpec(name="m", version=1, compute=dict, parameters=(parameter,))


def test_wrong_names_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be a model's name"):
        toy(name="two words")
    with pytest.raises(InputError, match="cannot be a variant's name"):
        toy(variants={"toy:x": {}})
    with pytest.raises(InputError, match="toy-x: filters=0 is not allowed"):
        toy(variants={"toy-x": {"filters": 0}})
    with pytest.raises(InputError, match="declares the parameter 'filters' twice"):
        toy(parameters=(PARAMETERS[0], PARAMETERS[0]), variants={})
    with pytest.raises(InputError, match="cannot be a metric's name"):
        MetricSpec(name="", version=1, compute=dict)
    with pytest.raises(InputError, match="cannot be the prefix"):
        ModelFamily(prefix="zoo/", names=list, resolve=lambda name: toy(name=name))
    declared: dict[str, Any] = {"version": 1, "stimuli": dict, "target": dict, "splits": KFold()}
    for name in ("V4", "data.V4.x", "data.", "data.V4 x"):
        with pytest.raises(InputError, match=r"expected DATASET\.REGION"):
            BenchmarkSpec(name=name, **declared)


def test_a_spec_knows_where_it_was_written() -> None:
    spec = ModelSpec(name="here", version=1, load=dict)
    path, _, line = spec.origin.rpartition(":")
    assert path == __file__
    with open(path, encoding="utf-8") as source:
        assert 'ModelSpec(name="here"' in source.readlines()[int(line) - 1]
    assert spec == ModelSpec(name="here", version=1, load=dict)  # origin is no part of what it is


def test_a_model_has_the_names_of_its_variants() -> None:
    assert toy().names == ("toy", *VARIANTS)
