"""Macaque V4 and IT while objects on natural backgrounds are seen: Majaj, Hong, Solomon & DiCarlo (2015), public part.

3200 grey-scale images (64 objects; 640 images without and 2560 with variation in pose, size and position), spike counts
70 to 170 ms after onset, two animals, 88 sites in V4 and 168 in IT, 46 repetitions on average. The public files of
Brain-Score hold single trials; the download of Kazemian et al. holds averages, without a ceiling, and the ids of their
train/test split. Without these ids there is a split of our own, under names of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchmark_core import datasets
from benchmark_core.errors import MissingDataError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.splits import Splits, fixed_split
from benchmark_core.variants import with_shuffled_pixels

if TYPE_CHECKING:
    from benchmark_core.assembly import Responses
    from benchmark_core.stimuli import StimulusSet

REFERENCE = "Majaj, Hong, Solomon & DiCarlo (2015), J. Neurosci. 35:13402"
REGIONS = ("V4", "IT")
SUBJECTS = ("Chabo", "Tito")
N_NEUROIDS = {"V4": 88, "IT": 168}

BASE_URL = "https://brainscore-storage.s3.us-east-2.amazonaws.com/brainio-brainscore/"
ASSEMBLY, TABLE, IMAGES = "assy_dicarlo_MajajHong2015_public.nc", "stimulus_hvm-public.csv", "stimulus_hvm-public.zip"

# SHA-1 of the public files; their sizes are asked from the server.
FILES = {
    ASSEMBLY: "13d28ca0ce88ee550b54db3004374ae19096e9b9",
    TABLE: "5ca7a3da00d8e9c694a9cd725df5ba0ad6d735af",
    IMAGES: "8aa44e038d7b551efa8077467622f9d48d72e473",
}

DATASET = DatasetSpec(
    name="majajhong",
    parts=REGIONS,
    description="Macaque V4 and IT, 256 sites of two animals, 3200 images of objects, about 46 repetitions",
    licence="see the source",
    source="Brain-Score's public bucket brainscore-storage (MajajHong2015 public)",
    importer="plugins.benchmarks._majajhong_import:import_folder",
    fetcher="plugins.benchmarks._majajhong_fetch:fetch",
)

SPLIT, DEMO = "split", "demo"
"""Columns of the stimulus set that hold ``train`` or ``test`` for the published split and its 50-image subset."""
ID_FILES = {
    SPLIT: {"train": "majaj_train_ids", "test": "majaj_test_ids"},
    DEMO: {"train": "majaj_train_ids_demo", "test": "majaj_test_ids_demo"},
}
ONE_IN = 5
"""Our own split tests one stimulus in so many."""


def published_split(column: str, benchmark: str, stimuli: StimulusSet) -> Splits:
    """Return the split of Kazemian et al., from the column of the stimulus set that holds it.

    Raises
    ------
    MissingDataError
        If the ids have not been imported.
    """
    roles = dict(zip(stimuli.stimulus_ids, stimuli.metadata.get(column, ()), strict=False))
    if not any(roles.values()):
        raise _no_ids(column, benchmark)
    return fixed_split(*([i for i, role in roles.items() if role == wanted] for wanted in ("train", "test")))


def _no_ids(column: str, benchmark: str) -> MissingDataError:
    files = " and ".join(ID_FILES[column].values())
    region = benchmark.partition("-")[0]
    return MissingDataError(
        f"{benchmark} needs the published train/test ids, which are not on this machine: import a folder that holds {files} "
        f"with `bench data import {DATASET.name} --from DIR`, or use {region}-ownsplit"
    )


def own_split(benchmark: str, stimuli: StimulusSet) -> Splits:
    """Return a split of our own: one stimulus in five is tested, of each object and each degree of variation.

    Within each stratum (an object at a degree of variation) ids are ordered by the SHA-256 of ``0:id``. Strata are gone
    through in the order of their names, and from each as many first ids are tested as keep the running number of test
    stimuli at a fifth of all so far, rounded down: exactly a fifth of every stratum in the public set (2 of 10 and 8 of
    40 images; 640 of 3200).

    Raises
    ------
    MissingDataError
        If the stimulus set does not say which object each image shows.
    """
    objects, variations = (stimuli.metadata.get(c, ("",) * len(stimuli)) for c in ("object_name", "variation"))
    if not all(objects) or not all(variations):
        raise MissingDataError(
            f"{benchmark} needs object_name and variation of every image, which the imported files do not tell; "
            f"import those of `bench data fetch {DATASET.name}`"
        )
    strata: dict[tuple[str, str], list[str]] = {}
    for stimulus_id, shown, variation in zip(stimuli.stimulus_ids, objects, variations, strict=True):
        strata.setdefault((shown, variation), []).append(stimulus_id)
    test: set[str] = set()
    seen = 0
    for stratum in sorted(strata):
        order = sorted(strata[stratum], key=lambda i: hashlib.sha256(f"0:{i}".encode()).digest())
        seen += len(order)
        test |= set(order[: seen // ONE_IN - len(test)])
    return fixed_split([i for i in stimuli.stimulus_ids if i not in test], sorted(test))


def demo_stimuli(region: str) -> StimulusSet:
    """Return the published 50-image subset.

    Raises
    ------
    MissingDataError
        If the data or the ids of the subset have not been imported.
    """
    stimuli = datasets.load_stimuli(DATASET, region)
    chosen = [i for i, role in zip(stimuli.stimulus_ids, stimuli.metadata.get(DEMO, ()), strict=False) if role]
    if not chosen:
        raise _no_ids(DEMO, f"{DATASET.name}.{region}-demo")
    return stimuli.subset(chosen)


def demo_target(region: str) -> Responses:
    """Return the responses to the subset."""
    return datasets.load_responses(DATASET, region).at(demo_stimuli(region).stimulus_ids)


def demo_target_hash(region: str) -> str:
    """Return the content hash of the responses to the subset, from the manifest."""
    demo_stimuli(region)  # says what is missing, if anything is
    return str(datasets.read_manifest(DATASET, region)["extra"]["demo_target_hash"])


def _benchmarks(region: str) -> Iterable[BenchmarkSpec]:
    name = f"{DATASET.name}.{region}"
    what = f"Macaque {region}, {N_NEUROIDS[region]} sites of two animals, 3200 images of objects"
    published = BenchmarkSpec(
        name=name,
        version=1,
        stimuli=partial(datasets.load_stimuli, DATASET, region),
        target=partial(datasets.load_responses, DATASET, region),
        target_hash=partial(datasets.target_hash, DATASET, region),
        splits=partial(published_split, SPLIT, name),
        needs=(DATASET,),
        description=f"{what}, published split",
        reference=REFERENCE,
    )
    own = replace(
        published,
        name=f"{name}-ownsplit",
        splits=partial(own_split, f"{name}-ownsplit"),
        description=f"{what}, a split of our own (not to be compared with published scores)",
    )
    demo = replace(
        published,
        name=f"{name}-demo",
        stimuli=partial(demo_stimuli, region),
        target=partial(demo_target, region),
        target_hash=partial(demo_target_hash, region),
        splits=partial(published_split, DEMO, f"{name}-demo"),
        description=f"The published 50-image subset of {name}, for trying things out",
    )
    return published, with_shuffled_pixels(published), demo, own, with_shuffled_pixels(own)


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return the benchmarks of both regions."""
    return [benchmark for region in REGIONS for benchmark in _benchmarks(region)]
