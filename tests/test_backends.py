"""Every metric gives the same score on every backend: numpy, torch, cupy, and a strict reading of the array API standard."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark_core.arrays import Backend
from benchmark_core.contract_metrics import Layers, World, simulate
from benchmark_core.held_out import held_out
from benchmark_core.records import Score, plain
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation, from_spool
from benchmark_core.resolution import import_target
from benchmark_core.ridge import penalty_criteria, predict
from benchmark_core.spool import Spool
from plugins.metrics._encoding import compute

REGISTRY = Registry(installed=False)
VARIANTS = (
    "encoding:alpha_per_target=true,selection=paper",
    "encoding:components=10",
    "classification:classifier=nearest-centroid",
)
"""Beside every built-in metric as it is: parameters that lead through other code on the backend."""


@dataclass(frozen=True)
class StrictBackend(Backend):
    """``array_api_strict``: refuses whatever the array API standard does not promise."""

    @property
    def xp(self) -> Any:
        import array_api_strict

        return array_api_strict

    @property
    def xp_device(self) -> Any:
        return None

    def _as(self, values: Any, dtype: str) -> Any:
        if isinstance(values, self.xp.asarray(0.0).__class__):
            return self.xp.astype(values, getattr(self.xp, dtype))
        return self.xp.asarray(np.asarray(values, dtype=dtype))

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.array(array)


BACKENDS = [
    pytest.param(Backend("torch"), id="torch-cpu"),
    pytest.param(StrictBackend(), id="strict"),
    pytest.param(Backend("torch", "cuda:0"), id="torch-cuda", marks=pytest.mark.gpu),
    pytest.param(Backend("cupy", "cuda:0"), id="cupy-cuda", marks=pytest.mark.gpu),
]


def available(backend: Backend) -> Backend:
    """Return the backend, or skip where it cannot run."""
    if backend.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    if backend.name == "cupy":
        pytest.importorskip("cupy", reason="cupy is not installed")
    return backend


def on(layers: Layers, backend: Backend) -> Layers:
    """Return representations that compute on a backend; of the first layer only 20 axes, fewer than stimuli."""
    found = {name: replace(held, backend=backend, _decompositions={}) for name, held in layers.items()}
    name, first = next(iter(layers.items()))
    axes = first.coordinates()[:, -20:] + 3.0
    found[name] = Representation.from_features(axes, first.stimulus_ids, first.layer, backend)
    return found


def scored(identifier: str, backend: Backend) -> Score:
    resolved = REGISTRY.metric(identifier)
    kind = next(k for k in ("responses", "labels", "rdms") if k in resolved.spec.accepts)
    world: World = simulate(kind, resolved.spec.n_models[0], gaps=kind == "responses")
    models = [on(layers, backend) for layers in world.models]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {**resolved.parameters, "groups": world.groups}
        if "n_bootstrap" in options:
            options["n_bootstrap"] = 100
        score = import_target(resolved.spec.compute)(models, world.target, world.splits, **options)
    assert isinstance(score, Score)
    return score


@cache
def reference(identifier: str) -> Score:
    return scored(identifier, Backend())


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every number and text of nested plain data, with where it is."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


def assert_same(ours: Score, theirs: Score) -> None:
    """Every number to 1e-6, every text, choice and count exactly."""
    names = ("value", "ci_low", "ci_high", "fields", "details", "subjects", "layers", "warnings")
    mine, other = (dict(leaves({n: plain(getattr(score, n)) for n in names})) for score in (ours, theirs))
    assert mine.keys() == other.keys()
    for path, expected in other.items():
        if isinstance(expected, float) and mine[path] is not None:
            assert mine[path] == pytest.approx(expected, rel=1e-6, abs=1e-9), path
        else:
            assert mine[path] == expected, path
    assert ours.arrays.keys() == theirs.arrays.keys()
    for name, values in theirs.arrays.items():
        assert ours.arrays[name].dtype == values.dtype
        if values.dtype.kind == "f":
            np.testing.assert_allclose(ours.arrays[name], values, rtol=1e-6, atol=1e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(ours.arrays[name], values, err_msg=name)


def metrics() -> list[str]:
    """Return every built-in metric of one model or several (those of the target alone compute nothing on a backend)."""
    found = sorted(REGISTRY.metrics.by_name)
    return [name for name in found if REGISTRY.metrics.find(name).n_models[1] > 0] + list(VARIANTS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("identifier", metrics())
def test_every_metric_agrees_with_numpy(identifier: str, backend: Backend) -> None:
    """Scores, intervals, predictions, penalties, layers, details: from kernels and from features, with gaps and groups."""
    score = scored(identifier, available(backend))
    assert score.value is not None
    assert_same(score, reference(identifier))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("p", [7, 90], ids=["narrow", "wide"])
@pytest.mark.parametrize("grouped", [False, True], ids=["loo", "groups"])
def test_held_out_predictions_agree_with_numpy(p: int, grouped: bool, backend: Backend) -> None:
    """All 20 decades of penalties, duplicated stimuli included, and one penalty for each neuroid."""
    random = np.random.Generator(np.random.Philox(p))
    x, y = random.standard_normal((30, p)) + 5, random.standard_normal((24, 3))
    x[3:6] = x[:3]
    names = [f"s{i:02d}" for i in range(30)]
    groups = [f"g{i // 3}" if i < 6 else f"h{i}" for i in range(24)] if grouped else None
    penalties = [10.0**e for e in range(-3, 10)]
    found = []
    for library in (Backend(), available(backend)):
        representation = Representation.from_features(x, names, backend=library)
        decomposition = representation.decomposition(names[:24])
        fits = held_out(decomposition, y, penalties, groups)
        found.append(
            (
                np.array([library.to_numpy(fit.predictions) for fit in fits]),
                penalty_criteria(decomposition, y, penalties, groups),
                predict(representation, names[:24], names[24:], y, [0.1, 10.0, 1e3]),
                predict(representation, names[:24], names[24:28], np.tile(y, 2), 10.0),  # more neuroids than stimuli
            )
        )
    for numpy, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, numpy, rtol=1e-6, atol=1e-8)


FAST = 1e-4
"""How far ``--precision fast`` may take a score and its interval here; docs/performance.md says what real data give."""


@pytest.mark.parametrize("backend", [pytest.param(Backend(), id="numpy-cpu"), *BACKENDS])
def test_single_precision_products_stay_close(tmp_path: Path, backend: Backend) -> None:
    """Kernels of ``--precision fast``: float32 products within a block of features, float64 sums."""
    available(backend)
    world = simulate("responses")
    random = np.random.Generator(np.random.Philox(11))
    signal = world.models[0]["signal"].coordinates()
    x = np.maximum(signal @ random.standard_normal((signal.shape[1], 9000)), -5) + 20 * random.random(9000)
    ids = world.target.stimulus_ids
    spool = Spool.create(tmp_path / "spool", len(ids), ["layer"], 16, 16)
    for chunk in range(spool.n_chunks):
        spool.write(chunk, {"layer": x[16 * chunk : 16 * (chunk + 1)].astype(np.float32)}, 0.0)
    kernels, scores = [], []
    for exact in (True, False):
        representation = from_spool(spool, "layer", ids, key="", backend=backend, exact=exact)
        kernels.append(representation.gram())
        scores.append(compute([{"layer": representation}], world.target, world.splits))
    difference = np.abs(kernels[1] - kernels[0]).max() / np.abs(kernels[0]).max()
    assert 0 < difference < 1e-5  # float32 indeed, and no worse
    exact_score, fast = scores
    assert fast.fields["alpha"] == exact_score.fields["alpha"]
    for name in ("value", "ci_low", "ci_high"):
        assert getattr(fast, name) == pytest.approx(getattr(exact_score, name), abs=FAST)
    np.testing.assert_allclose(fast.arrays["predictions"], exact_score.arrays["predictions"], atol=1e-3)
