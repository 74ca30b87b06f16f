"""A benchmark that needs no download: crops of bundled photographs and a simulated population.

370 crops of the 16 photographs inside the scikit-image and scikit-learn packages, and 60 simulated units with Poisson
spikes. It is made on first use, in a few seconds. Its true rates are known exactly, so it checks the machinery; it
says nothing about the brain, and is marked as simulated wherever it is shown. Folds and resamples keep the crops of one
photograph together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmark_core import datasets
from benchmark_core.errors import MissingDataError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.splits import KFold
from benchmark_core.variants import with_shuffled_pixels

if TYPE_CHECKING:
    import xarray as xr

    from benchmark_core.assembly import Responses
    from benchmark_core.stimuli import StimulusSet

DATASET = DatasetSpec(
    name="simulated",
    parts=("V4",),
    description="SIMULATED: 60 energy-model units with Poisson spikes, 370 crops of bundled photographs",
    licence="photographs: those of scikit-image and scikit-learn; responses: MIT",
    source="computed on this machine",
    fetcher="plugins.benchmarks._simulated_build:build",
    simulated=True,
)


def _build_if_absent() -> None:
    try:
        datasets.read_manifest(DATASET, "V4")
    except MissingDataError:
        from plugins.benchmarks._simulated_build import build

        build(lambda line: None)


def stimuli() -> StimulusSet:
    """Return the crops, with the columns ``group`` (the photograph), ``top`` and ``left`` (pixels)."""
    _build_if_absent()
    return datasets.load_stimuli(DATASET, "V4")


def target() -> Responses:
    """Return the spike counts, (370, 10, 60)."""
    _build_if_absent()
    return datasets.load_responses(DATASET, "V4")


def target_hash() -> str:
    """Return the content hash of the spike counts."""
    _build_if_absent()
    return datasets.target_hash(DATASET, "V4")


def true_rates() -> xr.DataArray:
    """Return the expected spike counts in 100 ms, (stimulus 370, neuroid 60), float64, with ids as coordinates."""
    _build_if_absent()
    return datasets.load_dataset(DATASET, "V4")["true_rate"]


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return the simulated benchmark, and its variant with shuffled pixels."""
    plain = BenchmarkSpec(
        name="simulated.V4",
        version=1,
        stimuli=stimuli,
        target=target,
        target_hash=target_hash,
        splits=KFold(k=5, seed=0),
        needs=(DATASET,),
        simulated=True,
        description="Simulated V4-like units, 370 photograph crops, 10 repetitions; built on first use",
        reference="Energy model: Adelson & Bergen (1985); divisive normalisation: Heeger (1992)",
    )
    return [plain, with_shuffled_pixels(plain)]
