"""Labels: order, hash, the way to netCDF and back, and what is refused."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from benchmark_core import InputError, Labels

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


@given(st.dictionaries(NAMES, st.one_of(st.just(""), NAMES), min_size=1, max_size=12), st.randoms())
def test_order_of_stimuli_is_irrelevant(labels: dict[str, str], random: Random) -> None:
    if not any(labels.values()):
        labels = {**labels, "one": "category"}
    items = list(labels.items())
    random.shuffle(items)
    given_order = Labels(tuple(labels), tuple(labels.values()))
    shuffled = Labels(tuple(i for i, _ in items), tuple(label for _, label in items))
    assert shuffled.stimulus_ids == given_order.stimulus_ids == tuple(sorted(labels))
    assert shuffled.labels == given_order.labels
    assert shuffled.hash == given_order.hash
    again = Labels.from_xarray(given_order.to_xarray())
    assert (again.stimulus_ids, again.labels, again.hash) == (
        given_order.stimulus_ids,
        given_order.labels,
        given_order.hash,
    )


def test_hash_tells_labels_and_ids_apart() -> None:
    hashes = {
        Labels(ids, labels).hash
        for ids, labels in (
            (("a", "b"), ("x", "y")),
            (("a", "b"), ("y", "x")),
            (("a", "c"), ("x", "y")),
            (("a", "b"), ("x", "")),
            (("a", "bx"), ("y", "z")),
        )
    }
    assert len(hashes) == 5


def test_categories_leave_out_what_has_no_label() -> None:
    labels = Labels(("a", "b", "c"), ("sea", "", "hill"))
    assert labels.categories == ("hill", "sea")
    assert labels.contents == "2 categories"
    assert labels.at(["c", "a"]).labels == ("sea", "hill"), "sorted by id"


@pytest.mark.parametrize(
    ("ids", "labels", "words"),
    [
        (("a", "a"), ("x", "y"), "duplicate stimulus_id 'a'"),
        (("a", "b"), ("x",), "1 labels for 2"),
        (("a", "b"), ("", ""), "no stimulus has a label"),
    ],
)
def test_bad_labels(ids: tuple[str, ...], labels: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Labels(ids, labels)


def test_unknown_ids_are_named() -> None:
    with pytest.raises(InputError, match="no label of stimulus_id 'z'"):
        Labels(("a",), ("x",)).at(["z"])


def test_damaged_netcdf() -> None:
    good = Labels(("a", "b"), ("x", "y")).to_xarray()
    with pytest.raises(InputError, match="no variable 'category_name'"):
        Labels.from_xarray(good.drop_vars("category_name"))
    for codes in ([0, 2], [-2, 0], [0.5, 1.0]):
        with pytest.raises(InputError, match="must hold one position from -1 to 1"):
            Labels.from_xarray(good.assign(label=xr.DataArray(np.array(codes), dims="stimulus")))
