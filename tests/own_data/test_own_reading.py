"""Every layout and format says the same; checked against the arrays that the files were made from, and pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from lab import (
    IDS,
    N_NEUROIDS,
    N_REPETITIONS,
    N_STIMULI,
    NEUROIDS,
    TRIALS,
    Lab,
    presentations,
    wide_rows,
    write_csv,
    write_long,
    write_wide,
)

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.own_data_layout import Hints
from benchmark_core.own_data_reading import read_responses
from benchmark_core.own_data_recordings import by_region, ranked, stack_presentations

EXPECTED = Responses(IDS, TRIALS, NEUROIDS, "M1", "V4")


def read(lab: Lab, *paths: Path, **options: Any) -> dict[str, Responses]:
    request = lab.request(*paths, **options)
    recordings, _ = read_responses(request, request.hints, lambda line: None)
    return by_region(recordings)


def same(found: Responses, expected: Responses = EXPECTED) -> None:
    """Check ids, subjects, region and values bit for bit; neuroids in any order."""
    order = [found.neuroid_ids.index(n) for n in expected.neuroid_ids]
    assert sorted(found.neuroid_ids) == sorted(expected.neuroid_ids)
    again = Responses(
        found.stimulus_ids,
        found.values[..., order],
        expected.neuroid_ids,
        tuple(found.subjects[i] for i in order),
        found.region,
    )
    assert again.hash == expected.hash


def dataset(values: np.ndarray = TRIALS, dims: tuple[str, ...] = ("stimulus", "repetition", "neuroid")) -> xr.Dataset:
    coordinates = {"stimulus_id": ("stimulus", list(IDS)), "neuroid_id": ("neuroid", list(NEUROIDS))}
    return xr.Dataset({"rates": (dims, values)}, coords=coordinates)


def test_a_column_for_each_neuroid(lab: Lab) -> None:
    same(read(lab, write_wide(lab.folder / "wide.csv"), subjects=("M1",))["V4"])


def test_a_row_for_each_response(lab: Lab) -> None:
    same(read(lab, write_long(lab.folder / "long.csv"), subjects=("M1",))["V4"])


def test_parquet_as_pandas_writes_it(lab: Lab) -> None:
    frame = pd.DataFrame(wide_rows(), columns=["stimulus_id", *NEUROIDS])
    frame.to_parquet(lab.folder / "wide.parquet")
    frame.set_index("stimulus_id").to_parquet(lab.folder / "indexed.parquet")
    for name in ("wide", "indexed"):
        same(read(lab, lab.folder / f"{name}.parquet", subjects=("M1",))["V4"])


def test_csv_as_pandas_writes_it_with_an_unnamed_index(lab: Lab) -> None:
    frame = pd.DataFrame(wide_rows(), columns=["id", *NEUROIDS])
    frame.to_csv(lab.folder / "numbered.csv")  # a first column without a name, 0, 1, 2, ...
    frame.set_index("id").rename_axis(None).to_csv(lab.folder / "indexed.csv")  # ids without a name
    for name in ("numbered", "indexed"):
        same(read(lab, lab.folder / f"{name}.csv", subjects=("M1",))["V4"])


@pytest.mark.parametrize(
    "axes", ["stimulus,repetition,neuroid", "neuroid,stimulus,repetition", "repetition,neuroid,stimulus"]
)
def test_arrays_with_axes_in_any_order(lab: Lab, axes: str) -> None:
    names = tuple(axes.split(","))
    np.save(lab.folder / "a.npy", TRIALS.transpose([("stimulus", "repetition", "neuroid").index(n) for n in names]))
    (lab.folder / "ids.txt").write_text("\n".join(IDS) + "\n")
    found = read(lab, lab.folder / "a.npy", ids=str(lab.folder / "ids.txt"), axes=names, subjects=("M1",))["V4"]
    assert found.neuroid_ids == ("n0", "n1", "n2", "n3")
    assert np.array_equal(found.values, TRIALS, equal_nan=True)


def test_rows_of_an_array_are_presentations_where_ids_repeat(lab: Lab) -> None:
    rows = presentations()
    np.save(lab.folder / "a.npy", np.array([values for _, _, values in rows]))
    write_csv(lab.folder / "ids.csv", ["trial_date", "image_id"], [["2020", i] for i, _, _ in rows])
    found = read(lab, lab.folder / "a.npy", ids=str(lab.folder / "ids.csv"), subjects=("M1",))["V4"]
    assert np.array_equal(found.values, TRIALS, equal_nan=True)


def test_npz_holds_its_own_ids(lab: Lab) -> None:
    np.savez(
        lab.folder / "a.npz",
        responses=TRIALS,
        stimulus_ids=np.array(IDS),
        neuroid_ids=np.array(NEUROIDS),
        subject=np.array(["M1"] * N_NEUROIDS),
    )
    same(read(lab, lab.folder / "a.npz", axes=("stimulus", "repetition", "neuroid"))["V4"])


@pytest.mark.parametrize(
    "dims",
    [
        ("stimulus", "repetition", "neuroid"),
        ("neuroid", "stimulus", "repetition"),
        ("repetition", "neuroid", "stimulus"),
    ],
)
def test_netcdf_with_dims_in_any_order(lab: Lab, dims: tuple[str, ...]) -> None:
    dataset().transpose(*dims).to_netcdf(lab.folder / "a.nc")
    same(read(lab, lab.folder / "a.nc", subjects=("M1",))["V4"])


def test_netcdf_of_presentations_with_everything_in_coordinates(lab: Lab) -> None:
    """As assemblies of presentations come: dims neuroid, presentation, time_bin; ids as coordinates."""
    rows = presentations()
    values = np.array([v for _, _, v in rows]).T[:, :, None]
    found = xr.DataArray(
        np.concatenate([values, values + 1]).astype("float32"),
        dims=("neuroid", "presentation", "time_bin"),
        coords={
            "image_id": ("presentation", [i for i, _, _ in rows]),
            "repetition": ("presentation", [r for _, r, _ in rows]),
            "object_name": ("presentation", ["x"] * len(rows)),
            "neuroid_id": ("neuroid", [*NEUROIDS, *(f"it{n}" for n in NEUROIDS)]),
            "region": ("neuroid", ["V4"] * 4 + ["IT"] * 4),
            "animal": ("neuroid", ["M1"] * 8),
            "time_bin_start": ("time_bin", [70]),
            "time_bin_end": ("time_bin", [170]),
        },
    )
    found.to_netcdf(lab.folder / "a.nc")
    regions = read(lab, lab.folder / "a.nc", regions=())
    assert list(regions) == ["IT", "V4"]
    single = TRIALS.astype("float32")
    same(regions["V4"], Responses(IDS, single, NEUROIDS, "M1", "V4"))
    assert regions["IT"].neuroid_ids == tuple(f"it{n}" for n in NEUROIDS)
    assert np.array_equal(regions["IT"].values, (TRIALS + 1).astype("float32"), equal_nan=True)


def test_time_bins_stack_onto_neuroids(lab: Lab) -> None:
    values = np.stack([TRIALS, TRIALS + 10], axis=-1)
    found = xr.Dataset(
        {"rates": (("stimulus", "repetition", "neuroid", "time"), values)},
        coords={"stimulus": list(IDS), "neuroid": list(NEUROIDS), "time": [50, 100]},
    )
    found.to_netcdf(lab.folder / "a.nc")
    responses = read(lab, lab.folder / "a.nc", subjects=("M1",))["V4"]
    assert responses.neuroid_ids == tuple(f"{n}@{t}" for n in NEUROIDS for t in (50, 100))
    assert np.array_equal(responses.values[..., ::2], TRIALS, equal_nan=True)
    assert np.array_equal(responses.values[..., 1::2], TRIALS + 10, equal_nan=True)


@pytest.mark.parametrize("kind", ["bytes", "ints"])
def test_ids_of_any_type(lab: Lab, kind: str) -> None:
    ids = np.array([i.encode() for i in IDS]) if kind == "bytes" else np.arange(N_STIMULI)
    np.savez(lab.folder / "a.npz", data=np.nanmean(TRIALS, axis=1), ids=ids)
    found = read(lab, lab.folder / "a.npz", subjects=("M1",))["V4"]
    expected = IDS if kind == "bytes" else tuple(sorted(map(str, range(N_STIMULI))))
    assert found.stimulus_ids == expected
    assert not found.has_trials


def test_long_and_wide_tables_agree_with_a_pivot_by_pandas(lab: Lab) -> None:
    random = np.random.Generator(np.random.Philox(3))
    frame = pd.DataFrame(
        {
            "image": random.choice([f"s{i}" for i in range(9)], 400),
            "unit": random.choice([f"x{i}" for i in range(5)], 400),
            "area": random.choice(["V4", "IT"], 400),
            "monkey": random.choice(["A", "B"], 400),
            "rate": random.normal(size=400),
        }
    )
    frame.to_csv(lab.folder / "long.csv", index=False, float_format=None)
    regions = read(lab, lab.folder / "long.csv", regions=())
    for region, responses in regions.items():
        means = frame[frame.area == region].pivot_table("rate", "image", ["monkey", "unit"], "mean")
        for subject, neuroid in means:
            at = responses.neuroid_ids.index(f"{subject}/{neuroid}")
            rows = [responses.stimulus_ids.index(i) for i in means.index]
            assert responses.averages()[rows, at] == pytest.approx(means[subject, neuroid].to_numpy(), nan_ok=True)
        counts = frame[frame.area == region].groupby(["image", "monkey", "unit"]).size()
        assert np.isfinite(responses.values).sum() == counts.sum()


def test_rows_of_several_subjects_and_regions_are_parted(lab: Lab) -> None:
    rows = [[i, "A", "V4", 1.0 + k, ""] for k, i in enumerate(IDS)] + [[i, "B", "V4", "", 2.0] for i in IDS[:3]]
    found = read(lab, write_csv(lab.folder / "a.csv", ["id", "subject", "region", "x", "y"], rows), regions=())["V4"]
    assert found.neuroid_ids == ("A/x", "B/y")
    assert found.subjects == ("A", "B")
    assert np.isnan(found.values[3:, 1]).all()


def test_files_of_one_subject_go_side_by_side(lab: Lab) -> None:
    """Other neuroids, other stimuli, and further repetitions of what is there."""
    first = TRIALS[:, :1, :2]
    a = write_csv(lab.folder / "a.csv", ["id", "u0", "u1"], [[IDS[i], *map(float, first[i, 0])] for i in range(24)])
    b = write_csv(
        lab.folder / "b.csv", ["id", "u2", "u3"], [[IDS[i], *map(float, TRIALS[i, 0, 2:])] for i in range(24)]
    )
    c = write_csv(lab.folder / "c.csv", ["id", *NEUROIDS], [[IDS[i], *TRIALS[i, 1]] for i in range(24) if i != 7])
    d = write_csv(
        lab.folder / "d.csv", ["id", *NEUROIDS], [[IDS[i], *TRIALS[i, 2]] for i in range(24) if i not in (5, 7)]
    )
    same(read(lab, a, b, c, d, subjects=("M1",))["V4"])


def test_two_subjects_have_their_names_before_their_neuroids(lab: Lab) -> None:
    a, b = write_wide(lab.folder / "a.csv"), write_wide(lab.folder / "b.csv", TRIALS + 1)
    found = read(lab, a, b, subjects=("M1", "M2"))["V4"]
    assert found.neuroid_ids == tuple(f"{s}/{n}" for s in ("M1", "M2") for n in NEUROIDS)
    assert np.array_equal(found.of_subject("M2").values, TRIALS + 1, equal_nan=True)


def test_a_repetition_column_orders_repetitions(lab: Lab) -> None:
    rows = [["a", 10, 3.0], ["a", 9, 2.0], ["a", 1, 1.0], ["b", 2, 5.0]]
    found = read(lab, write_csv(lab.folder / "a.csv", ["id", "rep", "x"], rows))["V4"]
    assert np.array_equal(found.values[..., 0], [[1, 2, 3], [5, np.nan, np.nan]], equal_nan=True)


def test_ranks_count_up_within_each_code() -> None:
    random = np.random.Generator(np.random.Philox(8))
    codes = random.integers(0, 7, 200)
    order, rank = ranked(codes)
    expected = pd.Series(codes).groupby(codes).cumcount().to_numpy()
    assert np.array_equal(rank, expected[order])
    names, values = stack_presentations(Path("x"), [str(c) for c in codes], np.arange(200.0)[:, None])
    for at, name in enumerate(names):
        kept = values[at, :, 0]
        assert kept[np.isfinite(kept)].tolist() == np.flatnonzero(codes == int(name)).tolist()


def test_a_blank_shown_all_the_time_does_not_fill_the_memory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark_core.own_data_recordings.MUCH", 10_000)
    rows = [["blank", 0.5]] * 200 + [[i, 1.0] for i in IDS]
    wide = write_csv(lab.folder / "a.csv", ["id", "x"], rows)
    long = write_csv(lab.folder / "b.csv", ["id", "rate", "unit"], [[*r, "x"] for r in rows])
    for path in (wide, long):
        with pytest.raises(InputError, match="'blank' was shown 200 times, far more often than others"):
            read(lab, path)


def test_running_numbers_that_pandas_wrote_are_no_neuroids(lab: Lab) -> None:
    frame = pd.DataFrame(wide_rows(), columns=["id", *NEUROIDS])
    frame.to_csv(lab.folder / "once.csv")
    pd.read_csv(lab.folder / "once.csv").to_csv(lab.folder / "twice.csv")
    found = read(lab, lab.folder / "twice.csv", subjects=("M1",))["V4"]
    assert found.neuroid_ids == NEUROIDS
    assert found.values == pytest.approx(EXPECTED.values, nan_ok=True)


def test_regions_become_identifiers(lab: Lab) -> None:
    path = write_wide(lab.folder / "a.csv")
    assert list(read(lab, path, regions=("early visual stream",))) == ["early_visual_stream"]
    with pytest.raises(InputError, match="cannot name a region"):
        read(lab, path, regions=("--",))


def test_the_same_file_twice_is_refused(lab: Lab) -> None:
    a, b = write_wide(lab.folder / "a.csv"), write_wide(lab.folder / "b.csv")
    with pytest.raises(InputError, match="holds the same as"):
        read(lab, a, b)


def test_averages_and_repetitions_do_not_mix_in_a_region(lab: Lab) -> None:
    a, b = write_wide(lab.folder / "a.csv"), write_wide(lab.folder / "b.csv", TRIALS[:, :1])
    with pytest.raises(InputError, match="'M1' came with repetitions, 'M2' with one response"):
        read(lab, a, b, subjects=("M1", "M2"))


def test_hints_are_not_needed_for_any_of_it() -> None:
    assert Hints() == Hints(None, (), None, None, None, (), ".", ())
    assert TRIALS.shape == (N_STIMULI, N_REPETITIONS, N_NEUROIDS)
