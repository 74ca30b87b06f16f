"""Compare the presets of ``encoding`` with Brain-Score itself, on the same features, trials and object names.

Brain-Score needs an environment of its own (README.md beside this file). Run this script with the project's Python; it
calls itself with the other one, and passes arrays in ``.npz`` files::

    python tests/reference/compare_with_brainscore.py --python BRAINSCORE_ENV/bin/python [--features 9408] [--tight]
    python tests/reference/compare_with_brainscore.py --python BRAINSCORE_ENV/bin/python \
        --benchmark cowley2023.V4 --model pixels --tight

With a benchmark, the features are the coordinates of a representation (same inner products as the features).
Exit status 1 where ridge differs by more than 1e-5, or PLS by more than 1e-3 (1e-5 with ``--tight``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TIGHT = {"tol": 1e-28, "max_iter": 20_000}
RIDGE, PLS, PLS_TIGHT = "ridge", "pls", "pls (tight)"
LARGEST = {RIDGE: 1e-5, PLS: 1e-3, PLS_TIGHT: 1e-5}


def synthetic(n: int, p: int, m: int, n_objects: int = 64, n_repetitions: int = 8) -> dict[str, np.ndarray]:
    """Return features, trials and labels of a simulated recording of two animals."""
    random = np.random.Generator(np.random.Philox([n, p, m]))
    n_objects = min(n_objects, n // 10)
    spread = np.arange(1, p + 1) ** -0.5  # deviations of axes fall off as in layers of networks
    features = random.standard_normal((n, p)) * spread + random.standard_normal(p)
    signal = features @ (random.standard_normal((p, m)) * spread[:, None])
    signal = (signal - signal.mean(axis=0)) / signal.std(axis=0)
    trials = signal[:, None, :] + random.normal(scale=2, size=(n, n_repetitions, m)) + random.uniform(1, 5, m)
    trials[random.random(n) < 0.3, -1] = np.nan  # not every stimulus was shown so often
    return {
        "ids": np.array([f"{k:012x}" for k in random.choice(2**32, n, replace=False)]),
        "features": features,
        "trials": trials,
        "objects": np.array([f"object{k % n_objects:02d}" for k in range(n)]),
        "animals": np.array(["A"] * (m // 2) + ["B"] * (m - m // 2)),
    }


def real(benchmark: str, model: str, layer: str) -> dict[str, np.ndarray]:
    """Return the coordinates of a model's layer and the trials of a benchmark (objects only where it has them)."""
    from benchmark_core.pipeline import Numerics, Pipeline
    from benchmark_core.registry import Registry
    from benchmark_core.store import Store

    registry = Registry.default()
    spec, resolved = registry.benchmark(benchmark), registry.model(model)
    stimuli, target = spec.stimuli(), spec.target()
    version = registry.version(resolved.spec)
    found = Pipeline(Store.default(), Numerics()).representations(resolved, version, stimuli, [layer])
    objects = stimuli.metadata.get("object_name", ("",) * len(stimuli))
    return {
        "ids": np.array(target.stimulus_ids),
        "features": found[layer][0].coordinates(),
        "trials": target.values if target.has_trials else target.values[:, None, :],
        "objects": np.array(objects),
        "animals": np.array(target.subjects),
    }


def ours(data: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what the presets give, and the CPU seconds they took (kernels included)."""
    from benchmark_core.assembly import Responses
    from benchmark_core.representation import Representation
    from benchmark_core.splits import KFold
    from plugins.metrics._encoding import compute

    ids = [str(i) for i in data["ids"]]
    names = tuple(f"n{j:04d}" for j in range(data["trials"].shape[2]))
    target = Responses(tuple(ids), data["trials"], names, tuple(map(str, data["animals"])), "V4")
    metadata = {"object_name": dict(zip(ids, map(str, data["objects"]), strict=True))} if all(data["objects"]) else None
    found: dict[str, Any] = {}
    for kind, preset in ((RIDGE, "brainscore-ridge"), (PLS, "brainscore-pls")):
        started = time.process_time()
        layer = Representation.from_features(data["features"], ids)
        score = compute([{"features": layer}], target, KFold(5).assign(ids), preset=preset, metadata=metadata)
        found[f"{kind}: seconds"] = time.process_time() - started
        found[f"{kind}: r"] = score.arrays["r"]
        found[f"{kind}: tested"] = np.array([[target.stimulus_ids[i] for i in row] for row in score.arrays["tested"]])
        found[f"{kind}: score"] = score.value
        found["ceilings"] = score.details["ceiling_by_split"]
    return found


def theirs(data: dict[str, np.ndarray], kinds: list[str]) -> dict[str, Any]:
    """Return what Brain-Score gives; runs in its environment."""
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision import load_ceiling, load_metric
    from brainscore_vision.benchmark_helpers.neural_common import average_repetition, explained_variance
    from brainscore_vision.metrics.regression_correlation.metric import (
        CrossRegressedCorrelation,
        pearsonr_correlation,
        pls_regression,
    )

    n, n_repetitions, m = data["trials"].shape
    has_objects = all(data["objects"])
    stimulus, label = np.nonzero(np.isfinite(data["trials"]).any(axis=2))
    shuffled = np.random.Generator(np.random.Philox(5)).permutation(len(stimulus))
    stimulus, label = stimulus[shuffled], label[shuffled]
    neuroids = {
        "neuroid_id": ("neuroid", [f"n{j:04d}" for j in range(m)]),
        "animal": ("neuroid", list(map(str, data["animals"]))),
    }

    def presentations(rows: np.ndarray) -> dict[str, Any]:
        # The order of coordinates in the published assembly: the id comes first.
        named = {"stimulus_id": ("presentation", [str(i) for i in data["ids"][rows]])}
        objects = [str(o) for o in data["objects"][rows]] if has_objects else ["none"] * len(rows)
        return named | {"object_name": ("presentation", objects)}

    repeated = NeuroidAssembly(
        data["trials"][stimulus, label],
        coords=presentations(stimulus) | {"repetition": ("presentation", label)} | neuroids,
        dims=["presentation", "neuroid"],
    )
    averaged = average_repetition(repeated)
    order = [str(i) for i in averaged["stimulus_id"].values]
    p = data["features"].shape[1]
    source = NeuroidAssembly(
        data["features"],
        coords=presentations(np.arange(n))
        | {"neuroid_id": ("neuroid", np.arange(p)), "layer": ("neuroid", ["features"] * p)},
        dims=["presentation", "neuroid"],
    )
    options = {"crossvalidation_kwargs": {"stratification_coord": "object_name" if has_objects else None}}
    makers = {
        RIDGE: lambda: load_metric("ridge", **options),
        PLS: lambda: load_metric("pls", **options),
        PLS_TIGHT: lambda: CrossRegressedCorrelation(pls_regression(TIGHT), pearsonr_correlation(), **options),
    }
    found: dict[str, Any] = {"sorted": order == sorted(order)}
    ceiling = load_ceiling("internal_consistency")(repeated) if n_repetitions > 1 else None
    if ceiling is not None:
        found["ceilings"] = ceiling.raw.median("neuroid").values
    for kind in kinds:
        metric = makers[kind]()
        cuts = metric.cross_validation._split.build_splits(averaged)[1]
        found[f"{kind}: tested"] = np.array([sorted(order[i] for i in test) for _, test in cuts])
        started = time.process_time()
        raw = metric(source, averaged)
        found[f"{kind}: seconds"] = time.process_time() - started
        found[f"{kind}: r"] = raw.raw.transpose("split", "neuroid").sortby("neuroid_id").values
        found[f"{kind}: score"] = float(explained_variance(raw, ceiling)) if ceiling is not None else float(raw) ** 2
    return found


def compare(data: dict[str, np.ndarray], mine: dict[str, Any], other: dict[str, Any], kinds: list[str]) -> bool:
    """Print how far the two are apart; return whether they agree."""
    n, p = data["features"].shape
    print(f"{n} stimuli x {p} features x {data['trials'].shape[2]} neuroids")
    print(f"their averages in the order of the ids: {bool(other['sorted'])}")
    fine = bool(other["sorted"])
    if "ceilings" in other:
        print(f"ceiling, largest difference over half-splits: {np.abs(other['ceilings'] - mine['ceilings']).max():.1e}")
    for kind in kinds:
        own = PLS if kind == PLS_TIGHT else kind
        same = bool((mine[f"{own}: tested"] == other[f"{kind}: tested"]).all())
        apart = float(np.nanmax(np.abs(mine[f"{own}: r"] - other[f"{kind}: r"])))
        scores = mine[f"{own}: score"], float(other[f"{kind}: score"])
        seconds = mine[f"{own}: seconds"], float(other[f"{kind}: seconds"])
        print(
            f"{kind}: same splits {same}; r of a neuroid in a split differs by {apart:.1e} at most; "
            f"score {scores[0]:.8f}, theirs {scores[1]:.8f} (difference {abs(scores[0] - scores[1]):.1e}); "
            f"CPU seconds {seconds[0]:.2f}, theirs {seconds[1]:.1f} ({seconds[1] / seconds[0]:.0f} times)"
        )
        fine &= same and abs(scores[0] - scores[1]) <= LARGEST[kind]
    return fine


def main() -> int:
    """Run the comparison; the exit status says whether the two agree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", help="interpreter of the environment that holds brainscore-vision")
    parser.add_argument("--stimuli", type=int, default=640)
    parser.add_argument("--features", type=int, default=9408)
    parser.add_argument("--neuroids", type=int, default=50)
    parser.add_argument("--benchmark", help="compare on a benchmark's data instead of simulated ones")
    parser.add_argument("--model", default="pixels")
    parser.add_argument("--layer", default="output")
    parser.add_argument("--tight", action="store_true", help="their PLS also iterated to convergence")
    parser.add_argument(
        "--coordinates", action="store_true", help="give both coordinates instead of features (quicker)"
    )
    parser.add_argument("--theirs", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    kinds = [RIDGE, PLS] + [PLS_TIGHT] * given.tight
    if given.theirs:
        with np.load(given.theirs[0]) as arrays:
            np.savez(given.theirs[1], **theirs(dict(arrays), kinds))
        return 0
    if not given.python:
        parser.error("name the interpreter of Brain-Score's environment: --python BRAINSCORE_ENV/bin/python")
    if given.benchmark:
        data = real(given.benchmark, given.model, given.layer)
    else:
        data = synthetic(given.stimuli, given.features, given.neuroids)
    if given.coordinates:
        from benchmark_core.representation import Representation

        layer = Representation.from_features(data["features"], [str(i) for i in data["ids"]])
        data["features"] = layer.coordinates()[np.argsort(np.argsort(data["ids"]))]
    with tempfile.TemporaryDirectory() as folder:
        passed, answer = Path(folder) / "data.npz", Path(folder) / "theirs.npz"
        np.savez(passed, **data)
        command = [given.python, __file__, "--theirs", str(passed), str(answer)] + ["--tight"] * given.tight
        # Brain-Score installs requirements of its plugins otherwise, with whatever pip comes first on the path.
        subprocess.run(command, check=True, env={**os.environ, "BS_INSTALL_DEPENDENCIES": "no", "TQDM_DISABLE": "1"})
        with np.load(answer) as arrays:
            return 0 if compare(data, ours(data), dict(arrays), kinds) else 1


if __name__ == "__main__":
    sys.exit(main())
