"""Tables of bars: variants of the expansion model, local against dispersed connectivity, classification, RSA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark_core.figure_records import (
    Model,
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
    line_of,
    published_row,
    reference_lines,
    reference_words,
    row_of,
)

BASE = "expansion5l"
ABLATED = {
    BASE: "full model",
    "expansion5l-256": "256 filters in layers 2-4",
    "expansion5l-linear": "no nonlinearity",
    "expansion5l-norelu": "no ReLU in layer 5",
    "expansion5l-nospatial": "no spatial structure",
    "expansion5l-random": "random layer 1",
    "expansion5l-lrp": "dense layer 5 (LRP)",
}
DEFAULTS = {"init": "kaiming_uniform", "nonlinearity": "relu"}
SHUFFLED = "-shuffled"
COLUMNS = ("kind", "category", "series", "model", "value", "low", "high", "n_draws", "draw_sd", "layer")


def ablations(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield the expansion model beside its ablations, at every width at which two of them are recorded."""

    def category(model: Model) -> str | None:
        return ABLATED.get(model.name) if not model.options else None

    yield from _variants("ablations", "Ablations of the expansion model", category, records, context)


def init(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield the expansion model with weights drawn from different distributions."""
    yield from _variants("init", "Initialisations of the expansion model", _parameter("init"), records, context)


def nonlinearity(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield the expansion model with different nonlinearities."""
    yield from _variants(
        "nonlinearity", "Nonlinearities of the expansion model", _parameter("nonlinearity"), records, context
    )


def _parameter(name: str) -> Any:
    def category(model: Model) -> str | None:
        options = dict(model.options)
        if name == "nonlinearity" and model.name == "expansion5l-linear" and not options:
            return "none"
        if model.name != BASE or set(options) - {name}:
            return None
        return options.get(name, DEFAULTS[name])

    return category


def _variants(
    figure: str, title: str, category: Any, records: Sequence[Record], context: Context
) -> Iterator[FigureTable]:
    """Yield bars of variants (categories) at several widths (series)."""
    for (benchmark, options), found in groups(records, "encoding").items():
        parameters = options_of(found[0])[1]
        if {"components", "choose_components"} & parameters.keys():
            continue
        cells: dict[int, dict[str, Point]] = {}
        single, narrow = widest_trunk(points(found, context.quantity.of), context.width_of)
        for model, point in single:
            name = category(model)
            if name is not None and model.width is not None and not model.layer:
                cells.setdefault(model.width, {})[name] = point
        cells = {width: here for width, here in sorted(cells.items()) if len(here) > 1}
        if not cells:
            continue
        order = list(ABLATED.values()) if figure == "ablations" else [DEFAULTS[figure]]
        names = sorted({n for here in cells.values() for n in here}, key=lambda n: (_place(order, n), n))
        rows = [
            row_of(cells[width][name], "bar", f"{width}", category=name)
            for name in names
            for width in cells
            if name in cells[width]
        ]
        shown = [point for here in cells.values() for point in here.values()]
        yield _bars(
            figure,
            title,
            benchmark,
            options,
            rows,
            shown,
            found,
            context,
            " ".join(["Colours: filters in layer 5.", *narrow]),
            {"series": "filters in layer 5"},
        )


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _bars(
    figure: str,
    title: str,
    benchmark: str,
    options: str,
    rows: list[dict[str, Any]],
    shown: Sequence[Point],
    found: Sequence[Record],
    context: Context,
    sentence: str,
    labels: Mapping[str, str],
) -> FigureTable:
    """Return bars of encoding scores with their ceiling and, where there are any, published scores."""
    quantity = context.quantity
    for row in list(rows):
        other = context.published_for(row["model"], row.get("on", benchmark), options_of(found[0])[1])
        if other is not None:
            rows.append(published_row(other, row["series"], row["model"], category=row["category"]))
    rows += reference_lines(found, quantity)
    from_floor = any(row["kind"] == "floor" for row in rows)
    return FigureTable(
        figure,
        benchmark,
        title,
        COLUMNS,
        tuple(rows),
        (
            about([r for p in shown for r in p.records]),
            sentence,
            intervals("encoding", options_of(found[0])[1]),
            *draws(shown),
            *(["Bars start at what a model without image information reaches."] if from_floor else []),
            *reference_words(rows, quantity),
        ),
        {"x": quantity.label, **labels},
        options,
        quantity.name,
        frozenset(p.model for p in shown),
    )


def connectivity(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield local against dispersed connectivity.

    Models on a benchmark beside the same models on its variant with shuffled pixels, where filters see pixels from anywhere;
    and the expansion model beside the one with a random first layer, at the same width.
    """
    found = groups(records, "encoding")
    for (benchmark, options), plain in found.items():
        if benchmark.endswith(SHUFFLED) or {"components", "choose_components"} & options_of(plain[0])[1].keys():
            continue
        shuffled = found.get((benchmark + SHUFFLED, options), [])
        intact = {p.model: p for p in points(plain, context.quantity.of)}
        moved = {p.model: p for p in points(shuffled, context.quantity.of)}
        apart = {name: take_apart(name, context.width_of) for name in intact}
        widths = {
            name: {m.width for m in apart.values() if m.name == name and not m.options and m.width is not None}
            for name in (BASE, "expansion5l-random")
        }
        both = widths[BASE] & widths["expansion5l-random"]
        names = [
            name
            for name, model in apart.items()
            if name in moved
            or (model.name in (BASE, "expansion5l-random") and not model.options and model.width in both)
        ]
        if not names:
            continue
        names.sort(key=lambda n: (apart[n].series, apart[n].width or 0, n))
        rows: list[dict[str, Any]] = []
        for name in names:
            rows.append(
                {**row_of(intact[name], "bar", "intact", category=with_width(name, context.width_of)), "on": benchmark}
            )
            if name in moved:
                rows.append(
                    {
                        **row_of(moved[name], "bar", "pixels shuffled", category=with_width(name, context.width_of)),
                        "on": benchmark + SHUFFLED,
                    }
                )
        shown = [intact[n] for n in names]
        sentence = (
            "Pixels shuffled: one fixed permutation of positions for all images."
            if moved
            else f"Shuffled pixels ({benchmark}{SHUFFLED}) are not recorded."
        )
        if both:
            sentence += " expansion5l-random: random first layer in place of the fixed filters."
        yield _bars(
            "connectivity",
            "Local against dispersed connectivity",
            benchmark,
            options,
            rows,
            shown,
            plain,
            context,
            sentence,
            {"series": "pixels"},
        )


def networks(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield encoding by models that have no width to vary: trained and untrained networks, best first."""
    for (benchmark, options), found in groups(records, "encoding").items():
        if {"components", "choose_components"} & options_of(found[0])[1].keys():
            continue
        ranked = sorted(points(found, context.quantity.of), key=lambda p: (-p.value, p.model))
        shown = [p for p in ranked if take_apart(p.model, context.width_of).width is None]
        if len(shown) < 2:
            continue
        rows = [row_of(p, "bar", "trained" if p.trained else "untrained", category=p.model) for p in shown]
        yield _bars(
            "networks",
            "Encoding by trained and untrained networks",
            benchmark,
            options,
            rows,
            shown,
            found,
            context,
            "Layers are chosen on training stimuli.",
            {"series": ""},
        )


def classification(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield accuracies of models, with chance."""
    for (benchmark, options), found in groups(records, "classification").items():
        shown = _ranked(found)
        details = shown[0].records[0].get("details", {})
        rows = [
            row_of(p, "bar", "trained" if p.trained else "untrained", category=with_width(p.model, context.width_of))
            for p in shown
        ]
        chance = details.get("chance")
        rows += [] if chance is None else [line_of("chance", "chance", float(chance))]
        categories = details.get("n_categories")
        yield FigureTable(
            "classification",
            benchmark,
            "Classification",
            COLUMNS,
            tuple(rows),
            (
                about(found),
                f"{categories} categories; dotted line: chance, the share of the most frequent one."
                if categories
                else "Dotted line: chance.",
                intervals("classification", options_of(found[0])[1]),
                *draws(shown),
            ),
            {"x": "Accuracy (share of images)", "series": ""},
            options,
            "",
            frozenset(p.model for p in shown),
        )


def rsa(records: Sequence[Record], context: Context) -> Iterator[FigureTable]:
    """Yield representational similarities of models, with the ceiling over subjects, or that of the recordings' noise."""
    for (benchmark, options), found in groups(records, "rsa").items():
        shown = _ranked(found)
        details = shown[0].records[0].get("details", {})
        rows = [
            row_of(p, "bar", "trained" if p.trained else "untrained", category=with_width(p.model, context.width_of))
            for p in shown
        ]
        low, high = details.get("ceiling_lower"), details.get("ceiling_upper")
        half = details.get("ceiling_split_half")
        if low is not None and high is not None:
            rows.append(line_of("ceiling", "ceiling", float(low), low=float(low), high=float(high)))
            words = "Grey band: ceiling over subjects, lower to upper bound."
        elif half is not None:
            rows.append(line_of("ceiling", "ceiling", float(half)))
            words = "Dashed line: ceiling, r with an RDM free of trial noise (from random halves)."
        else:
            words = "No ceiling: one subject and no repetitions."
        yield FigureTable(
            "rsa",
            benchmark,
            "Representational similarity",
            COLUMNS,
            tuple(rows),
            (about(found), intervals("rsa", options_of(found[0])[1]), *draws(shown), words),
            {"x": _comparison(details), "series": ""},
            options,
            "",
            frozenset(p.model for p in shown),
        )


def _comparison(details: Mapping[str, Any]) -> str:
    names = {
        "spearman": "Spearman r",
        "pearson": "Pearson r",
        "kendall": "Kendall tau-a",
        "cosine": "cosine",
        "whitened-pearson": "whitened Pearson r",
        "whitened-cosine": "whitened cosine",
    }
    compare = str(details.get("compare", ""))
    return f"Agreement of RDMs ({names.get(compare, compare)})"


def _ranked(found: Sequence[Record]) -> list[Point]:
    """Return models by their score, best first."""
    ranked = points(found, lambda r: (r.get("score"), r.get("ci_low"), r.get("ci_high")))
    return sorted(ranked, key=lambda p: (-p.value, p.model))
