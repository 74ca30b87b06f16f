"""Responses: shapes, order, hashes, averages, netCDF, and what happens when they are wrong."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def make(trials: bool = True, n: int = 6, neuroids: int = 4, repetitions: int = 3, **changes: Any) -> Responses:
    values = random().poisson(3.0, (n, repetitions, neuroids)).astype(float)
    values[1, 2, :] = values[0, :, 3] = np.nan
    fields: dict[str, Any] = {
        "stimulus_ids": tuple(f"s{i}" for i in range(n)),
        "values": values if trials else values[:, 0],
        "neuroid_ids": tuple(f"n{i}" for i in range(neuroids)),
        "subjects": ("Tito", "Chabo", "Tito", "Chabo")[:neuroids],
        "region": "V4",
    }
    return Responses(**(fields | changes))


@pytest.mark.parametrize("trials", [True, False])
@given(order=st.permutations(range(6)))
def test_order_is_irrelevant(trials: bool, order: list[int]) -> None:
    responses = make(trials)
    other = make(
        trials,
        stimulus_ids=tuple(responses.stimulus_ids[i] for i in order),
        values=responses.values[order],
    )
    assert other.stimulus_ids == responses.stimulus_ids
    assert np.array_equal(other.values, responses.values, equal_nan=True)
    assert other.hash == responses.hash


def test_hash_sees_everything_that_matters_and_nothing_else() -> None:
    responses = make()
    changed = responses.values.copy()
    changed[3, 1, 2] += 1e-9
    others = [
        make(values=changed),
        make(region="IT"),
        make(subjects=("Tito",) * 4),
        make(neuroid_ids=("n0", "n1", "n2", "x")),
        make(stimulus_ids=("s0", "s1", "s2", "s3", "s4", "x")),
        make(values=responses.values[:, :2]),
        make(trials=False),
    ]
    assert len({r.hash for r in [responses, *others]}) == len(others) + 1
    odd_nan = responses.values.copy()
    odd_nan.view(np.uint64)[np.isnan(odd_nan)] ^= np.uint64(0xF)
    assert np.isnan(odd_nan).sum() == np.isnan(responses.values).sum()
    assert make(values=odd_nan).hash == responses.hash
    negative_zero = np.where(responses.values == 0, -0.0, responses.values)
    assert make(values=negative_zero).hash == responses.hash
    assert make(values=responses.values.astype(np.float32)).hash == responses.hash


def test_averages_are_those_of_nanmean() -> None:
    responses = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an all-NaN presentation, on purpose
        expected = np.nanmean(responses.values, axis=1)
    np.testing.assert_allclose(responses.averages(), expected, rtol=1e-15)
    assert np.isnan(responses.averages()[0, 3])
    averages = make(trials=False)
    assert averages.averages() is averages.values
    assert not averages.has_trials


def test_subjects() -> None:
    responses = make()
    assert responses.subject_names == ("Chabo", "Tito")
    tito = responses.of_subject("Tito")
    assert tito.neuroid_ids == ("n0", "n2")
    assert tito.region == "V4"
    assert np.array_equal(tito.values, responses.values[..., [0, 2]], equal_nan=True)
    assert make(subjects="Tito").subjects == ("Tito",) * 4


def test_at_selects_by_id_and_names_what_is_missing() -> None:
    responses = make()
    part = responses.at(["s4", "s1"])
    assert part.stimulus_ids == ("s1", "s4")
    assert np.array_equal(part.values, responses.values[[1, 4]], equal_nan=True)
    with pytest.raises(InputError, match="no responses to stimulus_id 'x'"):
        responses.at(["s1", "x"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.zeros((6, 4, 3))}, r"shape \(6, 4, 3\) for 6 stimulus ids, 4 neuroid ids"),
        ({"values": np.zeros((5, 3, 4))}, "for 6 stimulus ids"),
        ({"values": np.zeros(6)}, r"shape \(6,\); expected"),
        ({"values": np.zeros((6, 1, 3, 4))}, "expected"),
        ({"values": np.full((6, 4), "x")}, "must be numbers"),
        ({"values": np.full((6, 4), None)}, "must be numbers"),
        ({"values": np.zeros((6, 4), dtype=complex)}, "must be numbers"),
        ({"values": np.zeros((6, 4), dtype=bool)}, "must be numbers"),
        ({"values": np.where(np.arange(24).reshape(6, 4) == 6, np.inf, 0.0)}, "'n2' hold an infinite value"),
        ({"stimulus_ids": ("s0", "s1", "s2", "s3", "s4", "s4")}, "duplicate stimulus_id 's4'"),
        ({"neuroid_ids": ("n0", "n1", "n1", "n3")}, "duplicate neuroid_id 'n1'"),
        ({"subjects": ("Tito",)}, "1 subjects"),
        ({"values": np.zeros((6, 0)), "neuroid_ids": (), "subjects": ()}, "no neuroids"),
    ],
)
def test_bad_responses_are_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("trials", [True, False])
def test_netcdf_round_trip(tmp_path: Path, trials: bool) -> None:
    responses = make(trials, subjects=("Tito", "Chäbo", "T i", "x"))
    responses.to_xarray().to_netcdf(tmp_path / "r.nc", engine="netcdf4")
    found = Responses.from_xarray(xr.load_dataset(tmp_path / "r.nc", engine="netcdf4"))
    assert found.hash == responses.hash
    assert found.subjects == responses.subjects
    assert found.region == "V4"


def test_dims_in_any_order() -> None:
    responses = make()
    turned = responses.to_xarray().transpose("neuroid", "stimulus", "repetition")
    assert Responses.from_xarray(turned).hash == responses.hash


def test_foreign_assembly_is_one_clear_error() -> None:
    dataset = make().to_xarray()
    with pytest.raises(InputError, match="no variable 'response', 'subject'"):
        Responses.from_xarray(dataset.drop_vars(["response", "subject"]))
    with pytest.raises(InputError, match="has dims"):
        Responses.from_xarray(dataset.rename_dims(stimulus="image"))


def test_trials_of_the_tested_stimuli_only(tmp_path: Path) -> None:
    whole = make()
    trials = whole.at(["s4", "s1"])
    lean = Responses(
        whole.stimulus_ids,
        whole.averages(),
        whole.neuroid_ids,
        whole.subjects,
        "V4",
        trials,
        np.array([0.5, np.nan, 0.25, 0]),
    )
    assert not lean.has_trials
    assert lean.tested(["s1"]).has_trials
    assert lean.tested(["s4", "s1"]).hash != whole.at(["s1", "s4"]).hash  # it carries the reliability
    assert np.array_equal(lean.tested(["s4"]).values, whole.values[[1, 4]], equal_nan=True)
    assert lean.tested(["s1", "s2"]) is lean
    assert whole.tested(["s1"]) is whole
    assert lean.at(["s0", "s4"]).trials is not None
    assert lean.at(["s0"]).trials is None
    tito = lean.of_subject("Tito")
    assert tito.trials is not None
    assert np.array_equal(tito.trials.values, trials.of_subject("Tito").values, equal_nan=True)
    assert np.array_equal(np.asarray(tito.reliability), [0.5, 0.25])
    lean.to_xarray().to_netcdf(tmp_path / "r.nc", engine="netcdf4")
    assert Responses.from_xarray(xr.load_dataset(tmp_path / "r.nc", engine="netcdf4")).hash == lean.hash
    without = Responses(whole.stimulus_ids, whole.averages(), whole.neuroid_ids, whole.subjects, "V4")
    assert len({lean.hash, without.hash, Responses(**{**vars(lean), "reliability": None}).hash}) == 3


def test_trials_that_do_not_belong_are_refused() -> None:
    whole = make()
    averages = {"values": whole.averages(), "neuroid_ids": whole.neuroid_ids, "subjects": whole.subjects}
    with pytest.raises(InputError, match="need averages of all"):
        Responses(whole.stimulus_ids, **(averages | {"values": whole.values}), trials=whole)
    with pytest.raises(InputError, match="no responses to stimulus_id 's5'"):
        Responses(whole.stimulus_ids[:5], **(averages | {"values": whole.averages()[:5]}), trials=whole)
    with pytest.raises(InputError, match=r"shape \(3,\) for 4 neuroids"):
        Responses(whole.stimulus_ids, **averages, reliability=np.zeros(3))


def test_neuroids_side_by_side_are_a_view_and_hash_like_a_copy() -> None:
    random = np.random.default_rng(0)
    trials = random.standard_normal((5, 4, 6))
    trials[1, 2, 3] = np.nan
    ids = tuple("abcde")
    subjects = ("one",) * 2 + ("two",) * 4
    whole = Responses(ids, trials, tuple("uvwxyz"), subjects)
    part = whole.of_subject("two")
    copied = Responses(ids, trials[..., 2:].copy(), tuple("wxyz"), "two")
    assert np.shares_memory(part.values, whole.values)
    assert part.hash == copied.hash
    np.testing.assert_array_equal(part.averages(), copied.averages())
    turned = Responses(ids, np.asfortranarray(trials), tuple("uvwxyz"), subjects)
    assert turned.values.flags.c_contiguous
    np.testing.assert_array_equal(turned.values, trials)
