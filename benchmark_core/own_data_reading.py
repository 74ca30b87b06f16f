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
from benchmark_core.own_data_arrays import read_numpy
from benchmark_core.own_data_images import ImageFolder, Look, Matches, look_at_all, open_image, same_pictures
from benchmark_core.own_data_layout import Hints, read_table
from benchmark_core.own_data_manifest import DEFAULT_SPLIT, GROUP, SPLIT, check_split
from benchmark_core.own_data_netcdf import read_netcdf
from benchmark_core.own_data_recordings import ANY_REGION, ANY_SUBJECT, Recording, by_region, region_name
from benchmark_core.own_data_splits import columns_of, fold_labels, join_groups, labels_from_list, labels_of
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
    columns = columns_of(recordings)
    groups, parts = known.get(GROUP, {}), known.get(SPLIT, {})
    if request.groups is not None or groups:
        if request.group_identical and request.groups is None:
            groups = {i: groups.get(i, i) for i in order}
        metadata[GROUP] = labels_of("group", columns.get(request.groups or "", {}), order, groups, "--groups COLUMN")
    if request.group_identical:
        same = same_pictures(order, looks)
        if same:
            metadata[GROUP] = join_groups(metadata.get(GROUP) or {i: i for i in order}, same)
    if kind == "test" and request.split is not None:
        metadata[SPLIT] = labels_from_list(Path(value), order, parts, folder, matches, request.only_matched)
    elif kind != "kfold":
        said = fold_labels(columns.get(own_column or "", {}), value)
        metadata[SPLIT] = labels_of("split", said, order, parts, f"--split {split}")
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
        hint = folder.suggest(matches.missing[0], matches.unused)
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
