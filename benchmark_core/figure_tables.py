"""The table that a figure is drawn from, with the words that stand beside it; written as CSV next to the figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from benchmark_core.figure_records import Point, Quantity, Record, WidthOf, options_text

if TYPE_CHECKING:
    from benchmark_core.agreement import Cell
    from benchmark_core.published import Published

NAMED_IN_CAPTION = 4  # of what is missing; messages name all


@dataclass(frozen=True)
class Context:
    """What tables depend on besides records.

    Parameters
    ----------
    quantity
        What of encoding records is plotted.
    width_of
        See :data:`benchmark_core.figure_records.WidthOf`.
    published
        Published scores by cell (:func:`benchmark_core.agreement.cells_of`), shown beside ours of the same cell where
        r_pattern is plotted, which is what was published.
    """

    quantity: Quantity
    width_of: WidthOf
    published: Mapping[Cell, Published] = field(default_factory=dict)

    def published_for(self, model: str, benchmark: str, options: Mapping[str, str]) -> Published | None:
        """Return the published score of a cell, if there is one and r_pattern is plotted."""
        if self.quantity.name != "r_pattern" or {"preset", "choose_components"} & options.keys():
            return None
        return self.published.get((model, benchmark, options.get("components", "")))


@dataclass(frozen=True)
class FigureTable:
    """What is drawn: rows of numbers, and the words beside them.

    Parameters
    ----------
    figure
        Name of the figure.
    benchmark
        The benchmark it is about.
    title
        What it shows.
    columns
        Of the rows, in order.
    rows
        Numbers and names by column. Where the figure has lines besides its data (ceiling, chance), they are rows of their
        own ``kind``.
    caption
        Sentences: data, numbers of stimuli and neuroids, what intervals are.
    labels
        Of axes and the like.
    options
        Parameters of the metric, empty for its defaults.
    quantity
        What of encoding records is plotted; empty where there is no choice.
    models
        Identifiers (without seeds) of the models whose records are in it.
    words
        What the figure says in place of data, where there are none at hand.
    """

    figure: str
    benchmark: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    caption: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    options: str = ""
    quantity: str = ""
    models: frozenset[str] = frozenset()
    words: str = ""

    @property
    def stem(self) -> str:
        """Name of its files, without the ending."""
        parts = [self.figure, self.benchmark]
        parts += [self.quantity] if self.quantity not in ("", "score") else []
        parts += [self.options.replace(",", "-")] if self.options else []
        return "_".join(parts).replace("/", "-")

    def kind(self, name: str) -> list[Mapping[str, Any]]:
        """Return the rows of a kind."""
        return [row for row in self.rows if row["kind"] == name]

    def to_csv(self) -> str:
        """Return the rows as CSV: six significant digits, empty where there is no value."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow([_text(row.get(column)) for column in self.columns])
        return out.getvalue()

    def without(self, missing: Sequence[str]) -> FigureTable:
        """Return the table with a sentence in its caption that says which models are not recorded."""
        if not missing:
            return self
        named = ", ".join(missing[:NAMED_IN_CAPTION])
        more = len(missing) - NAMED_IN_CAPTION
        sentence = f"Not recorded: {named}{f' and {more} more' if more > 0 else ''}."
        return replace(self, caption=(*self.caption, sentence))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value + 0.0:.6g}" if isinstance(value, float) else str(value)


def row_of(point: Point, kind: str, series: str, **others: Any) -> dict[str, Any]:
    """Return a point as a row."""
    return {
        "kind": kind,
        "series": series,
        "model": point.model,
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "n_draws": point.n_draws,
        "draw_sd": point.draw_sd,
        "layer": point.layer,
        **others,
    }


def line_of(kind: str, series: str, value: float, **others: Any) -> dict[str, Any]:
    """Return a horizontal line (a ceiling, chance) as a row."""
    return {"kind": kind, "series": series, "value": value, **others}


def published_row(published: Published, series: str, model: str, **others: Any) -> dict[str, Any]:
    """Return a published score as a row."""
    low, high = published.ci_low, published.ci_high
    return line_of("published", series, published.r_pattern, low=low, high=high, model=model, **others)


def reference_lines(records: Sequence[Record], quantity: Quantity) -> list[dict[str, Any]]:
    """Return what encoding scores are compared with, as rows: their ceiling, and what a model without image information reaches.

    The ceiling is that of the first record that has one; the other that of the first record, unless it is zero.
    """
    ceiling = next((c for r in records if (c := quantity.ceiling(r)) is not None), None)
    floor = quantity.floor(records[0])
    rows = [] if ceiling is None else [line_of("ceiling", "ceiling", ceiling)]
    return rows + ([line_of("floor", "no image information", floor)] if floor else [])


def reference_words(rows: Iterable[Mapping[str, Any]], quantity: Quantity) -> list[str]:
    """Return the sentences about the ceiling among the rows, or why there is none, and about published scores."""
    kinds = {row["kind"] for row in rows}
    if "ceiling" in kinds:
        words = [f"Dashed line: ceiling, {quantity.ceiling_text}."]
    elif quantity.name == "score":
        words = ["Not divided by a ceiling: responses have no repetitions."]
    else:
        words = ["No ceiling is recorded for this quantity."]
    if "published" in kinds:
        words.append("Open diamonds: scores published by Kazemian, Elmoznino & Bonner.")
    return words


def about(records: Sequence[Record]) -> str:
    """Return the sentence that names data and metric, and how many stimuli and neuroids it rests on."""
    first = records[0]
    options = first["metric"]
    simulated = ", simulated responses" if first.get("simulated") else ""
    parts = [counted([r.get("n_stimuli") for r in records], "stimuli")]
    neuroids = counted([r.get("n_neuroids") for r in records], "neuroids")
    parts += [neuroids] if neuroids else []
    subjects = first.get("subjects") or {}
    parts += [f"{len(subjects)} subjects"] if len(subjects) > 1 else []
    return f"{first['benchmark']} (version {first['benchmark_version']}{simulated}), {options}: {', '.join(parts)}."


def counted(numbers: Iterable[Any], noun: str) -> str:
    """Return ``640 stimuli``, a range where numbers differ, or an empty text where there are none."""
    known = sorted({n for n in numbers if isinstance(n, int)})
    if not known:
        return ""
    return f"{known[0]} {noun}" if len(known) == 1 else f"{known[0]} to {known[-1]} {noun}"


def intervals(metric: str, options: Mapping[str, str]) -> str:
    """Return the sentence that says what intervals are."""
    over = {"neuroids": "neuroids", "both": "stimuli and neuroids", "hierarchical": "subjects, neuroids and stimuli"}
    if str(options.get("preset", "")).startswith("brainscore"):
        return "Error bars: 95\N{NO-BREAK SPACE}% intervals over train/test splits."
    return f"Error bars: 95\N{NO-BREAK SPACE}% intervals over {over.get(options.get('resample', ''), 'stimuli')} (bootstrap)."


def draws(points: Iterable[Point]) -> list[str]:
    """Return the sentence about models of which several draws are recorded, if there are any."""
    most = max((p.n_draws for p in points), default=1)
    return (
        [] if most < 2 else [f"Values are means over random draws of a model where there are several (up to {most})."]
    )


def metric_title(options: Mapping[str, str]) -> str:
    """Return parameters of a metric for a title, in brackets; empty for the defaults."""
    return f" ({options_text(options)})" if options else ""
