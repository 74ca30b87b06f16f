"""Benchmarks made from others by changing their stimuli."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmark_core.errors import InputError
from benchmark_core.specs import BenchmarkSpec, SubjectSpec
from benchmark_core.stimuli import StimulusSet


def with_shuffled_pixels(benchmark: BenchmarkSpec) -> BenchmarkSpec:
    """Return a benchmark ``NAME-shuffled``: the same responses and splits, and images whose pixels are shuffled.

    Every image loses its spatial structure in the same way, so what a model still predicts it owes to the pixels' grey
    levels and colours. A model's representation of the shuffled images has a key of its own.
    """

    if benchmark.subjects:
        changed = {name: replace(part, stimuli=_shuffled(part)) for name, part in benchmark.subjects.items()}
        changes: dict[str, Any] = {"subjects": changed}
    else:
        changes = {"stimuli": _shuffled(benchmark)}
    return replace(
        benchmark,
        **changes,
        name=f"{benchmark.name}-shuffled",
        description=f"{benchmark.description}; pixels shuffled",
    )


def _shuffled(part: BenchmarkSpec | SubjectSpec) -> Callable[[], StimulusSet]:
    def stimuli() -> StimulusSet:
        return part.stimuli().with_shuffled_pixels()

    return stimuli


def demonstration(benchmark: BenchmarkSpec, n: int) -> BenchmarkSpec:
    """Return a benchmark ``NAME-demo`` of ``n`` of the stimuli, evenly spaced in the order of their ids.

    It is for trying things out, and for models too slow for all stimuli; its scores are compared with each other only.

    Raises
    ------
    InputError
        When it is used, if there are fewer stimuli.
    """

    def stimuli() -> StimulusSet:
        every = benchmark.stimuli()
        if len(every) < n:
            raise InputError(
                f"{benchmark.name}-demo takes {n} of {benchmark.name}'s stimuli, which are only {len(every)}"
            )
        return every.subset([every.stimulus_ids[i * len(every) // n] for i in range(n)])

    return replace(
        benchmark,
        name=f"{benchmark.name}-demo",
        stimuli=stimuli,
        target=lambda: benchmark.target().at(stimuli().stimulus_ids),
        target_hash=None,
        description=f"{benchmark.description}; {n} stimuli only",
    )
