"""Making the simulated dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from filelock import FileLock

from benchmark_core.assembly import Responses
from benchmark_core.dataset_checks import verify_part
from benchmark_core.datasets import Part, part_folder, read_manifest, write_part
from benchmark_core.errors import BenchError, InputError
from benchmark_core.home import make_folder
from plugins.benchmarks._simulated_crops import all_crops
from plugins.benchmarks._simulated_population import SEED, simulate
from plugins.benchmarks.simulated import DATASET

PART = "V4"


def build(progress: Callable[[str], None], base_url: str | None = None) -> list[str]:
    """Make the simulated dataset, unless it is there and whole.

    Processes that build at once wait for the first, and find its work done.

    Parameters
    ----------
    progress
        Called with lines for people.
    base_url
        Must be None: nothing is downloaded.

    Returns
    -------
    list of str
        The one part.

    Raises
    ------
    MissingDataError
        If a photograph is not in its package.
    InputError
        If a photograph is not the expected one, the folder cannot be written, or a ``base_url`` is given.
    """
    if base_url is not None:
        raise InputError("the simulated dataset is computed on this machine; it has no address to download from")
    folder = part_folder(DATASET, PART)
    make_folder(folder.parent, "the simulated dataset")
    try:
        with FileLock(folder.parent / ".build.lock"):
            if _is_whole():
                progress(f"{DATASET.name}/{PART}: already there")
            else:
                progress(f"{DATASET.name}/{PART}: cropping photographs and simulating responses")
                _write()
    except OSError as error:
        raise InputError(f"cannot write {folder} ({error.strerror or error}); set BENCH_HOME elsewhere") from None
    return [PART]


def _is_whole() -> bool:
    try:
        read_manifest(DATASET, PART)
    except BenchError:
        return False
    return not verify_part(DATASET, PART)


def _write() -> None:
    crops = sorted(all_crops(), key=lambda crop: crop.stimulus_id)
    ids = tuple(crop.stimulus_id for crop in crops)
    population = simulate(np.stack([crop.luma for crop in crops]))
    n_units = population.rates.shape[1]
    write_part(
        DATASET,
        PART,
        Part(
            images={crop.stimulus_id: (f"{crop.stimulus_id}.bmp", crop.encode()) for crop in crops},
            responses=Responses(
                stimulus_ids=ids,
                values=population.spikes,
                neuroid_ids=tuple(f"simulated/{unit:02d}" for unit in range(n_units)),
                subjects=("simulated",) * n_units,
                region="V4",
            ),
            metadata={
                "group": {crop.stimulus_id: crop.photograph for crop in crops},
                "top": {crop.stimulus_id: str(crop.top) for crop in crops},
                "left": {crop.stimulus_id: str(crop.left) for crop in crops},
            },
            variables={"true_rate": population.rates},
            extra={"seed": SEED},
        ),
    )
