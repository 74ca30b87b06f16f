"""Groups and splits of users' own data: a text for each stimulus, from columns or from lists of ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark_core.errors import InputError
from benchmark_core.home import expand
from benchmark_core.own_data_arrays import read_ids
from benchmark_core.own_data_images import ImageFolder, Matches
from benchmark_core.own_data_layout import Hints
from benchmark_core.own_data_recordings import Recording
from benchmark_core.stimuli import name_ids

_PARTS = frozenset({"train", "test"})
_LIKE_PARTS = _PARTS | {"training", "testing", "val", "validation"}


def columns_of(recordings: Sequence[Recording]) -> dict[str, dict[str, str]]:
    """Return what the files say of stimuli, ``{column: {stimulus_id: text}}``.

    Raises
    ------
    InputError
        If two files contradict each other.
    """
    found: dict[str, dict[str, str]] = {}
    for recording in recordings:
        for column, texts in recording.columns.items():
            own = found.setdefault(column, {})
            for stimulus_id, text in texts.items():
                if own.setdefault(stimulus_id, text) != text:
                    raise InputError(
                        f"column {column!r}: {stimulus_id!r} has {text!r} in {recording.source} and {own[stimulus_id]!r} "
                        "in another file; it must be the same in all"
                    )
    return found


def labels_of(
    what: str, said: Mapping[str, str], ids: Sequence[str], known: Mapping[str, str], option: str
) -> dict[str, str]:
    """Return a text for each stimulus.

    Parameters
    ----------
    what
        What the texts are, for errors: ``group`` or ``split``.
    said
        Texts of a column, by stimulus id.
    ids
        The stimuli.
    known
        Texts that stimuli have already.
    option
        What gives texts to the rest.

    Raises
    ------
    InputError
        If a stimulus has none, or another than before.
    """
    found = {**known, **said}
    missing = [i for i in ids if not found.get(i)]
    if missing:
        raise InputError(
            f"{len(missing)} stimuli have no {what}: {name_ids(missing)}; every stimulus needs one ({option})"
        )
    differing = [i for i in known if found[i] != known[i]]
    if differing:
        raise InputError(f"{name_ids(differing)} would have another {what} than before; use --replace for that")
    return {i: found[i] for i in ids}


def join_groups(groups: Mapping[str, str], identical: Sequence[Sequence[str]]) -> dict[str, str]:
    """Make one group of groups that share a picture; it takes the first of their names.

    Parameters
    ----------
    groups
        Group of each stimulus id.
    identical
        Ids of the same picture, sets of two or more.
    """
    leader = {group: group for group in groups.values()}

    def lead(group: str) -> str:
        while leader[group] != group:
            group = leader[group]
        return group

    for same in identical:
        first, *others = sorted({lead(groups[i]) for i in same})
        for group in others:
            leader[group] = first
    return {i: lead(group) for i, group in groups.items()}


def fold_labels(texts: Mapping[str, str], column: str) -> dict[str, str]:
    """Return the texts of a split column, ``train`` and ``test`` in lower case.

    Raises
    ------
    InputError
        If ``train`` or ``test`` stands beside anything else, which would silently become folds.
    """
    lower = {text.lower() for text in texts.values()}
    if lower & _LIKE_PARTS and not lower <= _PARTS:
        raise InputError(
            f"--split column:{column} holds {name_ids(sorted(set(texts.values())))}; use 'train' and 'test' and nothing "
            "else, or the name of a fold for each stimulus"
        )
    return {i: text.lower() if text.lower() in _PARTS else text for i, text in texts.items()}


def labels_from_list(
    file: Path,
    ids: Sequence[str],
    known: Mapping[str, str],
    folder: ImageFolder,
    matches: Matches,
    lenient: bool,
) -> dict[str, str]:
    """Return ``test`` for the stimuli that a file names, ``train`` for the rest; what is known already stays.

    Parameters
    ----------
    file
        One stimulus a line, written as its id or as its image.
    ids
        The stimuli.
    known
        Labels that stimuli have already.
    folder, matches
        The images, and which id each belongs to.
    lenient
        Pass over what is no stimulus, as long as some are.

    Raises
    ------
    InputError
        Naming what is no stimulus.
    """
    if not expand(file).is_file():
        raise InputError(f"{file} does not exist; --split test:FILE names a file with one stimulus id a line")
    named, _ = read_ids(expand(file), Hints(), expand(file))
    here = set(ids)
    by_file = {name: stimulus_id for stimulus_id, name in matches.files.items()}
    images = folder.match([text for text in named if text not in here]).files
    meant = {text: text if text in here else by_file.get(images.get(text, "")) for text in named}
    unknown = [text for text, stimulus_id in meant.items() if stimulus_id not in here]
    if unknown and not (lenient and len(unknown) < len(meant)):
        raise InputError(
            f"{file} names {len(unknown)} stimuli that have no responses: {name_ids(unknown)}; correct the list"
        )
    test = set(meant.values())
    return {i: known.get(i, "test" if i in test else "train") for i in ids}
