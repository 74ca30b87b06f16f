"""Tables of variance partitioning, dimensionality, and reliability."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark_core.figure_records import Point, Record, encoded, groups, options_of, points, take_apart
from benchmark_core.figure_tables import Context, FigureTable, about, draws, intervals


def variance(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield unique and shared parts of two or three models, with intervals; one panel for each set of models."""
    for (benchmark, options), found in groups(records, "variance-partitioning").items():
        rows: list[dict[str, Any]] = []
        shown = sorted(found, key=lambda r: (len(r["models"]), r["models"], r["key"]))
        for record in shown:
            details = record.get("details", {})
            names = ", ".join(f"{letter}: {m}" for letter, m in zip("ABC", record["models"], strict=False))
            panel = " + ".join(record["models"])
            for kind in ("explained", "parts"):
                for part, entry in _in_order(details.get(kind) or {}, kind).items():
                    rows.append(
                        {
                            "kind": kind,
                            "panel": panel,
                            "part": part,
                            "label": part_text(part),
                            "models": names,
                            "value": entry.get("value"),
                            "low": entry.get("ci_low"),
                            "high": entry.get("ci_high"),
                            "layer": record["layer"],
                        }
                    )
        rows = [row for row in rows if row["value"] is not None]
        if not rows:
            continue
        ceiled = shown[0].get("ceiling") is not None
        share = "share of explainable variance" if ceiled else "share of variance"
        yield FigureTable(
            "variance-partitioning",
            benchmark,
            "Variance partitioning",
            ("kind", "models", "part", "value", "low", "high", "layer"),
            tuple(rows),
            (
                about(shown),
                "Light: explained by models and sets of models. Dark: what only some of them explain, which adds up to what all"
                " explain together; parts can be negative.",
                intervals("variance-partitioning", options_of(shown[0])[1]),
                "1 would be all variance that is reliable."
                if ceiled
                else "Not divided by a ceiling: responses have no repetitions.",
            ),
            {"x": f"Variance explained ({share})"},
            options,
            "",
            frozenset(" + ".join(r["models"]) for r in shown),
        )


def part_text(part: str) -> str:
    """Return a part in words; letters stand for models.

    Examples
    --------
    >>> part_text("unique_A"), part_text("shared"), part_text("shared_ABC"), part_text("AB")
    ('only A', 'shared', 'shared A, B, C', 'A + B')
    """
    kind, _, letters = part.partition("_")
    if kind == "unique":
        return f"only {letters}"
    if kind == "shared":
        return f"shared {', '.join(letters)}".strip()
    return " + ".join(kind)


def _in_order(parts: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return parts: unique ones first, then shared ones by how many models share them; explained by number of models."""
    return {
        name: parts[name]
        for name in sorted(parts, key=lambda n: (kind == "parts" and not n.startswith("unique"), len(n), n))
    }


def dimensionality(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield encoding against the number of components a layer needs, and against its effective dimensionality.

    The layer is the one that the encoding score rests on; models without a spectrum of it are left out.
    """
    spectra = groups(records, "spectrum")
    for (benchmark, options), found in spectra.items():
        encoding = encoded(records, benchmark)
        scored = {p.model: p for p in points(encoding, context.quantity.of)}
        rows: list[dict[str, Any]] = []
        shown: list[Point] = []
        left_out: list[str] = []
        for point in points(found, lambda r: (r["score"], None, None)):
            score = scored.get(point.model)
            if score is None:
                continue
            details = point.records[0].get("details", {})
            described = (details.get("layers") or {}).get(score.layer)
            if described is None:
                left_out.append(point.model)
                continue
            shown.append(score)
            rows.append(
                {
                    "kind": "trained" if score.trained else "untrained",
                    "series": take_apart(point.model, context.width_of).series,
                    "model": point.model,
                    "layer": score.layer,
                    "components": described.get("components_to_share"),
                    "effective_dimensionality": described.get("effective_dimensionality"),
                    "value": score.value,
                    "low": score.low,
                    "high": score.high,
                    "n_features": described.get("n_features"),
                }
            )
        if len(rows) < 2:
            continue
        share = float(options_of(found[0])[1].get("share", 0.85))
        yield FigureTable(
            "dimensionality",
            benchmark,
            "Encoding against dimensionality",
            (
                "kind",
                "series",
                "model",
                "layer",
                "components",
                "effective_dimensionality",
                "n_features",
                "value",
                "low",
                "high",
            ),
            tuple(rows),
            (
                about([r for p in shown for r in p.records]),
                "Dimensionality of the layer that the score rests on, over all stimuli: number of principal components that"
                f" hold {100 * share:g} % of its variance, and participation ratio.",
                intervals("encoding", options_of(encoding[0])[1]),
                *draws(shown),
                *([f"Left out, no spectrum of the layer chosen: {', '.join(left_out)}."] if left_out else []),
            ),
            {
                "components": f"Components to {100 * share:g} % of variance",
                "effective_dimensionality": "Effective dimensionality",
                "y": context.quantity.label,
            },
            options,
            context.quantity.name,
            frozenset(str(row["model"]) for row in rows),
        )


def reliability(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield the reliability of every neuroid: from ``noise-ceiling`` where it is recorded, else from an encoding score."""
    ceilings = groups(records, "noise-ceiling")
    for benchmark in sorted({b for b, _ in [*ceilings, *groups(records, "encoding")]}):
        measured = [r for (b, _), found in ceilings.items() if b == benchmark for r in found]
        candidates = [*measured, *encoded(records, benchmark)]
        record = next((r for r in candidates if _reliabilities(r)), None)
        if record is None:
            continue
        rows = _reliabilities(record)
        values = [row["value"] for row in rows]
        counts = {str(r["subject"]) for r in rows}
        yield FigureTable(
            "reliability",
            benchmark,
            "Reliability of neuroids",
            ("kind", "subject", "neuroid", "value", "split_half"),
            tuple(rows),
            (
                about([record]),
                "Share of the variance of a neuroid's mean responses that is not trial noise, on test stimuli.",
                f"{len(values)} neuroids{f' of {len(counts)} subjects' if len(counts) > 1 else ''};"
                f" mean {statistics.fmean(values):.2f} (dashed), median {statistics.median(values):.2f}.",
            ),
            {"x": "Reliability (share of variance)", "y": "Neuroids (count)"},
        )


def _reliabilities(record: Record) -> list[dict[str, Any]]:
    rows = []
    for subject, entry in sorted((record.get("subjects") or {}).items()):
        single = entry.get("neuroids") or {}
        values = single.get("anova") or entry.get("reliability") or []
        halves = single.get("split-half") or entry.get("reliability_split_half") or [None] * len(values)
        names = entry.get("neuroid_ids") or [str(i) for i in range(len(values))]
        for name, value, half in zip(names, values, halves, strict=False):
            if value is not None:
                rows.append(
                    {"kind": "neuroid", "subject": subject, "neuroid": name, "value": value, "split_half": half}
                )
    return rows
