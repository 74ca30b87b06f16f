"""Checking and converting the files of Cowley et al. (2023) as their authors publish them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmark_core.assembly import Responses
from benchmark_core.dataset_checks import verify_part
from benchmark_core.datasets import Part, read_manifest, write_part
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.keys import file_sha256
from plugins.benchmarks._image_files import ARCHIVE_ERRORS, safe_members
from plugins.benchmarks.cowley2023 import DATASET, FILES, SESSIONS, Session

IMAGE_SIZE = (112, 112)
LARGEST_IMAGE = 1_000_000  # bytes; the published images have 1 to 6 kB
IMPORT_VERSION = 1  # raised whenever the conversion changes, so that a part made by an older one is made anew


@dataclass(frozen=True)
class SessionFiles:
    """The files of one session: images, single trials (or None) and averages (or None)."""

    images: Path
    trials: Path | None
    averages: Path | None

    @property
    def all(self) -> tuple[Path, ...]:
        """The files that there are."""
        return tuple(f for f in (self.images, self.trials, self.averages) if f is not None)


def import_folder(
    source: Path, progress: Callable[[str], None], sessions: Sequence[Session] = SESSIONS, verify: bool = True
) -> list[str]:
    """Import the sessions that a folder holds, in the layout of the public repository's ``data_V4_responses``.

    ``images/images_<session>.zip`` and, for a session with single trials, ``responses_raw/responses_<session>.npy``
    (neurons x images x repetitions, float64 spike counts in 100 ms, NaN-padded), else
    ``responses_repeat_averaged/responses_<session>.npy`` (neurons x images, float64). A session already imported from
    the same files is left as it is.

    Parameters
    ----------
    source
        The folder.
    progress
        Called with one line a session.
    sessions
        Which sessions to look for.
    verify
        Also check what was imported earlier, byte for byte, before leaving it as it is.

    Returns
    -------
    list of str
        The parts that are on this machine now and came from the folder.

    Raises
    ------
    MissingDataError
        If the folder holds no session, or a session only in part.
    InputError
        If a file is damaged or not what it should be; nothing is written of its session.
    """
    source = source.expanduser()
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise InputError(f"{source} {what}; name the folder that holds images/ and responses_raw/")
    found = {session: files for session in sessions if (files := _find(source, session)) is not None}
    if not found:
        expected = " or ".join(f"images/images_{s.name}.zip" for s in sessions)
        raise MissingDataError(f"{source} holds no session of {DATASET.name}: expected {expected} in it")
    for session in sessions:
        if session not in found:
            progress(f"{DATASET.name}/{session.name}: not in {source}, left out")
    for session, files in found.items():
        label = f"{DATASET.name}/{session.name}"
        sources = {f.relative_to(source).as_posix(): _sha256(f) for f in files.all}
        for name, sha256 in sources.items():
            if name in FILES and FILES[name][0] != sha256:
                progress(f"{label}: {name} is not the published file (its SHA-256 is {sha256})")
        if _already_imported(session, sources, verify):
            progress(f"{label}: already imported from the same files")
            continue
        write_part(DATASET, session.name, _convert(session, files, sources))
        progress(f"{label}: imported {session.n_images} images and {session.n_neuroids} neuroids")
    return [session.name for session in found]


def _find(source: Path, session: Session) -> SessionFiles | None:
    """Return the session's files, or None if none is there."""
    images = source / "images" / f"images_{session.name}.zip"
    trials = source / "responses_raw" / f"responses_{session.name}.npy"
    averages = source / "responses_repeat_averaged" / f"responses_{session.name}.npy"
    needed = (images, trials if session.trials else averages)
    if not any(f.exists() for f in (images, trials, averages)):
        return None
    missing = [str(f) for f in needed if not f.is_file()]
    if missing:
        raise MissingDataError(f"session {session.name} is incomplete: {', '.join(missing)} missing")
    return SessionFiles(images, trials if session.trials else None, averages if averages.is_file() else None)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _already_imported(session: Session, sources: Mapping[str, str], verify: bool) -> bool:
    try:
        manifest = read_manifest(DATASET, session.name)
    except BenchError:
        return False
    same = manifest.get("sources") == sources and manifest.get("extra") == {"import_version": IMPORT_VERSION}
    return same and not (verify and verify_part(DATASET, session.name))


def _convert(session: Session, files: SessionFiles, sources: Mapping[str, str]) -> Part:
    names = [f"image{i:04d}.jpg" for i in range(1, session.n_images + 1)]
    images = read_images(files.images, names)
    ids = {name: f"{session.name}/{name.removesuffix('.jpg')}" for name in names}
    return Part(
        images={ids[name]: (name, images[name]) for name in names},
        responses=Responses(
            stimulus_ids=tuple(ids[name] for name in names),
            values=read_responses(session, files),
            neuroid_ids=tuple(f"{session.name}/{i:02d}" for i in range(session.n_neuroids)),
            subjects=(session.subject,) * session.n_neuroids,
            region="V4",
        ),
        sources=sources,
        extra={"import_version": IMPORT_VERSION},
    )


def read_images(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read exactly the named JPEG files, 112 x 112 RGB, from a zip archive, trusting nothing about it.

    Raises
    ------
    InputError
        If the archive is damaged, holds unsafe names, links or oversized members, lacks a named image or holds others,
        or an image cannot be decoded.
    """
    try:
        with zipfile.ZipFile(archive) as handle:
            members = safe_members(archive, handle.infolist(), LARGEST_IMAGE)
            missing, extra = sorted(set(names) - set(members)), sorted(set(members) - set(names))
            if missing or extra:
                wrong = f"lacks {missing[0]!r}" if missing else f"also holds {extra[0]!r}"
                raise InputError(
                    f"{archive} holds {len(members)} images where {len(names)} were shown: it {wrong}; "
                    f"expected {names[0]} to {names[-1]}"
                )
            content = {}
            for name in names:
                content[name] = handle.read(members[name])
                _check_image(archive, name, content[name])
    except ARCHIVE_ERRORS as error:
        raise InputError(f"{archive} cannot be read as a zip archive ({error}); get it again") from None
    return content


def _check_image(archive: Path, name: str, content: bytes) -> None:
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            size, mode = image.size, image.mode
            if size == IMAGE_SIZE:  # else not even decoded: it may be huge
                image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "not a JPEG" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f"{archive}: {name} cannot be decoded ({reason}); get the archive again") from None
    if (size, mode) != (IMAGE_SIZE, "RGB"):
        raise InputError(f"{archive}: {name} is {size[0]} x {size[1]} {mode}, expected 112 x 112 RGB")


def read_responses(session: Session, files: SessionFiles) -> np.ndarray:
    """Return (n_images, n_repetitions, n_neuroids) spike counts, or (n_images, n_neuroids) averages; float64.

    Raises
    ------
    InputError
        If an array is damaged, of another type or shape, not spike counts, or if trials and averages disagree.
    """
    shape = (session.n_neuroids, session.n_images)
    averages = None
    if files.averages is not None:
        averages = _read_array(files.averages)
        if averages.shape != shape:
            raise InputError(f"{files.averages} has shape {averages.shape}, expected {shape} (neurons, images)")
        if not np.isfinite(averages).all() or (averages < 0).any():
            raise InputError(
                f"{files.averages} holds values that are negative or not finite; averaged counts are neither"
            )
    if files.trials is None:
        assert averages is not None
        return np.ascontiguousarray(averages.T)
    trials = _read_array(files.trials)
    if trials.ndim != 3 or trials.shape[:2] != shape:
        raise InputError(
            f"{files.trials} has shape {trials.shape}, expected {(*shape, 'n')} (neurons, images, repetitions)"
        )
    present = ~np.isnan(trials)
    counts = np.where(present, trials, 0.0)
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.round(counts)).any():
        raise InputError(f"{files.trials} holds values that are not spike counts (whole numbers from 0, or NaN)")
    empty = np.argwhere(~present.any(axis=2))
    if len(empty):
        raise InputError(f"{files.trials}: neuron {empty[0][0]} has no trial of image {empty[0][1] + 1}")
    if averages is not None and not np.allclose(counts.sum(axis=2) / present.sum(axis=2), averages, rtol=1e-9, atol=0):
        raise InputError(f"{files.trials} and {files.averages} disagree: the averages are not those of the trials")
    return np.ascontiguousarray(trials.transpose(1, 2, 0))


def _read_array(path: Path) -> np.ndarray:
    try:
        # Mapped, so that a header that lies about the shape is found out before memory is set aside for it.
        with np.errstate(over="ignore"):
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray) or mapped.dtype != np.float64:
            found = mapped.dtype if isinstance(mapped, np.ndarray) else "an archive"
            raise InputError(f"{path} holds {found}, expected float64 numbers")
        return np.array(mapped)
    except (OSError, ValueError, TypeError, EOFError, OverflowError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as a NumPy array ({error}); get it again") from None
