"""Reading arrays of responses: npy and npz with a list of ids; and what arrays of all formats share."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark_core.errors import InputError, did_you_mean
from benchmark_core.own_data_layout import (
    KINDS,
    NEUROIDS,
    REGIONS,
    REPETITIONS,
    RESPONSES,
    STIMULUS_IDS,
    SUBJECTS,
    Hints,
    check_named,
    id_column,
    known,
)
from benchmark_core.own_data_recordings import Recording, check_ids, stack_presentations
from benchmark_core.own_data_tables import CSV_SUFFIXES, PARQUET_SUFFIXES, name_some, open_table, read_lines

AXES = ("stimulus", "repetition", "neuroid", "time_bin")
TIME_BINS = ("time_bin", "time", "time_bins", "bin", "bins", "t")


@dataclass(frozen=True, eq=False)
class Labelled:
    """An array with what is known of its axes.

    Parameters
    ----------
    source
        The file.
    values
        The array, perhaps not read yet.
    axes
        What each axis stands for: ``stimulus``, ``repetition``, ``neuroid``, ``time_bin``.
    ids
        Stimulus of each row.
    neuroids
        Id of each neuroid, or None.
    bins
        Name of each time bin, or None.
    repetitions
        Repetition of each row, where rows are presentations; or None.
    regions, subjects
        Of each neuroid, one for all, or none.
    columns
        Further texts of each row.
    """

    source: Path
    values: Any
    axes: tuple[str, ...]
    ids: Sequence[str]
    neuroids: Sequence[str] | None = None
    bins: Sequence[str] | None = None
    repetitions: Sequence[str] | None = None
    regions: Sequence[str] = ()
    subjects: Sequence[str] = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)


def parse_axes(text: str) -> tuple[str, ...]:
    """Turn ``stimulus,repetition,neuroid`` into axes.

    Raises
    ------
    InputError
        For unknown or repeated names, or without stimulus and neuroid.
    """
    axes = tuple(name.strip() for name in text.split(","))
    for name in axes:
        if name not in AXES:
            raise InputError(
                f"--axes: {name!r} is no axis; there are {', '.join(AXES)}.{did_you_mean(name, list(AXES))}"
            )
    if len(set(axes)) < len(axes) or "stimulus" not in axes:
        raise InputError(f"--axes {text} is not allowed; name each axis once, 'stimulus' among them")
    return axes


def read_numpy(path: Path, hints: Hints, region: str | None, subject: str | None) -> list[Recording]:
    """Read an npy or npz file.

    Ids come from a file (``--ids``) with one id for each row, or from a variable of the npz file.

    Raises
    ------
    InputError
        If the file is no array of numbers, ids and rows do not match in number, or axes cannot be told apart.
    """
    variables = _load(path)
    numeric = {k: v for k, v in variables.items() if v.ndim >= 2 and v.dtype.kind in "fiu"}
    name = choose_variable(path, variables, numeric, hints.variable)
    values = variables[name]
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {_kind(values)}, not numbers; save it with np.save(path, array.astype(float))")
    if values.ndim < 2:
        raise InputError(
            f"{path} has shape {values.shape}; expected stimuli x neuroids: for a single neuroid save array[:, None]"
        )
    others = {k: v for k, v in variables.items() if k != name and v.ndim == 1}
    ids, columns = _ids_for(path, others, hints)
    axes = hints.axes or _guess_axes(path, values.shape, len(ids))
    _check_axes(path, axes, values.shape)
    sizes = dict(zip(axes, values.shape, strict=True))
    check_count(path, len(ids), sizes["stimulus"], values.shape)

    def along(candidates: Sequence[str], axis: str) -> list[str] | None:
        found = known([k for k, v in others.items() if len(v) == sizes.get(axis)], candidates)
        return None if found is None else texts_of(others[found])

    return split(
        Labelled(
            path,
            values,
            axes,
            ids,
            along(NEUROIDS, "neuroid") or along(("neuroid_ids", "neuron_ids", "unit_ids", "voxel_ids"), "neuroid"),
            along(TIME_BINS, "time_bin"),
            along(REPETITIONS, "stimulus") if "repetition" not in axes else None,
            along(REGIONS, "neuroid") or (),
            along(SUBJECTS, "neuroid") or (),
            columns,
        ),
        region,
        subject,
    )


def _load(path: Path) -> dict[str, np.ndarray]:
    what = "save numbers (np.save) and texts, no Python objects"
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {name: found[name] for name in found.files}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except (OSError, ValueError, TypeError, EOFError, OverflowError, MemoryError, zipfile.BadZipFile) as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise InputError(f"{path} holds Python objects, which are never opened; {what}") from None
        raise InputError(f"{path} cannot be read as a NumPy array ({error}); save it again with np.save") from None


def choose_variable(path: Path, variables: Mapping[str, Any], numeric: Mapping[str, Any], named: str | None) -> str:
    """Return the name of the variable that holds the responses.

    Raises
    ------
    InputError
        If there is none, or several and none is named.
    """
    if list(variables) == [""]:
        return ""
    if named is not None:
        if named not in variables:
            raise InputError(
                f"{path} has no variable {named!r} (named by --variable); it has {name_some(list(variables))}."
            )
        return named
    if not numeric:
        raise InputError(
            f"{path} has no variable with numbers of stimuli x neuroids; it has {name_some(list(variables))}"
        )
    found = next(iter(numeric)) if len(numeric) == 1 else known(list(numeric), RESPONSES)
    if found is None:
        raise InputError(
            f"{path} has several variables of numbers, {name_some(list(numeric))}; name one with --variable"
        )
    return found


def _kind(values: np.ndarray) -> str:
    kinds = {
        "O": "Python objects",
        "U": "texts",
        "S": "texts",
        "c": "complex numbers",
        "b": "true and false",
        "V": "records",
    }
    return kinds.get(values.dtype.kind, str(values.dtype))


def _guess_axes(path: Path, shape: tuple[int, ...], n_ids: int) -> tuple[str, ...]:
    if len(shape) > 2:
        raise InputError(
            f"{path} has {len(shape)} axes, {shape}: say what they are, e.g. --axes stimulus,repetition,neuroid"
        )
    if shape[0] != n_ids and shape[1] == n_ids:
        raise InputError(
            f"{path} has shape {shape} for {n_ids} ids: if neuroids come first, add --axes neuroid,stimulus"
        )
    return ("stimulus", "neuroid")


def _check_axes(path: Path, axes: Sequence[str], shape: tuple[int, ...]) -> None:
    if len(axes) != len(shape):
        raise InputError(f"{path} has {len(shape)} axes, {shape}; --axes names {len(axes)}")
    if "neuroid" not in axes:
        raise InputError(f"{path}: no axis is that of neuroids; name it with --axes, e.g. --axes stimulus,neuroid")


def check_count(path: Path, n_ids: int, n_rows: int, shape: tuple[int, ...]) -> None:
    """Check that there is an id for each row.

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    if n_ids != n_rows:
        raise InputError(
            f"{path} has shape {shape}, that is {n_rows} stimuli, but there are {n_ids} ids; one for each is needed"
        )


def texts_of(values: np.ndarray) -> list[str]:
    """Return an array as texts."""
    return [
        v.decode("utf-8", errors="replace").strip("\0 ") if isinstance(v, bytes) else str(v).strip()
        for v in values.tolist()
    ]


def _ids_for(path: Path, variables: Mapping[str, np.ndarray], hints: Hints) -> tuple[list[str], dict[str, list[str]]]:
    """Return the id of each row, and further columns of the rows, from a file or from variables beside the array."""
    if hints.ids is not None and hints.ids not in variables:
        return read_ids(Path(hints.ids), hints, path)
    name = hints.ids or known(list(variables), (*STIMULUS_IDS, "stimulus_ids", "image_ids", "ids", "image_names"))
    if name is None:
        raise InputError(
            f"{path} does not say which stimulus each row is: name a file with one id a line, e.g. --ids ids.txt"
        )
    columns = {}
    for column in hints.columns:
        if column not in variables or len(variables[column]) != len(variables[name]):
            raise InputError(f"{path} has no variable {column!r} of one value a stimulus (for groups or splits)")
        columns[column] = texts_of(variables[column])
    return texts_of(variables[name]), columns


def read_ids(path: Path, hints: Hints, responses: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Read the file of ids that goes with an array: a line, or a row of a table, for each row of the array.

    Returns
    -------
    The ids, and the columns of the table that are asked for.

    Raises
    ------
    InputError
        If it cannot be read, or is a text file where columns are asked for.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise InputError(
            f"{path} does not exist: {responses} needs --ids FILE with one stimulus id a line, in its order"
        )
    if suffix == ".npy":
        (ids,) = _load(path).values()
        if ids.ndim != 1 or ids.dtype.kind not in "USiu":
            raise InputError(f"{path} holds {_kind(ids)} of shape {ids.shape}; expected a list of ids")
        return texts_of(ids), _no_columns(path, hints)
    if suffix in PARQUET_SUFFIXES or suffix in CSV_SUFFIXES:
        table = open_table(path)
        if len(table.columns) > 1 or known(table.columns, STIMULUS_IDS):
            name = id_column(table, None)
            wanted = list(dict.fromkeys([name, *(table.column(c, "for groups or splits") for c in hints.columns)]))
            texts: dict[str, list[str]] = {column: [] for column in wanted}
            for block in table.blocks(wanted, ()):
                for column, values in block.texts.items():
                    texts[column] += values
            check_ids(path, texts[name])
            return texts[name], {column: texts[column] for column in hints.columns}
    return read_lines(path), _no_columns(path, hints)


def _no_columns(path: Path, hints: Hints) -> dict[str, list[str]]:
    if hints.columns:
        raise InputError(
            f"{path} holds ids only, no column {hints.columns[0]!r}; give a CSV file with a column of ids and this one"
        )
    return {}


def split(labelled: Labelled, region: str | None, subject: str | None) -> list[Recording]:
    """Return the recordings of each region and subject in an array.

    Raises
    ------
    InputError
        For infinite values, empty or doubled ids.
    """
    path = labelled.source
    check_ids(path, labelled.ids)
    present = [axis for axis in AXES if axis in labelled.axes]
    values = np.asarray(labelled.values).transpose([labelled.axes.index(axis) for axis in present])
    if 0 in values.shape:
        raise InputError(f"{path} has shape {values.shape}: it is empty")
    if "repetition" not in present:
        values = values[:, None]
    n_neuroids = values.shape[2]
    neuroids = list(labelled.neuroids or (f"n{i:0{len(str(n_neuroids - 1))}d}" for i in range(n_neuroids)))
    check_ids(path, neuroids, "neuroid id")
    whose = [
        _of_each(path, kind, said, name, n_neuroids)
        for kind, said, name in zip(KINDS, (labelled.regions, labelled.subjects), (region, subject), strict=True)
    ]
    keys = list(zip(whose[0], whose[1], strict=True))
    found = []
    for key in dict.fromkeys(keys):
        chosen = [i for i, k in enumerate(keys) if k == key]
        own = values if len(chosen) == n_neuroids else values[:, :, chosen]
        names = [neuroids[i] for i in chosen]
        if own.ndim == 4:
            bins = labelled.bins or [f"t{i}" for i in range(own.shape[3])]
            if len(bins) > 1:
                names = [f"{name}@{part}" for name in names for part in bins]
            own = own.reshape(*own.shape[:2], -1)
        repeated = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        if repeated:
            raise InputError(f"{path} has the neuroid id {repeated[0]!r} twice; every neuroid needs one of its own")
        own = own.astype(np.float64)
        if np.isinf(own).any():
            at = int(np.argwhere(np.isinf(own))[0][-1])
            raise InputError(f"{path}: neuroid {names[at]!r} has an infinite value; use NaN for what is missing")
        found.append(_recording(labelled, key, names, own))
    return found


def _recording(
    labelled: Labelled, key: tuple[str | None, str | None], names: list[str], values: np.ndarray
) -> Recording:
    path, ids = labelled.source, labelled.ids
    if len(set(ids)) < len(ids):
        if values.shape[1] > 1:
            repeated = next(i for i in ids if list(ids).count(i) > 1)
            raise InputError(f"{path} has the stimulus id {repeated!r} twice beside an axis of repetitions")
        unique, values = stack_presentations(path, ids, values[:, 0], labelled.repetitions)
    else:
        unique = tuple(ids)
    columns: dict[str, dict[str, str]] = {}
    for column, texts in labelled.columns.items():
        columns[column] = dict(zip(ids, texts, strict=True))
        for stimulus_id, text in zip(ids, texts, strict=True):
            if columns[column][stimulus_id] != text:
                raise InputError(
                    f"{path}, {column!r}: {stimulus_id!r} has several values; all its rows must have the same"
                )
    return Recording(path, *key, unique, tuple(names), values, columns)


def _of_each(path: Path, kind: str, said: Sequence[str], named: str | None, n: int) -> list[str | None]:
    check_named(path, kind, said, named)
    if named is not None or not said:
        return [named] * n
    return [said[0] or None] * n if len(said) == 1 else [text or None for text in said]
