"""Recordings as they come from single files, and how several become the responses of each region."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.stimuli import name_ids

MUCH = 4_000_000_000  # bytes
ANY_REGION, ANY_SUBJECT = "all", "subject1"  # where nothing names them


@dataclass(frozen=True, eq=False)
class Recording:
    """Responses of one subject's neuroids in one region, from one file.

    Parameters
    ----------
    source
        The file.
    region, subject
        None where the file does not say.
    stimulus_ids
        Unique ids, shape (n_stimuli,).
    neuroid_ids
        Unique ids, shape (n_neuroids,).
    values
        (n_stimuli, n_repetitions, n_neuroids) float64, NaN where a presentation is absent; one repetition where the
        file holds averages.
    columns
        What the file says of stimuli, ``{column: {stimulus_id: text}}``.
    """

    source: Path
    region: str | None
    subject: str | None
    stimulus_ids: tuple[str, ...]
    neuroid_ids: tuple[str, ...]
    values: np.ndarray
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def at(self, stimulus_ids: Sequence[str]) -> Recording:
        """Return the recording of some of its stimuli."""
        where = {stimulus_id: i for i, stimulus_id in enumerate(self.stimulus_ids)}
        take = [where[i] for i in stimulus_ids]
        return replace(self, stimulus_ids=tuple(stimulus_ids), values=self.values[take])


def check_ids(source: Path, ids: Sequence[str], kind: str = "stimulus id") -> None:
    """Check that no id is empty.

    Raises
    ------
    InputError
        Naming the row.
    """
    if "" in ids:
        raise InputError(f"{source}: the {kind} of row {list(ids).index('') + 1} is empty; every row needs one")


def stack_presentations(
    source: Path, ids: Sequence[str], values: np.ndarray, repetitions: Sequence[str] | None = None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Turn presentations into stimuli with repetitions.

    Parameters
    ----------
    source
        Named in errors.
    ids
        Stimulus of each presentation, shape (n_presentations,).
    values
        (n_presentations, n_neuroids).
    repetitions
        Number or name of each presentation's repetition, which orders them; in the order of the rows if None.

    Returns
    -------
    Unique ids in order of appearance, and (n_stimuli, n_repetitions, n_neuroids), padded with NaN.

    Raises
    ------
    InputError
        If a stimulus has one repetition twice.
    """
    unique = dict.fromkeys(ids, 0)
    names = tuple(unique)
    if len(names) == len(ids):
        return names, values[:, None, :]
    code_of = {stimulus_id: code for code, stimulus_id in enumerate(names)}
    codes = np.fromiter((code_of[i] for i in ids), dtype=np.int64, count=len(ids))
    within = None
    if repetitions is not None:
        within = rank_labels(repetitions)
        check_repetitions(source, codes, within, lambda row: (ids[row], repetitions[row]))
    order, rank = ranked(codes, within)
    shape = (len(names), int(rank.max()) + 1, values.shape[1])
    check_padding(source, shape, values.size, names[int(codes[order][rank.argmax()])])
    stacked = np.full(shape, np.nan)
    stacked[codes[order], rank] = values[order]
    return names, stacked


def check_repetitions(
    source: Path, codes: np.ndarray, within: np.ndarray, name: Callable[[int], tuple[str, str]]
) -> None:
    """Check that nothing has one repetition twice.

    Parameters
    ----------
    source
        Named in errors.
    codes, within
        What each row is a response of, and which repetition.
    name
        Returns stimulus and repetition of a row.

    Raises
    ------
    InputError
        Naming the first that has.
    """
    order = np.lexsort((within, codes))
    twice = np.flatnonzero((np.diff(codes[order]) == 0) & (np.diff(within[order]) == 0))
    if len(twice):
        stimulus_id, repetition = name(int(order[twice + 1].min()))
        raise InputError(f"{source}: {stimulus_id!r} has the repetition {repetition!r} twice; number repetitions apart")


def check_padding(source: Path, shape: tuple[int, ...], n_values: int, most: str) -> None:
    """Check that padding to the stimulus with most repetitions does not fill the memory with nothing.

    Raises
    ------
    InputError
        Naming that stimulus.
    """
    size = math.prod(shape) * 8
    if size > MUCH and n_values * 8 < size / 10:
        raise InputError(
            f"{source}: {most!r} was shown {shape[1]} times, far more often than others; with all padded to that, responses "
            f"would take {size / 1e9:.0f} GB: leave it out"
        )


def rank_labels(labels: Sequence[str]) -> np.ndarray:
    """Return each label's place among all, numbers by size and texts by alphabet."""
    different = set(labels)
    try:
        ordered = sorted(different, key=float)
    except ValueError:
        ordered = sorted(different)
    place = {label: i for i, label in enumerate(ordered)}
    return np.fromiter((place[label] for label in labels), dtype=np.int64, count=len(labels))


def ranked(codes: np.ndarray, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return an order that sorts ``codes`` (and ``within`` them), and the rank of each among those of its code."""
    order = np.argsort(codes, kind="stable") if within is None else np.lexsort((within, codes))
    ordered = codes[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    starts = np.flatnonzero(first)
    rank = np.arange(len(ordered)) - np.repeat(starts, np.diff([*starts, len(ordered)]))
    return order, rank


def region_name(text: str) -> str:
    """Return a region's name as identifiers have it: letters, digits and underscores.

    Raises
    ------
    InputError
        If nothing is left of it.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    if not name:
        raise InputError(f"{text!r} cannot name a region; use letters and digits, e.g. --region V4")
    return name


def by_region(recordings: Sequence[Recording]) -> dict[str, Responses]:
    """Put recordings together: the responses of each region.

    Files of one subject and region go side by side where they hold different neuroids or stimuli; presentations of
    the same stimulus to the same neuroid are further repetitions. With several subjects in a region their names stand
    before the neuroid ids.

    Raises
    ------
    InputError
        If one subject of a region has repetitions and another only averages, or two regions have one name.
    """
    groups: dict[str, dict[str, list[Recording]]] = {}
    spelling: dict[str, str] = {}
    for recording in recordings:
        text = recording.region or ANY_REGION
        name = region_name(text)
        if spelling.setdefault(name, text) != text:
            raise InputError(f"the regions {spelling[name]!r} and {text!r} would both be named {name!r}; rename one")
        groups.setdefault(name, {}).setdefault(recording.subject or ANY_SUBJECT, []).append(recording)
    return {
        region: _responses(region, {subject: _of_one_subject(files) for subject, files in sorted(subjects.items())})
        for region, subjects in sorted(groups.items())
    }


def _of_one_subject(recordings: Sequence[Recording]) -> Recording:
    """Put the files of one subject and region together."""
    if len(recordings) == 1:
        return recordings[0]
    stimuli = {i: at for at, i in enumerate(dict.fromkeys(i for r in recordings for i in r.stimulus_ids))}
    neuroids = {n: at for at, n in enumerate(dict.fromkeys(n for r in recordings for n in r.neuroid_ids))}
    present = np.zeros((len(stimuli), len(neuroids)), dtype=bool)
    places, starts, depth = [], [], 0
    for recording in recordings:
        place = np.ix_([stimuli[i] for i in recording.stimulus_ids], [neuroids[n] for n in recording.neuroid_ids])
        places.append(place)
        starts.append(depth if present[place].any() else 0)
        present[place] |= np.isfinite(recording.values).any(axis=1)
        depth = max(depth, starts[-1] + recording.values.shape[1])
    values = np.full((len(stimuli), depth, len(neuroids)), np.nan)
    for recording, (rows, columns), start in zip(recordings, places, starts, strict=True):
        for repetition in range(recording.values.shape[1]):
            values[rows, start + repetition, columns] = recording.values[:, repetition]
    return replace(recordings[0], stimulus_ids=tuple(stimuli), neuroid_ids=tuple(neuroids), values=values)


def _responses(region: str, subjects: Mapping[str, Recording]) -> Responses:
    averaged = {subject: trim(r.values).shape[1] == 1 for subject, r in subjects.items()}
    if len(set(averaged.values())) > 1:
        names = {kind: name_ids([s for s, a in averaged.items() if a is kind]) for kind in (True, False)}
        raise InputError(
            f"region {region}: {names[False]} came with repetitions, {names[True]} with one response to each stimulus; "
            "add averages for all, or put them into datasets of their own"
        )
    stimuli = {i: at for at, i in enumerate(sorted({i for r in subjects.values() for i in r.stimulus_ids}))}
    depth = max(trim(r.values).shape[1] for r in subjects.values())
    if len(subjects) == 1:
        ((subject, recording),) = subjects.items()
        values, neuroids, owners = (
            trim(recording.values),
            list(recording.neuroid_ids),
            [subject] * recording.values.shape[2],
        )
        ids = recording.stimulus_ids
    else:
        ids, neuroids, owners = tuple(stimuli), [], []
        values = np.full((len(stimuli), depth, sum(len(r.neuroid_ids) for r in subjects.values())), np.nan)
        for subject, recording in subjects.items():
            own = trim(recording.values)
            rows = [stimuli[i] for i in recording.stimulus_ids]
            at = slice(len(neuroids), len(neuroids) + own.shape[2])
            for repetition in range(own.shape[1]):
                values[rows, repetition, at] = own[:, repetition]
            neuroids += [n if n.startswith(f"{subject}/") else f"{subject}/{n}" for n in recording.neuroid_ids]
            owners += [subject] * own.shape[2]
    return Responses(ids, values[:, 0, :] if depth == 1 else values, tuple(neuroids), tuple(owners), region)


def trim(values: np.ndarray) -> np.ndarray:
    """Leave out last repetitions that nobody saw; at least one stays."""
    depth = values.shape[1]
    while depth > 1 and np.isnan(values[:, depth - 1]).all():
        depth -= 1
    return values[:, :depth]


def of_responses(source: Path, responses: Responses) -> list[Recording]:
    """Return the recordings of each subject in the responses of a region, to be put together with others."""
    found = []
    unseen = ~np.isfinite(responses.values).reshape(len(responses.stimulus_ids), -1).any(axis=1)
    for subject in responses.subject_names:
        own = responses.of_subject(subject)
        values = own.values if own.has_trials else own.values[:, None, :]
        seen = unseen | np.isfinite(values).any(axis=(1, 2))
        recording = Recording(source, own.region, subject, own.stimulus_ids, own.neuroid_ids, values)
        found.append(recording.at([i for i, keep in zip(own.stimulus_ids, seen, strict=True) if keep]))
    return found
