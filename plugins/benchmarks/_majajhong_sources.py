"""The files of Majaj, Hong et al. (2015) as users have them: finding them, their table of images, their lists of ids."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.safe_pickle import read_texts
from benchmark_core.stimuli import name_ids
from plugins.benchmarks._image_files import ImageArchive, ImageFolder, ImageSource
from plugins.benchmarks._majajhong_assembly import LABELS
from plugins.benchmarks.majajhong import ASSEMBLY, DATASET, FILES, ID_FILES, IMAGES, REGIONS, SUBJECTS, TABLE

LARGEST_IMAGE = 20_000_000  # bytes; the published images have some tens of kB
STEMS = ("stimulus_hvm-public", "image_dicarlo_hvm-public")  # newer and older names of the images and their table
ID_COLUMNS, FILE_COLUMNS = ("stimulus_id", "image_id"), ("filename", "image_file_name")  # newer and older names


@dataclass(frozen=True)
class Sources:
    """What a folder holds.

    Parameters
    ----------
    assembly
        Single trials of all subjects and regions.
    averages
        Averages of each region: ``{region: {subject: file}}``; complete where present.
    table, images
        The table of images, and the folder or archive with them.
    ids
        Lists of ids: ``{column: {role: file}}``; complete where present.
    """

    assembly: Path | None
    averages: Mapping[str, Mapping[str, Path]]
    table: Path | None
    images: Path | None
    ids: Mapping[str, Mapping[str, Path]]

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions with responses."""
        return REGIONS if self.assembly is not None else tuple(r for r in REGIONS if r in self.averages)


@dataclass(frozen=True)
class Table:
    """The table of images: file name and labels of each stimulus_id."""

    names: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]]


def find(source: Path) -> Sources:
    """Look for the public files and for those of Kazemian et al. in a folder, or in ``majajhong`` inside it.

    Raises
    ------
    InputError
        If it is no folder.
    MissingDataError
        If it holds none of them, or part of what belongs together.
    """
    source = source.expanduser()
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise InputError(f"{source} {what}; name the folder that holds {ASSEMBLY} or SUBJECT_Tito_REGION_IT")
    folders = [f for f in (source, source / "majajhong") if f.is_dir()]

    def first(*names: str) -> Path | None:
        return next((f / name for f in folders for name in names if (f / name).exists()), None)

    averages = {
        region: {s: path for s in SUBJECTS if (path := first(f"SUBJECT_{s}_REGION_{region}")) is not None}
        for region in REGIONS
    }
    ids = {
        column: {role: path for role, name in files.items() if (path := first(name)) is not None}
        for column, files in ID_FILES.items()
    }
    for region, found in averages.items():
        missing = [f"SUBJECT_{s}_REGION_{region}" for s in SUBJECTS if s not in found]
        if found and missing:
            raise MissingDataError(f"{source} is incomplete: {', '.join(missing)} missing (both animals are needed)")
    for column, given in ids.items():
        missing = [name for role, name in ID_FILES[column].items() if role not in given]
        if given and missing:
            raise MissingDataError(f"{source} is incomplete: {', '.join(missing)} missing (train and test are needed)")
    # A table goes with the images of its own name: older and newer ones may call the files differently.
    pairs = [(first(f"{stem}.csv", f"{stem}/{stem}.csv"), first(f"{stem}.zip", stem)) for stem in STEMS]
    whole = [pair for pair in pairs if None not in pair]
    table, images = whole[0] if whole else (next((p[i] for p in pairs if p[i] is not None), None) for i in (0, 1))
    result = Sources(first(ASSEMBLY), {r: f for r, f in averages.items() if f}, table, images, _present(ids))
    if not result.regions and not result.ids:
        raise MissingDataError(
            f"{source} holds no files of {DATASET.name}: expected {ASSEMBLY}, or SUBJECT_Tito_REGION_IT and its like"
        )
    if result.regions:
        _check_complete(source, result)
    return result


def _present(ids: Mapping[str, Mapping[str, Path]]) -> dict[str, Mapping[str, Path]]:
    return {column: files for column, files in ids.items() if files}


def _check_complete(source: Path, found: Sources) -> None:
    if found.table is None:
        raise MissingDataError(f"{source} is incomplete: the table of images ({TABLE} or {STEMS[1]}.csv) is missing")
    if found.images is None:
        raise MissingDataError(f"{source} is incomplete: the images ({IMAGES}, or the folder {STEMS[1]}) are missing")


def read_table(path: Path) -> Table:
    """Read the table of images: a column of ids, one of file names, and labels where it has them.

    Raises
    ------
    InputError
        If it is no table, lacks a column, or ids or names are not sound.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); get it again") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not rows:
        raise InputError(f"{path} lists no images")
    id_column, file_column = (_column(path, rows[0], known) for known in (ID_COLUMNS, FILE_COLUMNS))
    names: dict[str, str] = {}
    labels: dict[str, dict[str, str]] = {label: {} for label in LABELS if label in rows[0]}
    for number, row in enumerate(rows, start=2):
        stimulus_id, name = row[id_column], row[file_column]
        if None in row or None in row.values() or not stimulus_id or not name:
            raise InputError(f"{path}, line {number}: wrong number of columns, or no id or file name")
        if stimulus_id in names:
            raise InputError(f"{path}, line {number}: stimulus_id {stimulus_id!r} is listed twice")
        if "/" in name or "\\" in name or name in (".", "..") or "\0" in name:
            raise InputError(f"{path}, line {number}: {name!r} is not a plain file name")
        names[stimulus_id] = name
        for label, values in labels.items():
            values[stimulus_id] = row[label]
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    if repeated:
        raise InputError(f"{path} gives the file {name_ids(repeated)} to two stimuli")
    return Table(names, labels)


def _column(path: Path, row: Mapping[str, str], known: tuple[str, ...]) -> str:
    """Return the first of the known names that the table has."""
    for name in known:
        if name in row:
            return name
    raise InputError(f"{path} has no column {' or '.join(map(repr, known))}")


def open_images(path: Path) -> ImageSource:
    """Open the folder or archive with the images."""
    return ImageFolder(path) if path.is_dir() else ImageArchive(path, LARGEST_IMAGE)


def read_roles(files: Mapping[str, Mapping[str, Path]], known: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Read the lists of ids.

    Parameters
    ----------
    files
        ``{column: {role: file}}``.
    known
        Holds every stimulus_id that there is.

    Returns
    -------
    ``{column: {stimulus_id: role}}``, with an empty text for stimuli that are in neither list.

    Raises
    ------
    InputError
        If a list is damaged or hostile, empty, repeats an id, names one that no image has, or shares one with the other.
    """
    columns: dict[str, dict[str, str]] = {}
    for column, of_role in files.items():
        roles = dict.fromkeys(known, "")
        for role, path in of_role.items():
            ids = read_texts(path)
            if not ids:
                raise InputError(f"{path} holds no ids")
            repeated = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
            if repeated:
                raise InputError(f"{path} holds stimulus_id {name_ids(repeated)} more than once")
            unknown = sorted(set(ids) - set(roles))
            if unknown:
                raise InputError(f"{path} names stimulus_id {name_ids(unknown)}, which no image has")
            both = sorted(i for i in ids if roles[i])
            if both:
                raise InputError(f"{path} names stimulus_id {name_ids(both)}, which would be trained on and tested on")
            roles |= dict.fromkeys(ids, role)
        columns[column] = roles
    return columns


def label_text(value: str) -> str:
    """Return a label as one file or the other has it: ``3`` for ``3.0``."""
    return value.removesuffix(".0") if value.removesuffix(".0").isdecimal() else value


def fingerprint(path: Path) -> tuple[str, str]:
    """Return the SHA-256 and SHA-1 of a file; of a folder those of its files' names and contents.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    try:
        for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
            if path.is_dir():
                sha256.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as handle:
                while block := handle.read(1 << 20):
                    sha256.update(block)
                    sha1.update(block)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    return sha256.hexdigest(), sha1.hexdigest()


def published_sha1(path: Path) -> str | None:
    """Return the published SHA-1 of a file with this name."""
    return FILES.get(path.name)
