"""The Natural Scenes Dataset in small: both layouts, with the names, dims, coordinates and types of the real files."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import xarray as xr
from PIL import Image
from scipy.io import savemat

from plugins.benchmarks.nsd import REGIONS, SUBJECTS, Scanning

SHAPE = (5, 4, 6)  # voxels, x y z; the real volumes have about 81 x 104 x 83
SIZE = 24  # pixels; the real photographs have 425


@dataclass
class World:
    """Raw trials of a few subjects, from which both layouts are written.

    Subjects see ``n_own`` images of their own and ``n_shared`` common ones, each up to three times, in an order that all
    subjects share; those with fewer sessions miss some. Betas follow the mean brightness of image quadrants.
    """

    sessions: tuple[int, ...] = (3, 3, 2)
    trials: int = 40
    n_own: int = 22
    n_shared: int = 18
    size: int = SIZE
    seed: int = 0  # of an order in which one shared image is among those that the third subject misses
    photographs: Sequence[Path] = ()  # else squares of random colours
    scanning: Scanning = field(init=False)

    def __post_init__(self) -> None:
        self.subjects = SUBJECTS[: len(self.sessions)]
        self.scanning = Scanning(dict(zip(self.subjects, self.sessions, strict=True)), self.trials)
        random = np.random.Generator(np.random.Philox(self.seed))
        per_subject = self.n_own + self.n_shared
        longest = max(self.sessions) * self.trials
        # The first n_shared of a subject's images are the shared ones, as in the real design.
        repeated = np.tile(np.arange(per_subject), -(-longest // per_subject))[:longest]
        self.order = random.permuted(repeated)
        self.n_images = self.n_shared + self.n_own * len(self.subjects)
        numbers = random.permutation(self.n_images)
        self.of_subject = np.array(
            [
                np.concatenate([numbers[: self.n_shared], numbers[self.n_shared + s * self.n_own :][: self.n_own]])
                for s in range(len(self.subjects))
            ]
        )
        self.atlas = random.choice([0, 0, 1, 2, 5], SHAPE).astype(np.int16)
        self.atlas.ravel()[:8] = [1, 2, 5, 1, 2, 5, 3, 7]
        if self.photographs:
            self.pixels = np.stack([_square(path, self.size) for path in self.photographs[: self.n_images]])
        else:
            coarse = random.integers(0, 256, (self.n_images, 4, 4, 3), dtype=np.uint8)
            self.pixels = np.repeat(np.repeat(coarse, self.size // 4, axis=1), self.size // 4, axis=2)
        half, grey = self.size // 2, self.pixels.mean(axis=3)
        quadrants = [grey[:, :half, :half], grey[:, half:, :half], grey[:, :half, half:], grey[:, half:, half:]]
        signal = np.stack([quadrant.mean(axis=(1, 2)) for quadrant in quadrants], axis=1)
        weights = random.standard_normal((4, *SHAPE))
        self.betas: dict[str, np.ndarray] = {}
        for s, subject in enumerate(self.subjects):
            shown = self.shown(s)
            rates = np.tensordot(signal[shown] / 15, weights, axes=1)
            drift = np.repeat(random.standard_normal(self.sessions[s]), self.trials)[:, None, None, None]
            noisy = rates + random.standard_normal(rates.shape) + drift
            self.betas[subject] = np.clip(np.round(noisy * 300), -32768, 32767).astype(np.int16)

    def shown(self, s: int) -> np.ndarray:
        """Return the image of every trial of a subject, from 0."""
        return self.of_subject[s][self.order[: self.sessions[s] * self.trials]]

    @property
    def shared(self) -> list[int]:
        """Images that every subject saw."""
        return sorted(set.intersection(*(set(self.shown(s).tolist()) for s in range(len(self.subjects)))))

    def z_scored(self, subject: str) -> np.ndarray:
        """Return single trials, z-scored within sessions by NumPy, (trials, x, y, z)."""
        sessions = self.betas[subject].reshape(-1, self.trials, *SHAPE) / 300
        return ((sessions - sessions.mean(axis=1, keepdims=True)) / sessions.std(axis=1, keepdims=True)).reshape(
            -1, *SHAPE
        )

    def averages(self, subject: str, region: str) -> tuple[list[str], np.ndarray]:
        """Return ids and averages over repetitions, (images, voxels), in the order of the ids."""
        z = self.z_scored(subject)[:, self.atlas == REGIONS[region].atlas]
        shown = self.shown(self.subjects.index(subject))
        numbers = sorted(set(shown.tolist()))
        return [f"image{n:05d}" for n in numbers], np.stack([z[shown == n].mean(axis=0) for n in numbers])

    def write_release(self, folder: Path) -> Path:
        """Write the layout of the official release."""
        experiments = folder / "nsddata" / "experiments" / "nsd"
        experiments.mkdir(parents=True)
        design = {"masterordering": self.order[None] + 1.0, "subjectim": self.of_subject + 1.0}
        savemat(experiments / "nsd_expdesign.mat", design)
        stimuli = folder / "nsddata_stimuli" / "stimuli" / "nsd"
        stimuli.mkdir(parents=True)
        with h5py.File(stimuli / "nsd_stimuli.hdf5", "w") as handle:
            handle["imgBrick"] = self.pixels
        for subject in self.subjects:
            roi = folder / "nsddata" / "ppdata" / subject / "func1pt8mm" / "roi"
            roi.mkdir(parents=True)
            nibabel.save(nibabel.Nifti1Image(self.atlas, np.eye(4)), roi / "streams.nii.gz")
            betas = folder / "nsddata_betas" / "ppdata" / subject / "func1pt8mm" / "betas_fithrf_GLMdenoise_RR"
            betas.mkdir(parents=True)
            for n, session in enumerate(self.betas[subject].reshape(-1, self.trials, *SHAPE), start=1):
                with h5py.File(betas / f"betas_session{n:02d}.hdf5", "w") as handle:
                    handle["betas"] = session.transpose(0, 3, 2, 1)  # MATLAB writes x first, so h5py reads it last
        return folder

    def write_published(self, folder: Path, ceilings: bool = False, regions: Sequence[str] = tuple(REGIONS)) -> Path:
        """Write the layout of the published averages."""
        root = folder / "naturalscenes"
        (root / "images").mkdir(parents=True)
        for number, pixels in enumerate(self.pixels):
            Image.fromarray(pixels).save(root / "images" / f"image{number:05d}.png")
        names = [f"image{n:05d}.png" for n in self.shared]
        (root / "nsd_ids_shared").write_bytes(pickle.dumps(names))
        random = np.random.Generator(np.random.Philox(self.seed + 1))
        for s, subject in enumerate(self.subjects):
            for region in regions:
                ids, values = self.averages(subject, region)
                order = random.permutation(len(ids))
                dataset = xr.Dataset(
                    {"beta": (("presentation", "neuroid"), values[order].astype(np.float32))},
                    coords={"stimulus": ("presentation", np.array(ids, dtype=object)[order])},
                )
                folder = root / REGIONS[region].published / "preprocessed"
                folder.mkdir(parents=True, exist_ok=True)
                dataset.to_netcdf(folder / f"subject={s}.nc", engine="netcdf4")
                if ceilings:
                    folder = root / "noise_ceilings" / "fithrf_GLMdenoise_RR" / f"roi={REGIONS[region].published}"
                    folder.mkdir(parents=True, exist_ok=True)
                    r = random.uniform(-0.1, 0.6, (4, values.shape[1]))
                    noise = xr.Dataset(
                        {"correlation": (("pair", "neuroid"), r)}, coords={"repetition": ("pair", [2, 3, 3, 3])}
                    )
                    noise.to_netcdf(folder / f"all_stimuli.subject={s}.nc", engine="netcdf4")
        return root.parent


def _square(path: Path, size: int) -> np.ndarray:
    """Return the middle of a photograph, (size, size, 3) uint8."""
    with Image.open(path) as image:
        whole = image.convert("RGB")
    side = min(whole.size)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    return np.asarray(whole.resize((size, size), box=(left, top, left + side, top + side)))
