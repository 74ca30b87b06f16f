"""Importing Majaj, Hong et al. (2015) from Brain-Score's public files or from the download of Kazemian et al."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_core import datasets
from benchmark_core.assembly import Responses
from benchmark_core.dataset_checks import verify_part
from benchmark_core.datasets import Part, part_folder, read_manifest, write_part
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.stimuli import StimulusSet, match_stimuli, name_ids
from plugins.benchmarks._download import check_space
from plugins.benchmarks._image_files import ImageFolder, StimulusImages
from plugins.benchmarks._majajhong_assembly import LABELS, Recording, agree, read_averages, read_trials
from plugins.benchmarks._majajhong_sources import (
    Sources,
    Table,
    find,
    fingerprint,
    label_text,
    open_images,
    published_sha1,
    read_roles,
    read_table,
)
from plugins.benchmarks.majajhong import DATASET, DEMO, ID_FILES, REGIONS

IMPORT_VERSION = 1  # raised whenever the conversion changes, so that a part made by an older one is made anew
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Held:
    """A part that is on this machine, whole."""

    manifest: Mapping[str, Any]
    stimuli: StimulusSet

    @property
    def roles(self) -> dict[str, dict[str, str]]:
        """``{column: {stimulus_id: role}}`` of the lists of ids that were imported with it."""
        columns = {c: v for c, v in self.stimuli.metadata.items() if c in ID_FILES and any(v)}
        return {c: dict(zip(self.stimuli.stimulus_ids, values, strict=True)) for c, values in columns.items()}


def import_folder(source: Path, progress: Progress, verify: bool = True) -> list[str]:
    """Import what a folder holds of the dataset, in either layout or both mixed.

    Where the folder holds single trials and averages, the trials are taken and the averages checked against them. Lists
    of ids may come with the responses, or alone and later: they are then added to what is there. Averages do not
    replace trials that are there, and responses without lists of ids do not remove those that are there.

    Parameters
    ----------
    source
        The folder, or one that holds it as ``majajhong``.
    progress
        Called with lines for people.
    verify
        Also check what was imported earlier, byte for byte, before leaving it as it is.

    Returns
    -------
    list of str
        The parts (regions) that are on this machine now and came from the folder.

    Raises
    ------
    MissingDataError
        If the folder holds no files of the dataset, or only part of what belongs together.
    InputError
        If a file is damaged or not what it should be; nothing is written of that region.
    """
    found = find(source)
    prints = _fingerprints(found, progress)
    if not found.regions:
        return _add_ids(source, found, prints, progress)
    assert found.table is not None
    assert found.images is not None
    for region in REGIONS:
        if region not in found.regions:
            progress(f"{DATASET.name}/{region}: not in {source}, left out")
    table = read_table(found.table)
    for region in found.regions:
        label = f"{DATASET.name}/{region}"
        own = _sources_of(region, found, prints)
        held = _held(region, verify)
        if held is not None and own.items() <= held.manifest.get("sources", {}).items():
            progress(f"{label}: already imported from the same files")
            continue
        if held is not None and held.manifest.get("n_repetitions") and found.assembly is None:
            _keep_trials(region, found, held, own, progress)
            continue
        progress(f"{label}: reading responses")
        part = _convert(region, found, table, own, held, progress)
        write_part(DATASET, region, part)
        responses = part.responses
        assert isinstance(responses, Responses)
        kind = "single trials" if responses.has_trials else "averages, so without a ceiling"
        progress(
            f"{label}: imported {len(part.images)} images and {responses.n_neuroids} neuroids, {kind}; "
            + ("with the published split" if "split" in part.metadata else "without the published split")
        )
    return list(found.regions)


def _fingerprints(found: Sources, progress: Progress) -> dict[Path, str]:
    """Return the SHA-256 of every source, and mention those that are not the published files."""
    prints = {}
    paths = [found.assembly, found.table, found.images]
    paths += [f for files in (*found.averages.values(), *found.ids.values()) for f in files.values()]
    for path in paths:
        if path is None:
            continue
        prints[path], sha1 = fingerprint(path)
        published = published_sha1(path)
        if published is not None and sha1 != published:
            progress(f"{DATASET.name}: {path.name} is not the published file (its SHA-1 is {sha1}, not {published})")
    return prints


def _sources_of(region: str, found: Sources, prints: Mapping[Path, str]) -> dict[str, str]:
    paths = [found.assembly, found.table, found.images, *found.averages.get(region, {}).values()]
    paths += [f for files in found.ids.values() for f in files.values()]
    return {p.name: prints[p] for p in paths if p is not None}


def _held(region: str, verify: bool) -> Held | None:
    """Return the part that is on this machine, or None if it is absent, damaged, or made by another conversion."""
    try:
        manifest = read_manifest(DATASET, region)
        if manifest["extra"]["import_version"] != IMPORT_VERSION or (verify and verify_part(DATASET, region)):
            return None
        return Held(manifest, datasets.load_stimuli(DATASET, region))
    except (BenchError, KeyError, TypeError):
        return None


def _convert(
    region: str, found: Sources, table: Table, sources: Mapping[str, str], held: Held | None, progress: Progress
) -> Part:
    averages = read_averages(found.averages[region], region) if region in found.averages else None
    if found.assembly is not None:
        recording = read_trials(found.assembly, region)
        if averages is not None and not agree(recording.responses, averages):
            raise InputError(
                f"{found.assembly} and {next(iter(found.averages[region].values()))} disagree: the averages are not "
                "those of the trials; keep one of them"
            )
    else:
        assert averages is not None
        recording = averages
    responses = recording.responses
    if recording.n_absent:
        progress(f"{DATASET.name}/{region}: {recording.n_absent} single responses are absent (NaN)")
    unknown = sorted(set(responses.stimulus_ids) - set(table.names))
    if unknown:
        raise InputError(f"{found.table} does not list stimulus_id {name_ids(unknown)}, which has responses")
    if len(table.names) > len(responses.stimulus_ids):
        progress(
            f"{DATASET.name}/{region}: {len(table.names) - len(responses.stimulus_ids)} images without responses left out"
        )
    roles = read_roles(found.ids, dict.fromkeys(responses.stimulus_ids))
    if held is not None and held.stimuli.stimulus_ids == responses.stimulus_ids:
        roles = held.roles | roles
    assert found.images is not None
    images = StimulusImages({i: table.names[i] for i in responses.stimulus_ids}, open_images(found.images))
    check_space(part_folder(DATASET, region), images.n_bytes + responses.values.nbytes)
    return Part(
        images=images,
        responses=responses,
        metadata=_labels(table, recording) | roles,
        sources=dict(sources),
        extra=_extra(responses, roles, recording.recorded_ids),
    )


def _labels(table: Table, recording: Recording) -> dict[str, dict[str, str]]:
    """Return what each image shows: from the table, else from the recording."""
    labels = {}
    for label in LABELS:
        given = table.labels.get(label) or recording.labels.get(label)
        if given is not None:
            labels[label] = {i: label_text(given[i]) for i in recording.responses.stimulus_ids}
    return labels


def _extra(responses: Responses, roles: Mapping[str, Mapping[str, str]], recorded_ids: Iterable[str]) -> dict[str, Any]:
    """Return what the manifest keeps beside the hashes of the whole."""
    extra: dict[str, Any] = {"import_version": IMPORT_VERSION, "recorded_neuroid_ids": list(recorded_ids)}
    if DEMO in roles:
        extra["demo_target_hash"] = responses.at([i for i, role in roles[DEMO].items() if role]).hash
    return extra


def _keep_trials(region: str, found: Sources, held: Held, sources: Mapping[str, str], progress: Progress) -> None:
    """Check averages against the trials that are there, and add lists of ids that come with them."""
    label = f"{DATASET.name}/{region}"
    averages = read_averages(found.averages[region], region)
    match_stimuli(held.stimuli.stimulus_ids, averages.responses.stimulus_ids, f"{label}: averages")
    if not agree(datasets.load_responses(DATASET, region), averages):
        raise InputError(
            f"{next(iter(found.averages[region].values()))} does not hold the averages of the trials that are here; "
            f"remove {part_folder(DATASET, region)} if they are to be replaced"
        )
    progress(f"{label}: single trials are here, and the averages are theirs; kept the trials")
    ids = {f.name for files in found.ids.values() for f in files.values()}
    roles = read_roles(found.ids, dict.fromkeys(held.stimuli.stimulus_ids))
    _rewrite(region, held, roles, {n: s for n, s in sources.items() if n in ids})


def _add_ids(source: Path, found: Sources, prints: Mapping[Path, str], progress: Progress) -> list[str]:
    """Add lists of ids to the parts that are here."""
    here = {region: held for region in REGIONS if (held := _held(region, verify=True)) is not None}
    if not here:
        raise MissingDataError(
            f"{source} holds ids but no responses, and none are on this machine; "
            f"first get them with {datasets.how_to_get(DATASET)}"
        )
    for region, held in here.items():
        roles = read_roles(found.ids, dict.fromkeys(held.stimuli.stimulus_ids))
        _rewrite(region, held, roles, _sources_of(region, found, prints))
        progress(f"{DATASET.name}/{region}: added {' and '.join(f'the ids of {c!r}' for c in roles)}")
    return list(here)


def _rewrite(region: str, held: Held, roles: Mapping[str, Mapping[str, str]], sources: Mapping[str, str]) -> None:
    """Write a part again with further lists of ids: images and responses stay as they are."""
    sources = held.manifest["sources"] | dict(sources)
    if held.roles | dict(roles) == held.roles and sources == held.manifest["sources"]:
        return
    stimuli, responses = held.stimuli, datasets.load_responses(DATASET, region)
    columns = {c: dict(zip(stimuli.stimulus_ids, v, strict=True)) for c, v in stimuli.metadata.items()} | dict(roles)
    names = {i: file.name for i, file in zip(stimuli.stimulus_ids, stimuli.files, strict=True)}
    images = StimulusImages(names, ImageFolder(stimuli.files[0].parent))
    check_space(part_folder(DATASET, region), images.n_bytes + responses.values.nbytes)
    extra = _extra(responses, held.roles | dict(roles), held.manifest["extra"]["recorded_neuroid_ids"])
    write_part(DATASET, region, Part(images, responses, columns, {}, sources, extra))
