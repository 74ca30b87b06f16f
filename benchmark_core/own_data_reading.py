"""From the files a user names to responses by region, image files by stimulus id, splits and groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.home import expand
from benchmark_core.keys import file_sha256
from benchmark_core.own_data_arrays import read_ids, read_numpy
from benchmark_core.own_data_images import ImageFolder, Look, Matches, look_at_all, open_image, same_pictures
from benchmark_core.own_data_layout import Hints, read_table
from benchmark_core.own_data_manifest import DEFAULT_SPLIT, GROUP, SPLIT, check_split
from benchmark_core.own_data_netcdf import read_netcdf
from benchmark_core.own_data_recordings import ANY_REGION, ANY_SUBJECT, Recording, by_region, region_name
from benchmark_core.own_data_tables import CSV_SUFFIXES, PARQUET_SUFFIXES, open_table
from benchmark_core.stimuli import name_ids

Progress = Callable[[str], None]
NETCDF_SUFFIXES = (".nc", ".nc4", ".netcdf", ".cdf")
FORMATS = "CSV (.csv, .tsv), parquet (.parquet), NumPy (.npy, .npz) or netCDF (.nc)"
UNREADABLE = {
    ".xlsx": "an Excel file: save the sheet as 'CSV UTF-8'",
    ".xls": "an Excel file: save the sheet as 'CSV UTF-8'",
    ".ods": "a spreadsheet: save the sheet as CSV",
    ".mat": "a MATLAB file: save a table with writetable(..., 'x.csv'), or an array as npy",
    ".pkl": "a Python pickle, which is never opened: save it as CSV, npy or netCDF",
    ".pickle": "a Python pickle, which is never opened: save it as CSV, npy or netCDF",
    ".h5": "an HDF5 file of unknown layout: save it as netCDF with xarray, or the array as npy",
    ".hdf5": "an HDF5 file of unknown layout: save it as netCDF with xarray, or the array as npy",
    ".gz": "compressed: unpack it first",
    ".zip": "an archive: unpack it first",
}


@dataclass(frozen=True)
class Request:
    """What the user names.

    Parameters
    ----------
    images
        Folder of images.
    responses
        Files of responses.
    regions, subjects
        One for all files, one for each, or none where the files say.
    hints
        How to read the files.
    split
        ``kfold:K``, ``column:NAME``, ``test:FILE`` or None.
    groups
        Column that says which stimuli belong together.
    group_identical
        Whether images with the same pixels belong together.
    only_matched
        Whether to leave out stimuli without an image.
    """

    images: Path
    responses: tuple[Path, ...]
    regions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    hints: Hints = field(default_factory=Hints)
    split: str | None = None
    groups: str | None = None
    group_identical: bool = False
    only_matched: bool = False


@dataclass(frozen=True, eq=False)
class Existing:
    """What a dataset holds already that is to be extended.

    ``files`` and ``sha256`` are by stimulus id; ``metadata`` by column, then id.
    """

    name: str
    recordings: tuple[Recording, ...]
    files: Mapping[str, tuple[str, Path]]
    sha256: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, str]]
    split: str
    grouped: bool
    sources: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A dataset that is read and matched, and not yet written.

    Parameters
    ----------
    regions
        Responses of each region.
    files
        ``{stimulus_id: (name for the copy, file)}``.
    looks
        What each image holds, by stimulus id.
    metadata
        Groups and splits, ``{column: {stimulus_id: text}}``.
    split
        As :func:`benchmark_core.own_data_manifest.check_split` returns it.
    sources
        Files that it came from.
    matched
        How ids and images match, as :func:`benchmark_core.own_data_report.report_on` takes it.
    """

    regions: Mapping[str, Responses]
    files: Mapping[str, tuple[str, Path]]
    looks: Mapping[str, Look]
    metadata: Mapping[str, Mapping[str, str]]
    split: str
    sources: tuple[Mapping[str, str], ...]
    matched: Mapping[str, Any]


def prepare(request: Request, progress: Progress, existing: Existing | None = None) -> Prepared:
    """Read responses, match images and look at them, and settle splits and groups. Writes nothing.

    Raises
    ------
    InputError
        For whatever keeps the files from being a dataset. Ids without an image are no error here, but lines in
        ``matched``, as long as some have one.
    """
    split = _split_text(request, existing)
    kind, _, value = split.partition(":")
    own_column = value if kind == "column" and request.split is not None else None
    wanted = tuple(dict.fromkeys(c for c in (request.groups, own_column) if c is not None))
    recordings, sources = read_responses(request, replace(request.hints, columns=wanted), progress)
    if existing is not None:
        _check_new(recordings, existing)
    folder = ImageFolder.open(expand(request.images))
    ids = list(dict.fromkeys(i for r in recordings for i in r.stimulus_ids))
    matches = folder.match(ids)
    lines = problems_with(matches, folder, request.only_matched)
    shared = {i for group in matches.shared.values() for i in group}
    kept = {i for i in matches.files if i not in shared}
    if not kept:
        raise InputError(lines[0] if lines else f"no stimulus id fits an image in {folder.path}")
    if len(kept) < len(ids):
        recordings = [r.at([i for i in r.stimulus_ids if i in kept]) for r in recordings]
        recordings = [r for r in recordings if r.stimulus_ids]
    files = {i: (matches.files[i], folder.files[matches.files[i]]) for i in ids if i in kept}
    known: dict[str, dict[str, str]] = {}
    if existing is not None:
        files = _with_existing(files, existing)
        known = {column: dict(texts) for column, texts in existing.metadata.items()}
        recordings = [*existing.recordings, *recordings]
        sources = (*existing.sources, *sources)
    order = sorted(files)
    progress(f"looking at {len(order)} images")
    looks = look_at_all(lambda at: open_image(files[order[at]][1]), len(order), progress)
    metadata: dict[str, dict[str, str]] = {}
    columns = _columns(recordings)
    if request.groups is not None or known.get(GROUP):
        before = known.get(GROUP, {})
        if request.group_identical and request.groups is None:
            before = {i: before.get(i, i) for i in order}
        metadata[GROUP] = _labels("group", request.groups, columns, order, before, "--groups COLUMN")
    if request.group_identical:
        same = same_pictures(order, looks)
        if same:
            metadata[GROUP] = _join(metadata.get(GROUP) or {i: i for i in order}, same)
    if kind == "column":
        if own_column in columns:
            columns[own_column] = {i: _plain_label(text) for i, text in columns[own_column].items()}
        said = _labels("split", own_column, columns, order, known.get(SPLIT, {}), f"--split {split}")
        metadata[SPLIT] = _train_and_test(said, value)
    elif kind == "test":
        metadata[SPLIT] = _test_list(request, value, order, known.get(SPLIT, {}), folder, matches)
    return Prepared(
        by_region(recordings),
        files,
        dict(zip(order, looks, strict=True)),
        metadata,
        split,
        sources,
        {
            "n_matched": len(kept),
            "without_image": list(matches.missing),
            "without_responses": list(matches.unused),
            "lines": lines,
        },
    )


def read_responses(
    request: Request, hints: Hints, progress: Progress
) -> tuple[list[Recording], tuple[Mapping[str, str], ...]]:
    """Read all files of responses.

    Returns
    -------
    The recordings, and of each file its path, SHA-256 and the folder of images.

    Raises
    ------
    InputError
        For what cannot be read; for one file given twice; for more subjects or regions than files.
    """
    recordings: list[Recording] = []
    sources: list[Mapping[str, str]] = []
    n = len(request.responses)
    seen: dict[str, Path] = {}
    for at, given in enumerate(request.responses):
        path = expand(given)
        loader = _loader(path)
        digest = _sha256(path)
        if digest in seen:
            raise InputError(
                f"{path} holds the same as {seen[digest]}: its repetitions would count twice; give it once"
            )
        seen[digest] = path
        progress(f"reading {path}")
        own = replace(
            hints,
            ids=None if hints.ids is None else str(expand(Path(hints.ids))) if Path(hints.ids).suffix else hints.ids,
        )
        recordings += loader(
            path, own, _nth(request.regions, at, n, "region"), _nth(request.subjects, at, n, "subject")
        )
        sources.append(
            {"file": str(path.absolute()), "sha256": digest, "images": str(expand(request.images).absolute())}
        )
    return recordings, tuple(sources)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise InputError(f"--responses {path} does not exist; check the path") from None
    except IsADirectoryError:
        raise InputError(f"--responses {path} is a folder; name the file in it") from None
    except OSError as error:
        raise InputError(f"cannot read --responses {path}: {error.strerror}") from None


def _nth(given: Sequence[str], at: int, n: int, what: str) -> str | None:
    if not given:
        return None
    if len(given) not in (1, n):
        raise InputError(
            f"{len(given)} --{what} for {n} --responses: give it once for all, or once for each in this order"
        )
    name = given[0 if len(given) == 1 else at].strip()
    if not name:
        raise InputError(f"--{what} is empty; name the {what}")
    return name


def _loader(path: Path) -> Callable[[Path, Hints, str | None, str | None], list[Recording]]:
    suffix = path.suffix.lower()
    if suffix in CSV_SUFFIXES or suffix in PARQUET_SUFFIXES:
        return lambda p, h, r, s: read_table(open_table(p, h.decimal), h, r, s)
    if suffix in (".npy", ".npz"):
        return read_numpy
    if suffix in NETCDF_SUFFIXES:
        return read_netcdf
    if path.is_dir():
        raise InputError(f"--responses {path} is a folder; name the file in it")
    why = UNREADABLE.get(suffix, f"of a kind that is not read; use {FORMATS}")
    raise InputError(f"--responses {path} is {why}")


def problems_with(matches: Matches, folder: ImageFolder, only_matched: bool) -> list[str]:
    """Return a line for each kind of thing that is wrong with how ids match images."""
    lines = []
    if matches.missing and not (only_matched and matches.files):
        hint = folder.suggest(matches.missing[0])
        example = next(iter(sorted(folder.files)))
        lines.append(
            f"{len(matches.missing)} of {len(matches.missing) + len(matches.files) + len(matches.several)} stimulus ids have "
            f"no image in {folder.path}: {name_ids(matches.missing)} (files are named like {example!r}).{hint} Correct the "
            "ids or the files, name another column with --ids, or leave these stimuli out with --only-matched"
        )
    for stimulus_id, names in list(matches.several.items())[:1]:
        lines.append(
            f"{len(matches.several)} stimulus id(s) fit several files in {folder.path}, {stimulus_id!r} both {names[0]!r} "
            f"and {names[1]!r}; remove one, or write ids with folder and extension"
        )
    for name, ids in list(matches.shared.items())[:1]:
        lines.append(
            f"{len(matches.shared)} image(s) fit several stimulus ids, {name!r} both {ids[0]!r} and {ids[1]!r}; write one "
            "stimulus in one way, and different images with their folders"
        )
    return lines


def _check_new(recordings: Sequence[Recording], existing: Existing) -> None:
    """Check that no subject of a region is there already."""
    there = {(r.region, r.subject) for r in existing.recordings}
    for recording in recordings:
        key = (region_name(recording.region or ANY_REGION), recording.subject or ANY_SUBJECT)
        if key in there:
            raise InputError(
                f"{existing.name} has responses of {key[1]} in {key[0]} already; name another with --subject or --region "
                "to add to it, or put this in place of the whole dataset with --replace"
            )


def _with_existing(files: Mapping[str, tuple[str, Path]], existing: Existing) -> dict[str, tuple[str, Path]]:
    """Add the images that a dataset has; an id must stand for the same image in both."""
    found = dict(existing.files)
    names = {name.lower() for name, _ in found.values()}
    for stimulus_id, (name, path) in files.items():
        if stimulus_id in found:
            if file_sha256(path) != existing.sha256[stimulus_id]:
                raise InputError(
                    f"{stimulus_id!r} is another image in {path} than the one that {existing.name} has; give stimuli that "
                    "differ ids that differ"
                )
            continue
        number, free = 2, name
        while free.lower() in names:
            free = f"{number}/{name}"
            number += 1
        names.add(free.lower())
        found[stimulus_id] = (free, path)
    return found


def _split_text(request: Request, existing: Existing | None) -> str:
    if existing is None:
        return check_split(request.split or DEFAULT_SPLIT)
    if request.split is not None and check_split(request.split) != existing.split:
        raise InputError(
            f"{existing.name} is split by {existing.split}, not {request.split}; leave --split out, or put all of it in "
            "place anew with --replace"
        )
    return existing.split


def _columns(recordings: Sequence[Recording]) -> dict[str, dict[str, str]]:
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


def _labels(
    what: str,
    column: str | None,
    columns: Mapping[str, Mapping[str, str]],
    ids: Sequence[str],
    known: Mapping[str, str],
    option: str,
) -> dict[str, str]:
    """Return a text for each stimulus, from a column or from what is known already."""
    found = {**known, **(columns.get(column, {}) if column is not None else {})}
    missing = [i for i in ids if not found.get(i)]
    if missing:
        raise InputError(
            f"{len(missing)} stimuli have no {what}: {name_ids(missing)}; every stimulus needs one ({option})"
        )
    if column is not None:
        differing = [i for i in known if i in columns.get(column, {}) and columns[column][i] != known[i]]
        if differing:
            raise InputError(f"{name_ids(differing)} would have another {what} than before; use --replace for that")
    return {i: found[i] for i in ids}


def _join(groups: Mapping[str, str], identical: Sequence[Sequence[str]]) -> dict[str, str]:
    """Make one group of groups that share a picture; it takes the first of their names."""
    leader = {group: group for group in groups.values()}

    def lead(group: str) -> str:
        while leader[group] != group:
            group = leader[group]
        return group

    for same in identical:
        leads = sorted({lead(groups[i]) for i in same})
        for group in leads[1:]:
            leader[group] = leads[0]
    return {i: lead(group) for i, group in groups.items()}


def _plain_label(text: str) -> str:
    return text.lower() if text.lower() in ("train", "test") else text


def _train_and_test(labels: Mapping[str, str], column: str) -> dict[str, str]:
    lower = {text.lower() for text in labels.values()}
    if lower != {"train", "test"} and lower & {"train", "test", "training", "testing", "val", "validation"}:
        raise InputError(
            f"--split column:{column} holds {name_ids(sorted(set(labels.values())))}; use 'train' and 'test' and nothing "
            "else, or the name of a fold for each stimulus"
        )
    return dict(labels)


def _test_list(
    request: Request,
    file: str,
    ids: Sequence[str],
    known: Mapping[str, str],
    folder: ImageFolder,
    matches: Matches,
) -> dict[str, str]:
    if request.split is None:
        return _labels("split", None, {}, ids, known, f"--split test:{file}")
    named, _ = read_ids(expand(Path(file)), Hints(), expand(request.responses[0]))
    by_file = {name: stimulus_id for stimulus_id, name in matches.files.items()}
    here = set(ids)
    test: set[str] = set()
    unknown = []
    for text in named:
        name = folder.match([text]).files.get(text) if text not in here else None
        if text in here:
            test.add(text)
        elif name is not None and by_file.get(name) in here:
            test.add(by_file[name])
        else:
            unknown.append(text)
    if unknown and not (request.only_matched and test):
        raise InputError(
            f"{file} names {len(unknown)} stimuli that have no responses: {name_ids(unknown)}; correct the list"
        )
    return {i: known.get(i, "test" if i in test else "train") for i in ids}
