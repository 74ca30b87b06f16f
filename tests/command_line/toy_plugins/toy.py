"""A dropped-in plugin for tests of bad input: small models, good and bad, and benchmarks on a dataset ``toy``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmark_core import (
    BenchmarkSpec,
    DatasetSpec,
    Fold,
    KFold,
    MetricSpec,
    ModelSpec,
    Parameter,
    Preprocessing,
    Splits,
    StimulusSet,
    datasets,
    hookimpl,
)

DATASET = DatasetSpec(
    name="toy",
    parts=("one", "two"),
    importer="nowhere:importer",
    description="random responses to random images",
)
QUICK = "encoding:n_bootstrap=100"
SMALL = Preprocessing(size=(8, 8), colour="grey", mean=(0.5,), std=(0.5,))


def module(forward: Callable[[Any], Any], **parts: Any) -> Any:
    """Return a torch module with this forward pass."""
    import torch

    class Toy(torch.nn.Module):
        def forward(self, images: Any) -> Any:
            return forward(images)

    made = Toy()
    for name, part in parts.items():
        made.add_module(name, part)
    return made


def load_pixels(scale: float, rows: int, mode: str, flip: bool) -> Any:
    return module(lambda images: scale * images.flatten(1))


def load_two_layers() -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Hardtanh())


def load_unreached() -> Any:
    import torch

    return module(lambda images: images.flatten(1), side=torch.nn.ReLU())


def nan_for_one(images: Any) -> Any:
    values = images.flatten(1).clone()
    values[-1, 3] = float("nan")
    return values


def fail(message: str) -> Callable[[Any], Any]:
    def forward(images: Any) -> Any:
        raise ValueError(message)

    return forward


def interrupt(images: Any) -> Any:
    raise KeyboardInterrupt


def load_talkative() -> Any:
    print("loading weights ...")

    def forward(images: Any) -> Any:
        print("one batch")
        return images.flatten(1)

    return module(forward)


def load_exit() -> Any:
    sys.exit("this model needs a licence")


def load_needy(required: int) -> Any:
    return None


def no_layers() -> tuple[str, ...]:
    raise RuntimeError("cannot tell the layers")


def absent_weights() -> Path:
    return Path(os.environ["BENCH_HOME"]) / "weights.safetensors"


@hookimpl
def register_models() -> list[ModelSpec]:
    models: dict[str, Callable[..., Any]] = {
        "nan": lambda: module(nan_for_one),
        "batch": lambda: module(lambda images: images.flatten(1)[:1].repeat(len(images) + 1, 1)),
        "tuple": lambda: module(lambda images: (images, images)),
        "scalar": lambda: module(lambda images: images.mean()),
        "empty": lambda: module(lambda images: images.flatten(1)[:, :0]),
        "raise": lambda: module(fail("no such\ncolour space")),
        "interrupt": lambda: module(interrupt),
        "constant": lambda: module(lambda images: 0 * images.flatten(1) + 3),
        "text": lambda: "weights.pth",
        "none": lambda: None,
        "import": lambda: __import__("no_such_module"),
        "talk": load_talkative,
        "exit": load_exit,
        "needy": load_needy,
    }
    bad = [
        ModelSpec(name=f"toy-{name}", version=1, load=load, preprocessing=SMALL, description=f"bad: {name}")
        for name, load in models.items()
    ]
    good = ModelSpec(
        name="toy-pixels",
        version=1,
        load=load_pixels,
        preprocessing=SMALL,
        parameters=(
            Parameter("scale", "float", 1.0, minimum=0.5, maximum=2),
            Parameter("rows", "int", 8, minimum=1),
            Parameter("mode", "str", "plain", choices=("plain", "fancy")),
            Parameter("flip", "bool", False),
        ),
        variants={"toy-large": {"scale": 2.0}},
    )
    return [
        good,
        ModelSpec(name="toy-layers", version=1, load=load_two_layers, layers=("0", "output"), preprocessing=SMALL),
        ModelSpec(name="toy-unreached", version=1, load=load_unreached, layers=("side",), preprocessing=SMALL),
        ModelSpec(name="toy-nolayers", version=1, load=load_two_layers, layers=no_layers, preprocessing=SMALL),
        ModelSpec(name="toy-layertext", version=1, load=load_two_layers, layers="output", preprocessing=SMALL),
        ModelSpec(name="toy-weights", version=1, load=load_two_layers, weights=absent_weights, preprocessing=SMALL),
        *bad,
    ]


def csv_stimuli() -> StimulusSet:
    """Return the stimuli of ``BENCH_HOME/stimuli.csv``, as a stranger's benchmark might keep them."""
    home = Path(os.environ["BENCH_HOME"])
    return StimulusSet.from_manifest(home / "stimuli.csv", home / "data" / "toy" / "one" / "images")


def foreign_folds(stimuli: StimulusSet) -> Splits:
    ids = stimuli.stimulus_ids
    return Splits((Fold(ids[:-2], (*ids[-2:], "toy/absent")),))


def failing_target() -> Any:
    raise RuntimeError("the database is gone")


def wrong_type(*args: Any, **kwargs: Any) -> Any:
    return {"value": 1.0}


def wrong_value(*args: Any, **kwargs: Any) -> Any:
    from benchmark_core import Score

    return Score("high")


def wrong_details(*args: Any, **kwargs: Any) -> Any:
    from benchmark_core import Score

    return Score(1.0, details={"model": object()})


def failing_metric(*args: Any, **kwargs: Any) -> Any:
    raise ZeroDivisionError("division by zero")


@hookimpl
def register_benchmarks() -> list[BenchmarkSpec]:
    good = BenchmarkSpec(
        name="toy.V4",
        version=1,
        stimuli=partial(datasets.load_stimuli, DATASET, "one"),
        target=partial(datasets.load_responses, DATASET, "one"),
        target_hash=partial(datasets.target_hash, DATASET, "one"),
        splits=KFold(4),
        metric=QUICK,
        needs=(DATASET,),
    )
    absent = partial(datasets.load_stimuli, DATASET, "two")
    return [
        good,
        replace(good, name="toy.V4-absent", stimuli=absent, target_hash=partial(datasets.target_hash, DATASET, "two")),
        replace(good, name="toy.V4-csv", stimuli=csv_stimuli),
        replace(good, name="toy.V4-folds", splits=KFold(50)),
        replace(good, name="toy.V4-foreign", splits=foreign_folds),
        replace(good, name="toy.V4-failing", target=failing_target),
        replace(good, name="toy.V4-labels", target_kind="labels"),
    ]


@hookimpl
def register_metrics() -> list[MetricSpec]:
    return [
        MetricSpec(name="toy-type", version=1, compute=wrong_type),
        MetricSpec(name="toy-value", version=1, compute=wrong_value),
        MetricSpec(name="toy-details", version=1, compute=wrong_details),
        MetricSpec(name="toy-raise", version=1, compute=failing_metric),
        MetricSpec(name="toy-nowhere", version=1, compute="no_such_module:compute"),
        MetricSpec(name="toy-pair", version=1, compute=failing_metric, n_models=(2, 3)),
    ]
