"""Reading the MATLAB files of Kriegeskorte et al. (2008)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from scipy.spatial.distance import squareform

from benchmark_core.dataset_checks import verify_part
from benchmark_core.datasets import Part, read_manifest, write_part
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.keys import file_sha256
from benchmark_core.rdms import RDMs
from plugins.benchmarks.kriegeskorte92 import BRAIN_FILE, DATASET, FILES, STIMULI_FILE

N_STIMULI = 92
MONKEY = "mIT_674neurons"
MEASURE = "1 - Pearson r between response patterns"
COLUMNS = ("category", "human", "face", "animal", "natural")
IMPORT_VERSION = 1  # raised whenever the conversion changes, so that a part made by an older one is made anew


def import_folder(source: Path, progress: Callable[[str], None]) -> list[str]:
    """Import both parts from the folder ``92imageData``.

    ``Kriegeskorte_Neuron2008_supplementalData.mat`` holds the images (``stimuli_92objs``) and the RDM of monkey IT
    (``RDMs_mIT_hIT_fig1``), ``92_brainRDMs.mat`` those of human IT (``RDMs``, subjects x sessions).

    Parameters
    ----------
    source
        The folder.
    progress
        Called with lines for people.

    Raises
    ------
    MissingDataError
        If a file is missing.
    InputError
        If a file is damaged or does not hold what it should; nothing is written of a part then.
    """
    source = source.expanduser()
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise InputError(f"{source} {what}; name the folder that holds {STIMULI_FILE}")
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise MissingDataError(f"{source} lacks {' and '.join(missing)}; both files of {DATASET.source} are needed")
    sources = {name: _sha256(source / name) for name in FILES}
    for name, sha256 in sources.items():
        if FILES[name] != sha256:
            progress(f"{DATASET.name}: {name} is not the published file (its SHA-256 is {sha256})")
    images, metadata, monkey = read_supplement(source / STIMULI_FILE)
    for part, rdms in (("mIT", monkey), ("hIT", read_human(source / BRAIN_FILE, tuple(images)))):
        if _already_imported(part, sources):
            progress(f"{DATASET.name}/{part}: already imported from the same files")
            continue
        extra = {"import_version": IMPORT_VERSION}
        write_part(DATASET, part, Part(images=images, responses=rdms, metadata=metadata, sources=sources, extra=extra))
        progress(f"{DATASET.name}/{part}: imported {rdms.contents} for {len(images)} images")
    return list(DATASET.parts)


def read_supplement(
    path: Path,
) -> tuple[dict[str, tuple[str, bytes]], dict[str, dict[str, str]], RDMs]:
    """Return images (as PPM files: pixels as they are, by any software the same), metadata and the RDM of monkey IT.

    Raises
    ------
    InputError
        If the file does not hold 92 images of uint8 RGB and the RDM.
    """
    content = _load(path)
    stimuli = _structs(path, content, "stimuli_92objs", ("image", *COLUMNS))
    if len(stimuli) != N_STIMULI:
        raise InputError(f"{path}: stimuli_92objs holds {len(stimuli)} stimuli, expected {N_STIMULI}")
    images: dict[str, tuple[str, bytes]] = {}
    metadata: dict[str, dict[str, str]] = {column: {} for column in COLUMNS}
    for number, stimulus in enumerate(stimuli, start=1):
        stimulus_id = f"object{number:02d}"
        pixels = np.asarray(stimulus["image"])
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
            raise InputError(f"{path}: image {number} is {pixels.dtype} of shape {pixels.shape}, expected uint8 RGB")
        header = f"P6\n{pixels.shape[1]} {pixels.shape[0]}\n255\n".encode()
        images[stimulus_id] = (f"{stimulus_id}.ppm", header + np.ascontiguousarray(pixels).tobytes())
        for column in COLUMNS:
            metadata[column][stimulus_id] = _text(stimulus[column])
    found = {_text(s["name"]): s["RDM"] for s in _structs(path, content, "RDMs_mIT_hIT_fig1", ("name", "RDM"))}
    if MONKEY not in found:
        raise InputError(f"{path}: RDMs_mIT_hIT_fig1 has no RDM named {MONKEY!r}; it has {', '.join(sorted(found))}")
    monkey = RDMs(tuple(images), _square(path, MONKEY, found[MONKEY])[None], ("two monkeys",), ("",), MEASURE)
    return images, metadata, monkey


def read_human(path: Path, stimulus_ids: Sequence[str]) -> RDMs:
    """Return the RDMs of human IT, one for each subject and session.

    Raises
    ------
    InputError
        If the file does not hold RDMs of 92 stimuli, named ``hIT | SUBJECT | Session: N``.
    """
    values, subjects, sessions = [], [], []
    for entry in _structs(path, _load(path), "RDMs", ("name", "RDM")):
        name = _text(entry["name"])
        fields = [field.strip() for field in name.split("|")]
        if len(fields) != 3 or fields[0] != "hIT" or not fields[2].startswith("Session:"):
            raise InputError(f"{path}: an RDM is named {name!r}, expected 'hIT | SUBJECT | Session: N'")
        values.append(_square(path, name, entry["RDM"]))
        subjects.append(fields[1])
        sessions.append(fields[2].removeprefix("Session:").strip())
    if len(set(zip(subjects, sessions, strict=True))) < len(subjects):
        raise InputError(f"{path} holds two RDMs of the same subject and session")
    return RDMs(tuple(stimulus_ids), np.stack(values), tuple(subjects), tuple(sessions), MEASURE)


def _load(path: Path) -> dict[str, Any]:
    try:
        return dict(loadmat(path))
    except (OSError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, zlib.error, MatReadError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as a MATLAB file ({reason}); get it again") from None


def _structs(path: Path, content: Mapping[str, Any], name: str, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Return the elements of a struct array, in MATLAB's order of the first axis that is longer than one."""
    if name not in content:
        there = sorted(key for key in content if not key.startswith("__"))
        raise InputError(f"{path} has no variable {name!r}; it has {', '.join(there)}")
    array = np.asarray(content[name])
    missing = [field for field in fields if field not in (array.dtype.names or ())]
    if missing or array.size == 0:
        raise InputError(f"{path}: {name} is no struct array with {', '.join(map(repr, fields))}")
    return [{field: element[field] for field in fields} for element in array.ravel()]


def _square(path: Path, name: str, values: Any) -> np.ndarray:
    """Return an RDM as (92, 92) float64, from a square matrix or the vector above its diagonal."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: the RDM {name!r} holds {array.dtype}, not numbers")
    array = array.astype(np.float64)
    pairs = N_STIMULI * (N_STIMULI - 1) // 2
    if array.size == pairs:
        array = squareform(array.ravel())
    if array.shape != (N_STIMULI, N_STIMULI):
        raise InputError(f"{path}: the RDM {name!r} has shape {array.shape}, expected {(N_STIMULI, N_STIMULI)}")
    return array


def _text(value: Any) -> str:
    """Return the text of a MATLAB string or number."""
    flat = np.asarray(value).ravel()
    return str(flat[0]) if flat.size else ""


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _already_imported(part: str, sources: Mapping[str, str]) -> bool:
    try:
        manifest = read_manifest(DATASET, part)
    except BenchError:
        return False
    same = manifest.get("sources") == sources and manifest.get("extra") == {"import_version": IMPORT_VERSION}
    return same and not verify_part(DATASET, part)
