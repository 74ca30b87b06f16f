"""Tables of curves: score against number of features, against number of principal components, and over layers."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark_core.figure_records import (
    Point,
    Record,
    groups,
    options_of,
    points,
    take_apart,
    widest_trunk,
    with_width,
)
from benchmark_core.figure_tables import (
    Context,
    FigureTable,
    about,
    draws,
    intervals,
    published_row,
    reference_lines,
    reference_words,
    row_of,
)

ABLATIONS = ("expansion5l-256", "expansion5l-lrp", "expansion5l-norelu", "expansion5l-nospatial")
"""Variants that the figure of ablations shows, and not that of numbers of features."""
OTHER_MEASURES = ("preset",)
"""Parameters of encoding that make its score another quantity."""
COLUMNS = ("kind", "series", "model", "value", "low", "high", "n_draws", "draw_sd", "layer")


def features(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield score against number of features, for each benchmark and set of the metric's parameters.

    A family is a curve if it is recorded at two widths at least, and there is a figure if there is a curve. Trained models are
    lines across, other single models points. Published scores stand beside ours.
    """
    for (benchmark, options), found in groups(records, "encoding").items():
        parameters = options_of(found[0])[1]
        if {"components", "choose_components"} & parameters.keys():
            continue
        families: dict[str, list[Point]] = {}
        single, narrow = widest_trunk(points(found, context.quantity.of), context.width_of)
        for model, point in single:
            if model.name not in ABLATIONS and not (model.width is not None and model.options):
                families.setdefault(model.series, []).append(point)
        if not any(len({p.n_features for p in family}) > 1 for family in families.values()):
            continue
        rows: list[dict[str, Any]] = []
        shown: list[Point] = []
        for series, family in sorted(families.items()):
            for point in sorted(family, key=lambda p: (p.n_features or 0, p.model)):
                kind = "trained" if point.trained else "curve" if len(family) > 1 else "point"
                rows.append(row_of(point, kind, series, n_features=point.n_features))
                shown.append(point)
        rows += _published_rows(context, found, shown)
        rows += reference_lines(found, context.quantity)
        trained = any(p.trained for p in shown)
        yield FigureTable(
            "features",
            benchmark,
            "Encoding against number of features",
            (*COLUMNS[:3], "n_features", *COLUMNS[3:]),
            tuple(rows),
            (
                about(_records(shown)),
                intervals("encoding", parameters),
                *(["Horizontal lines: trained models, with intervals."] if trained else []),
                *draws(shown),
                *narrow,
                *reference_words(rows, context.quantity),
            ),
            {"x": "Number of features", "y": context.quantity.label},
            options,
            context.quantity.name,
            frozenset(p.model for p in shown),
        )


def _records(shown: Sequence[Point]) -> list[Record]:
    return [record for point in shown for record in point.records]


def _published_rows(context: Context, found: Sequence[Record], shown: Sequence[Point]) -> list[dict[str, Any]]:
    """Return published scores of the models shown as rows."""
    rows: list[dict[str, Any]] = []
    for point in shown:
        other = context.published_for(point.model, found[0]["benchmark"], options_of(found[0])[1])
        if other is not None:
            series = take_apart(point.model, context.width_of).series
            rows.append(published_row(other, series, point.model, n_features=other.n_features or point.n_features))
    return rows


def components(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield score against number of principal components; the features themselves are the last point of each curve."""
    leave_out = ("components",)
    for (benchmark, options), found in groups(records, "encoding", leave_out).items():
        parameters = options_of(found[0], leave_out)[1]
        if "choose_components" in parameters:
            continue
        by_number: dict[int | None, list[Record]] = {}
        for record in found:
            named = options_of(record)[1].get("components")
            by_number.setdefault(None if named is None else int(named), []).append(record)
        numbers = sorted(n for n in by_number if n is not None)
        if len(numbers) < 2:
            continue
        curves: dict[str, list[tuple[int | None, Point]]] = {}
        for number in [*numbers, *([None] if None in by_number else [])]:
            for point in points(by_number[number], context.quantity.of):
                curves.setdefault(point.model, []).append((number, point))
        # A model of which only the features themselves were scored has no curve.
        order = {m: (take_apart(m, context.width_of).series, c[0][1].n_features or 0, m) for m, c in curves.items()}
        curves = {m: curves[m] for m in sorted(curves, key=order.__getitem__) if curves[m][0][0] is not None}
        shown = [p for curve in curves.values() for _, p in curve]
        rows: list[dict[str, Any]] = []
        for model, curve in curves.items():
            series = with_width(model, context.width_of)
            for number, point in curve:
                text = "all" if number is None else number
                rows.append(
                    row_of(point, "curve", series, n_components=text, n_features=point.n_features, used=_used(point))
                )
                other = context.published_for(point.model, benchmark, options_of(point.records[0])[1])
                if other is not None:
                    rows.append(published_row(other, series, model, n_components=text))
        rows += reference_lines(found, context.quantity)
        data = about(_records(shown)).replace(
            shown[0].records[0]["metric"], "encoding" + (f":{options}" if options else "")
        )
        yield FigureTable(
            "components",
            benchmark,
            "Encoding against number of principal components",
            (*COLUMNS[:3], "n_components", "used", "n_features", *COLUMNS[3:]),
            tuple(rows),
            (
                data,
                "Components of the training stimuli; all: the features themselves.",
                intervals("encoding", parameters),
                *draws(shown),
                *reference_words(rows, context.quantity),
            ),
            {"x": "Number of principal components", "y": context.quantity.label},
            options,
            context.quantity.name,
            frozenset(curves),
        )


def _used(point: Point) -> int | None:
    """Return how many components were there to be used, the fewest over subjects and folds."""
    used = point.records[0].get("details", {}).get("components_used") or {}
    numbers = [n for folds in used.values() for n in (folds if isinstance(folds, list) else [folds])]
    return min((n for n in numbers if isinstance(n, int)), default=None)


def layers(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield the criterion by which layers are chosen, cross-validated on training stimuli, over the layers of each model."""
    for (benchmark, options), found in groups(records, "encoding").items():
        parameters = options_of(found[0])[1]
        if set(OTHER_MEASURES) & parameters.keys() or {"components", "choose_components"} & parameters.keys():
            continue
        rows: list[dict[str, Any]] = []
        shown: list[Record] = []
        for point in points(found, lambda r: (r["score"], None, None)):
            record = point.records[0]
            curve = layer_curve(record)
            if len(curve) > 1:
                shown.append(record)
                trained = "trained" if point.trained else "untrained"
                rows += [{"kind": trained, "model": point.model, **entry} for entry in curve]
        if not shown:
            continue
        yield FigureTable(
            "layers",
            benchmark,
            "Layers of the models, on training stimuli",
            ("kind", "model", "position", "layer", "value", "low", "high", "n_folds", "chosen_in"),
            tuple(rows),
            (
                about(shown),
                "Cross-validated r of each layer on the training stimuli (leave-one-out, best penalty), mean over neuroids and"
                " folds. Bars: lowest and highest of the folds, no confidence interval. Filled: chosen by at least one fold."
                " Of several draws the first is shown.",
            ),
            {"x": "Layer", "y": "Cross-validated r (Pearson r)"},
            options,
            "",
            frozenset(str(row["model"]) for row in rows),
        )


def layer_curve(record: Record) -> list[dict[str, Any]]:
    """Return a row for each layer, from input to output: mean, lowest and highest criterion, and who chose it.

    Values are averaged over subjects within each fold first, so that the spread is that of folds.
    """
    by_subject: Mapping[str, list[Mapping[str, float]]] = record.get("details", {}).get("criteria") or {}
    folds = max((len(f) for f in by_subject.values()), default=0)
    values: dict[str, list[float]] = {}
    for fold in range(folds):
        here: dict[str, list[float]] = {}
        for criteria in by_subject.values():
            for layer, value in criteria[fold].items() if fold < len(criteria) else ():
                if isinstance(value, (int, float)):
                    here.setdefault(layer, []).append(value)
        for layer, several in here.items():
            values.setdefault(layer, []).append(statistics.fmean(several))
    chosen: list[str] = [name for names in (record.get("details", {}).get("layers") or {}).values() for name in names]
    return [
        {
            "position": position,
            "layer": layer,
            "value": statistics.fmean(values[layer]),
            "low": min(values[layer]),
            "high": max(values[layer]),
            "n_folds": len(values[layer]),
            "chosen_in": chosen.count(layer),
        }
        for position, layer in enumerate(in_order(values, record), start=1)
    ]


def in_order(names: Mapping[str, Any], record: Record) -> list[str]:
    """Return layers from input to output, as they were extracted together; else with numbers in their names counted."""
    for representation in record.get("provenance", {}).get("representations", []):
        for origin in representation.get("layers", {}).values():
            together = origin.get("extracted_layers") or []
            if set(names) <= set(together):
                return [layer for layer in together if layer in names]
    return sorted(names, key=lambda n: [(int(p), "") if p.isdigit() else (0, p) for p in re.split(r"(\d+)", n)])
