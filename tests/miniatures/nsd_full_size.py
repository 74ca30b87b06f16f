"""One subject of the Natural Scenes Dataset at its real size, made up: 40 sessions of 1 GB that are one file on disk."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel
import numpy as np
from scipy.io import savemat

from plugins.benchmarks._nsd_images import N_IMAGES
from plugins.benchmarks._nsd_release import DESIGN, PHOTOGRAPHS, atlas_file, betas_file

SHAPE = (81, 104, 83)
VOXELS = {1: 5000, 2: 1000, 5: 8000}  # of the early, midventral and ventral streams, about


def write(folder: Path, sessions: int = 40, trials: int = 750) -> Path:
    """Write the release of ``subj01`` in the real dims; photographs are all black and take no room on disk."""
    random = np.random.Generator(np.random.Philox(1))
    subject = "subj01"
    for name in (DESIGN, PHOTOGRAPHS, atlas_file(subject), betas_file(subject, 1)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    ordering = random.permuted(np.tile(np.arange(1.0, 10_001), 3))
    numbers = random.permutation(N_IMAGES) + 1.0
    own = numbers[1000:].reshape(8, 9000)
    of_subject = np.concatenate([np.tile(numbers[:1000], (8, 1)), own], axis=1)
    savemat(folder / DESIGN, {"masterordering": ordering[None], "subjectim": of_subject})
    atlas = np.zeros(SHAPE, dtype=np.int16)
    atlas.ravel()[: sum(VOXELS.values())] = np.repeat(list(VOXELS), list(VOXELS.values()))
    atlas = random.permuted(atlas.ravel()).reshape(SHAPE)
    nibabel.save(nibabel.Nifti1Image(atlas, np.eye(4)), folder / atlas_file(subject))
    with h5py.File(folder / PHOTOGRAPHS, "w") as handle:
        handle.create_dataset("imgBrick", (N_IMAGES, 425, 425, 3), dtype=np.uint8, chunks=(1, 425, 425, 3))
    volume = SHAPE[::-1]
    with h5py.File(folder / betas_file(subject, 1), "w") as handle:
        betas = handle.create_dataset("betas", (trials, *volume), dtype=np.int16, chunks=(1, *volume))
        for trial in range(trials):
            betas[trial] = random.integers(-3000, 3000, volume, dtype=np.int16)
    for session in range(2, sessions + 1):
        (folder / betas_file(subject, session)).symlink_to(folder / betas_file(subject, 1))
    return folder
