"""Recognising what a table of responses holds: a column for each neuroid, or a row for each response."""

from __future__ import annotations

import fnmatch
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmark_core.errors import InputError
from benchmark_core.own_data_recordings import (
    Recording,
    check_ids,
    check_padding,
    check_repetitions,
    rank_labels,
    ranked,
    stack_presentations,
)
from benchmark_core.own_data_tables import Table, name_some

# Names under which columns and coordinates are known, in lower case; the first that is there is taken.
STIMULUS_IDS = (
    "stimulus_id", "image_id", "stimulus", "image", "stimulus_name", "image_name", "image_file_name", "image_file",
    "filename", "file_name", "file", "stim_id", "stim", "stimuli", "images", "id",
)  # fmt: skip
NEUROIDS = (
    "neuroid_id", "neuroid", "neuron_id", "neuron", "unit_id", "unit", "voxel_id", "voxel", "channel_id", "channel",
    "electrode", "site", "cell", "neuroids", "neurons", "units", "voxels", "channels", "electrodes", "sites", "cells",
)  # fmt: skip
RESPONSES = (
    "response", "responses", "value", "rate", "firing_rate", "spikes", "spike_count", "count", "beta", "activity",
    "amplitude",
)  # fmt: skip
REPETITIONS = (
    "repetition", "rep", "repeat", "trial", "repetition_id", "trial_id", "trial_number", "repetitions", "repeats",
    "reps", "trials", "presentation",
)  # fmt: skip
SUBJECTS = ("subject", "subject_id", "animal", "monkey", "participant", "mouse", "subjects", "animals")
# Columns that are no neuroids although they may hold numbers.
BOOKKEEPING = (
    "index", "session", "session_id", "block", "run", "date", "time", "onset", "duration", "order", "trial_index",
    "category", "label", "object", "group", "split", "fold",
)  # fmt: skip
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # a running number that pandas wrote
KINDS = ("region", "subject")
Key = tuple[str | None, str | None]  # region and subject
REGIONS = ("region", "area", "roi", "brain_area", "regions", "areas")


@dataclass(frozen=True)
class Hints:
    """What the user says about how to read files; None and empty where nothing is said.

    Parameters
    ----------
    ids
        Column, coordinate or variable of stimulus ids; for arrays a file with one id a row.
    axes
        What the axes of an array stand for.
    variable
        Variable of an npz or netCDF file that holds the responses.
    neuroid_column, response_column
        Columns of a table with a row for each response.
    ignore
        Globs of columns that are no neuroids.
    decimal
        ``.`` or ``,``.
    columns
        Columns with what is to be known of stimuli (groups, splits).
    """

    ids: str | None = None
    axes: tuple[str, ...] = ()
    variable: str | None = None
    neuroid_column: str | None = None
    response_column: str | None = None
    ignore: tuple[str, ...] = ()
    decimal: str = "."
    columns: tuple[str, ...] = ()


def known(names: Sequence[str], candidates: Sequence[str]) -> str | None:
    """Return the first of ``names`` that is among the candidates, those named earlier first; None if none is."""
    lower = {name.lower().replace(" ", "_"): name for name in reversed(names)}
    return next((lower[c] for c in candidates if c in lower), None)


def id_column(table: Table, named: str | None) -> str:
    """Return the column of stimulus ids.

    Raises
    ------
    InputError
        If there is none.
    """
    if named is not None:
        return table.column(named, "named by --ids")
    # An index that pandas wrote has no name of its own.
    found = known(table.columns, (*STIMULUS_IDS, "__index_level_0__", "unnamed:_0"))
    if found is None and table.columns[0] == "":
        found = ""
    if found is None:
        raise InputError(
            f"{table.path} has no column of stimulus ids that is known by its name; name it with --ids COLUMN. "
            f"It has {name_some(table.columns)}."
        )
    return found


def read_table(table: Table, hints: Hints, region: str | None, subject: str | None) -> list[Recording]:
    """Read the responses of a table.

    A table with columns of neuroids and of responses (``neuroid_id``, ``response`` and the like) has a row for each
    response; any other has a row for each presentation and a column for each neuroid. Rows that repeat a stimulus
    are repetitions. Columns of subjects and regions part the rows.

    Parameters
    ----------
    table
        The table.
    hints
        What the user says about it.
    region, subject
        Of all rows, where the user names them.

    Raises
    ------
    InputError
        If a column is missing, or holds text where numbers belong.
    """
    if hints.axes:
        raise InputError(
            "--axes is for arrays (npy, npz, netCDF); a table's layout is told by the names of its columns"
        )
    ids = id_column(table, hints.ids)
    kept = [table.column(name, "for groups or splits") for name in hints.columns]
    columns = [
        name
        for name in table.columns
        if name != ids and not any(fnmatch.fnmatchcase(name, pattern) for pattern in hints.ignore)
    ]
    special = {
        "subject": known(columns, SUBJECTS),
        "region": known(columns, REGIONS),
        "repetition": known(columns, REPETITIONS),
    }
    neuroid = hints.neuroid_column or known(columns, NEUROIDS)
    response = hints.response_column or known(columns, RESPONSES)
    if hints.neuroid_column or hints.response_column or (neuroid and response):
        neuroid = table.column(neuroid or "neuroid_id", "of neuroids; name it with --neuroid-column")
        response = table.column(response or "response", "of responses; name it with --response-column")
        return _read_long(table, (ids, neuroid, response), special, kept, (region, subject))
    taken = {ids, *kept, *(name for name in special.values() if name)}
    neuroids = [name for name in columns if name not in taken and not _INDEX.fullmatch(name)]
    odd = known(neuroids, BOOKKEEPING)
    if odd is not None:
        raise InputError(
            f"{table.path}: by its name the column {odd!r} is no neuroid; leave it out with --ignore {odd!r}, or rename it"
        )
    if not neuroids:
        raise InputError(
            f"{table.path} has no column of responses beside {', '.join(map(repr, sorted(taken)))}; expected one for each "
            "neuroid, or the columns neuroid_id and response"
        )
    return _read_wide(table, ids, neuroids, special, kept, (region, subject))


def _read_wide(
    table: Table,
    ids: str,
    neuroids: Sequence[str],
    special: Mapping[str, str | None],
    kept: Sequence[str],
    named: Key,
) -> list[Recording]:
    texts: dict[str, list[str]] = {}
    wanted = list(dict.fromkeys([ids, *(name for name in special.values() if name), *kept]))
    parts = []
    for block in table.blocks(wanted, neuroids):
        for name, column in block.texts.items():
            texts.setdefault(name, []).extend(column)
        parts.append(block.numbers)
    if not parts:
        raise InputError(f"{table.path} has a header and no rows")
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    del parts
    check_ids(table.path, texts[ids])
    columns = {name: _of_stimuli(table.path, name, texts[ids], texts[name]) for name in kept}
    keys = _keys(table.path, texts, special, named, len(texts[ids]))
    found = []
    for key in dict.fromkeys(keys):
        rows = np.array([k == key for k in keys])
        own = values if rows.all() else values[rows]
        seen = np.isfinite(own).any(axis=0) if not rows.all() else np.ones(len(neuroids), dtype=bool)
        if not seen.any():
            whose = " of ".join(name for name in key[::-1] if name)
            raise InputError(f"{table.path} holds no response{' of ' + whose if whose else ''}; leave these rows out")
        if not seen.all():
            own = own[:, seen]
        chosen = np.flatnonzero(rows)
        labels = special["repetition"]
        stimulus_ids, stacked = stack_presentations(
            table.path,
            [texts[ids][i] for i in chosen],
            own,
            None if labels is None else [texts[labels][i] for i in chosen],
        )
        names = tuple(name for name, keep in zip(neuroids, seen, strict=True) if keep)
        found.append(Recording(table.path, *key, stimulus_ids, names, stacked, columns))
    return found


def _read_long(
    table: Table,
    needed: tuple[str, str, str],
    special: Mapping[str, str | None],
    kept: Sequence[str],
    named: Key,
) -> list[Recording]:
    ids, neuroid, response = needed
    texts = {name: Codes() for name in dict.fromkeys([ids, neuroid, *(n for n in special.values() if n), *kept])}
    parts = []
    for block in table.blocks(list(texts), [response]):
        for name, codes in texts.items():
            codes.extend(block.texts[name])
        parts.append(block.numbers[:, 0])
    if not parts:
        raise InputError(f"{table.path} has a header and no rows")
    values = np.concatenate(parts)
    del parts
    for name, kind in ((ids, "stimulus id"), (neuroid, "neuroid")):
        if "" in texts[name].names:
            check_ids(table.path, [texts[name].names[code] for code in texts[name].array], kind)
    columns = {name: _of_coded(table.path, name, texts[ids], texts[name]) for name in kept}
    whose = np.zeros(len(values), dtype=np.int64)
    parting: dict[str, Codes] = {}
    for kind, asked in zip(KINDS, named, strict=True):
        column = special[kind]
        if column is not None:
            check_named(table.path, kind, texts[column].names, asked)
            parting[kind] = texts[column]
            whose = whose * len(texts[column].names) + texts[column].array
    found = []
    for which in np.unique(whose):
        rows = np.flatnonzero(whose == which)
        said = {kind: codes.names[codes.array[rows[0]]] or None for kind, codes in parting.items()}
        region, subject = (name or said.get(kind) for kind, name in zip(KINDS, named, strict=True))
        stimuli, stimulus_at = np.unique(texts[ids].array[rows], return_inverse=True)
        neuroids, neuroid_at = np.unique(texts[neuroid].array[rows], return_inverse=True)
        pairs = stimulus_at.astype(np.int64) * len(neuroids) + neuroid_at
        shown = texts[ids]
        within = None
        if special["repetition"] is not None:
            numbers = texts[special["repetition"]]
            within = rank_labels(numbers.names)[numbers.array[rows]]
            check_repetitions(table.path, pairs, within, partial(_named, shown, numbers, rows))
        order, rank = ranked(pairs, within)
        shape = (len(stimuli), int(rank.max()) + 1, len(neuroids))
        check_padding(table.path, shape, len(rows), shown.names[stimuli[stimulus_at[order][rank.argmax()]]])
        stacked = np.full(shape, np.nan)
        stacked[stimulus_at[order], rank, neuroid_at[order]] = values[rows[order]]
        found.append(
            Recording(
                table.path,
                region,
                subject,
                tuple(texts[ids].names[c] for c in stimuli),
                tuple(texts[neuroid].names[c] for c in neuroids),
                stacked,
                columns,
            )
        )
    return found


def _named(ids: Codes, repetitions: Codes, rows: np.ndarray, row: int) -> tuple[str, str]:
    at = rows[row]
    return ids.names[ids.array[at]], repetitions.names[repetitions.array[at]]


class Codes:
    """A column of texts as whole numbers: a long table repeats few different ones."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._codes = array("q")

    def extend(self, texts: Sequence[str]) -> None:
        """Add rows."""
        index = self._index
        self._codes.extend([index.setdefault(text, len(index)) for text in texts])

    @property
    def names(self) -> list[str]:
        """The different texts, by their number."""
        return list(self._index)

    @property
    def array(self) -> np.ndarray:
        """(n_rows,) the number of each row's text."""
        return np.frombuffer(self._codes, dtype=np.int64)


def check_named(path: Path, kind: str, found: Iterable[str], named: str | None) -> None:
    """Check that a file does not hold several subjects (or regions) where the user names one.

    Raises
    ------
    InputError
        Naming them.
    """
    values = sorted(set(found))
    if named is not None and len(values) > 1:
        raise InputError(
            f"{path} says itself that it holds the {kind}s {name_some(values)}; leave out --{kind} {named}"
        )


def _keys(
    path: Path,
    texts: Mapping[str, Sequence[str]],
    special: Mapping[str, str | None],
    named: Key,
    n_rows: int,
) -> list[Key]:
    """Return (region, subject) of each row."""
    columns: list[list[str | None]] = []
    for kind, name in zip(KINDS, named, strict=True):
        column = special[kind]
        said: Sequence[str] = [] if column is None else texts[column]
        check_named(path, kind, said, name)
        columns.append([name] * n_rows if name or column is None else [text or None for text in said])
    return list(zip(columns[0], columns[1], strict=True))


def _of_stimuli(path: Path, column: str, ids: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    """Return a column by stimulus id; rows of one stimulus must agree."""
    found: dict[str, str] = {}
    for stimulus_id, text in zip(ids, texts, strict=True):
        if found.setdefault(stimulus_id, text) != text:
            raise InputError(
                f"{path}, column {column!r}: {stimulus_id!r} has both {found[stimulus_id]!r} and {text!r}; "
                "all rows of a stimulus must have the same"
            )
    return found


def _of_coded(path: Path, column: str, ids: Codes, texts: Codes) -> dict[str, str]:
    n = len(texts.names)
    stimuli, values = np.divmod(np.unique(ids.array * n + texts.array), n)
    return _of_stimuli(path, column, [ids.names[i] for i in stimuli], [texts.names[i] for i in values])
