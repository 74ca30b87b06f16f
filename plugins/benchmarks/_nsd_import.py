"""Importing the Natural Scenes Dataset from either of the layouts in which it is to be had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark_core import datasets
from benchmark_core.assembly import Responses
from benchmark_core.datasets import Part, read_manifest, write_part
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.specs import DatasetSpec
from benchmark_core.stimuli import name_ids
from plugins.benchmarks import _nsd_published as published
from plugins.benchmarks import _nsd_release as release
from plugins.benchmarks._nsd_images import Photographs, find_photographs, stimulus_id
from plugins.benchmarks.nsd import PUBLISHED, REGIONS, RELEASE, SUBJECTS, Scanning

IMPORT_VERSION = 1  # raised whenever the conversion changes, so that a part made by an older one is made anew
Progress = Callable[[str], None]


def import_release(source: Path, progress: Progress, scanning: Scanning | None = None) -> list[str]:
    """Import the subjects that a folder holds in the layout of the official release.

    The photographs stay where they are; their place is noted, and their contents are hashed. A subject already imported
    from the same files (by name, size and time) is left as it is; if the photographs have moved, their new place is
    noted.

    Parameters
    ----------
    source
        The folder with ``nsddata``, ``nsddata_betas`` and ``nsddata_stimuli`` in it.
    progress
        Called with lines for people.
    scanning
        How many sessions and trials there must be; by default those of the release.

    Returns
    -------
    list of str
        The parts that are on this machine now and came from the folder.

    Raises
    ------
    MissingDataError
        If the folder holds no subject, or lacks a file that is needed.
    InputError
        If a file is damaged or not what it should be; nothing is written of its subject.
    """
    source = _folder(source, "nsddata_betas")
    if not (source / "nsddata_betas").is_dir():
        if published.root_of(source) is not None:
            raise InputError(
                f"{source} holds published averages; import them with: bench data import {PUBLISHED.name} --from {source}"
            )
        raise MissingDataError(f"{source} holds no official release of NSD: expected nsddata_betas/ in it")
    return _import_release(source, progress, scanning or Scanning())


def import_published(source: Path, progress: Progress) -> list[str]:
    """Import the subjects that a folder holds in the layout of the averages that Kazemian et al. published.

    Parameters
    ----------
    source
        The folder with ``naturalscenes`` or, in it, ``early visual stream`` and the others.
    progress
        Called with lines for people.

    Returns
    -------
    list of str
        As of :func:`import_release`, whose remarks hold here, too.

    Raises
    ------
    MissingDataError, InputError
        As :func:`import_release`.
    """
    source = _folder(source, published.FOLDER)
    root = published.root_of(source)
    if root is None:
        if (source / "nsddata_betas").is_dir():
            raise InputError(
                f"{source} holds the official release; import it with: bench data import {RELEASE.name} --from {source}"
            )
        expected = f"{published.FOLDER}/{REGIONS['early'].published}/preprocessed/"
        raise MissingDataError(f"{source} holds no published averages of NSD: expected {expected} in it")
    return _import_published(source, root, progress)


def _folder(source: Path, name: str) -> Path:
    source = source.expanduser()
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise InputError(f"{source} {what}; name the folder that holds {name}/")
    return source


def _import_release(source: Path, progress: Progress, scanning: Scanning) -> list[str]:
    subjects = release.subjects_in(source, scanning)
    if not subjects:
        raise MissingDataError(f"{source} holds no betas: expected {release.betas_file('subj01', 1)} in it")
    design = release.read_design(source / release.DESIGN, scanning)
    shared = design.shared
    if len(shared) < 2:
        raise InputError(
            f"{source / release.DESIGN}: {len(shared)} images were shown to all subjects; nothing to test on"
        )
    progress(f"{RELEASE.name}: benchmarks nsd.*-release, tested on the {len(shared)} images that every subject saw")
    images = find_photographs([source / release.PHOTOGRAPHS], progress)
    for subject in subjects:
        files = [source / name for name in release.sources_of(subject, scanning)]
        stamps = _stamps(source, files)
        if _is_done(RELEASE, subject, stamps, images, progress):
            continue
        responses, left_out = release.read_subject(source, subject, design, scanning, shared, progress)
        _write(RELEASE, subject, responses, [stimulus_id(n) for n in shared], left_out, images, stamps, progress)
    return subjects


def _import_published(source: Path, root: Path, progress: Progress) -> list[str]:
    found = {s: regions for s in SUBJECTS if (regions := published.regions_of(root, s))}
    if not found:
        raise MissingDataError(f"{root} holds no betas: expected {published.betas_file(root, SUBJECTS[0], 'early')}")
    places = [folder / published.SHARED for folder in dict.fromkeys((root, source))]
    shared = published.read_shared(next((p for p in places if p.exists()), places[0]))
    images = find_photographs([folder / "images" for folder in dict.fromkeys((root, source))], progress)
    for subject, regions in found.items():
        stamps = _stamps(root, [next(p for p in places if p.exists()), *published.sources_of(root, subject, regions)])
        if _is_done(PUBLISHED, subject, stamps, images, progress):
            continue
        responses, left_out, ceilings = published.read_subject(root, subject, regions)
        absent = sorted(set(shared) - set(responses.stimulus_ids))
        if absent:
            raise InputError(
                f"{published.betas_file(root, subject, regions[0])} has no betas of the shared stimulus_id {name_ids(absent)}"
            )
        said = published.describe(ceilings)
        _write(PUBLISHED, subject, responses, shared, left_out, images, stamps, progress, said, {"ceilings": ceilings})
    return list(found)


def _stamps(root: Path, files: Iterable[Path]) -> dict[str, list[int]]:
    """Return size and time of files, by name: hashing hundreds of gigabytes would take as long as reading them."""
    stamps = {}
    for path in files:
        try:
            seen = path.stat()
        except FileNotFoundError:
            raise MissingDataError(f"{path} is missing; all files of a subject are needed") from None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        name = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        stamps[name.as_posix()] = [seen.st_size, seen.st_mtime_ns]
    return stamps


def _is_done(
    dataset: DatasetSpec, subject: str, stamps: Mapping[str, Any], images: Photographs, progress: Progress
) -> bool:
    """Whether a subject is already imported from the same files; notes where its photographs are now."""
    try:
        manifest = read_manifest(dataset, subject)
        stimuli = datasets.load_stimuli(dataset, subject)
    except BenchError:
        return False
    extra = manifest.get("extra", {})
    same_kind = stimuli.files[0].name == images.file(stimuli.stimulus_ids[0]).name
    if (extra.get("import_version"), extra.get("files"), same_kind) != (IMPORT_VERSION, dict(stamps), True):
        return False
    if manifest.get("images") == str(images.folder.resolve()):
        progress(f"{dataset.name}/{subject}: already imported from the same files")
    else:
        datasets.point_to_images(dataset, subject, images.folder)
        progress(f"{dataset.name}/{subject}: already imported from the same files; photographs now in {images.folder}")
    return True


def _write(
    dataset: DatasetSpec,
    subject: str,
    responses: Responses,
    shared: Iterable[str],
    left_out: Mapping[str, int],
    images: Photographs,
    stamps: Mapping[str, Any],
    progress: Progress,
    said: str = "",
    extra: Mapping[str, Any] | None = None,
) -> None:
    tested = set(shared)
    metadata = {"shared": {i: "1" if i in tested else "0" for i in responses.stimulus_ids}}
    regions = {}
    for region in REGIONS:
        columns = [i for i, name in enumerate(responses.neuroid_ids) if name.split("/")[1] == region]
        if columns:
            first, last = columns[0], columns[-1] + 1
            regions[region] = {
                "voxels": [first, last],
                "left_out": left_out[region],
                "target_hash": _slice(responses, first, last, region).hash,
            }
    if not regions:
        raise InputError(f"{dataset.name}/{subject}: no voxel has betas for all images")
    part = Part(
        images={},
        responses=responses,
        stimuli=images.stimulus_set(responses.stimulus_ids, metadata),
        images_in=images.folder,
        extra={"import_version": IMPORT_VERSION, "files": dict(stamps), "regions": regions, **(extra or {})},
        dtype="float32",
    )
    write_part(dataset, subject, part)
    n_left_out = sum(left_out.values())
    without = f" ({n_left_out} more left out, without betas in some session)" if n_left_out else ""
    progress(
        f"{dataset.name}/{subject}: imported {len(responses.stimulus_ids)} images, {len(tested)} of them shared, and "
        f"{responses.n_neuroids} voxels{without}{said}"
    )


def _slice(responses: Responses, first: int, last: int, region: str) -> Responses:
    """Return some consecutive neuroids as the responses of a region."""
    names, subjects = responses.neuroid_ids[first:last], responses.subjects[first:last]
    trials = responses.trials
    return Responses(
        responses.stimulus_ids,
        responses.values[:, first:last],
        names,
        subjects,
        region,
        None
        if trials is None
        else Responses(trials.stimulus_ids, trials.values[..., first:last], names, subjects, region),
        None if responses.reliability is None else responses.reliability[first:last],
    )
