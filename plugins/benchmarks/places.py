"""Scene classification on Places365: components of a training subset, 36 500 validation images in 365 categories."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.trees import tree_benchmark

PART = "val"
REFERENCE = "Zhou, Lapedriza, Khosla, Oliva & Torralba (2018), Places: a 10 million image database, IEEE TPAMI 40:1452"

DATASET = DatasetSpec(
    name="places",
    parts=(PART,),
    description="Places365: 36 500 validation images in 365 categories of scenes, and training images",
    licence="images for non-commercial research and education, see the source",
    source="http://places2.csail.mit.edu (val_256, places365_val.txt, a subset of the training images)",
    importer="plugins.benchmarks._places_import:import_folder",
)


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return the classification of the validation images."""
    return [
        tree_benchmark(
            DATASET,
            PART,
            "places.val",
            "Categories of scenes (365): validation images, on components of the training subset",
            REFERENCE,
            origin=__file__,
        )
    ]
