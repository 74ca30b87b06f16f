"""Benchmarks made from others by changing their stimuli."""

from __future__ import annotations

from dataclasses import replace

from benchmark_core.specs import BenchmarkSpec
from benchmark_core.stimuli import StimulusSet


def with_shuffled_pixels(benchmark: BenchmarkSpec) -> BenchmarkSpec:
    """Return a benchmark ``NAME-shuffled``: the same responses and splits, and images whose pixels are shuffled.

    Every image loses its spatial structure in the same way, so what a model still predicts it owes to the pixels' grey
    levels and colours. A model's representation of the shuffled images has a key of its own.
    """

    def stimuli() -> StimulusSet:
        return benchmark.stimuli().with_shuffled_pixels()

    return replace(
        benchmark,
        name=f"{benchmark.name}-shuffled",
        stimuli=stimuli,
        description=f"{benchmark.description}; pixels shuffled",
    )
