"""Scores and the records that keep them: one small JSON file per score, named by its key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import InputError
from benchmark_core.home import bench_home

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
STATUSES = ("ok", "failed", "missing-data")


@dataclass(frozen=True)
class Score:
    """What a metric returns.

    Parameters
    ----------
    value
        Headline score, or None where it cannot be computed.
    ci_low, ci_high
        95 % interval, or None.
    fields
        The metric's fields of the contract (``r_neuroid``, ``ceiling``, ``alpha``, ...), shown at the top level.
    details
        Everything else the metric reports; plain data.
    subjects
        Values per subject.
    layers
        For each model the layer used in each fold (one entry where all folds agree).
    arrays
        Held-out predictions and the like, kept in the store under the score's key; named arrays.
    warnings
        What a reader must know, one line each.
    record
        The record of the score, once the runner has written it.
    """

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    subjects: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[tuple[str, ...], ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


def plain(value: Any) -> Any:
    """Return a value as plain JSON data: numpy scalars and arrays unpacked, not-a-number and infinity as None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} is not plain data")


def records_folder(named: Path | None = None) -> Path:
    """Return the folder of records: the one named, or ``BENCH_HOME/records``."""
    return named if named is not None else bench_home() / "records"


def record_path(folder: Path, key: str) -> Path:
    """Return the file of the record with this key."""
    return folder / f"{key}.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write a record (atomically) and return its path."""
    path = record_path(folder, record["key"])
    text = json.dumps(plain(record), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())
    return path


def read_record(path: Path) -> dict[str, Any]:
    """Read one record.

    Raises
    ------
    InputError
        If the file is not a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a score record ({error}); delete it or restore it") from None
    needed = ("format", "key", "models", "benchmark", "benchmark_version", "metric", "layer", "status")
    absent = [k for k in needed if not isinstance(record, dict) or k not in record]
    if absent:
        raise InputError(f"{path} is not a score record (no {', '.join(absent)}); delete it or restore it")
    if record["format"] != FORMAT or record["status"] not in STATUSES:
        raise InputError(f"{path} is a record of another format; upgrade cortex-bench or delete it")
    return dict(record)


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Read all records of a folder, in the order of their keys.

    Raises
    ------
    InputError
        If the folder is not there, or for the first file that is not a record.
    """
    if not folder.is_dir():
        raise InputError(f"there are no records in {folder}; run `bench run` first or name the folder with --records")
    for path in sorted(folder.glob("*.json")):
        yield read_record(path)
