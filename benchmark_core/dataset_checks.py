"""What is on this machine of a dataset, from manifests alone; and whether it is whole, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark_core.datasets import (
    MANIFEST,
    STIMULI,
    load_stimuli,
    load_target,
    part_folder,
    read_manifest,
    target_kind,
)
from benchmark_core.errors import BenchError
from benchmark_core.specs import DatasetSpec
from benchmark_core.stimuli import match_stimuli


@dataclass(frozen=True)
class PartStatus:
    """One line of ``bench data list``; the counts are None where the part is absent or broken.

    ``n_neuroids`` is also None where the target is no responses; ``contents`` says what there is in words
    (``50 neuroids``, ``15 categories``). ``n_bytes`` is what the part takes on disk; ``problem`` says in one line what
    is wrong with a part that is there but cannot be used.
    """

    part: str
    present: bool
    n_stimuli: int | None
    n_neuroids: int | None
    n_bytes: int
    path: Path
    problem: str = ""
    contents: str = ""


def status(dataset: DatasetSpec, sizes: bool = True) -> list[PartStatus]:
    """Return what is on this machine of each part; reads manifests only.

    Without ``sizes`` every ``n_bytes`` is 0, and no folder with thousands of images is looked through.
    """
    found = []
    for part in dataset.parts:
        folder = part_folder(dataset, part)
        walked = os.walk(folder) if sizes else ()
        n_bytes = sum((Path(parent) / name).lstat().st_size for parent, _, names in walked for name in names)
        try:
            manifest = read_manifest(dataset, part)
            n_stimuli = int(manifest["n_stimuli"])
            n_neuroids = int(manifest["n_neuroids"]) if target_kind(manifest) == "responses" else None
        except (BenchError, KeyError, TypeError, ValueError) as error:
            present = folder.exists()
            problem = str(error) if present else ""
            found.append(PartStatus(part, present, None, None, n_bytes, folder, problem))
        else:
            contents = f"{n_neuroids} neuroids" if n_neuroids is not None else str(manifest.get("contents", ""))
            found.append(PartStatus(part, True, n_stimuli, n_neuroids, n_bytes, folder, contents=contents))
    return found


def verify(dataset: DatasetSpec, progress: Callable[[str], None] = lambda line: None) -> list[str]:
    """Check every part that is on this machine, byte for byte.

    Parameters
    ----------
    dataset
        Whose parts to check; absent parts are passed over.
    progress
        Called with one line a part.

    Returns
    -------
    list of str
        One line for each problem; empty if all is well.
    """
    problems = []
    for part in dataset.parts:
        if not part_folder(dataset, part).exists():
            continue
        progress(f"{dataset.name}/{part}: checking")
        problems += [f"{dataset.name}/{part}: {problem}" for problem in verify_part(dataset, part)]
    return problems


def verify_part(dataset: DatasetSpec, part: str) -> list[str]:
    """Check one part: hashes of files, images and contents, ids both ways, stray files; one line a problem."""
    folder = part_folder(dataset, part)
    problems = []
    try:
        manifest = read_manifest(dataset, part)
        stimuli = load_stimuli(dataset, part)
    except BenchError as error:
        return [str(error)]
    target_path = folder / f"{target_kind(manifest)}.nc"
    if stimuli.manifest_hash != manifest.get("stimuli_hash"):
        problems.append(f"{folder / STIMULI} does not have the stimuli_hash of {MANIFEST}")
    for position in range(len(stimuli)):
        try:
            stimuli.image(position)
        except BenchError as error:
            problems.append(str(error))
    try:
        target = load_target(dataset, part)
        if target.hash != manifest.get("target_hash"):
            problems.append(f"{target_path} does not have the target_hash of {MANIFEST}")
        match_stimuli(stimuli.stimulus_ids, target.stimulus_ids, str(target_path))
    except BenchError as error:
        problems.append(str(error))
    known = {folder / MANIFEST, folder / STIMULI, target_path} | set(stimuli.files)
    for parent, _, names in os.walk(folder):
        problems += [f"stray file {Path(parent) / name}" for name in sorted(names) if Path(parent) / name not in known]
    return problems
