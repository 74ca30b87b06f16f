"""Natural Scenes Dataset (Allen et al. 2022): human fMRI of eight subjects, three visual streams.

Every subject saw some 9000 photographs of their own and up to 1000 that all subjects share. Models are fitted, subject
by subject, on the subject's own photographs and tested on the shared ones that all eight subjects saw.

The data need a registration, so they are imported only. Two layouts are known, which do not hold the same numbers and so
make benchmarks of different names:

``nsd.early``, ``nsd.midventral``, ``nsd.ventral``
    From the averaged betas that Kazemian, Elmoznino & Bonner published, tested on their 872 shared photographs.
``nsd.early-release``, ...
    From the single-trial betas of the official release, with ceilings, tested on the shared photographs that all eight
    subjects saw in all of their sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmark_core import datasets
from benchmark_core.errors import MissingDataError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec, DatasetSpec, SubjectSpec
from benchmark_core.splits import Splits, fixed_split
from benchmark_core.variants import with_shuffled_pixels

if TYPE_CHECKING:
    import xarray as xr

    from benchmark_core.assembly import Responses
    from benchmark_core.stimuli import StimulusSet

SUBJECTS = tuple(f"subj{number:02d}" for number in range(1, 9))


@dataclass(frozen=True)
class Region:
    """A visual stream: its number in the streams atlas, its name in the published files, its name in words."""

    atlas: int
    published: str
    words: str


REGIONS = {
    "early": Region(1, "early visual stream", "early visual cortex"),
    "midventral": Region(2, "midventral visual stream", "midventral stream"),
    "ventral": Region(5, "ventral visual stream", "ventral stream"),
}


@dataclass(frozen=True)
class Scanning:
    """How much was recorded: sessions of each subject, and trials in a session."""

    sessions: Mapping[str, int] = field(
        default_factory=lambda: dict(zip(SUBJECTS, (40, 40, 32, 30, 40, 32, 40, 30), strict=True))
    )
    trials: int = 750


PUBLISHED = DatasetSpec(
    name="nsd",
    parts=SUBJECTS,
    description="Human fMRI, averaged betas of eight subjects as published with the Expansion models",
    licence="NSD terms and conditions (registration)",
    source="https://naturalscenesdataset.org; averages: doi:10.5281/zenodo.16920087",
    importer="plugins.benchmarks._nsd_import:import_published",
)
RELEASE = DatasetSpec(
    name="nsd-release",
    parts=SUBJECTS,
    description="Human fMRI, single-trial betas of eight subjects from the official release",
    licence="NSD terms and conditions (registration)",
    source="https://naturalscenesdataset.org",
    importer="plugins.benchmarks._nsd_import:import_release",
)
REFERENCE = "Allen, St-Yves, Wu, ... & Kay (2022), A massive 7T fMRI dataset, Nature Neuroscience 25"


def stimuli(dataset: DatasetSpec, subject: str) -> StimulusSet:
    """Return the photographs that a subject saw."""
    return datasets.load_stimuli(dataset, subject)


def responses(dataset: DatasetSpec, subject: str, region: str) -> Responses:
    """Return a subject's betas in one region; single trials of the shared photographs where they are at hand."""
    from benchmark_core.assembly import Responses

    first, last = _region(dataset, subject, region)["voxels"]

    def voxels(whole: xr.Dataset) -> xr.Dataset:
        return whole.isel(neuroid=slice(first, last)).assign_attrs(region=region)

    return Responses.from_xarray(datasets.load_dataset(dataset, subject, voxels))


def responses_hash(dataset: DatasetSpec, subject: str, region: str) -> str:
    """Return the content hash of :func:`responses`, from the manifest alone."""
    return str(_region(dataset, subject, region)["target_hash"])


def splits(stimuli: StimulusSet) -> Splits:
    """Train on the subject's own photographs, test on the shared ones."""
    shared = stimuli.metadata["shared"]
    test = [i for i, s in zip(stimuli.stimulus_ids, shared, strict=True) if s == "1"]
    own = [i for i, s in zip(stimuli.stimulus_ids, shared, strict=True) if s != "1"]
    return fixed_split(train=own, test=test)


def _region(dataset: DatasetSpec, subject: str, region: str) -> dict[str, Any]:
    regions = datasets.read_manifest(dataset, subject).get("extra", {}).get("regions", {})
    if region not in regions:
        raise MissingDataError(
            f"{dataset.name}/{subject} holds no {REGIONS[region].published}; get it with {datasets.how_to_get(dataset)}"
        )
    found: dict[str, Any] = regions[region]
    return found


def benchmark(
    dataset: DatasetSpec, region: str, variant: str = "", subjects: Sequence[str] = SUBJECTS
) -> BenchmarkSpec:
    """Return the benchmark of a region; ``subjects`` other than all eight are for trying things out."""
    what = "averaged betas" if dataset is PUBLISHED else "single-trial betas, with ceilings"
    return BenchmarkSpec(
        name=f"nsd.{region}{variant}",
        version=1,
        subjects={
            subject: SubjectSpec(
                stimuli=partial(stimuli, dataset, subject),
                target=partial(responses, dataset, subject, region),
                target_hash=partial(responses_hash, dataset, subject, region),
                splits=splits,
            )
            for subject in subjects
        },
        needs=(dataset,),
        description=f"Human {REGIONS[region].words}, eight subjects, tested on shared photographs: {what}",
        reference=REFERENCE,
    )


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return a benchmark for each region and layout, and its variant with shuffled pixels."""
    plain = [benchmark(PUBLISHED, region) for region in REGIONS]
    plain += [benchmark(RELEASE, region, "-release") for region in REGIONS]
    return [spec for one in plain for spec in (one, with_shuffled_pixels(one))]
