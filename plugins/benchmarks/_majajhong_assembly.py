"""Reading the responses of Majaj, Hong et al. (2015): Brain-Score's single trials, and averages of one animal and region.

The assembly of single trials has 148 480 presentations of 256 neuroids. It is read in blocks of its first axis, and only
the trials of one region are held: 3200 stimuli x 51 repetitions x 168 neuroids, say, are 219 MB in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.stimuli import match_stimuli, name_ids

if TYPE_CHECKING:
    import xarray as xr

BLOCK_BYTES = 64_000_000
LARGEST_TRIALS = 4_000_000_000  # bytes of one region's trials; the public ones take 219 MB
STIMULUS_ID, SUBJECT = ("stimulus_id", "image_id"), ("animal", "subject")  # the names of newer and older files
LABELS = ("object_name", "category_name", "variation")


@dataclass(frozen=True, eq=False)
class Recording:
    """Responses of one region as they were read.

    Parameters
    ----------
    responses
        Neuroids are named ``SUBJECT/REGION/NUMBER``, subjects in the order of their names and numbers in the order of the
        recording's neuroids: averages alone come without names, and so both get the same.
    recorded_ids
        ``neuroid_id`` of each neuroid in the recording; empty for averages.
    labels
        ``{column: {stimulus_id: text}}``, as far as the recording has them.
    precision
        Relative rounding error of the numbers that were read.
    n_absent
        Presentations whose response is not a number, over all neuroids: they count as not recorded.
    """

    responses: Responses
    recorded_ids: tuple[str, ...]
    labels: Mapping[str, Mapping[str, str]]
    precision: float
    n_absent: int = 0


def read_trials(path: Path, region: str) -> Recording:
    """Read the single trials of one region from an assembly (neuroid x presentation x time_bin, in any order).

    Trials of a stimulus are put in the order of the coordinate ``repetition``, where there is one, else in that of the
    file.

    Parameters
    ----------
    path
        netCDF file with coordinates on presentation (``stimulus_id`` or ``image_id``; ``repetition``, ``object_name``,
        ``category_name``, ``variation`` if any) and neuroid (``neuroid_id``, ``animal`` or ``subject``, ``region``).
    region
        Which neuroids to read.

    Raises
    ------
    InputError
        If the file is damaged, lacks what is needed, holds infinite values, or has no number at all for a neuroid and a
        stimulus.
    """
    with _opened(path) as data:
        variable = _the_variable(path, data, ("neuroid", "presentation"))
        n_presentations = data.sizes["presentation"]
        regions = _texts(path, data, ("region",), "neuroid")
        rows = np.flatnonzero(np.array(regions) == region)
        if not len(rows):
            raise InputError(
                f"{path} holds no neuroids of region {region!r}; its regions are {name_ids(sorted(set(regions)))}"
            )
        animals = _texts(path, data, SUBJECT, "neuroid")
        rows = rows[np.argsort(np.array([animals[i] for i in rows]), kind="stable")]
        recorded = _texts(path, data, ("neuroid_id",), "neuroid")
        names, stimulus = np.unique(
            np.array(_texts(path, data, STIMULUS_ID, "presentation"), dtype=np.str_), return_inverse=True
        )
        place, n_repetitions = _places(path, data, stimulus)
        if 8 * len(names) * n_repetitions * len(rows) > LARGEST_TRIALS:
            raise InputError(
                f"{path}: {len(names)} stimuli with up to {n_repetitions} repetitions are no recording of this kind "
                f"({n_presentations} presentations); check its stimulus ids"
            )
        values = np.full((len(names), n_repetitions, len(rows)), np.nan)
        n_absent = 0
        for neuroids, presentations, block in _blocks(path, variable, rows):
            if np.isinf(block).any():
                p, k = np.argwhere(np.isinf(block))[0]
                raise InputError(
                    f"{path}: the response of neuroid {recorded[rows[neuroids][k]]!r} to stimulus_id "
                    f"{str(names[stimulus[presentations][p]])!r} is infinite; get the file again"
                )
            n_absent += int(np.isnan(block).sum())
            values[stimulus[presentations], place[presentations], neuroids] = block
        if n_absent:
            silent = np.argwhere(~np.isfinite(values).any(axis=1))
            if len(silent):
                i, k = silent[0]
                raise InputError(
                    f"{path}: neuroid {recorded[rows[k]]!r} has no response to stimulus_id {str(names[i])!r} that is a number "
                    f"(and {len(silent) - 1} more such pairs)"
                )
        labels = {
            label: {str(i): texts[p] for i, p in zip(names, _first(stimulus, len(names)), strict=True)}
            for label in LABELS
            if label in data.variables
            for texts in [_texts(path, data, (label,), "presentation")]
        }
        precision = float(np.finfo(variable.dtype).eps) if variable.dtype.kind == "f" else 0.0
    subjects = [animals[i] for i in rows]
    return Recording(
        _responses([str(i) for i in names], values, subjects, region),
        tuple(recorded[i] for i in rows),
        labels,
        precision,
        n_absent,
    )


def read_averages(files: Mapping[str, Path], region: str) -> Recording:
    """Read averages over repetitions, one file for each subject.

    Parameters
    ----------
    files
        netCDF file of each subject, with the variable ``x`` (stimulus_id x neuroid; further axes of length 1).
    region
        Of all of them.

    Raises
    ------
    InputError
        If a file is damaged, lacks what is needed, holds values that are not finite, or other stimuli than the first.
    """
    blocks: list[np.ndarray] = []
    subjects: list[str] = []
    stimuli: list[str] = []
    precision = 0.0
    for subject in sorted(files):
        path = files[subject]
        with _opened(path) as data:
            axis = next((d for d in STIMULUS_ID if d in data.dims), STIMULUS_ID[0])
            variable = _the_variable(path, data, (axis, "neuroid"), "x")
            found = _texts(path, data, STIMULUS_ID, axis)
            values = np.asarray(_read(path, variable.transpose(axis, "neuroid", ...)), dtype=np.float64)
            values = values.reshape(values.shape[0], values.shape[1])
            precision = max(precision, float(np.finfo(variable.dtype).eps) if variable.dtype.kind == "f" else 0.0)
        if len(set(found)) < len(found):
            repeated = sorted({i for i in found if found.count(i) > 1})
            raise InputError(
                f"{path} holds stimulus_id {name_ids(repeated)} more than once; averages have one row each"
            )
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"{path}: the response of neuroid {column} to stimulus_id {found[row]!r} is {values[row, column]}; "
                "averages are finite"
            )
        match_stimuli(stimuli or found, found, str(path))
        order = sorted(range(len(found)), key=found.__getitem__)
        stimuli = [found[i] for i in order]
        blocks.append(values[order])
        subjects += [subject] * values.shape[1]
    return Recording(_responses(stimuli, np.concatenate(blocks, axis=1), subjects, region), (), {}, precision)


def agree(trials: Responses, averages: Recording) -> bool:
    """Whether averages are those of the trials, for the same neuroids, as exactly as their own rounding allows."""
    given, known = averages.responses, trials.averages()
    if given.stimulus_ids != trials.stimulus_ids or given.neuroid_ids != trials.neuroid_ids:
        return False
    # Sums over about 50 trials, in the precision of the file: a thousand roundings are more than enough.
    scale = np.abs(known).max(axis=0)
    return bool((np.abs(given.values - known) <= 1000 * max(averages.precision, 2.3e-16) * scale).all())


def _responses(stimuli: Sequence[str], values: np.ndarray, subjects: Sequence[str], region: str) -> Responses:
    numbers = [subjects[:i].count(subject) for i, subject in enumerate(subjects)]
    names = tuple(f"{subject}/{region}/{number:03d}" for subject, number in zip(subjects, numbers, strict=True))
    return Responses(tuple(stimuli), values, names, tuple(subjects), region)


@contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    import xarray as xr

    try:
        data = xr.open_dataset(path, engine="netcdf4", decode_times=False, cache=False)
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from None
    with data:
        yield data


def _damaged(path: Path, error: Exception) -> InputError:
    detail = error.strerror if isinstance(error, OSError) and error.strerror else error
    return InputError(f"{path} cannot be read as netCDF ({' '.join(str(detail).split())[:100]}); get it again")


def _the_variable(path: Path, data: xr.Dataset, dims: Sequence[str], name: str | None = None) -> xr.Variable:
    """Return the one variable with the given dims; all its other axes must have length 1."""
    if name is not None and name not in data.variables:
        raise InputError(f"{path} has no variable {name!r}; it holds {name_ids(sorted(map(str, data.variables)))}")
    found = [name] if name is not None else [n for n in data.data_vars if set(dims) <= set(data[n].dims)]
    if len(found) != 1:
        raise InputError(
            f"{path} has {len(found)} variables with the dims {' and '.join(dims)}; expected one, the responses"
        )
    variable: xr.Variable = data.variables[found[0]]
    others = [d for d in variable.dims if d not in dims]
    if not set(dims) <= set(variable.dims) or any(variable.sizes[d] != 1 for d in others):
        shape = ", ".join(f"{d} {n}" for d, n in variable.sizes.items())
        raise InputError(
            f"{path}: {found[0]!r} has the axes ({shape}); expected {' and '.join(dims)}, and one time bin"
        )
    if variable.dtype.kind not in "fiu":
        raise InputError(f"{path}: {found[0]!r} holds {variable.dtype}, not numbers")
    if not all(variable.sizes.values()):
        raise InputError(f"{path}: {found[0]!r} is empty")
    return variable


def _texts(path: Path, data: xr.Dataset, names: Sequence[str], dim: str) -> list[str]:
    """Return a coordinate on ``dim`` as texts, under the first of its names that is there."""
    for name in names:
        if name in data.variables and data.variables[name].dims == (dim,):
            values = _read(path, data.variables[name])
            return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]
    raise InputError(f"{path} has no coordinate {' or '.join(map(repr, names))} on {dim!r}")


def _read(path: Path, variable: xr.Variable) -> np.ndarray:
    try:
        return np.asarray(variable.values)
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise _damaged(path, error) from None


def _places(path: Path, data: xr.Dataset, stimulus: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the place of each presentation among those of its stimulus, and the largest number of repetitions."""
    n = len(stimulus)
    keys = [np.arange(n)]
    if "repetition" in data.variables and data.variables["repetition"].dims == ("presentation",):
        values = _read(path, data.variables["repetition"])
        if values.dtype.kind in "fiu":
            keys.append(values)
    order = np.lexsort((*keys, stimulus))
    counts = np.bincount(stimulus)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n) - starts[stimulus[order]]
    return place, int(counts.max())


def _first(stimulus: np.ndarray, n: int) -> np.ndarray:
    """Return the position of the first presentation of each stimulus."""
    first = np.empty(n, dtype=np.int64)
    first[stimulus[::-1]] = np.arange(len(stimulus))[::-1]
    return first


def _blocks(path: Path, variable: xr.Variable, rows: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield (neuroids among ``rows``, presentations, responses (presentations, neuroids)) in blocks of the first axis.

    Blocks are cut where the file's own chunks end, so that no chunk is unpacked twice.
    """
    squeezed = [d for d in variable.dims if d in ("neuroid", "presentation")]
    first, n = squeezed[0], variable.sizes[squeezed[0]]
    row_bytes = variable.dtype.itemsize * variable.sizes[squeezed[1]]
    chunks = variable.encoding.get("chunksizes") or (1,) * variable.ndim
    chunk = max(1, int(chunks[variable.dims.index(first)]))
    size = max(chunk, BLOCK_BYTES // row_bytes // chunk * chunk)
    for start in range(0, n, size):
        stop = min(start + size, n)
        if first == "presentation":
            block = _read(path, variable.isel(presentation=slice(start, stop)).transpose(..., *squeezed))
            yield slice(None), slice(start, stop), block.reshape(stop - start, -1)[:, rows]
            continue
        inside = np.flatnonzero((rows >= start) & (rows < stop))
        if not len(inside):
            continue
        block = _read(path, variable.isel(neuroid=slice(start, stop)).transpose(..., *squeezed))
        block = block.reshape(stop - start, -1)
        # Rows are ordered by subject, so those inside a block may lie in several runs.
        for run in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
            yield slice(int(run[0]), int(run[-1]) + 1), slice(None), block[rows[run] - start].T
