"""Reading netCDF files as xarray writes them, with dims in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark_core.errors import InputError
from benchmark_core.own_data_arrays import (
    TIME_BINS,
    Labelled,
    check_count,
    choose_variable,
    read_ids,
    split,
    texts_of,
)
from benchmark_core.own_data_layout import (
    NEUROIDS,
    REGIONS,
    REPETITIONS,
    STIMULUS_IDS,
    SUBJECTS,
    Hints,
    known,
)
from benchmark_core.own_data_recordings import Recording
from benchmark_core.own_data_tables import name_some

# What dims are called, beside the names of the coordinates that they carry.
DIMS: Mapping[str, Sequence[str]] = {
    "stimulus": (*STIMULUS_IDS, "presentation", "presentations"),
    "neuroid": NEUROIDS,
    "repetition": tuple(name for name in REPETITIONS if name != "presentation"),
    "time_bin": TIME_BINS,
}


def read_netcdf(path: Path, hints: Hints, region: str | None, subject: str | None) -> list[Recording]:
    """Read a netCDF file, as xarray writes Datasets and DataArrays.

    Dims are told by their names, in any order; ids, repetitions, neuroids, subjects and regions are coordinates (or
    other variables) along them.

    Raises
    ------
    InputError
        If it cannot be read, or dims or ids are not known by their names.
    """
    import xarray as xr

    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; name a netCDF file")
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as dataset:
            return _read_dataset(path, dataset, hints, region, subject)
    except (OSError, RuntimeError, ValueError, KeyError, IndexError, AttributeError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(f"{path} cannot be read as netCDF ({reason}); write it again") from None


def _read_dataset(path: Path, dataset: Any, hints: Hints, region: str | None, subject: str | None) -> list[Recording]:
    variables = {str(k): v for k, v in dataset.variables.items()}
    data = {str(k): v for k, v in dataset.data_vars.items()}
    numeric = {k: v for k, v in data.items() if v.ndim >= 2 and v.dtype.kind in "fiu"}
    response = data.get(name := choose_variable(path, data, numeric, hints.variable))
    assert response is not None
    if response.dtype.kind not in "fiu" or response.ndim < 1:
        raise InputError(f"{path}: the variable {name!r} does not hold numbers of stimuli x neuroids")
    dims = tuple(map(str, response.dims))
    axes = hints.axes or tuple(_axis(path, dim, dims) for dim in dims)
    _check_dims(path, dims, axes)
    dim_of = dict(zip(axes, dims, strict=True))

    def along(axis: str, candidates: Sequence[str], column: str | None = None) -> list[str] | None:
        dim = dim_of.get(axis)
        fitting = [k for k, v in variables.items() if v.dims == (dim,) and k != name]
        found = (
            known(fitting, (*candidates, str(dim).lower())) if column is None else column if column in fitting else None
        )
        return None if found is None else texts_of(variables[found].values)

    def of_all(candidates: Sequence[str]) -> list[str]:
        scalar = known([k for k, v in variables.items() if v.ndim == 0], candidates)
        if scalar is not None:
            return texts_of(np.atleast_1d(variables[scalar].values))
        attributes = {**dataset.attrs, **response.attrs}
        named = known([str(k) for k in attributes], candidates)
        return [] if named is None or not str(attributes[named]).strip() else [str(attributes[named])]

    columns = {}
    for column in hints.columns:
        texts = along("stimulus", (), column)
        if texts is None:
            raise InputError(f"{path} has no coordinate {column!r} along {dim_of['stimulus']!r} (for groups or splits)")
        columns[column] = texts
    if hints.ids is not None and hints.ids not in variables and Path(hints.ids).exists():
        ids, columns = read_ids(Path(hints.ids), hints, path)
    else:
        found = along("stimulus", STIMULUS_IDS, hints.ids)
        if found is None:
            fitting = [k for k, v in variables.items() if v.dims == (dim_of["stimulus"],)]
            raise InputError(
                f"{path} has no coordinate of stimulus ids {'named ' + repr(hints.ids) if hints.ids else 'known by its name'} "
                f"along {dim_of['stimulus']!r}; name one with --ids (it has {name_some(fitting) or 'none'})"
            )
        ids = found
    check_count(path, len(ids), response.sizes[dim_of["stimulus"]], response.shape)
    start, end = along("time_bin", (), "time_bin_start"), along("time_bin", (), "time_bin_end")
    bins = [f"{a}-{b}" for a, b in zip(start, end, strict=True)] if start and end else along("time_bin", TIME_BINS)
    labelled = Labelled(
        path,
        response.values,
        axes,
        ids,
        along("neuroid", NEUROIDS),
        bins,
        along("stimulus", REPETITIONS) if "repetition" not in axes and _names_repetitions(variables, dim_of) else None,
        along("neuroid", (), _known_along(variables, dim_of["neuroid"], REGIONS)) or of_all(REGIONS),
        along("neuroid", (), _known_along(variables, dim_of["neuroid"], SUBJECTS)) or of_all(SUBJECTS),
        columns,
    )
    return split(labelled, region, subject)


def _known_along(variables: Mapping[str, Any], dim: str, candidates: Sequence[str]) -> str:
    return known([k for k, v in variables.items() if v.dims == (dim,)], candidates) or ""


def _names_repetitions(variables: Mapping[str, Any], dim_of: Mapping[str, str]) -> bool:
    """Whether a coordinate numbers the repetitions of presentations (the dim's own running number does not)."""
    dim = dim_of["stimulus"]
    found = known([k for k, v in variables.items() if v.dims == (dim,) and k != dim], REPETITIONS)
    return found is not None


def _axis(path: Path, dim: str, dims: Sequence[str]) -> str:
    for axis, names in DIMS.items():
        if known([dim], names):
            return axis
    raise InputError(
        f"{path} has the dims {', '.join(map(repr, dims))}; what {dim!r} stands for is not known by its name: "
        "say it, e.g. --axes stimulus,neuroid"
    )


def _check_dims(path: Path, dims: Sequence[str], axes: Sequence[str]) -> None:
    if len(dims) != len(axes):
        raise InputError(f"{path} has the dims {', '.join(map(repr, dims))}; --axes names {len(axes)}")
    for needed in ("stimulus", "neuroid"):
        if list(axes).count(needed) != 1:
            raise InputError(
                f"{path} has the dims {', '.join(map(repr, dims))}, of which {list(axes).count(needed)} stand for "
                f"{needed}; say what each is with --axes, e.g. --axes stimulus,neuroid"
            )
