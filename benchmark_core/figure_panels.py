"""From the table of a figure to the figure: those of several panels, histograms and scatters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmark_core.figure_drawing import CEILING, error_bars, subtitle, words
from benchmark_core.figure_style import (
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    LINE,
    MARGIN,
    ORANGE,
    SMALL,
    TEXT,
    WIDTH,
    compact,
    label_x,
    looks_of,
    model_label,
    sheet,
    width_of_text,
    wrap,
)
from benchmark_core.figure_tables import FigureTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BIN = 0.05
MOST_TICKS = 8
PITCH = 0.15  # inches from bar to bar
PALE = "#A6CBE3"


def parts(table: FigureTable) -> Figure:
    """Draw variance partitioning: a panel for each set of models."""
    panels = list(dict.fromkeys(row["panel"] for row in table.rows))
    by_panel = {panel: [row for row in table.rows if row["panel"] == panel] for panel in panels}
    left = max(width_of_text(row["label"], SMALL) for row in table.rows) + MARGIN + 0.1
    titles = {panel: wrap(by_panel[panel][0]["models"], WIDTH - 2 * MARGIN, SMALL) for panel in panels}
    line = SMALL * LINE / 72
    head = max(len(lines) for lines in titles.values()) * line + 0.02
    heights = [PITCH * len(by_panel[p]) + 0.06 for p in panels]
    page = sheet(table.title, subtitle(table), table.caption, heights, left=left, gap=head + 0.28, head=head)
    ends = [row[k] for row in table.rows for k in ("value", "low", "high") if row[k] is not None]
    low, high = min(0.0, *ends), max(ends)
    for axes, panel in zip(page.axes, panels, strict=True):
        for place, row in enumerate(by_panel[panel]):
            colour = BLUE if row["kind"] == "parts" else PALE
            axes.barh(place, row["value"], height=0.75, color=colour, zorder=2)
            if row["low"] is not None and row["high"] is not None:
                axes.hlines(place, row["low"], row["high"], color=BLACK, linewidth=0.8, zorder=3)
        axes.set_yticks(range(len(by_panel[panel])), [row["label"] for row in by_panel[panel]])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(by_panel[panel]) - 0.4, -0.7)
        axes.set_xlim(low * 1.04, high * 1.04)
        axes.axvline(0, color=BLACK, linewidth=0.6, zorder=3)
        top, height = axes.get_position().y1, page.figure.get_figheight()
        for number, text in enumerate(reversed(titles[panel])):
            at = top + (0.03 + number * line) / height
            page.figure.text(MARGIN / WIDTH, at, text, size=SMALL, va="bottom", ha="left")
        if axes is page.axes[-1]:
            label_x(axes, table.labels["x"])
    return page.figure


def layer_panels(table: FigureTable) -> Figure:
    """Draw the criterion over layers, a panel for each model."""
    models = list(dict.fromkeys(str(row["model"]) for row in table.rows))
    columns = 2 if len(models) > 1 else 1
    rows = -(-len(models) // columns)
    shown = {m: [row for row in table.rows if row["model"] == m] for m in models}
    ticks = {m: shown[m][:: -(-len(shown[m]) // MOST_TICKS)] for m in models}
    below = max(width_of_text(str(row["layer"]), SMALL) for m in models for row in ticks[m]) + 0.12
    page = sheet(
        table.title,
        subtitle(table),
        table.caption,
        [1.15] * rows,
        bottom=below + 0.22,
        gap=below + 0.28,
        head=0.08,
        columns=columns,
    )
    low = min(0.0, *(row["low"] for row in table.rows))
    high = max(row["high"] for row in table.rows)
    for number, axes in enumerate(page.axes):
        if number >= len(models):
            axes.set_visible(False)
            continue
        model = models[number]
        mine = shown[model]
        colour = BLUE if mine[0]["kind"] == "trained" else ORANGE
        axes.plot([row["position"] for row in mine], [row["value"] for row in mine], color=colour, zorder=2)
        positions = [row["position"] for row in mine]
        axes.vlines(
            positions, [r["low"] for r in mine], [r["high"] for r in mine], color=colour, linewidth=0.8, zorder=2
        )
        for filled in (False, True):
            here = [row for row in mine if (row["chosen_in"] > 0) == filled]
            x, y = [row["position"] for row in here], [row["value"] for row in here]
            face = colour if filled else "white"
            axes.plot(x, y, marker="o", linestyle="", color=colour, markerfacecolor=face, zorder=3)
        axes.set_title(model_label(model, 1.4).replace("\n", " "), size=SMALL, loc="left", pad=3)
        axes.set_xticks([row["position"] for row in ticks[model]], [row["layer"] for row in ticks[model]], rotation=90)
        axes.set_xlim(0.5, len(mine) + 0.5)
        axes.set_ylim(low, high * 1.06)
        if number % columns == 0:
            axes.set_ylabel(table.labels["y"].replace(" (", "\n("), size=SMALL)
        else:
            axes.tick_params(axis="y", labelleft=False)
        if number + columns >= len(models):
            axes.set_xlabel(table.labels["x"], size=SMALL)
    return page.figure


def histogram(table: FigureTable) -> Figure:
    """Draw the distribution of reliabilities, subjects stacked."""
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    subjects = sorted({str(row["subject"]) for row in table.rows})
    colours = {s: CYCLE[(i + 1) % len(CYCLE)][0] for i, s in enumerate(subjects)}
    values = [float(row["value"]) for row in table.rows]
    first, last = math.floor(min(0.0, *values) / BIN + 1e-9), max(round(1 / BIN), math.ceil(max(values) / BIN))
    counts = {s: [0] * (last - first) for s in subjects}
    for row in table.rows:
        place = min(max(math.floor(row["value"] / BIN + 1e-9) - first, 0), last - first - 1)
        counts[str(row["subject"])][place] += 1
    legend = [(Patch(facecolor=colours[s]), s) for s in subjects] if len(subjects) > 1 else []
    page = sheet(table.title, subtitle(table), table.caption, [1.6], legend=legend, legend_title="subject")
    (axes,) = page.axes
    base = [0] * (last - first)
    starts = [BIN * (first + i) for i in range(last - first)]
    for s in subjects:
        axes.bar(
            starts,
            counts[s],
            width=BIN,
            bottom=base,
            align="edge",
            color=colours[s],
            edgecolor="white",
            linewidth=0.4,
        )
        base = [a + b for a, b in zip(base, counts[s], strict=True)]
    mean = sum(values) / len(values)
    axes.axvline(mean, color=BLACK, linewidth=0.8, linestyle=CEILING)
    axes.text(mean, 1.0, "mean", transform=axes.get_xaxis_transform(), size=SMALL, ha="center", va="bottom")
    axes.set_xlim(starts[0], BIN * last)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel(table.labels["x"])
    axes.set_ylabel(table.labels["y"])
    return page.figure


def dimensions(table: FigureTable) -> Figure:
    """Draw score against number of components needed, and against effective dimensionality."""
    from matplotlib.lines import Line2D

    series = list(dict.fromkeys(str(row["series"]) for row in table.rows))
    looks = looks_of(sorted(series))
    trained = {str(row["series"]) for row in table.kind("trained")}
    legend = [
        (
            Line2D([], [], color=c, marker=m, linestyle="", markerfacecolor="white" if s in trained else c),
            f"{s} (trained)" if s in trained else s,
        )
        for s, (c, m) in looks.items()
    ]
    page = sheet(table.title, subtitle(table), table.caption, [1.5], columns=2, legend=legend, bottom=0.36)
    ends = [row[k] for row in table.rows for k in ("value", "low", "high") if row[k] is not None]
    low, high = min(0.0, *ends), max(ends)
    for number, (axes, column) in enumerate(zip(page.axes, ("components", "effective_dimensionality"), strict=True)):
        axes.set_xscale("log")
        numbers = [float(row[column]) for row in table.rows if row[column] is not None]
        for name, (colour, marker) in looks.items():
            mine = [row for row in table.rows if row["series"] == name and row[column] is not None]
            mine.sort(key=lambda row: (row["n_features"] or 0, row["model"]))
            error_bars(axes, [row[column] for row in mine], mine, colour, marker, "", hollow=name in trained)
            axes.plot([row[column] for row in mine], [row["value"] for row in mine], color=colour, linewidth=0.5)
        start, end = (min(numbers) / 1.6, max(numbers) * 1.6) if numbers else (1.0, 10.0)
        axes.set_xlim(start, end)
        steps = (1,) if end / start > 100 else (1, 3)
        marks = [m * 10**k for k in range(7) for m in steps if start <= m * 10**k <= end]
        axes.set_xticks(marks, [compact(m) for m in marks])
        axes.minorticks_off()
        axes.set_ylim(low, high * 1.06)
        label_x(axes, table.labels[column], SMALL)
        if number == 0:
            axes.set_ylabel(table.labels["y"].replace(" (", "\n("), size=SMALL)
        else:
            axes.tick_params(axis="y", labelleft=False)
    return page.figure


def scatter(table: FigureTable) -> Figure:
    """Draw predicted against measured responses of a neuroid, or words where predictions are not at hand."""
    if table.words:
        return words(table)
    page = sheet(table.title, subtitle(table), table.caption, [2.4], right=0.5)
    (axes,) = page.axes
    x = [float(row["predicted"]) for row in table.rows]
    y = [float(row["measured"]) for row in table.rows]
    axes.plot(x, y, linestyle="", marker="o", markersize=2.2, color=BLUE, alpha=0.45, markeredgewidth=0)
    low, high = min(*x, *y), max(*x, *y)
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=CEILING, zorder=1)
    across, up = (max(x) - min(x)) * 0.04, (max(y) - min(y)) * 0.04
    axes.set_xlim(min(x) - across, max(x) + across)
    axes.set_ylim(min(y) - up, max(y) + up)
    axes.text(1.0, 1.0, table.labels["r"], transform=axes.transAxes, size=TEXT, ha="right", va="bottom")
    axes.set_xlabel(table.labels["x"])
    axes.set_ylabel(table.labels["y"])
    return page.figure
