"""Dissimilarities of 92 object images in monkey and human inferior temporal cortex: Kriegeskorte et al. (2008).

Monkey IT: one RDM of 674 neurons of two animals. Human IT: fMRI of four subjects in two sessions each, 316 voxels.
Entries are 1 - Pearson r between response patterns. The files are those of rsatoolbox's demonstrations.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from benchmark_core import datasets
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.splits import KFold

REFERENCE = "Kriegeskorte et al. (2008), Matching categorical object representations in inferior temporal cortex of man and monkey, Neuron 60:1126"
STIMULI_FILE, BRAIN_FILE = "Kriegeskorte_Neuron2008_supplementalData.mat", "92_brainRDMs.mat"

# SHA-256 of the published files.
FILES = {
    STIMULI_FILE: "06f21214399a5d43dc264eed19a7f4b8daf11c8622a59eec3e106064ce5e3504",
    BRAIN_FILE: "1743f90a15e895798a94318649e80e1123a7e5943a1703fa1dd7c31ea5780b7c",
}

DATASET = DatasetSpec(
    name="kriegeskorte92",
    parts=("mIT", "hIT"),
    description="RDMs of 92 object images in monkey IT (neurons) and human IT (fMRI)",
    licence="MIT",
    source="https://github.com/rsagroup/rsatoolbox (demos/92imageData)",
    importer="plugins.benchmarks._kriegeskorte92_import:import_folder",
)


def _benchmark(part: str, description: str) -> BenchmarkSpec:
    return BenchmarkSpec(
        name=f"kriegeskorte92.{part}",
        version=1,
        stimuli=partial(datasets.load_stimuli, DATASET, part),
        target=partial(datasets.load_target, DATASET, part),
        target_hash=partial(datasets.target_hash, DATASET, part),
        splits=KFold(k=5, seed=0),
        target_kind="rdms",
        metric="rsa",
        needs=(DATASET,),
        description=description,
        reference=REFERENCE,
    )


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return a benchmark for each species."""
    return [
        _benchmark("mIT", "Monkey IT: dissimilarities of 92 object images, 674 neurons of two animals"),
        _benchmark("hIT", "Human IT: dissimilarities of 92 object images, fMRI of four subjects in two sessions"),
    ]
