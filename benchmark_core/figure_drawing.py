"""From the table of a figure to the figure: curves and bars. matplotlib is imported inside functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmark_core.figure_style import (
    BLACK,
    BLUE,
    GREY,
    MARGIN,
    ORANGE,
    SMALL,
    Sheet,
    compact,
    label_x,
    looks_of,
    model_label,
    shades,
    sheet,
    width_of_text,
)
from benchmark_core.figure_tables import FigureTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (1.5, 1)), (0, (6, 1, 1, 1, 1, 1)))
CEILING = (0, (4, 2))
NAME_ROOM = 0.055  # of the range of an axis: what a name on a line takes


def subtitle(table: FigureTable) -> str:
    """Return what stands below a title: the benchmark, and parameters of the metric that are not the defaults."""
    return f"{table.benchmark}{f', {table.options}' if table.options else ''}"


def curves(table: FigureTable) -> Figure:
    """Draw score against number of features or of principal components."""
    from matplotlib.lines import Line2D

    column = "n_components" if table.figure == "components" else "n_features"
    drawn = [*table.kind("curve"), *table.kind("point")]
    looks = looks_of(list(dict.fromkeys(row["series"] for row in drawn)))
    legend: list[tuple[Any, str]] = []
    for series, (colour, marker) in looks.items():
        several = sum(row["series"] == series for row in drawn) > 1
        legend.append((Line2D([], [], color=colour, marker=marker, linestyle="-" if several else ""), series))
    if _crowded(table):
        for i, row in enumerate(_trained(table)):
            legend.append((Line2D([], [], color=BLACK, linewidth=0.9, linestyle=DASHES[i % len(DASHES)]), row["model"]))
    if table.kind("published"):
        legend.append((_diamond(GREY), "published"))
    page = sheet(table.title, subtitle(table), table.caption, [2.3], legend=legend)
    (axes,) = page.axes
    numbers = [row[column] for row in drawn if isinstance(row[column], int)]
    last = max(numbers) * 4  # where the features themselves stand, right of all components
    axes.set_xscale("log")
    for series, (colour, marker) in looks.items():
        rows = [row for row in drawn if row["series"] == series]
        x = [last if row[column] == "all" else row[column] for row in rows]
        error_bars(axes, x, rows, colour, marker, line="-" if len(rows) > 1 else "")
        published = [row for row in table.kind("published") if row["series"] == series]
        if published:
            px = [last if row[column] == "all" else row[column] for row in published]
            error_bars(axes, px, published, colour, "D", line="", hollow=True)
    whole = any(row[column] == "all" for row in drawn)
    low, high = min(numbers) / 1.6, (last if whole else max(numbers)) * 1.6
    axes.set_xlim(low, high)
    ticks = [10**k for k in range(12) if low <= 10**k <= max(numbers) * 1.6]
    axes.set_xticks([*ticks, *([last] if whole else [])], [*map(compact, ticks), *(["all"] if whole else [])])
    axes.minorticks_off()
    axes.set_xlabel(table.labels["x"])
    axes.set_ylabel(table.labels["y"])
    _limits(axes, table)
    _across(axes, table)
    return page.figure


def _diamond(colour: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="D", linestyle="", markerfacecolor="white", markersize=3.5)


def error_bars(
    axes: Axes,
    x: Sequence[float],
    rows: Sequence[Mapping[str, Any]],
    colour: str,
    marker: str,
    line: str,
    hollow: bool = False,
) -> None:
    """Draw points with their intervals."""
    axes.plot(
        x,
        [row["value"] for row in rows],
        color=colour,
        marker=marker,
        linestyle=line,
        markerfacecolor="white" if hollow else colour,
        markersize=3.5 if hollow else 4.0,
        zorder=4 if hollow else 3,
    )
    known = [(at, row["low"], row["high"]) for at, row in zip(x, rows, strict=True) if _has_interval(row)]
    if known:
        axes.vlines(*zip(*known, strict=True), color=colour, linewidth=0.8, zorder=2)


def _has_interval(row: Mapping[str, Any]) -> bool:
    return row.get("low") is not None and row.get("high") is not None


def extent(table: FigureTable) -> tuple[float, float]:
    """Return the least and the greatest of all values, intervals and lines."""
    numbers = [row[k] for row in table.rows for k in ("value", "low", "high") if isinstance(row.get(k), (int, float))]
    return min(numbers), max(numbers)


def _limits(axes: Axes, table: FigureTable) -> None:
    """Set limits of y: from zero, or from where a model without image information stands, to above the ceiling."""
    low, high = extent(table)
    floor = next((row["value"] for row in table.kind("floor")), 0.0)
    start = min(floor, low)
    room = (high - start) * 0.06
    axes.set_ylim(start - (room if start < 0 or floor else 0.0), high + room)


def _across(axes: Axes, table: FigureTable) -> None:
    """Draw lines across with their names: ceiling, floor, trained models with intervals."""
    for row in table.kind("ceiling"):
        axes.axhline(row["value"], color=BLACK, linewidth=0.8, linestyle=CEILING, zorder=1)
        _name(axes, 0.99, row["value"], "ceiling", "right")
    for row in table.kind("floor"):
        axes.axhline(row["value"], color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        _name(axes, 0.99, row["value"], "no image information", "right", above=False)
    for i, row in enumerate(_trained(table)):
        axes.axhline(row["value"], color=BLACK, linewidth=0.9, linestyle=DASHES[i % len(DASHES)], zorder=1)
        if _has_interval(row):
            axes.axhspan(row["low"], row["high"], color=BLACK, alpha=0.08, linewidth=0, zorder=0)
        if not _crowded(table):
            _name(axes, 0.01, row["value"], row["model"], "left")
    lines = {row["series"] for row in table.kind("trained")}
    theirs = [row["value"] for row in table.kind("published") if row["series"] in lines]
    if theirs:
        x, across = [0.98] * len(theirs), axes.get_yaxis_transform()
        axes.plot(x, theirs, "D", color=BLACK, markerfacecolor="white", markersize=3.5, transform=across)


def _trained(table: FigureTable) -> list[Mapping[str, Any]]:
    return sorted(table.kind("trained"), key=lambda row: (row["value"], row["model"]))


def _crowded(table: FigureTable) -> bool:
    """Whether the lines of trained models lie too close to each other, or to the ceiling, for names on them."""
    low, high = extent(table)
    start = min(low, next((row["value"] for row in table.kind("floor")), 0.0))
    lines = sorted(float(row["value"]) for row in [*table.kind("trained"), *table.kind("ceiling")])
    room = (high - start) * NAME_ROOM
    return any(b - a < room for a, b in pairwise(lines))


def _name(axes: Axes, x: float, y: float, text: str, side: str, above: bool = True) -> None:
    """Write a name on a line across, just above (or below) it."""
    axes.annotate(
        text,
        (x, y),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 1.5 if above else -1.5),
        textcoords="offset points",
        size=SMALL,
        ha=side,
        va="bottom" if above else "top",
        zorder=5,
    )


def bars(table: FigureTable) -> Figure:
    """Draw horizontal bars of categories, several side by side where there are several series."""
    from matplotlib.patches import Patch

    drawn = table.kind("bar")
    categories = list(dict.fromkeys(row["category"] for row in drawn))
    series = sorted({row["series"] for row in drawn}, key=_series_order)
    colours = _bar_colours(series)
    grouped = len({(row["category"]) for row in drawn}) < len(drawn)  # several series in a category
    # In a ranking every category has one bar, whatever its colour.
    slots = series if grouped else [""]
    thick = 0.085 if len(slots) > 2 else 0.11 if len(slots) > 1 else 0.13
    labels = [model_label(c) for c in categories]
    # From top to bottom each category takes as much room as its bars or its label need.
    present = {c: [s for s in slots if not grouped or _has(drawn, c, s)] for c in categories}
    starts, total = {}, 0.0
    for category, label in zip(categories, labels, strict=True):
        room = max(thick * len(present[category]) + 0.08, 0.11 * (label.count("\n") + 1) + 0.05)
        starts[category] = total + room / 2
        total += room
    left = max(width_of_text(line, SMALL) for label in labels for line in label.split("\n")) + MARGIN + 0.1
    legend: list[tuple[Any, str]] = []
    if len(series) > 1 or table.labels.get("series"):
        legend = [(Patch(facecolor=colours[s]), s) for s in series]
    if table.kind("published"):
        legend.append((_diamond(BLACK), "published"))
    page = sheet(
        table.title,
        subtitle(table),
        table.caption,
        [total + 0.12],
        left=left,
        legend=legend,
        legend_title=table.labels.get("series", ""),
    )
    (axes,) = page.axes
    floor = next((row["value"] for row in table.kind("floor")), 0.0)
    known: list[tuple[float, float, float]] = []
    for row in [*drawn, *table.kind("published")]:
        here = present[row["category"]]
        place = here.index(row["series"]) if grouped else 0
        y = starts[row["category"]] + (place - (len(here) - 1) / 2) * thick
        if row["kind"] == "published":
            axes.plot(row["value"], y, color=BLACK, marker="D", markersize=3.2, markerfacecolor="white", zorder=4)
            continue
        axes.barh(y, row["value"] - floor, left=floor, height=thick * 0.9, color=colours[row["series"]], zorder=2)
        if _has_interval(row):
            known.append((y, row["low"], row["high"]))
    if known:
        axes.hlines(*zip(*known, strict=True), color=BLACK, linewidth=0.8, zorder=3)
    axes.set_yticks([starts[c] for c in categories], labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(total + 0.02, -0.1)
    low, high = extent(table)
    room = (high - min(floor, low)) * 0.04
    axes.set_xlim(min(floor, low) - (room if low < floor else 0.0), high + room)
    if low < floor or floor:
        axes.axvline(floor, color=BLACK, linewidth=0.6, zorder=3)
    label_x(axes, table.labels["x"])
    _down(axes, table)
    return page.figure


def _has(rows: Sequence[Mapping[str, Any]], category: str, series: str) -> bool:
    return any(row["category"] == category and row["series"] == series for row in rows)


def _series_order(name: str) -> tuple[Any, ...]:
    return (0, int(name), "") if name.isdigit() else (1, 0, name)


def _bar_colours(series: Sequence[str]) -> dict[str, str]:
    if all(name.isdigit() for name in series):
        return dict(zip(series, shades(len(series)), strict=True))
    known = {"trained": BLUE, "untrained": ORANGE, "intact": BLUE, "pixels shuffled": ORANGE}
    return {name: known.get(name, BLUE) for name in series}


def _down(axes: Axes, table: FigureTable) -> None:
    """Draw vertical lines with their names above the axes: ceiling, chance."""
    for row in [*table.kind("ceiling"), *table.kind("chance")]:
        if _has_interval(row):
            axes.axvspan(row["low"], row["high"], color=GREY, alpha=0.25, linewidth=0, zorder=0)
            middle = (row["low"] + row["high"]) / 2
        else:
            middle = row["value"]
            style = ":" if row["kind"] == "chance" else CEILING
            axes.axvline(middle, color=BLACK, linewidth=0.8, linestyle=style, zorder=1)
        right = middle > sum(axes.get_xlim()) / 2
        axes.text(
            middle,
            1.0,
            row["series"],
            transform=axes.get_xaxis_transform(),
            size=SMALL,
            ha="right" if right else "left",
            va="bottom",
        )


def words(table: FigureTable) -> Figure:
    """Draw a sheet that says in words what it cannot show."""
    from benchmark_core.figure_style import WIDTH, wrap

    page: Sheet = sheet(table.title, subtitle(table), table.caption, [1.0])
    (axes,) = page.axes
    axes.set_axis_off()
    axes.text(
        0.0,
        0.5,
        "\n".join(wrap(table.words, WIDTH - 0.8, SMALL)),
        transform=axes.transAxes,
        size=SMALL,
        ha="left",
        va="center",
    )
    return page.figure
