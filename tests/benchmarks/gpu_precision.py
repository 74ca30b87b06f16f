"""How far ``--precision fast`` takes a score: real recordings from macaque V4, exact and fast beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from gpu_timing import row, seconds
from reduced_precision import TF32Products

from benchmark_core.arrays import choose_backend
from benchmark_core.cells import splits_of
from benchmark_core.extraction import Precision, extract, wrap
from benchmark_core.pipeline import candidate_layers, preprocessing_of
from benchmark_core.records import Score
from benchmark_core.registry import Registry
from benchmark_core.representation import from_spool
from benchmark_core.resolution import import_target
from benchmark_core.torch_models import seeded_globals
from plugins.metrics._encoding import compute

MODELS = (
    "alexnet-untrained",
    "efficientnet-lite0",
    "vit-untrained",
    "expansion5l-256:filters=300",
    "expansion5l:filters=300",
)
LIMIT = 0.001


def scores(
    identifier: str,
    benchmark: str,
    device: str,
    folder: Path,
    layers: Sequence[str] = (),
    registry: Registry | None = None,
) -> tuple[dict[str, Score], dict[str, float]]:
    """Score a model under both policies, both passes and the metric; return scores and seconds of each.

    On a CPU, which has no TF32, products of the fast forward pass are rounded as a GPU rounds them.
    """
    registry = registry or Registry.default()
    model, part = registry.model(identifier), next(iter(registry.benchmark(benchmark).parts.values()))
    stimuli, target = part.stimuli(), part.target()
    names = tuple(layers) or candidate_layers(model)
    with seeded_globals():
        loaded = wrap(import_target(model.spec.load)(**model.parameters), identifier)
    loaded.to(device)
    found: dict[str, Score] = {}
    taken: dict[str, float] = {}
    policies: tuple[Precision, ...] = ("exact", "fast")
    for precision in policies:

        def score(precision: Precision = precision) -> None:
            rounded = TF32Products() if precision == "fast" and device == "cpu" else nullcontext()
            with rounded:
                spool = extract(
                    loaded,
                    stimuli,
                    preprocessing_of(model),
                    names,
                    folder / precision,
                    device=device,
                    precision=precision,
                )
            backend, exact = choose_backend("auto", device), precision == "exact"
            held = {
                layer: from_spool(spool, layer, stimuli.stimulus_ids, key="", backend=backend, exact=exact)
                for layer in names
            }
            spool.delete()
            options: dict[str, Any] = {}
            if stimuli.groups is not None:
                options["groups"] = dict(zip(stimuli.stimulus_ids, stimuli.groups, strict=True))
            found[precision] = compute([held], target, splits_of(part, stimuli), **options)

        taken[precision] = seconds(device, score, rounds=1, warm_up=False)
    return found, taken


def change(identifier: str, found: dict[str, Score], taken: dict[str, float], device: str) -> dict[str, Any]:
    """Return a row that says how far apart two scores are, and whether layers and penalties are the same."""
    exact, fast = found["exact"], found["fast"]
    assert exact.value is not None
    assert fast.value is not None
    apart = fast.value - exact.value
    r = {name: np.concatenate([np.asarray(s["r"]) for s in one.subjects.values()]) for name, one in found.items()}
    penalties = [one.fields["alpha"] for one in (exact, fast)]
    same = "same penalties" if penalties[0] == penalties[1] else f"penalties {penalties[0]} and {penalties[1]}"
    same += "" if exact.layers == fast.layers else f", layers {exact.layers} and {fast.layers}"
    return row(
        f"{identifier}: fast changes the score {exact.value:.4f} by {apart:+.1e} ({same})",
        f"r of a neuroid by {np.nanmax(np.abs(r['fast'] - r['exact'])):.1e} at most",
        taken["fast"],
        device,
        baseline="exact",
        baseline_s=taken["exact"],
        score_change=apart,
        emulated=device == "cpu",
    )
