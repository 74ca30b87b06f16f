"""Scores and the records that keep them: one small JSON file per score, named by its key."""

from __future__ import annotations

import base64
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import InputError
from benchmark_core.home import bench_home, expand

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FORMAT = 1
STATUSES = ("ok", "failed", "missing-data")
_NEEDED = ("key", "models", "benchmark", "benchmark_version", "metric", "layer", "status")
_NUMBER = (int, float, NoneType)
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("key", "benchmark", "metric", "layer"), (str,)),
    **dict.fromkeys(("score", "ci_low", "ci_high", "ceiling", "r_neuroid", "r_neuroid_median", "r_pattern"), _NUMBER),
    **dict.fromkeys(("models", "model_versions", "trained", "warnings"), (list,)),
    "benchmark_version": (int,),
    "seconds": _NUMBER,
    "error": (str, NoneType),
}


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
    working
        What the metric's ``combine`` needs to make one score of several subjects'; never recorded.
    partial
        Why this is no score by itself, but one subject's contribution to what ``combine`` makes of several; an error where
        there are no others. Never recorded.
    resamples
        (n_resamples,) how far ``value`` lies off in each bootstrap resample: centred, and widened so that their standard
        deviation is the standard error of ``value``; NaN where a resample has no value. With them scores can be compared
        in pairs (:func:`benchmark_core.compare`). Only for a value of which more is better.
    resamples_key
        What identifies the resamples (:func:`benchmark_core.resampling.resamples_key`): scores with the same key
        were resampled together.
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
    working: Any = field(default=None, repr=False, compare=False)
    partial: str = field(default="", repr=False, compare=False)
    resamples: np.ndarray | None = field(default=None, repr=False, compare=False)
    resamples_key: str | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas frame of one row with the leaderboard's columns.

        Raises
        ------
        InputError
            If the score has no record: a metric was called without the runner.
        """
        from benchmark_core.results import Leaderboard

        return Leaderboard.of([self]).to_frame()

    def __repr__(self) -> str:
        from benchmark_core.display import line_of

        return line_of(self)

    def _repr_html_(self) -> str:
        from benchmark_core.display import card_of

        return card_of(self)


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


def pack_resamples(values: np.ndarray, key: str) -> dict[str, Any]:
    """Return resamples as a record keeps them: little-endian float32 in base64, 5 kB for a thousand.

    Parameters
    ----------
    values
        (n_resamples,); see :class:`Score`.
    key
        What identifies the resamples.
    """
    data = values.astype("<f4").tobytes()
    return {"key": key, "n": len(values), "float32": base64.b64encode(data).decode("ascii")}


def unpack_resamples(record: Mapping[str, Any]) -> tuple[np.ndarray, str] | None:
    """Return the resamples of a record, (n_resamples,) float64, and their key; None if it has none."""
    if record.get("resamples") is None:
        return None
    import numpy as np

    packed = record["resamples"]
    return np.frombuffer(base64.b64decode(packed["float32"]), dtype="<f4").astype(np.float64), packed["key"]


def _are_resamples(packed: Any) -> bool:
    """Whether this is what :func:`pack_resamples` writes."""
    try:
        n = len(base64.b64decode(packed["float32"], validate=True))
        return n > 0 and n == 4 * packed["n"] and isinstance(packed["key"], str)
    except (TypeError, KeyError, ValueError):
        return False


def records_folder(named: Path | None = None) -> Path:
    """Return the folder of records: the one named, or ``BENCH_HOME/records``."""
    return expand(named) if named is not None else bench_home() / "records"


def record_path(folder: Path, key: str) -> Path:
    """Return the file of the record with this key."""
    return folder / f"{key}.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write a record (atomically) and return its path."""
    path = record_path(folder, record["key"])
    text = json.dumps(plain(record), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())
    return path


class DamagedRecordError(InputError):
    """A file among the records is not one."""


def read_record(path: Path) -> dict[str, Any]:
    """Read one record.

    Raises
    ------
    DamagedRecordError
        If the file is not a record.
    InputError
        If it cannot be read, or is a record of another format.
    """
    try:
        record = json.loads(path.read_bytes(), parse_constant=_finite, parse_float=_finite)
    except OSError as error:
        raise InputError(f"cannot read the score record {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(record, dict) or "format" not in record:
        raise _damaged(path, "no format")
    if record["format"] != FORMAT or record.get("status", "ok") not in STATUSES:
        raise InputError(f"{path} is a record of another format; upgrade cortex-bench or delete it")
    wrong = [k for k in _NEEDED if k not in record]
    if wrong:
        raise _damaged(path, f"no {', '.join(wrong)}")
    wrong = [k for k, kinds in _TYPES.items() if k in record and type(record[k]) not in kinds]
    if wrong or not all(isinstance(m, str) for m in record["models"]):
        raise _damaged(path, f"a wrong value of {', '.join(wrong) or 'models'}")
    if record.get("resamples") is not None and not _are_resamples(record["resamples"]):
        raise _damaged(path, "its resamples cannot be read")
    if record["key"] != path.stem:
        raise _damaged(path, "its name is not its key")
    return record


def read_score(folder: Path, key: str) -> dict[str, Any] | None:
    """Return the record of the score with this key, or None; a damaged one is set aside, with a warning.

    Raises
    ------
    InputError
        If it is a record of another format.
    """
    path = record_path(folder, key)
    if not path.is_file():
        return None
    try:
        record = read_record(path)
    except DamagedRecordError as error:
        os.replace(path, path.with_name(path.name + ".bad"))
        warnings.warn(f"{str(error).partition(';')[0]}; set aside as {path.name}.bad and computed again", stacklevel=2)
        return None
    return record if record["status"] == "ok" else None


def check_writable(folder: Path) -> None:
    """Check, before hours of computing, that records can be written to a folder that may not exist yet.

    Raises
    ------
    InputError
        If they cannot.
    """
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise InputError(f"cannot write records to {folder}: {existing} is not a folder; name another with --records")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"cannot write records to {folder}: {existing} is read-only; name another with --records")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _damaged(path: Path, reason: str) -> DamagedRecordError:
    return DamagedRecordError(f"{path} is not a score record ({reason}); delete it or restore it")


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
