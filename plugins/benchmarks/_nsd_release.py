"""Reading the official release of the Natural Scenes Dataset: one session at a time, voxels of the streams only."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.hdf5_images import open_hdf5
from plugins.benchmarks._nsd_images import N_IMAGES, stimulus_id
from plugins.benchmarks.nsd import REGIONS, Scanning

SCALE = 300.0  # betas are stored as int16, in percent signal change times 300
AT_ONCE = 32_000_000  # bytes of betas of the whole volume that are read at a time

DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"
PHOTOGRAPHS = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"


def atlas_file(subject: str) -> str:
    """Return where the streams atlas of a subject lies in the release."""
    return f"nsddata/ppdata/{subject}/func1pt8mm/roi/streams.nii.gz"


def betas_file(subject: str, session: int) -> str:
    """Return where the betas of a session (from 1) lie in the release."""
    return f"nsddata_betas/ppdata/{subject}/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session{session:02d}.hdf5"


@dataclass(frozen=True, eq=False)
class Design:
    """Which image every trial of every subject showed.

    Parameters
    ----------
    images
        For each subject, (sessions * trials,) numbers of images from 0, in the order of the trials.
    """

    images: Mapping[str, np.ndarray]

    @property
    def shared(self) -> tuple[int, ...]:
        """Numbers of the images that every subject saw, ascending."""
        seen = [set(map(int, images)) for images in self.images.values()]
        return tuple(sorted(set.intersection(*seen)))


def read_design(path: Path, scanning: Scanning) -> Design:
    """Read ``nsd_expdesign.mat``.

    ``masterordering`` (trials,) tells for each trial, the same for all subjects, which of a subject's 10 000 images is
    shown, from 1; ``subjectim`` (subjects, 10 000) which of the 73 000 images that is, from 1.

    Raises
    ------
    MissingDataError
        If the file is not there.
    InputError
        If it is damaged, or numbers are out of range.
    """
    from scipy.io import loadmat

    if not path.is_file():
        raise MissingDataError(f"{path} is missing; it says which image each trial showed")
    try:
        found = loadmat(path, variable_names=["masterordering", "subjectim"])
    except Exception as error:  # whatever a damaged file raises
        raise InputError(f"{path} cannot be read as a MATLAB file ({' '.join(str(error).split())})") from None
    for name in ("masterordering", "subjectim"):
        if name not in found:
            raise InputError(f"{path} holds no variable {name!r}")
    order, of_subject = found["masterordering"].ravel(), np.atleast_2d(found["subjectim"])
    subjects = list(scanning.sessions)
    if len(of_subject) < len(subjects):
        raise InputError(f"{path}: subjectim has {len(of_subject)} rows for {len(subjects)} subjects")
    needed = scanning.trials * max(scanning.sessions.values())
    if len(order) < needed:
        raise InputError(f"{path}: masterordering has {len(order)} trials, expected at least {needed}")
    _check_range(path, "masterordering", order, of_subject.shape[1])
    _check_range(path, "subjectim", of_subject, N_IMAGES)
    order, of_subject = order.astype(np.int64) - 1, of_subject.astype(np.int64) - 1
    return Design(
        {s: of_subject[row][order[: scanning.trials * scanning.sessions[s]]] for row, s in enumerate(subjects)}
    )


def _check_range(path: Path, name: str, values: np.ndarray, largest: int) -> None:
    with np.errstate(invalid="ignore"):
        bad = values[~((values >= 1) & (values <= largest) & (values == np.round(values)))]
    if len(bad):
        raise InputError(f"{path}: {name} holds {bad[0]}, out of range; expected whole numbers from 1 to {largest}")


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels of the streams, region after region.

    Parameters
    ----------
    shape
        Of the volume, (x, y, z).
    positions
        For each region, (voxels, 3) positions in the volume.
    """

    shape: tuple[int, ...]
    positions: Mapping[str, np.ndarray]

    @property
    def flat(self) -> np.ndarray:
        """Positions in a volume stored (z, y, x), as the betas are, (voxels,)."""
        x, y, z = np.concatenate(list(self.positions.values())).T
        return np.asarray(np.ravel_multi_index((z, y, x), self.shape[::-1]))

    def names(self, subject: str) -> list[str]:
        """Return neuroid ids: subject, region and position."""
        return [f"{subject}/{r}/{x}-{y}-{z}" for r, found in self.positions.items() for x, y, z in found]


def read_atlas(path: Path) -> Voxels:
    """Read the streams atlas.

    Raises
    ------
    MissingDataError
        If the file is not there, or nibabel is not installed.
    InputError
        If it is damaged, no volume, or a stream has no voxel.
    """
    try:
        import nibabel
    except ImportError:
        raise MissingDataError(f"reading {path} needs nibabel; install it: pip install 'cortex-bench[nsd]'") from None
    try:
        volume = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except FileNotFoundError:
        raise MissingDataError(f"{path} is missing; it says which voxels belong to which stream") from None
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(f"{path} cannot be read as NIfTI ({' '.join(str(error).split())}); get it again") from None
    if volume.ndim != 3:
        raise InputError(f"{path} has shape {volume.shape}; expected a volume")
    positions = {name: np.argwhere(volume == region.atlas) for name, region in REGIONS.items()}
    for name, found in positions.items():
        if not len(found):
            raise InputError(f"{path} has no voxel of the {REGIONS[name].published} (value {REGIONS[name].atlas})")
    return Voxels(volume.shape, positions)


def read_session(path: Path, voxels: Voxels, trials: int) -> np.ndarray:
    """Return the betas of one session, (trials, voxels) int16, holding a few trials of the whole volume at a time.

    Raises
    ------
    MissingDataError
        If the file is not there.
    InputError
        If it is damaged, or does not hold int16 betas of so many trials and such a volume.
    """
    expected = (trials, *voxels.shape[::-1])
    try:
        with open_hdf5(path) as handle:
            if "betas" not in handle:
                raise InputError(f"{path} holds no array 'betas'")
            betas = handle["betas"]
            if betas.shape != expected:
                where = f"{trials} trials and a streams atlas of {' x '.join(map(str, voxels.shape))} voxels"
                raise InputError(f"{path}: betas have shape {betas.shape}; expected {expected} for {where}")
            if betas.dtype.kind != "i" or betas.dtype.itemsize != 2:
                raise InputError(f"{path}: betas are {betas.dtype}, expected int16 (300 times percent signal change)")
            found = np.empty((trials, len(voxels.flat)), dtype=np.int16)
            flat = voxels.flat
            step = max(1, AT_ONCE // (2 * int(np.prod(voxels.shape))))
            for first in range(0, trials, step):
                block = betas[first : first + step]
                found[first : first + step] = block.reshape(len(block), -1)[:, flat]
            return found
    except FileNotFoundError:
        raise MissingDataError(f"{path} is missing; every session of the subject is needed") from None


def standardise(betas: np.ndarray) -> np.ndarray:
    """z-score each voxel over the trials of a session, (trials, voxels) float64; NaN for voxels that do not vary."""
    values = betas / SCALE
    values -= values.mean(axis=0)
    # Told from the whole numbers: a mean may differ from its equal values by rounding.
    values /= np.where(betas.max(axis=0) > betas.min(axis=0), np.sqrt((values**2).mean(axis=0)), np.nan)
    return np.asarray(values)


def read_subject(
    source: Path,
    subject: str,
    design: Design,
    scanning: Scanning,
    shared: Sequence[int],
    progress: Callable[[str], None],
) -> tuple[Responses, dict[str, int]]:
    """Read all sessions of a subject.

    Memory holds one session of the streams' voxels, the sums over repetitions, and the single trials of the shared images.

    Parameters
    ----------
    source
        Folder of the release.
    subject, design, scanning
        Whose trials, and what they showed.
    shared
        Numbers of the images whose single trials are kept.
    progress
        Called with lines for people.

    Returns
    -------
    Responses: averages over repetitions, with trials of the shared images, of values z-scored within sessions and rounded
    to single precision; voxels region after region. And, for each region, the number of voxels left out because they
    do not vary within some session.
    """
    voxels = read_atlas(source / atlas_file(subject))
    shown = design.images[subject]
    numbers, rows = np.unique(shown, return_inverse=True)
    tested = {int(number): i for i, number in enumerate(shared)}
    repetitions = np.zeros(len(numbers), dtype=np.int64)
    most = int(np.bincount(rows).max())
    total = np.zeros((len(numbers), len(voxels.flat)))
    trials = np.full((len(shared), most, len(voxels.flat)), np.nan)
    sessions = scanning.sessions[subject]
    for session in range(1, sessions + 1):
        values = standardise(read_session(source / betas_file(subject, session), voxels, scanning.trials))
        if session % 10 == 0 or session == sessions:
            progress(f"{subject}: session {session} of {sessions} read")
        first = (session - 1) * scanning.trials
        for value, row in zip(values, rows[first : first + scanning.trials], strict=True):
            total[row] += value
            place = tested.get(int(numbers[row]))
            if place is not None:
                trials[place, repetitions[row]] = value
            repetitions[row] += 1
    total /= repetitions[:, None]
    keep = np.asarray(np.isfinite(total).all(axis=0))
    names = voxels.names(subject)
    left_out = {}
    start = 0
    for region, found in voxels.positions.items():
        left_out[region] = int((~keep[start : start + len(found)]).sum())
        start += len(found)
    if not keep.all():
        total, trials = total[:, keep], trials[:, :, keep]
        names = [name for name, kept in zip(names, keep, strict=True) if kept]
    return assemble(subject, numbers, names, total, shared, trials), left_out


def assemble(
    subject: str,
    numbers: Sequence[int] | np.ndarray,
    names: Sequence[str],
    averages: np.ndarray,
    shared: Sequence[int] = (),
    trials: np.ndarray | None = None,
    reliability: np.ndarray | None = None,
) -> Responses:
    """Return a subject's responses, rounded (in place) to the single precision in which they are stored."""

    def single(values: np.ndarray) -> np.ndarray:
        for block in np.array_split(values, max(1, len(values) // 256)):
            block[...] = block.astype(np.float32)
        return values

    of_trials = None
    if trials is not None:
        ids = tuple(stimulus_id(int(n)) for n in shared)
        of_trials = Responses(ids, single(trials), tuple(names), (subject,) * len(names))
    return Responses(
        tuple(stimulus_id(int(n)) for n in numbers),
        single(averages),
        tuple(names),
        (subject,) * len(names),
        trials=of_trials,
        reliability=None if reliability is None else single(np.array(reliability, dtype=np.float64)),
    )


def sources_of(subject: str, scanning: Scanning) -> list[str]:
    """Return the files of the release that a subject's responses are made from."""
    sessions = range(1, scanning.sessions[subject] + 1)
    return [DESIGN, atlas_file(subject), *(betas_file(subject, session) for session in sessions)]


def subjects_in(source: Path, scanning: Scanning) -> list[str]:
    """Return the subjects of whom there are betas in the release."""
    return [s for s in scanning.sessions if (source / betas_file(s, 1)).parent.is_dir()]
