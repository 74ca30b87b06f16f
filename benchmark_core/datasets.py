"""Parts of datasets on disk: writing and reading them.

A part (a session, a subject) is one folder, ``BENCH_HOME/data/DATASET/PART``:

``manifest.json``
    Format, hashes of the stimuli and of the responses, SHA-256 of each file and of the sources, counts.
``stimuli.csv``, ``images/``
    The stimulus set (:class:`benchmark_core.stimuli.StimulusSet`).
``responses.nc``
    The responses (:class:`benchmark_core.assembly.Responses`) as netCDF, and any further variables; or ``labels.nc``
    (:class:`benchmark_core.labels.Labels`) or ``rdms.nc`` (:class:`benchmark_core.rdms.RDMs`), where those are the
    target.

Everything that a score's key needs is in the manifests, so this module imports only the standard library until
responses are read or written.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.atomic import new_folder, settle, write_atomically
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.home import bench_home
from benchmark_core.keys import file_sha256
from benchmark_core.specs import DatasetSpec
from benchmark_core.stimuli import StimulusSet, match_stimuli

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from benchmark_core.assembly import Responses
    from benchmark_core.labels import Labels
    from benchmark_core.rdms import RDMs

FORMAT = 1
MANIFEST, STIMULI, IMAGES, RESPONSES = "manifest.json", "stimuli.csv", "images", "responses.nc"


@dataclass(frozen=True)
class Part:
    """What is to be written as one part.

    Parameters
    ----------
    images
        ``{stimulus_id: (file name, bytes of the image file)}``; read one by one, so a mapping may read files only
        then. A file name may contain folders.
    responses
        The target: responses to, or labels or RDMs of, exactly these stimuli.
    metadata
        Further columns of the stimulus set, ``{column: {stimulus_id: text}}``.
    variables
        Further variables of the netCDF file, each an array (n_stimuli, n_neuroids) in the order of the sorted
        stimulus ids.
    sources
        SHA-256 of the files that the part was made from, by name.
    extra
        Anything else worth keeping in the manifest; plain data.
    stimuli
        The stimulus set, where the image files stay in place because they are too large to copy; ``images`` is then
        empty.
    images_in
        Folder that all files of ``stimuli`` lie in.
    dtype
        Type of the numbers on disk. The target must survive it: its hash is checked after reading.
    """

    images: Mapping[str, tuple[str, bytes]]
    responses: Responses | Labels | RDMs
    metadata: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    variables: Mapping[str, np.ndarray] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    stimuli: StimulusSet | None = None
    images_in: Path | None = None
    dtype: str = "float64"


def part_folder(dataset: DatasetSpec, part: str) -> Path:
    """Return the folder of a part, which may not exist.

    Raises
    ------
    InputError
        For a part that the dataset does not have.
    """
    if part not in dataset.parts:
        raise InputError(f"dataset {dataset.name!r} has no part {part!r}; it has {', '.join(dataset.parts)}")
    return bench_home() / "data" / dataset.name / part


def how_to_get(dataset: DatasetSpec) -> str:
    """Return the commands that bring a dataset to this machine, in words."""
    if dataset.obtain:
        return dataset.obtain
    commands = []
    if dataset.fetcher is not None:
        commands.append(f"`bench data fetch {dataset.name}`")
    if dataset.importer is not None:
        commands.append(f"`bench data import {dataset.name} --from DIR`")
    return " or ".join(commands) or "import it"


def write_part(dataset: DatasetSpec, part: str, content: Part) -> Path:
    """Write a part, replacing what was there; at any moment it is the old one or the new one, whole.

    Raises
    ------
    InputError
        If stimuli and responses do not match, or the folder cannot be written.
    """
    folder = part_folder(dataset, part)
    with new_folder(folder) as temporary:
        fill_part(temporary, dataset, part, content)
    return folder


def fill_part(folder: Path, dataset: DatasetSpec, part: str, content: Part) -> dict[str, Any]:
    """Write the files of a part into an empty folder and return its manifest.

    For whoever puts several parts in place at once, with :func:`benchmark_core.atomic.new_folder`.

    Raises
    ------
    InputError
        If stimuli and responses do not match.
    """
    target = content.responses
    ids = list(content.images) if content.stimuli is None else content.stimuli.stimulus_ids
    match_stimuli(ids, target.stimulus_ids, f"{target.kind} of {dataset.name}/{part}")
    stimuli, images = content.stimuli, content.images_in
    if stimuli is None or images is None:
        images = folder / IMAGES
        stimuli = _write_images(images, content)
    (folder / STIMULI).write_bytes(stimuli.to_csv(images).encode())
    target_file = f"{target.kind}.nc"
    _write_netcdf(folder / target_file, target, content.variables, content.dtype)
    manifest = {
        "format": FORMAT,
        "dataset": dataset.name,
        "part": part,
        "stimuli_hash": stimuli.manifest_hash,
        "target_hash": target.hash,
        "files": {name: file_sha256(folder / name) for name in (STIMULI, target_file)},
        "sources": dict(content.sources),
        "n_stimuli": len(stimuli),
        **_describe(target),
        "simulated": dataset.simulated,
        "extra": dict(content.extra),
        **({} if content.images_in is None else {"images": str(content.images_in.resolve())}),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return manifest


def _write_images(folder: Path, content: Part) -> StimulusSet:
    """Write the images of a part; return its stimulus set."""
    folder.mkdir()
    files, sha256 = {}, {}
    for stimulus_id, (name, data) in content.images.items():
        files[stimulus_id] = folder / name
        if "/" in name:
            files[stimulus_id].parent.mkdir(parents=True, exist_ok=True)
        sha256[stimulus_id] = hashlib.sha256(data).hexdigest()
        with files[stimulus_id].open("xb") as handle:
            handle.write(data)
    ids = tuple(files)
    return StimulusSet(
        ids,
        tuple(files[i] for i in ids),
        tuple(sha256[i] for i in ids),
        {column: tuple(values[i] for i in ids) for column, values in content.metadata.items()},
    )


def point_to_images(dataset: DatasetSpec, part: str, folder: Path) -> None:
    """Note that the images of a part, which were left in place, lie in another folder now."""
    manifest = read_manifest(dataset, part) | {"images": str(folder.resolve())}
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    write_atomically(part_folder(dataset, part) / MANIFEST, text.encode())


def read_manifest(dataset: DatasetSpec, part: str) -> dict[str, Any]:
    """Return the manifest of a part.

    Raises
    ------
    MissingDataError
        If the part is not on this machine; the message holds the commands that bring it.
    InputError
        If the manifest is damaged or of another format.
    """
    folder = part_folder(dataset, part)
    settle(folder)
    path = folder / MANIFEST
    again = f"get it again with {how_to_get(dataset)}"
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        if folder.exists():
            raise MissingDataError(f"{dataset.name}/{part} has lost its {MANIFEST}, {path}; {again}") from None
        raise MissingDataError(
            f"{dataset.name}/{part} is not on this machine (looked in {folder}); get it with {how_to_get(dataset)}"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is damaged; {again}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not of format {FORMAT}, which this version reads; {again}")
    if (manifest.get("dataset"), manifest.get("part")) != (dataset.name, part):
        raise InputError(f"{path} is not that of {dataset.name}/{part}; {again}")
    return manifest


def load_stimuli(dataset: DatasetSpec, part: str) -> StimulusSet:
    """Return the stimulus set of a part; opens no image.

    Raises
    ------
    MissingDataError
        If the part is not on this machine.
    InputError
        If its files are damaged.
    """
    manifest = read_manifest(dataset, part)
    folder = part_folder(dataset, part)
    _check_file(dataset, manifest, folder / STIMULI)
    return StimulusSet.from_manifest(folder / STIMULI, Path(manifest.get("images") or folder / IMAGES))


def target_hash(dataset: DatasetSpec, part: str) -> str:
    """Return the content hash of a part's target, from its manifest alone.

    Raises
    ------
    MissingDataError
        If the part is not on this machine.
    InputError
        If its manifest is damaged.
    """
    return str(read_manifest(dataset, part)["target_hash"])


def target_kind(manifest: Mapping[str, Any]) -> str:
    """Return the kind of target of a part: ``labels`` or ``rdms`` where its manifest says so, else ``responses``."""
    kind = manifest.get("kind")
    return kind if kind in ("labels", "rdms") else "responses"


def load_responses(dataset: DatasetSpec, part: str) -> Responses:
    """Return the responses of a part, after checking the file against its SHA-256.

    Raises
    ------
    MissingDataError
        If the part is not on this machine.
    InputError
        If its files are damaged.
    """
    from benchmark_core.assembly import Responses

    return Responses.from_xarray(load_dataset(dataset, part))


def load_target(dataset: DatasetSpec, part: str) -> Responses | Labels | RDMs:
    """Return the target of a part, of whatever kind its manifest says, after checking the file against its SHA-256.

    Raises
    ------
    MissingDataError
        If the part is not on this machine.
    InputError
        If its files are damaged.
    """
    from benchmark_core.labels import Labels
    from benchmark_core.rdms import RDMs

    kind = target_kind(read_manifest(dataset, part))
    if kind == "responses":
        return load_responses(dataset, part)
    return (Labels if kind == "labels" else RDMs).from_xarray(load_dataset(dataset, part))


def load_dataset(
    dataset: DatasetSpec, part: str, select: Callable[[xr.Dataset], xr.Dataset] = lambda whole: whole
) -> xr.Dataset:
    """Return the variables of a part's netCDF file, in memory, after checking the file against its SHA-256.

    Parameters
    ----------
    dataset, part
        Which part.
    select
        Given the dataset on disk, returns what to read of it (by default all).

    Raises
    ------
    MissingDataError
        If the part is not on this machine.
    InputError
        If its files are damaged.
    """
    import xarray as xr

    manifest = read_manifest(dataset, part)
    path = part_folder(dataset, part) / f"{target_kind(manifest)}.nc"
    _check_file(dataset, manifest, path)
    try:
        with xr.open_dataset(path, engine="netcdf4") as whole:
            return select(whole).load()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot read {path} ({error}); get it again with {how_to_get(dataset)}") from None


def _check_file(dataset: DatasetSpec, manifest: Mapping[str, Any], path: Path) -> None:
    again = f"get it again with {how_to_get(dataset)}"
    try:
        found = file_sha256(path)
    except FileNotFoundError:
        raise MissingDataError(f"{path} is missing; {again}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    files = manifest.get("files")
    if not isinstance(files, dict) or files.get(path.name) != found:
        raise InputError(f"{path} has changed since it was written (its SHA-256 is not that of {MANIFEST}); {again}")


def _describe(target: Responses | Labels | RDMs) -> dict[str, Any]:
    """Return what a manifest says of its target."""
    if target.kind == "responses":
        trials = target.trials or target
        return {
            "n_neuroids": target.n_neuroids,
            "n_repetitions": trials.values.shape[1] if trials.has_trials else None,
            "subjects": list(target.subject_names),
            "region": target.region,
        }
    subjects = list(target.subject_names) if target.kind == "rdms" else []
    return {"kind": target.kind, "contents": target.contents, "subjects": subjects}


def _write_netcdf(
    path: Path, target: Responses | Labels | RDMs, variables: Mapping[str, np.ndarray], dtype: str
) -> None:
    dataset = target.to_xarray()
    for name, values in variables.items():
        dataset[name] = (("stimulus", "neuroid"), values)
    compressed: dict[str, dict[str, Any]] = {str(n): {"zlib": True, "complevel": 4} for n in dataset.data_vars}
    if dtype != "float64":
        for settings in compressed.values():
            settings["dtype"] = dtype
    try:
        dataset.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=compressed)
    except (OSError, RuntimeError) as error:
        # The library does not say that the disk is full: it speaks of HDF errors, or of permissions.
        if shutil.disk_usage(path.parent).free < dataset.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise InputError(f"cannot write {path} ({error}); check the disk it is on") from None
