"""RDMs: order, hash, averages against numpy, the way to netCDF and back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from benchmark_core import InputError, RDMs

IDS = ("d", "a", "c", "b")


def three() -> np.ndarray:
    random = np.random.Generator(np.random.Philox(0))
    return np.stack([squareform(pdist(random.normal(size=(4, 6)), "correlation")) for _ in range(3)])


def test_rows_and_columns_are_sorted_together() -> None:
    values = three()
    rdms = RDMs(IDS, values, ("S1", "S1", "S2"), ("1", "2", "1"))
    assert rdms.stimulus_ids == ("a", "b", "c", "d")
    for i, first in enumerate(rdms.stimulus_ids):
        for j, second in enumerate(rdms.stimulus_ids):
            assert np.array_equal(rdms.values[:, i, j], values[:, IDS.index(first), IDS.index(second)])
    order = [2, 0, 3, 1]
    shuffled = RDMs(tuple(IDS[i] for i in order), values[:, order][:, :, order], ("S1", "S1", "S2"), ("1", "2", "1"))
    assert shuffled.hash == rdms.hash
    assert rdms.at(["c", "a"]).values.shape == (3, 2, 2)
    assert rdms.at(["c", "a"]).values[0, 0, 1] == values[0, 1, 2]


def test_averages_skip_what_was_not_measured() -> None:
    values = three()
    values[0, 1, 2] = values[0, 2, 1] = np.nan
    values[:, 0, 3] = values[:, 3, 0] = np.nan
    average = RDMs(tuple(sorted(IDS)), values, "S1").average()
    assert average[1, 2] == pytest.approx(values[1:, 1, 2].mean())
    assert np.isnan(average[0, 3])
    assert average[0, 1] == pytest.approx(values[:, 0, 1].mean())


def test_subjects_and_netcdf() -> None:
    rdms = RDMs(IDS, three().astype(np.float32), ("S1", "S2", "S1"), ("1", "1", "2"), "1 - r")
    assert rdms.contents == "3 RDMs of 2 subjects"
    assert rdms.of_subject("S1").sessions == ("1", "2")
    assert np.array_equal(rdms.of_subject("S2").values[0], rdms.values[1])
    again = RDMs.from_xarray(rdms.to_xarray())
    assert (again.hash, again.measure, again.subjects) == (rdms.hash, "1 - r", rdms.subjects)
    assert RDMs(IDS, three(), ("S1", "S2", "S1"), ("1", "2", "1")).hash != rdms.hash
    with pytest.raises(InputError, match="no variable 'session'"):
        RDMs.from_xarray(rdms.to_xarray().drop_vars("session"))


def spoil(what: str) -> np.ndarray:
    values = three()
    if what == "infinite":
        values[1, 0, 1] = values[1, 1, 0] = np.inf
    elif what == "asymmetric":
        values[1, 0, 1] += 0.1
    elif what == "diagonal":
        values[1, 2, 2] = 0.5
    elif what == "half":
        values[1, 0, 1] = np.nan
    return values


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("infinite", "RDM of S2, session 2 holds an infinite value"),
        ("asymmetric", "not symmetric"),
        ("half", "not symmetric"),
        ("diagonal", "not zero on its diagonal"),
    ],
)
def test_bad_entries_name_the_rdm(what: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        RDMs(IDS, spoil(what), ("S1", "S2", "S3"), ("1", "2", "3"))


def test_bad_shapes() -> None:
    with pytest.raises(InputError, match=r"shape \(4, 4\)"):
        RDMs(IDS, three()[0], "S1")
    with pytest.raises(InputError, match="expected"):
        RDMs(IDS[:3], three(), "S1")
    with pytest.raises(InputError, match="3 RDMs come with 2 subjects"):
        RDMs(IDS, three(), ("S1", "S2"))
    with pytest.raises(InputError, match="duplicate stimulus_id 'a'"):
        RDMs(("a", "a", "b", "c"), three(), "S1")
    with pytest.raises(InputError, match="must be numbers"):
        RDMs(IDS, three().astype(str), "S1")
