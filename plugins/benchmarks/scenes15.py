"""Fifteen categories of scenes: photographs in folders, some to fit components on and some to classify."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark_core.errors import InputError
from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.trees import import_tree, read_tree, tree_benchmark

N_CATEGORIES = 15
PART = "test"


def import_folder(source: Path, progress: Callable[[str], None]) -> list[str]:
    """Import ``train/<category>/`` and ``test/<category>/`` with their images.

    Raises
    ------
    InputError
        If the folder is no such tree, or an image cannot be decoded.
    """
    tree = read_tree(source, progress)
    if not tree.splits:
        raise InputError(f"{source} holds no train/<category>/ and test/<category>/; name the folder that does")
    found = len(set(tree.categories.values()))
    if found != N_CATEGORIES:
        progress(f"{DATASET.name}: {found} categories in {source}; the published set has {N_CATEGORIES}")
    import_tree(DATASET, PART, tree, progress)
    return [PART]


DATASET = DatasetSpec(
    name="scenes15",
    parts=(PART,),
    description="Photographs of 15 categories of scenes, indoors and outdoors",
    licence="not stated by its authors; for research",
    source="Lazebnik, Schmid & Ponce (2006); Fei-Fei & Perona (2005); Oliva & Torralba (2001)",
    importer=import_folder,
)


@hookimpl
def register_benchmarks() -> Iterable[BenchmarkSpec]:
    """Return the classification of the test photographs."""
    return [
        tree_benchmark(
            DATASET,
            PART,
            "scenes15.test",
            "Categories of scenes (15): test photographs, on components of the training photographs",
            "Lazebnik, Schmid & Ponce (2006), Beyond bags of features, CVPR",
            origin=__file__,
        )
    ]
