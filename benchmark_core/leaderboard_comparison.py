"""What moved between an older leaderboard's CSV and this one, and which part of the key says why.

Standard library only. Values are compared as the CSV writes them, to six significant digits.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark_core.errors import InputError
from benchmark_core.leaderboard_columns import COLUMNS, NAMES, text_of

Row = Mapping[str, str]
"""A row as the CSV writes it."""
NEEDED = (
    *("benchmark", "benchmark_version", "metric", "model", "requested_layer", "layer"),
    *("status", "score", "ci_low", "ci_high", "key"),
)
_INPUTS = {
    "model_version": "version of the model",
    "weights": "weights",
    "preprocessing": "preprocessing",
    "stimuli": "images",
    "precision": "precision",
}
_KEY_PARTS = {
    "benchmark_version": "version of the benchmark",
    "metric_version": "version of the metric",
    **_INPUTS,
    "target": "responses, labels or RDMs",
    "splits": "splits",
    "grouped": "groups of stimuli",
}
_COMPUTED = {"device": "device", "backend": "backend", "git_commit": "commit of the program"}
_OF_OTHER_ROWS = {"in_best_set", "n_seeds", "seed_mean", "seed_sd"}
_NO_VALUES = {c.name for c in COLUMNS if c.group in ("which score", "key", "provenance", "published")}
_MOST_NAMED = 4  # columns of which a line gives the values


@dataclass(frozen=True)
class Move:
    """One row that moved.

    Parameters
    ----------
    kind
        ``added``, ``removed``, ``changed``, or ``same values`` (another key, and not a digit moved).
    benchmark, benchmark_version, metric, model, requested_layer, precision
        What it is a score of, as on the newer leaderboard (of a removed row: as on the older one).
    old, new
        The score; None where there is none.
    difference
        New minus old, None where one of them is missing.
    ci_low, ci_high
        The newer interval (of a removed row: the older one).
    reasons
        One text each.
    columns
        ``{column: (old text, new text)}`` of all values that moved.
    old_key, new_key
        Keys, where there are any.
    """

    kind: str
    benchmark: str
    benchmark_version: int
    metric: str
    model: str
    requested_layer: str
    precision: str
    old: float | None
    new: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    reasons: tuple[str, ...]
    columns: Mapping[str, tuple[str, str]]
    old_key: str | None
    new_key: str | None


@dataclass(frozen=True)
class Moves:
    """All of them, in the newer leaderboard's order, removed ones last.

    Parameters
    ----------
    n_old, n_new
        Rows of either.
    recomputed
        Rows with the same key and the same values whose provenance (device, libraries, commit) moved.
    absent
        Columns that the older file does not have: reasons that rest on them are not known.
    """

    moves: tuple[Move, ...]
    n_old: int
    n_new: int
    recomputed: int
    absent: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "rows_before": self.n_old,
            "rows_now": self.n_new,
            "recomputed": self.recomputed,
            "absent_columns": list(self.absent),
            "moves": [
                asdict(m) | {"reasons": list(m.reasons), "columns": {k: list(v) for k, v in m.columns.items()}}
                for m in self.moves
            ],
        }


def read_leaderboard(path: Path) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """Read the CSV of a leaderboard, of this version or an older one.

    Returns
    -------
    Its rows as texts, and the columns of this version that it does not have.

    Raises
    ------
    InputError
        If it cannot be read, or is no leaderboard.
    """
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle, strict=True)
            names = list(reader.fieldnames or [])
            rows = list(reader)
    except OSError as error:
        raise InputError(f"cannot read the leaderboard {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no leaderboard ({error}); name a CSV that `bench leaderboard` wrote") from None
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise InputError(
            f"{path} is no leaderboard, or of a format too old: it has no column {', '.join(missing)}; "
            "name a CSV that `bench leaderboard` wrote"
        )
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}, row {number}: wrong number of columns; the file is damaged")
        for name in ("score", "ci_low", "ci_high"):
            if row[name] and _number(row[name]) is None:
                raise InputError(f"{path}, row {number}: {name} {row[name]!r} is not a number; the file is damaged")
        if not row["benchmark_version"].isdecimal():
            raise InputError(
                f"{path}, row {number}: benchmark_version {row['benchmark_version']!r} is not a whole number"
            )
    return rows, tuple(name for name in NAMES if name not in names)


def compare_leaderboards(old: Sequence[Row], new: Iterable[Mapping[str, Any]], absent: Sequence[str] = ()) -> Moves:
    """Return what moved.

    Rows are matched by key; what is left by benchmark and its version, metric, model, layer that was asked for and precision,
    then without the version, then without the precision.

    Parameters
    ----------
    old
        Rows as :func:`read_leaderboard` gives them.
    new
        Rows of :func:`benchmark_core.leaderboard.leaderboard`.
    absent
        Columns that the older file does not have.
    """
    texts = [{name: text_of(row[name]) for name in NAMES} for row in new]
    partner = _matched(old, texts)
    moves = []
    recomputed = 0
    for row, text in enumerate(texts):
        before = partner.get(row)
        if before is None:
            moves.append(_move("added", None, text, ["no such row before"], {}))
            continue
        columns = _moved_columns(old[before], text, absent)
        if columns:
            moves.append(_move("changed", old[before], text, _reasons(old[before], text, columns, absent), columns))
        elif old[before]["key"] != text["key"]:
            moves.append(_move("same values", old[before], text, _reasons(old[before], text, {}, absent), {}))
        else:
            recomputed += bool(_computed(old[before], text, absent))
    matched = set(partner.values())
    moves += [
        _move("removed", row, None, ["there is no record of it"], {}) for i, row in enumerate(old) if i not in matched
    ]
    return Moves(tuple(moves), len(old), len(texts), recomputed, tuple(absent))


def _matched(old: Sequence[Row], new: Sequence[Row]) -> dict[int, int]:
    """Return ``{position in new: position in old}``."""
    cell = ("benchmark", "metric", "model", "requested_layer")
    ways: tuple[Callable[[Row], tuple[str, ...]], ...] = (
        lambda row: (row["key"],),
        lambda row: (*(row[n] for n in cell), row.get("precision") or "exact", row["benchmark_version"]),
        lambda row: (*(row[n] for n in cell), row.get("precision") or "exact"),
        lambda row: tuple(row[n] for n in cell),
    )
    partner: dict[int, int] = {}
    for identity in ways:
        taken = set(partner.values())
        waiting: dict[tuple[str, ...], list[int]] = {}
        for i, row in enumerate(old):
            if i not in taken:
                waiting.setdefault(identity(row), []).append(i)
        for i, row in enumerate(new):
            candidates = [] if i in partner else waiting.get(identity(row), [])
            if candidates:
                partner[i] = candidates.pop(0)
    return partner


def _moved_columns(old: Row, new: Row, absent: Sequence[str]) -> dict[str, tuple[str, str]]:
    names = [name for name in NAMES if name not in _NO_VALUES and name not in absent]
    return {
        name: (old[name], new[name])
        for name in (*names, "layer", "status")
        if old[name] != new[name] and not _equal(old[name], new[name])
    }


def _equal(old: str, new: str) -> bool:
    """Whether two texts are the same number to six digits (a spreadsheet may have written one of them)."""
    one, other = _number(old), _number(new)
    return one is not None and other is not None and text_of(one) == text_of(other)


def _reasons(old: Row, new: Row, columns: Mapping[str, Any], absent: Sequence[str]) -> list[str]:
    """Say why two rows of one cell differ."""
    if old["key"] == new["key"]:
        if columns and set(columns) <= _OF_OTHER_ROWS:
            return ["other rows of the table moved"]
        anew = _computed(old, new, absent)
        return [f"same key, computed anew: {', '.join(anew)}"] if anew else ["same key, computed anew"]
    if old["status"] != "ok" or new["status"] != "ok":
        error = new.get("error") if new["status"] != "ok" else old.get("error")
        return [f"{old['status']} before, {new['status']} now" + (f" ({error})" if error else "")]
    reasons = [
        f"{words} {old[n]} -> {new[n]}" for n, words in _KEY_PARTS.items() if n not in absent and old[n] != new[n]
    ]
    if "metric_parameters" not in absent and old["metric_parameters"] != new["metric_parameters"]:
        reasons.append(f"parameters of the metric: {_pairs(old['metric_parameters'], new['metric_parameters'], ',')}")
    if "representations" not in absent and old["representations"] != new["representations"]:
        of_models = [n for n in _INPUTS if n not in absent and old[n] != new[n]]
        if not of_models:
            reasons.append("kernels (the layers to choose from, or a parameter of the model)")
    if reasons:
        return reasons
    if set(absent) & {*_KEY_PARTS, "representations", "metric_parameters"}:
        return ["another key; the older file does not hold the parts that would say why"]
    return ["another key: groups or metadata of the stimuli, or the benchmark's plugin file"]


def _computed(old: Row, new: Row, absent: Sequence[str]) -> list[str]:
    """Say what of the provenance moved."""
    found = [f"{words} {old[n]} -> {new[n]}" for n, words in _COMPUTED.items() if n not in absent and old[n] != new[n]]
    if "versions" not in absent and old["versions"] != new["versions"]:
        found.append(_pairs(old["versions"], new["versions"], " "))
    return found


def _pairs(old: str, new: str, between: str) -> str:
    """Say which of the pairs NAME=VALUE of two texts differ."""
    before, now = (dict(p.partition("=")[::2] for p in text.split(between) if p) for text in (old, new))
    return ", ".join(
        f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def _move(
    kind: str, old: Row | None, new: Row | None, reasons: Sequence[str], columns: Mapping[str, tuple[str, str]]
) -> Move:
    shown = new if new is not None else old
    assert shown is not None
    before, now = (None if row is None else _number(row["score"]) for row in (old, new))
    return Move(
        kind=kind,
        benchmark=shown["benchmark"],
        benchmark_version=int(shown["benchmark_version"]),
        metric=shown["metric"],
        model=shown["model"],
        requested_layer=shown["requested_layer"],
        precision=shown.get("precision") or "exact",
        old=before,
        new=now,
        difference=None if before is None or now is None else now - before,
        ci_low=_number(shown["ci_low"]),
        ci_high=_number(shown["ci_high"]),
        reasons=tuple(reasons),
        columns=columns,
        old_key=None if old is None else old["key"],
        new_key=None if new is None else new["key"],
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def told(move: Move) -> str:
    """Say why a row moved, and what moved in it beside the score."""
    parts = list(move.reasons)
    beside = {name: pair for name, pair in move.columns.items() if name not in ("score", "ci_low", "ci_high")}
    if beside:
        named = [
            f"{name} {old or 'none'} -> {new or 'none'}" for name, (old, new) in list(beside.items())[:_MOST_NAMED]
        ]
        more = [f"{len(beside) - _MOST_NAMED} more columns"] if len(beside) > _MOST_NAMED else []
        parts.append(("moved: " if "score" not in move.columns else "also: ") + ", ".join([*named, *more]))
    return "; ".join(parts)
