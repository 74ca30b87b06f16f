"""A plugin for the miniature of NSD: its benchmarks with the miniature's subjects, two small models, a plain metric."""

from __future__ import annotations

from typing import Any

from miniatures.nsd import World

from benchmark_core import BenchmarkSpec, MetricSpec, ModelSpec, Parameter, Preprocessing, Score, Width, hookimpl
from benchmark_core.variants import with_shuffled_pixels
from plugins.benchmarks import nsd
from plugins.benchmarks.nsd import PUBLISHED, RELEASE

WORLD = World()
FORWARDED: list[int] = []  # batch after batch


def load(width: int) -> Any:
    import numpy as np
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rows = [np.random.Generator(np.random.Philox(row)).standard_normal(256) for row in range(width)]
            self.weight = torch.nn.Parameter(torch.tensor(np.array(rows), dtype=torch.float32))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            FORWARDED.append(len(images))
            return torch.relu(images.flatten(1) @ self.weight.T)

    return Net()


def load_halves(width: int) -> Any:
    """Return the same model as stem (the pixels) and head."""
    import torch

    whole = load(width)

    class Halves:
        features_per_unit = 1

        def stem(self, images: torch.Tensor) -> torch.Tensor:
            FORWARDED.append(len(images))
            return images.flatten(1)

        def head(self, stem: torch.Tensor, first: int, last: int) -> torch.Tensor:
            return torch.relu(stem @ whole.weight[first:last].T)

        def to(self, device: str) -> Halves:
            whole.to(device)
            return self

    return Halves()


def count(representations: Any, target: Any, splits: Any) -> Score:
    """Count stimuli: a metric that knows nothing of subjects who saw different ones."""
    fields = {"n_stimuli": len(splits.folds[0].test), "n_neuroids": target.n_neuroids}
    return Score(float(len(target.stimulus_ids)), fields=fields, warnings=("counted",))


@hookimpl
def register_models() -> list[ModelSpec]:
    spec: dict[str, Any] = {
        "version": 1,
        "load": load,
        "parameters": (Parameter("width", "int", 60, minimum=1),),
        "preprocessing": Preprocessing(size=(16, 16), colour="grey", mean=(0.0,), std=(1.0,)),
        "weights": "philox",
    }
    width: dict[str, Any] = {"parameter": "width", "layer": "output"}
    return [
        ModelSpec(name="net", **spec),
        ModelSpec(name="wide", width=Width(**width), **spec),
        ModelSpec(name="halves", width=Width(**width, wide=load_halves, is_wide=lambda width: width > 20), **spec),
    ]


@hookimpl
def register_benchmarks() -> list[BenchmarkSpec]:
    subjects = WORLD.subjects
    made = [nsd.benchmark(PUBLISHED, "early", subjects=subjects)]
    made += [nsd.benchmark(RELEASE, region, "-release", subjects) for region in ("early", "ventral")]
    one = made[1].subjects["subj02"]
    alone = BenchmarkSpec(
        name="nsd.one",
        version=1,
        stimuli=one.stimuli,
        target=one.target,
        splits=one.splits,
        target_hash=one.target_hash,
    )
    return [*made, with_shuffled_pixels(made[1]), alone]


@hookimpl
def register_metrics() -> list[MetricSpec]:
    return [MetricSpec(name="count", version=1, compute=count)]
