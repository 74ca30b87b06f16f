"""What of a suite is recorded, has its kernels at hand, is left to compute, or lacks data; nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark_core.cells import Cell, cell_key, splits_of
from benchmark_core.datasets import read_manifest
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.offline import offline
from benchmark_core.pipeline import layer_keys
from benchmark_core.records import read_record, record_path
from benchmark_core.registry import Registry, describe
from benchmark_core.specs import BenchmarkSpec, SubjectSpec

if TYPE_CHECKING:
    from benchmark_core.store import Store

State = Literal["recorded", "kernels", "compute", "missing", "unusable"]
STATES: dict[State, str] = {
    "recorded": "recorded",
    "kernels": "kernels at hand",
    "compute": "to compute",
    "missing": "lacks data or weights",
    "unusable": "cannot be scored",
}
NOT_BUILT = "its simulated data is not built yet: the run builds it, or `bench data fetch {0}`"


@dataclass(frozen=True)
class CellState:
    """How far a cell is.

    Parameters
    ----------
    cell
        The cell.
    state
        ``recorded``; ``kernels``: only the metric is left; ``compute``; ``missing`` data or weights, ``problem`` says how
        to get them; ``unusable``, ``problem`` says why.
    key
        Key of the score, where it can be told.
    n_stimuli
        Stimuli of each subject, or of all together under an empty name; empty where that cannot be told.
    absent
        Subjects (or the empty name) by model, of which the store lacks kernels.
    problem
        One line.
    """

    cell: Cell
    state: State
    key: str | None
    n_stimuli: Mapping[str, int]
    absent: Mapping[str, tuple[str, ...]]
    problem: str = ""


def cell_states(
    cells: Sequence[Cell],
    registry: Registry,
    records: Path,
    store: Store,
    precision: str = "exact",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[CellState]:
    """Return the state of each cell; opens manifests and small records, downloads nothing and builds nothing.

    Parameters
    ----------
    cells
        What would be run.
    records
        Folder of score records; may not exist.
    store
        Where kernels are.
    progress
        Called with (cells looked at, of how many).
    """
    found = []
    with offline(True):
        for number, cell in enumerate(cells):
            progress(number, len(cells))
            found.append(_state(cell, registry, records, store, precision))
    return found


def _state(cell: Cell, registry: Registry, records: Path, store: Store, precision: str) -> CellState:
    parts = cell.benchmark.parts
    if cell.benchmark.simulated and not _is_built(cell.benchmark):
        note = NOT_BUILT.format(", ".join(d.name for d in cell.benchmark.needs))
        return CellState(cell, "compute", None, {}, {m.identifier: tuple(parts) for m in cell.models}, note)
    key = None
    try:
        key = cell_key(cell, registry, precision, store)
        if _is_recorded(records, key):
            return CellState(cell, "recorded", key, {}, {})
        n_stimuli, absent = {}, {m.identifier: [] for m in cell.models}  # type: dict[str, int], dict[str, list[str]]
        for name, part in parts.items():
            n_stimuli[name] = len(part.stimuli())
            for model in _without_kernels(cell, part, registry, store, precision):
                absent[model].append(name)
        lacking = {model: tuple(names) for model, names in absent.items() if names}
        return CellState(cell, "compute" if lacking else "kernels", key, n_stimuli, lacking)
    except MissingDataError as error:
        return CellState(cell, "missing", key, {}, {}, str(error))
    except BenchError as error:
        return CellState(cell, "unusable", key, {}, {}, str(error))
    except Exception as error:  # a plugin may raise anything
        return CellState(cell, "unusable", key, {}, {}, describe(error))


def _is_built(benchmark: BenchmarkSpec) -> bool:
    try:
        for dataset in benchmark.needs:
            for part in dataset.parts:
                read_manifest(dataset, part)
    except BenchError:
        return False
    return True


def _is_recorded(records: Path, key: str) -> bool:
    path = record_path(records, key)
    try:
        return path.is_file() and read_record(path)["status"] == "ok"
    except InputError:
        return False  # a run sets it aside, or says what is wrong with it


def _without_kernels(
    cell: Cell, part: BenchmarkSpec | SubjectSpec, registry: Registry, store: Store, precision: str
) -> list[str]:
    """Return the models of which the store lacks something that the metric wants."""
    if not cell.models:
        return []
    from benchmark_core.randomised_pca import reduction_for
    from benchmark_core.reduced import Wanted
    from benchmark_core.standardised import TrainingSets, training_sets_for

    stimuli = part.stimuli()
    splits = splits_of(part, stimuli)
    reduction = reduction_for(cell.metric, splits, len(stimuli))
    training_sets: TrainingSets = ()
    name = cell.metric.spec.standardise
    if reduction is None and name and cell.metric.parameters[name]:
        training_sets = training_sets_for(cell.metric, splits, getattr(part.target(), "subject_names", ("",)))
    wanted = Wanted(reduction, training_sets)
    lacking = []
    for model, layers in zip(cell.models, cell.layers(), strict=True):
        keys = layer_keys(model, registry.version(model.spec), stimuli, layers, precision, store)
        if not all(wanted.is_stored(wanted.key(key), store) for key in keys.values()):
            lacking.append(model.identifier)
    return lacking
