"""Keys: what a stored result depends on, and nothing else (DESIGN rule 3).

Every key is the SHA-256 of a canonical JSON document. Device, batch size and library versions are
provenance and never enter a key. Default parameter values are left out, so adding a parameter to a model
keeps its keys; changing a default (or any behaviour) therefore means raising the plugin's version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def digest(document: Any) -> str:
    """Return the SHA-256 (hex) of a JSON-serialisable document, independent of the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def representation_key(
    *,
    model: str,
    version: str,
    parameters: Mapping[str, Any],
    weights: str,
    preprocessing: Mapping[str, Any],
    stimuli: str,
    layers: Sequence[str],
    policy: str,
) -> str:
    """Key of a model's representation of a stimulus set.

    Parameters
    ----------
    model, version
        Name and version of the plugin (a drop-in file's version contains its source hash).
    parameters
        Those that differ from their defaults.
    weights
        A recipe (untrained models) or the SHA-256 of the weights file.
    preprocessing
        The preprocessing as plain data.
    stimuli
        Manifest hash of the stimulus set.
    layers
        One layer for a kernel; all the layers extracted together for a spool.
    policy
        Numeric policy, ``exact`` or ``fast``.
    """
    return digest(
        {
            "kind": "representation",
            "model": model,
            "version": version,
            "parameters": dict(parameters),
            "weights": weights,
            "preprocessing": dict(preprocessing),
            "stimuli": stimuli,
            "layers": list(layers),
            "policy": policy,
        }
    )


def score_key(
    *,
    representations: Sequence[Sequence[str]],
    target: str,
    splits: str,
    groups: str | None,
    benchmark: str,
    benchmark_version: str,
    metric: str,
    metric_version: str,
    parameters: Mapping[str, Any],
    layer: str,
    metadata: str | None = None,
) -> str:
    """Key of a score: the representation keys of every model's layers, the target, splits, groups and the metric.

    Metadata of the stimuli enters where the metric asks for some.
    """
    return digest(
        {
            "kind": "score",
            "representations": [list(keys) for keys in representations],
            "target": target,
            "splits": splits,
            "groups": groups,
            "benchmark": benchmark,
            "benchmark_version": benchmark_version,
            "metric": metric,
            "metric_version": metric_version,
            "parameters": dict(parameters),
            "layer": layer,
            **({} if metadata is None else {"metadata": metadata}),
        }
    )
