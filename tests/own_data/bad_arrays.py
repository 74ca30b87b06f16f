"""NumPy arrays and netCDF files of responses with something wrong in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from bad_cases import AVERAGES, array, case, netcdf, responses
from lab import IDS, TRIALS


@case
def an_array_of_objects(folder: Path, images: Path):
    np.save(folder / "o.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    return [*array(folder, AVERAGES)[2:], *responses(folder / "o.npy")], ("o.npy holds Python objects",)


@case
def an_array_of_texts(folder: Path, images: Path):
    return array(folder, AVERAGES.astype(str)), ("holds texts, not numbers",)


@case
def an_array_of_complex_numbers(folder: Path, images: Path):
    return array(folder, AVERAGES + 1j), ("holds complex numbers, not numbers",)


@case
def an_array_with_one_axis(folder: Path, images: Path):
    return array(folder, AVERAGES[:, 0]), ("has shape (24,)", "save array[:, None]")


@case
def a_transposed_array(folder: Path, images: Path):
    return array(folder, AVERAGES.T), ("shape (4, 24) for 24 ids", "add --axes neuroid,stimulus")


@case
def three_axes_without_names(folder: Path, images: Path):
    return array(folder, TRIALS), ("has 3 axes, (24, 3, 4)", "--axes stimulus,repetition,neuroid")


@case
def axes_of_another_number(folder: Path, images: Path):
    return [*array(folder, TRIALS), "--axes", "stimulus,neuroid"], ("has 3 axes, (24, 3, 4); --axes names 2",)


@case
def unknown_axes(folder: Path, images: Path):
    return [*array(folder, AVERAGES), "--axes", "stimulus,neuron"], ("'neuron' is no axis", "Did you mean neuroid?")


@case
def fewer_ids_than_rows(folder: Path, images: Path):
    return array(folder, AVERAGES, IDS[:-1]), ("that is 24 stimuli, but there are 23 ids",)


@case
def an_array_without_ids(folder: Path, images: Path):
    return array(folder, AVERAGES)[:2], ("does not say which stimulus each row is", "--ids ids.txt")


@case
def ids_that_are_not_there(folder: Path, images: Path):
    return [*array(folder, AVERAGES)[:3], str(folder / "no.txt")], ("no.txt does not exist", "needs --ids FILE")


@case
def a_truncated_array(folder: Path, images: Path):
    options = array(folder, AVERAGES)
    (folder / "a.npy").write_bytes((folder / "a.npy").read_bytes()[:300])
    return options, ("cannot be read as a NumPy array",)


@case
def an_infinite_value_in_an_array(folder: Path, images: Path):
    values = AVERAGES.copy()
    values[3, 2] = -np.inf
    return array(folder, values), ("neuroid 'n2' has an infinite value",)


@case
def an_archive_with_several_arrays(folder: Path, images: Path):
    np.savez(folder / "a.npz", x=AVERAGES, y=AVERAGES, ids=np.array(IDS))
    return responses(folder / "a.npz"), ("several variables of numbers, 'x', 'y'; name one with --variable",)


@case
def a_variable_that_is_not_there(folder: Path, images: Path):
    np.savez(folder / "a.npz", x=AVERAGES, ids=np.array(IDS))
    return [*responses(folder / "a.npz"), "--variable", "z"], ("has no variable 'z'", "it has 'x', 'ids'")


@case
def a_truncated_netcdf_file(folder: Path, images: Path):
    netcdf(folder, xr.Dataset({"x": (("stimulus", "neuroid"), AVERAGES)}))
    (folder / "a.nc").write_bytes((folder / "a.nc").read_bytes()[:500])
    return responses(folder / "a.nc"), ("cannot be read as netCDF",)


@case
def dims_with_unknown_names(folder: Path, images: Path):
    return (
        netcdf(folder, xr.Dataset({"x": (("dim_0", "neuroid"), AVERAGES)})),
        ("what 'dim_0' stands for is not known", "--axes stimulus,neuroid"),
    )


@case
def netcdf_without_ids(folder: Path, images: Path):
    return (
        netcdf(folder, xr.Dataset({"x": (("stimulus", "neuroid"), AVERAGES)})),
        ("no coordinate of stimulus ids known by its name along 'stimulus'", "--ids"),
    )


@case
def netcdf_without_numbers(folder: Path, images: Path):
    return netcdf(folder, xr.Dataset({"x": ("stimulus", list(IDS))})), ("no variable with numbers",)
