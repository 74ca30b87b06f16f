"""Predicted against measured responses of one neuroid, from the held-out predictions that the cache keeps."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark_core.errors import BenchError
from benchmark_core.figure_records import Record, encoded, points
from benchmark_core.figure_tables import FigureTable, about

if TYPE_CHECKING:
    from benchmark_core.registry import Registry
    from benchmark_core.store import Store


@dataclass(frozen=True)
class HeldOut:
    """Responses of a neuroid and what a model predicts for them without having seen them.

    Parameters
    ----------
    stimulus_ids
        The test stimuli.
    predicted, measured
        For each of them; measured: the mean over repetitions.
    """

    stimulus_ids: tuple[str, ...]
    predicted: tuple[float, ...]
    measured: tuple[float, ...]


Reader = Callable[[Record, str], HeldOut | str]
"""From a record and a neuroid's id to its held-out predictions, or why they are not at hand."""


def predictions(records: Sequence[Record], read: Reader) -> Iterator[FigureTable]:
    """Yield predicted against measured responses, for the model with the best encoding score of each benchmark.

    The neuroid is the one of median r (the lower of two), so neither the best nor the worst. Where predictions are not at
    hand, the table says why in words.
    """
    for benchmark in sorted({r["benchmark"] for r in records}):
        ranked = points(encoded(records, benchmark), lambda r: (r["score"], None, None))
        if not ranked:
            continue
        best = max(ranked, key=lambda p: (p.value, p.model))
        record = best.records[0]
        neuroid = median_neuroid(record)
        model = record["models"][0]
        if neuroid is None:
            continue
        name, r = neuroid
        found = read(record, name)
        common: dict[str, Any] = {
            "figure": "predictions",
            "benchmark": benchmark,
            "title": "Predicted against measured responses",
            "columns": ("kind", "model", "neuroid", "stimulus_id", "predicted", "measured"),
            "models": frozenset({best.model}),
        }
        if isinstance(found, str):
            yield FigureTable(rows=(), caption=(about([record]),), words=found, **common)
            continue
        rows = [
            {
                "kind": "stimulus",
                "model": model,
                "neuroid": name,
                "stimulus_id": i,
                "predicted": float(p),
                "measured": float(m),
            }
            for i, p, m in zip(found.stimulus_ids, found.predicted, found.measured, strict=True)
        ]
        yield FigureTable(
            rows=tuple(rows),
            caption=(
                about([record]),
                f"Held-out predictions of {model}, the best model here, for neuroid {name}, whose r is the median."
                f" Each point is a stimulus ({len(rows)}); measured: mean over repetitions. Dashed: equality.",
            ),
            labels={
                "x": "Predicted response (units of the data)",
                "y": "Measured response (units of the data)",
                "r": f"r = {r:.2f} (mean over folds)",
            },
            **common,
        )


def median_neuroid(record: Record) -> tuple[str, float] | None:
    """Return id and r of the neuroid of median r (the lower of two), or None where the record has no single neuroids."""
    pairs = [
        (float(r), str(name))
        for subject in (record.get("subjects") or {}).values()
        for name, r in zip(subject.get("neuroid_ids") or [], subject.get("r") or [], strict=False)
        if r is not None
    ]
    if not pairs:
        return None
    r, name = sorted(pairs)[(len(pairs) - 1) // 2]
    return name, r


def reader(registry: Registry, store: Store) -> Reader:
    """Return a function that reads predictions from the cache, and responses from the benchmark's data."""

    def read(record: Record, neuroid: str) -> HeldOut | str:
        import numpy as np

        from benchmark_core.store import read_arrays

        model = record["models"][0].partition(" @ ")[0]
        words = ["bench", "run", "--model", model, "--benchmark", record["benchmark"], "--metric", record["metric"]]
        stored = read_arrays(store.predictions_path(record["key"]))
        if stored is None:
            return (
                f"The held-out predictions of {model} on {record['benchmark']} are not in this cache. To have them, run:"
                f" {shlex.join([*words, '--force'])}"
            )
        arrays = stored[0]
        if "predictions" not in arrays or "stimulus" not in arrays:
            return f"The held-out predictions of {model} on {record['benchmark']} are kept for each subject apart."
        try:
            spec = registry.benchmark(record["benchmark"])
            target = spec.target() if callable(spec.target) else None
        except (BenchError, OSError) as error:
            return f"The responses of {record['benchmark']} are not at hand: {error}"
        if target is None or neuroid not in target.neuroid_ids:
            return f"The responses of {record['benchmark']} have no neuroid {neuroid}."
        column = target.neuroid_ids.index(neuroid)
        rows = arrays["stimulus"]
        predicted, measured = arrays["predictions"][:, column], target.averages()[rows, column]
        known = np.isfinite(predicted) & np.isfinite(measured)
        ids = [target.stimulus_ids[int(i)] for i in rows[known]]
        return HeldOut(tuple(ids), tuple(map(float, predicted[known])), tuple(map(float, measured[known])))

    return read
