"""Identifiers: typed parameters, the grammar, and the one canonical form; callables by their names."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_core.errors import InputError
from benchmark_core.identifiers import Parameter, Value, canonical, format_value, resolve_parameters, split_identifier
from benchmark_core.resolution import import_target, resolve
from benchmark_core.specs import ModelSpec

PARAMETERS = (
    Parameter("filters", "int", 3000, minimum=1, maximum=2**40),
    Parameter("first", "int", minimum=1),
    Parameter("gain", "float", 1.0, minimum=-10, maximum=10),
    Parameter("pooled", "bool", False),
    Parameter("init", "str", "uniform", choices=("uniform", "normal")),
    Parameter("weights", "str"),
)
VARIANTS: dict[str, dict[str, Value]] = {
    "toy-small": {"filters": 10},
    "toy-small-normal": {"filters": 10, "init": "normal"},
    "toy-loud": {"gain": 2},  # an int for a float parameter
}


def toy(**changes: Any) -> ModelSpec:
    declared: dict[str, Any] = {"name": "toy", "version": 1, "load": dict}
    return ModelSpec(**declared | {"parameters": PARAMETERS, "variants": VARIANTS} | changes)


def read(identifier: str) -> Any:
    return resolve(toy(), *split_identifier(identifier))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toy:", "ends with ':' but names no parameter"),
        ("toy:filters", "'filters' in 'toy:filters' is not a parameter: expected key=value"),
        ("toy:filters=", "is not a parameter"),
        ("toy:=3", "is not a parameter"),
        ("toy:filters=3,", "'' in 'toy:filters=3,' is not a parameter"),
        ("toy:filters=3,filters=4", "names the parameter 'filters' twice"),
        ("", "'' is not an identifier"),
        (":filters=3", "is not an identifier"),
        ("to y", "is not an identifier"),
        ("../toy", "is not an identifier"),
        ("toy;rm", "is not an identifier"),
    ],
)
def test_grammar(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        split_identifier(text)


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("toy:filters=abc", "toy: filters=abc is not allowed; filters must be a whole number from 1 to"),
        ("toy:filters=0", "a whole number from 1 to"),
        ("toy:filters=2.5", "a whole number from 1 to"),
        ("toy:filters=" + "9" * 40, "a whole number from 1 to"),
        ("toy:filters=" + "9" * 5000, "a whole number from 1 to"),
        ("toy:first=-1", "first must be a whole number of at least 1"),
        ("toy:gain=nan", "gain must be a number from -10 to 10"),
        ("toy:gain=inf", "gain must be a number from -10 to 10"),
        ("toy:gain=1e999", "gain must be a number from -10 to 10"),
        ("toy:gain=10.001", "gain must be a number from -10 to 10"),
        ("toy:pooled=1", "pooled must be true or false"),
        ("toy:init=gaussian", "init must be one of uniform, normal"),
        ("toy:weights=a b", "weights must be a text of letters, digits and"),
        ("toy:filter=3", "toy has no parameter 'filter' (it has filters, first, gain, pooled, init, weights)."),
        ("toy:filter=3", "Did you mean filters"),
        ("toy-small:filter=3", "toy-small has no parameter 'filter'"),
    ],
)
def test_values_that_are_not_allowed(identifier: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(identifier)
    assert "\n" not in str(caught.value)


def test_a_spec_without_parameters_says_so() -> None:
    with pytest.raises(InputError, match=r"plain has no parameter 'a' \(it has none\)"):
        resolve_parameters("plain", (), {"a": "1"})


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (Parameter("a", "int"), True),
        (Parameter("a", "int"), 1.0),
        (Parameter("a", "bool"), 1),
        (Parameter("a", "str"), 1),
        (Parameter("a", "float"), True),
        (Parameter("a", "float"), math.nan),
        (Parameter("a", "float"), 10**400),
        (Parameter("a", "float", maximum=3), 3.5),
        (Parameter("a", "int", multiple_of=12), 50),
    ],
)
def test_python_values_are_checked_like_text(parameter: Parameter, value: Any) -> None:
    with pytest.raises(InputError, match="is not allowed"):
        resolve_parameters("toy", (parameter,), {"a": value})


def test_what_is_allowed_in_words() -> None:
    assert Parameter("a", "int", maximum=3).allowed == "a whole number of at most 3"
    assert Parameter("a", "int", minimum=12, multiple_of=12).allowed == "a multiple of 12 of at least 12"
    assert Parameter("a", "float").allowed == "a number"
    assert Parameter("a", "float", choices=(0.5, 1.0)).allowed == "one of 0.5, 1"


def test_canonical_form_sorts_keys_and_drops_defaults() -> None:
    resolved = read(" toy:pooled=TRUE,init=uniform,gain=0.50,filters=03000 ")
    assert resolved.identifier == "toy:gain=0.5,pooled=true"
    assert resolved.given == {"gain": 0.5, "pooled": True}
    assert resolved.parameters == {
        "filters": 3000, "first": None, "gain": 0.5, "pooled": True, "init": "uniform", "weights": None
    }  # fmt: skip
    assert read("toy:filters=3000").identifier == "toy"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("toy-small", "toy:filters=10", "toy-small"),
        ("toy-small:init=normal", "toy:init=normal,filters=10", "toy-small-normal"),
        ("toy-small-normal:init=uniform", "toy-small", "toy-small"),
        ("toy-small:filters=3000", "toy", "toy"),
        ("toy-small:filters=20", "toy:filters=20", "toy:filters=20"),
        ("toy-loud", "toy:gain=2", "toy-loud"),
        ("toy-loud:pooled=true", "toy:gain=2e0,pooled=true", "toy-loud:pooled=true"),
        ("toy:gain=-0.0", "toy:gain=0", "toy:gain=0"),
    ],
)
def test_a_variant_is_a_name_for_parameters(one: str, other: str, expected: str) -> None:
    first, second = read(one), read(other)
    assert first.identifier == second.identifier == expected
    assert list(first.given.items()) == list(second.given.items())
    # Keys are made of JSON, where 2 and 2.0 differ.
    assert [type(v) for v in first.given.values()] == [type(v) for v in second.given.values()]


def test_variants_may_be_written_as_text() -> None:
    spec = toy(variants={"toy-ten": {"filters": "10"}})
    assert resolve(spec, "toy-ten", {}).parameters["filters"] == 10
    assert resolve(spec, "toy", {"filters": "10"}).identifier == "toy-ten"


values = st.fixed_dictionaries(
    {},
    optional={
        "filters": st.integers(1, 2**40) | st.just(10),
        "first": st.integers(1, 10**30),
        "gain": st.floats(-10, 10) | st.just(2.0),
        "pooled": st.booleans(),
        "init": st.sampled_from(["uniform", "normal"]),
        "weights": st.from_regex(r"[A-Za-z0-9@._/\\~+:-]+", fullmatch=True),
    },
)


@given(values, st.sampled_from(["toy", *VARIANTS]), st.randoms())
def test_canonical_form_round_trips(given_values: dict[str, Value], name: str, shuffle: Any) -> None:
    items = list(given_values.items())
    shuffle.shuffle(items)
    text = name + (":" + ",".join(f"{k}={format_value(v)}" for k, v in items) if items else "")
    resolved = read(text)
    assert resolved.parameters == {p.name: p.default for p in PARAMETERS} | VARIANTS.get(name, {}) | given_values
    again = read(resolved.identifier)
    assert again.identifier == resolved.identifier
    assert list(again.given.items()) == list(resolved.given.items())
    # Written out in full it is still the same model.
    assert read(canonical("toy", resolved.given)).identifier == resolved.identifier


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_being_written(value: float) -> None:
    text = format_value(value)
    assert float(text) == value
    assert re.fullmatch(r"[A-Za-z0-9.+-]+", text)


def test_callables_by_their_names() -> None:
    assert import_target(len) is len
    assert import_target("math:hypot") is math.hypot
