"""A laboratory's own recordings as benchmarks, without code: adding, removing and checking datasets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_core import datasets
from benchmark_core.assembly import Responses
from benchmark_core.atomic import new_folder, remove_folder
from benchmark_core.errors import InputError
from benchmark_core.keys import digest
from benchmark_core.listing import size_text
from benchmark_core.own_data_manifest import (
    GROUP,
    MANIFEST,
    OwnDataset,
    RegionEntry,
    Versions,
    all_datasets,
    dataset_folder,
    dataset_spec,
    find_own,
    read_dataset,
    splits_for,
    to_toml,
)
from benchmark_core.own_data_reading import Existing, Prepared, Progress, Request, prepare
from benchmark_core.own_data_recordings import of_responses
from benchmark_core.own_data_report import report_on
from benchmark_core.registry import Registry
from benchmark_core.splits import Splits
from benchmark_core.stimuli import StimulusSet
from benchmark_core.trees import WHOLE


@dataclass(frozen=True, eq=False)
class Added:
    """What was added, or would be.

    Parameters
    ----------
    dataset
        Its manifest.
    folder
        Where it lies.
    n_bytes
        Size of its images.
    reports
        A report for each benchmark.
    before
        What stood in its place, or None.
    """

    dataset: OwnDataset
    folder: Path
    n_bytes: int
    reports: tuple[dict[str, Any], ...]
    before: OwnDataset | None


class _Files(Mapping[str, tuple[str, bytes]]):
    """Image files by stimulus id, each read when it is asked for."""

    def __init__(self, files: Mapping[str, tuple[str, Path]]) -> None:
        self._files = files

    def __getitem__(self, stimulus_id: str) -> tuple[str, bytes]:
        name, path = self._files[stimulus_id]
        try:
            return name, path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the image {path}: {error.strerror}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def add(
    name: str,
    request: Request,
    *,
    taken: frozenset[str] = frozenset(),
    replace: bool = False,
    dry_run: bool = False,
    description: str = "",
    progress: Progress = lambda line: None,
) -> Added:
    """Make a dataset, ``BENCH_HOME/data/NAME``, of images and responses; or add subjects and regions to one.

    At any moment the dataset on disk is the old one or the new one, whole. The version of a benchmark is 1 at first,
    and one more whenever its responses, images, split or groups have changed; it is remembered when the dataset is
    removed.

    Parameters
    ----------
    name
        Of the dataset; its benchmarks are ``NAME.REGION``.
    request
        Files and options.
    taken
        Names that other plugins' datasets and benchmarks have.
    replace
        Put this in place of the whole dataset of this name.
    dry_run
        Do all but write.
    description
        One line for people; what stands there already is kept where it is empty.
    progress
        Called with lines for people.

    Raises
    ------
    InputError
        For whatever is wrong with the files, or if the dataset has these subjects already and is not to be replaced.
    """
    folder = dataset_folder(name)
    if name in taken:
        raise InputError(f"the name {name!r} is taken by another dataset (see: bench data list); choose another")
    before, damaged = None, False
    try:
        before = read_dataset(name)
    except InputError:
        if not replace:
            raise
        damaged = True
    if folder.exists() and before is None and not damaged:
        raise InputError(f"{folder} is in the way, and no dataset that was added; move it, or choose another name")
    stamp = _stamp(folder)
    existing = None if before is None or replace else load_existing(before)
    prepared = prepare(request, progress, existing)
    if WHOLE in prepared.regions:  # the name of another kind of part, which is found by it
        raise InputError(f"a region cannot be named {WHOLE!r} here; name it otherwise with --region")
    _raise_first(prepared.matched["lines"])
    unreadable = [look.problem for look in prepared.looks.values() if look.problem]
    _raise_first(unreadable)
    stimuli = {region: _stimuli(prepared, responses) for region, responses in prepared.regions.items()}
    if existing is not None:
        _check_unchanged(existing, stimuli)
    versions = Versions.of(name)
    splits = {region: splits_for(prepared.split)(s) for region, s in stimuli.items()}
    entries = {
        region: _entry(region, responses, stimuli[region], splits[region], versions)
        for region, responses in prepared.regions.items()
    }
    line = " ".join(description.split()) or ("" if before is None else before.description)
    dataset = OwnDataset(name, prepared.split, GROUP in prepared.metadata, entries, prepared.sources, line)
    reports = tuple(
        report_on(
            f"{name}.{region}",
            stimuli[region].stimulus_ids,
            [prepared.looks[i] for i in stimuli[region].stimulus_ids],
            responses,
            splits[region],
            groups_of(stimuli[region]),
            prepared.matched,
        )
        for region, responses in prepared.regions.items()
    )
    n_bytes = sum(prepared.files[i][1].stat().st_size for s in stimuli.values() for i in s.stimulus_ids)
    _check_space(folder, n_bytes + sum(r.values.nbytes for r in prepared.regions.values()))
    if not dry_run:
        progress(f"writing {folder}")
        _write(folder, dataset, prepared, stimuli, versions, stamp)
    return Added(dataset, folder, n_bytes, reports, before)


def _raise_first(lines: list[str]) -> None:
    if lines:
        more = f" (and {len(lines) - 1} more problem(s); see them with bench data check)" if len(lines) > 1 else ""
        raise InputError(lines[0] + more)


def _stamp(folder: Path) -> bytes | None:
    """Return the manifest's bytes: whether the dataset is the one that was read."""
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError:
        return None


def _stimuli(prepared: Prepared, responses: Responses) -> StimulusSet:
    ids = responses.stimulus_ids
    for i in ids:
        try:
            prepared.files[i][0].encode()
        except UnicodeEncodeError:
            raise InputError(
                f"the name of the image of {i!r} is not UTF-8 ({prepared.files[i][0]!r}); rename it"
            ) from None
    return StimulusSet.from_files({i: prepared.files[i][1] for i in ids}, prepared.metadata)


def _check_unchanged(existing: Existing, stimuli: Mapping[str, StimulusSet]) -> None:
    """Check that the images that the dataset had are still what they were."""
    for own in stimuli.values():
        for i, sha256 in zip(own.stimulus_ids, own.sha256, strict=True):
            if existing.sha256.get(i, sha256) != sha256:
                raise InputError(
                    f"the image of {i!r} in {existing.name} is damaged; see: bench data verify {existing.name}"
                )


def groups_of(stimuli: StimulusSet) -> dict[str, str] | None:
    """Return the group of each stimulus, or None."""
    return None if stimuli.groups is None else dict(zip(stimuli.stimulus_ids, stimuli.groups, strict=True))


def _entry(region: str, responses: Responses, stimuli: StimulusSet, splits: Splits, versions: Versions) -> RegionEntry:
    content = digest([stimuli.manifest_hash, responses.hash, splits.hash, list(stimuli.groups or ())])
    return RegionEntry(
        versions.next(region, content),
        content,
        len(stimuli),
        responses.n_neuroids,
        responses.values.shape[1] if responses.has_trials else 1,
        responses.subject_names,
    )


def _check_space(folder: Path, needed: int) -> None:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise InputError(
            f"{existing} has {size_text(free)} free, and this needs {size_text(needed)}; free some space, or point "
            "BENCH_HOME elsewhere"
        )


def _write(
    folder: Path,
    dataset: OwnDataset,
    prepared: Prepared,
    stimuli: Mapping[str, StimulusSet],
    versions: Versions,
    stamp: bytes | None,
) -> None:
    spec = dataset_spec(dataset.name, tuple(dataset.regions))
    sources = {source["file"]: source["sha256"] for source in dataset.sources}
    with new_folder(folder) as temporary:
        if _stamp(folder) != stamp:
            raise InputError(f"{dataset.name} was changed by another process meanwhile; run the same command again")
        for region, responses in prepared.regions.items():
            (temporary / region).mkdir()
            part = datasets.Part(
                images=_Files({i: prepared.files[i] for i in responses.stimulus_ids}),
                responses=responses,
                metadata=prepared.metadata,
                sources=sources,
            )
            try:
                manifest = datasets.fill_part(temporary / region, spec, region, part)
            except RuntimeError as error:  # how netCDF4 says that a disk is full
                raise InputError(f"cannot write {folder / region} ({error}); is the disk full?") from None
            if manifest["stimuli_hash"] != stimuli[region].manifest_hash:
                raise InputError("images changed while they were read; run the same command again")
        (temporary / MANIFEST).write_text(to_toml(dataset), encoding="utf-8")
        versions.with_regions(dataset.regions).write()


def load_existing(dataset: OwnDataset) -> Existing:
    """Return what a dataset holds, to be put together with more.

    Raises
    ------
    InputError
        If its files are damaged.
    """
    spec = dataset.spec
    recordings = []
    files: dict[str, tuple[str, Path]] = {}
    sha256: dict[str, str] = {}
    metadata: dict[str, dict[str, str]] = {}
    for region in dataset.regions:
        stimuli = datasets.load_stimuli(spec, region)
        images = datasets.part_folder(spec, region) / datasets.IMAGES
        recordings += of_responses(images.parent, datasets.load_responses(spec, region))
        for i, path, hashed in zip(stimuli.stimulus_ids, stimuli.files, stimuli.sha256, strict=True):
            files[i] = (path.relative_to(images).as_posix(), path)
            sha256[i] = hashed
        for column, texts in stimuli.metadata.items():
            metadata.setdefault(column, {}).update(zip(stimuli.stimulus_ids, texts, strict=True))
    return Existing(
        dataset.name, tuple(recordings), files, sha256, metadata, dataset.split, dataset.grouped, dataset.sources
    )


def size_on_disk(name: str) -> int:
    """Return how many bytes a dataset takes."""
    return sum(
        (Path(parent) / file).lstat().st_size for parent, _, files in os.walk(dataset_folder(name)) for file in files
    )


def remove(name: str) -> None:
    """Remove a dataset that was added: its folder under BENCH_HOME and nothing else. Versions are remembered.

    Raises
    ------
    InputError
        If there is none of this name, or it cannot be removed.
    """
    folder = dataset_folder(name)
    if not (folder / MANIFEST).is_file():  # a damaged one can be removed, too
        find_own(name)
    remove_folder(folder)


def names_taken(registry: Registry) -> frozenset[str]:
    """Return the names of datasets and benchmarks that the user did not add."""
    own = {d.name for d in all_datasets()}
    names = {d.name for d in registry.datasets()} | {n.partition(".")[0] for n in registry.benchmarks.by_name}
    return frozenset(names - own)
