"""Score records that show everything a page can show, and many of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark_core.records import pack_resamples

HOSTILE = '</script><img src=x onerror="window.spoilt=1"><b>\'&amp;\u2028{{data}}'
LAYERS = ["stem", "blocks.9", "blocks.10", "head"]


def record(model: str = "net", score: float | None = 0.5, **changes: Any) -> dict[str, Any]:
    """Return a record of one model as the runner writes it; ``changes`` go on top."""
    base: dict[str, Any] = {
        "format": 1,
        "key": "0" * 64,
        "models": [model],
        "model": model,
        "model_versions": ["1"],
        "trained": [False],
        "benchmark": "toy.V4",
        "benchmark_version": 1,
        "simulated": False,
        "metric": "encoding",
        "metric_version": "1",
        "layer": "head",
        "requested_layer": "auto",
        "precision": "exact",
        "status": "ok",
        "score": score,
        "ci_low": None if score is None else score - 0.03,
        "ci_high": None if score is None else score + 0.03,
        "ceiling": 0.8,
        "r_neuroid": None if score is None else score * 0.9,
        "r_pattern": 0.85,
        "n_features": 1200,
        "n_stimuli": 200,
        "n_neuroids": 3,
        "n_neuroids_valid": 3,
        "subjects": {},
        "details": {},
        "warnings": [],
        "error": None,
        "seconds": 3.0,
        "provenance": {"finished": "2026-01-01T10:20:30+00:00", "versions": {"numpy": "2.0"}, "git": None},
    }
    return base | changes


def keyed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give records keys that depend on their place only."""
    return [r | {"key": f"{i:064x}"} for i, r in enumerate(records)]


def rich() -> list[dict[str, Any]]:
    """Return records of several benchmarks, metrics and families, with layers, neuroids, draws, and a hostile name."""
    random = np.random.Generator(np.random.Philox(5))
    noise = random.standard_normal(200) * 0.01
    folds = [{name: 0.1 * (i + 1) + 0.01 * k for i, name in enumerate(LAYERS)} for k in range(3)]
    shown = {
        "criteria": folds,
        "layers": ["head", "head", "blocks.10"],
        "r": [0.31, -0.12, None],
        "reliability": [0.9, 0.5, 0.7],
        "score": 0.6,
    }
    representation = {
        "layers": {name: {"extracted_layers": LAYERS} for name in sorted(LAYERS)},
        "model": "deep-trained",
    }
    representation |= {
        "parameters": {"width": 3},
        "version": "1",
        "weights": "recipe",
        "preprocessing": {"size": [8, 8]},
    }
    records = [
        record(
            "deep-trained:width=3",
            0.6,
            trained=[True],
            resamples=pack_resamples(random.standard_normal(200) * 0.01, "a"),
            subjects={"one": shown, "two": {"score": 0.5, "r_neuroid": 0.4}},
            details={"conventions": {"R2_mean": 0.2}, "chance": None, "score_median": 0.55},
            provenance={"representations": [representation], "versions": {"numpy": "2.0"}},
            warnings=["folds 1, 2: penalty 1e+09 chosen lies at the edge of the grid"],
        ),
        record("deep-untrained", 0.2, resamples=pack_resamples(noise, "a")),
        record("deep-untrained:seed=1", 0.24, resamples=pack_resamples(noise, "a")),
        record("plain", 0.1, n_features=40, resamples=pack_resamples(noise, "a")),
        record("plain-wide", 0.05, n_features=4_000_000),
        record("plain", None, metric="encoding:components=10", status="failed", error="no memory"),
        record("plain", 7.5, metric="spectrum", ceiling=None, r_neuroid=None, ci_low=None, ci_high=None),
        record("deep-trained:width=3", 0.3, benchmark="faces.IT", metric="rsa", trained=[True], ceiling=0.4)
        | {"details": {"ceiling_lower": 0.4, "ceiling_upper": 0.6}, "r_neuroid": None, "r_pattern": None},
        record("plain", 0.02, benchmark="faces.IT", metric="rsa", ceiling=0.4, r_neuroid=None)
        | {"details": {"ceiling_lower": 0.4, "ceiling_upper": 0.6}},
        record(HOSTILE, 0.15, layer=HOSTILE, warnings=[HOSTILE]),
        record("", 0.8, metric="noise-ceiling", r_neuroid=None) | {"models": [], "trained": [], "layer": ""},
    ]
    return keyed(records)


def many(n: int = 2000) -> list[dict[str, Any]]:
    """Return records of so many models on two benchmarks, without resamples."""
    random = np.random.Generator(np.random.Philox(9))
    scores = random.uniform(-0.05, 0.95, n)
    return keyed(
        [
            record(f"family{i % 12}:width={i}", float(scores[i]), benchmark=("toy.V4", "toy.IT")[i % 2])
            | {"layer": f"blocks.{i % 24}", "trained": [i % 3 == 0], "n_features": 100 + 7 * i}
            for i in range(n)
        ]
    )
