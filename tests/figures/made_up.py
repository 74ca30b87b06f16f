"""Score records with numbers that can be checked by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

NEUROIDS = ("n1", "n2", "n3")
R = (0.2, 0.6, 0.4)
RELIABILITY = (0.81, 0.64, -0.1)


def record(
    models: str | Sequence[str],
    score: float | None,
    *,
    benchmark: str = "cowley2023.V4",
    metric: str = "encoding",
    half: float = 0.02,
    trained: bool = False,
    n_features: int | list[int] | None = 100,
    layer: str = "output",
    requested_layer: str = "auto",
    details: dict[str, Any] | None = None,
    subjects: dict[str, Any] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return a record as ``bench run`` writes it, as far as figures read it."""
    names = [models] if isinstance(models, str) else list(models)
    made = {
        "format": 1,
        "models": names,
        "model_versions": ["1"] * len(names),
        "trained": [trained] * len(names),
        "benchmark": benchmark,
        "benchmark_version": 1,
        "metric": metric,
        "metric_version": "1",
        "precision": "exact",
        "requested_layer": requested_layer,
        "layer": layer,
        "status": "ok",
        "error": None,
        "score": score,
        "ci_low": None if score is None else score - half,
        "ci_high": None if score is None else score + half,
        "ceiling": 0.45,
        "r_neuroid": 0.4,
        "r_pattern": None if score is None else 0.8 + score / 10,
        "n_features": n_features,
        "n_stimuli": 120,
        "n_neuroids": 3,
        "simulated": False,
        "warnings": [],
        "seconds": 1.0,
        "details": {"r_pattern_ceiling": 0.95, "r_pattern_intercept": 0.8, "r_pattern_ci": [0.81, 0.89]}
        | {"r_neuroid_ci": [0.35, 0.45]}
        | (details or {}),
        "subjects": subjects
        if subjects is not None
        else {"S": {"r": list(R), "reliability": list(RELIABILITY), "neuroid_ids": list(NEUROIDS)}},
        "provenance": {},
    } | others
    known = {k: made[k] for k in ("models", "benchmark", "metric", "requested_layer", "precision", "benchmark_version")}
    made.setdefault("key", hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest())
    return made


def with_layers(model: str, values: dict[str, Sequence[float]], chosen: Sequence[str], **others: Any) -> dict[str, Any]:
    """Return a record of a model with several layers: the criterion of each in every fold, and who was chosen."""
    folds = [dict(zip(values, fold, strict=True)) for fold in zip(*values.values(), strict=True)]
    made = record(
        model, 0.5, layer=chosen[0], details={"criteria": {"S": folds}, "layers": {"S": list(chosen)}}, **others
    )
    together = {"layers": {name: {"extracted_layers": list(values)} for name in values}}
    return made | {"provenance": {"representations": [together]}}


def every_kind() -> list[dict[str, Any]]:
    """Return records from which every figure can be drawn, with many models and long names."""
    made = []
    for width, score in ((3, 0.1), (30, 0.2), (300, 0.3), (3000, 0.35), (30000, 0.36)):
        given = "" if width == 3000 else f":filters={width}"
        size = {"n_features": 36 * width, "layer": "layer5"}
        made += [record(f"expansion5l{given}", score, **size)]
        made += [record(f"expansion5l-256{given}", score - 0.01, **size)]
        made += [record(f"expansion5l-linear{given}", score / 3, **size)]
        made += [record(f"expansion5l{given}", score / 2, benchmark="cowley2023.V4-shuffled", **size)]
        for number, share in ((1, 0.1), (10, 0.5), (100, 0.9)):
            made.append(record(f"expansion5l{given}", score * share, metric=f"encoding:components={number}", **size))
        made.append(record(f"expansion5l{given}", score, benchmark="scenes15.test", metric="classification", **size))
        made.append(record(f"expansion5l{given}", score, metric="rsa", details={"compare": "spearman"}, **size))
        spectrum = {"components_to_share": 8 + width, "effective_dimensionality": 3.0 + width, "n_features": 36 * width}
        made.append(
            record(f"expansion5l{given}", 4.0, metric="spectrum", details={"layers": {"layer5": spectrum}}, **size)
        )
    for name, score in (("expansion5l-norelu", 0.31), ("expansion5l-nospatial", 0.22), ("expansion5l-lrp", 0.2)):
        made.append(record(f"{name}:filters=300", score, n_features=10800, layer="layer5"))
    for init in ("kaiming_normal", "xavier_uniform", "xavier_normal", "orthogonal"):
        made.append(record(f"expansion5l:filters=300,init={init}", 0.29, n_features=10800, layer="layer5"))
    for name in ("gelu", "elu", "abs", "leaky_relu"):
        made.append(record(f"expansion5l:filters=300,nonlinearity={name}", 0.28, n_features=10800, layer="layer5"))
    for width in (108, 1080, 10800, 108000):
        given = "" if width == 10800 else f":features={width}"
        made.append(record(f"fully-connected{given}", 0.1, n_features=width, layer="layer5"))
    for width in (12, 60, 600, 6000):
        given = "" if width == 60 else f":D={width}"
        made.append(record(f"vit-custom{given}", 0.15, n_features=196 * width, layer="dense"))
    deep = {f"blocks.{i}": [0.1 + i / 50, 0.12 + i / 50] for i in range(12)}
    for i, name in enumerate(("efficientnet-lite0", "alexnet-trained", "vit-trained", "resnet50-barlowtwins")):
        # Nearly equal, so that their names would lie on one another.
        made.append(with_layers(name, deep, ["blocks.11", "blocks.10"], trained=True) | {"score": 0.45 + i / 1000})
    made += [with_layers(name, deep, ["blocks.3"] * 2) for name in ("alexnet-untrained", "vit-untrained")]
    made.append(record("pixels", 0.05, n_features=3136))
    made.append(record("pixels", 0.2, benchmark="scenes15.test", metric="classification", details={"chance": 0.07}))
    part = {"value": 0.2, "ci_low": 0.15, "ci_high": 0.25}
    two = {
        "explained": dict.fromkeys(("A", "B", "AB"), part),
        "parts": dict.fromkeys(("unique_A", "unique_B", "shared"), part),
    }
    made.append(
        record(
            ["efficientnet-lite0", "expansion5l:filters=300"],
            0.5,
            metric="variance-partitioning",
            details=two,
            n_features=[9408, 10800],
            layer="blocks.5 + layer5",
        )
    )
    anova = {
        "S": {"neuroids": {"anova": [0.2, 0.5, 0.55], "split-half": [0.2, 0.5, 0.5]}, "neuroid_ids": list(NEUROIDS)}
    }
    made.append(record([], 0.4, metric="noise-ceiling", subjects=anova, layer=""))
    return made
