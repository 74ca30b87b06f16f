"""Responses of macaque V4 to natural images: Cowley et al. (2023), three sessions of one animal.

Spike counts in 100 ms bins, published with their images (112 x 112 pixels) in the public repository
``cowleygroup/V4_compact_models``. Session 210325 (objects on scene backgrounds) comes with single trials, so it has a
ceiling; 201025 and 210224 (natural photographs) are averages over repetitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from benchmark_core import datasets
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.splits import KFold
from benchmark_core.variants import demonstration, with_shuffled_pixels

REFERENCE = "Cowley, Stan, Pillow & Smith (2023), Compact deep neural network models of visual cortex, bioRxiv"


@dataclass(frozen=True)
class Session:
    """A recording session: its name, animal and size, and whether single trials are used."""

    name: str
    subject: str
    n_images: int
    n_neuroids: int
    trials: bool
    shown: str


SESSIONS = (
    Session("210325", "PE", 640, 50, True, "objects on scene backgrounds, single trials"),
    Session("201025", "PE", 1200, 89, False, "natural photographs, averages over 12 repetitions"),
    Session("210224", "PE", 800, 67, False, "natural photographs, averages over 9 repetitions"),
)

# The pinned state of the public repository. GitHub resolves the abbreviated commit; the hashes below pin the contents.
BASE_URL = "https://github.com/cowleygroup/V4_compact_models/raw/f4552ad9d3/data_V4_responses/"

# SHA-256 and size in bytes of the published files.
FILES = {
    "images/images_201025.zip": ("3abb63679107665eab7220bdeaf7863832a1df943bf3d7792501f5082a55b2e8", 4131376),
    "images/images_210224.zip": ("e2690810bee34c2e2821e5dd504c7970f3441579bc57659f27d2c11678b52c6b", 2782116),
    "images/images_210325.zip": ("992774eca3508a2ad01accb1a31f5f3e3d90248c49f4eec314f2a915a263e454", 1841475),
    "responses_raw/responses_210325.npy": (
        "4008dbbf31a47d9b1b8d8da609f4a7a3433c7071f0e45c611c220b217dd75b76",
        2560128,
    ),
    "responses_repeat_averaged/responses_201025.npy": (
        "f729f3dc0d29aa38bd380c0da9e39aba916f9e2580949929b65d1714e7217a8a",
        854528,
    ),
    "responses_repeat_averaged/responses_210224.npy": (
        "4dbb7367707a5ca47ab4cea863bbf4e9765b8409cb30216693721bddfad7abfe",
        428928,
    ),
    "responses_repeat_averaged/responses_210325.npy": (
        "555e67037182611969ab90da291dcc39601de4411f651a64ad60e90572cf59d3",
        256128,
    ),
}

DATASET = DatasetSpec(
    name="cowley2023",
    parts=tuple(session.name for session in SESSIONS),
    description="Macaque V4, spike counts of 50 to 89 neurons to 640 to 1200 images",
    licence="GPL-3.0",
    source="https://github.com/cowleygroup/V4_compact_models (data_V4_responses)",
    importer="plugins.benchmarks._cowley2023_import:import_folder",
    fetcher="plugins.benchmarks._cowley2023_fetch:fetch",
)


def _benchmark(name: str, session: Session) -> BenchmarkSpec:
    ceiling = "" if session.trials else "; no ceiling"
    return BenchmarkSpec(
        name=name,
        version=1,
        stimuli=partial(datasets.load_stimuli, DATASET, session.name),
        target=partial(datasets.load_responses, DATASET, session.name),
        target_hash=partial(datasets.target_hash, DATASET, session.name),
        splits=KFold(k=5, seed=0),
        needs=(DATASET,),
        description=f"Macaque V4, session {session.name}: {session.shown}{ceiling}",
        reference=REFERENCE,
    )


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return one benchmark for each session; of the first, also a tenth, and all of it with shuffled pixels."""
    names = ("cowley2023.V4", "cowley2023.V4-201025", "cowley2023.V4-210224")
    found = [_benchmark(name, session) for name, session in zip(names, SESSIONS, strict=True)]
    return [*found, demonstration(found[0], 64), with_shuffled_pixels(found[0])]
