"""Our scores beside published ones of the same cells: how far apart they lie, and where the recipes differ.

They are compared on ``r_pattern``, the number that was published. Nothing here is a test: two intervals may overlap while
the scores differ, and the draws of untrained models are other draws.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark_core.errors import InputError
from benchmark_core.identifiers import split_identifier
from benchmark_core.leaderboard import without_seed
from benchmark_core.published import ANALYSES, METRIC, REFERENCE, Published, read_published, table_path

Cell = tuple[str, str, str]
"""Model (without its seed), benchmark, number of components."""
_COUNT = "components"
_INTERVALS_ONLY = ("n_bootstrap", "optimism", "resample", "seed")  # parameters that leave r_pattern as it is


@dataclass(frozen=True)
class Agreement:
    """One of our scores beside the published one.

    Parameters
    ----------
    model
        Without its seed: draws of one model count as one.
    benchmark, benchmark_version, metric, precision
        As on the leaderboard.
    r_pattern, ci_low, ci_high
        Ours; of several draws the means over draws.
    n_seeds, seed_sd
        Draws, and the standard deviation of ``r_pattern`` over them (None for one).
    published, published_ci_low, published_ci_high
        The published score and percentiles 2.5 and 97.5 of its resamples.
    difference
        Ours minus the published one.
    recipe
        Where the recipes are known to differ, one text each.
    keys
        Of our records.
    """

    model: str
    benchmark: str
    benchmark_version: int
    metric: str
    precision: str
    r_pattern: float
    ci_low: float | None
    ci_high: float | None
    n_seeds: int
    seed_sd: float | None
    published: float
    published_ci_low: float | None
    published_ci_high: float | None
    difference: float
    recipe: tuple[str, ...]
    keys: tuple[str, ...]


def cells_of(published: Iterable[Published]) -> dict[Cell, Published]:
    """Return published scores by cell; of a cell that several analyses have, the first of :data:`ANALYSES` counts."""
    cells: dict[Cell, Published] = {}
    for score in sorted(published, key=lambda score: ANALYSES.index(score.analysis)):
        options = split_identifier(score.metric)[1]
        cells.setdefault((score.model, score.benchmark, options.get(_COUNT, "")), score)
    return cells


def published_for(row: Mapping[str, Any], cells: Mapping[Cell, Published]) -> Published | None:
    """Return the published score of a leaderboard row's cell, if there is one.

    The same cell is the same model (whatever its seed) on the same benchmark with as many components. Its layer is chosen on
    training stimuli; a layer that was named is another cell.
    """
    if not cells or row.get("r_pattern") is None or row.get("requested_layer") != "auto":
        return None
    try:
        name, options = split_identifier(row["metric"])
    except InputError:
        return None
    if name != METRIC or "choose_components" in options or "preset" in options:
        return None
    return cells.get((without_seed(row["model"]), row["benchmark"], options.get(_COUNT, "")))


def recipe_differences(row: Mapping[str, Any], published: Published) -> list[str]:
    """Say where the published recipe is known to differ from that of a leaderboard row."""
    theirs, ours = split_identifier(published.metric)[1], split_identifier(row["metric"])[1]
    said = [
        f"{name}: published {theirs.get(name, 'default')}, here {ours.get(name, 'default')}"
        for name in sorted({*theirs, *ours} - {*_INTERVALS_ONLY})
        if theirs.get(name) != ours.get(name)
    ]
    if _COUNT in theirs and theirs.get("standardise") == ours.get("standardise"):
        said.append("standardise: published when components are fitted, here when features are projected on them, too")
    if row.get("precision") == "fast":
        said.append("precision: here fast")
    if row.get("trained") is False:
        said.append("weights: another draw")
    return said


def agreements(rows: Iterable[Mapping[str, Any]], published: Iterable[Published]) -> list[Agreement]:
    """Return our scores that have a published counterpart, draws of one model as one.

    Parameters
    ----------
    rows
        Of the leaderboard.
    published
        Scores under the identifiers that they have here.
    """
    cells = cells_of(published)
    groups: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    counterparts: dict[tuple[Any, ...], Published] = {}
    for row in rows:
        found = published_for(row, cells)
        if found is None or row["status"] != "ok":
            continue
        names = ("benchmark", "benchmark_version", "metric", "metric_version", "model_version", "precision")
        group = (without_seed(row["model"]), *(str(row[n]) for n in names))
        groups.setdefault(group, {}).setdefault(row["model"], row)
        counterparts[group] = found
    return [
        _agreement([draws[model] for model in sorted(draws)], counterparts[group])
        for group, draws in sorted(groups.items(), key=lambda item: (item[0][1], item[0][2], item[0][3], item[0][0]))
    ]


def _agreement(draws: Sequence[Mapping[str, Any]], published: Published) -> Agreement:
    values = [float(row["r_pattern"]) for row in draws]
    mean = statistics.fmean(values)
    low, high = (_mean([row[name] for row in draws]) for name in ("r_pattern_ci_low", "r_pattern_ci_high"))
    return Agreement(
        model=without_seed(draws[0]["model"]),
        benchmark=draws[0]["benchmark"],
        benchmark_version=draws[0]["benchmark_version"],
        metric=draws[0]["metric"],
        precision=draws[0].get("precision") or "exact",
        r_pattern=mean,
        ci_low=low,
        ci_high=high,
        n_seeds=len(values),
        seed_sd=statistics.stdev(values) if len(values) > 1 else None,
        published=published.r_pattern,
        published_ci_low=published.ci_low,
        published_ci_high=published.ci_high,
        difference=mean - published.r_pattern,
        recipe=tuple(recipe_differences(draws[0], published)),
        keys=tuple(row["key"] for row in draws),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def summary(found: Sequence[Agreement]) -> dict[str, Any]:
    """Return how many cells there are, and the median and the largest absolute difference (None without cells)."""
    if not found:
        return {"n_cells": 0, "median_difference": None, "median_absolute_difference": None, "largest": None}
    largest = max(found, key=lambda a: (abs(a.difference), a.benchmark, a.model))
    return {
        "n_cells": len(found),
        "median_difference": statistics.median(a.difference for a in found),
        "median_absolute_difference": statistics.median(abs(a.difference) for a in found),
        "largest": {"model": largest.model, "benchmark": largest.benchmark, "difference": largest.difference},
    }


def agreement_document(found: Sequence[Agreement]) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "against": "published",
        "source": REFERENCE,
        "cells": [asdict(a) | {"recipe": list(a.recipe), "keys": list(a.keys)} for a in found],
        "summary": summary(found),
    }


def what_is_needed() -> list[str]:
    """Say, line by line, which data and commands give scores that have a published counterpart."""
    every = list(read_published(table_path()))
    benchmarks = sorted({score.benchmark for score in every})
    return [
        f"published are {len(cells_of(every))} encoding scores on {', '.join(benchmarks)}",
        "majajhong: bench data fetch majajhong, and its lists of ids: bench data import majajhong --from DIR",
        "nsd: bench data import nsd --from DIR (registration with its authors needed)",
        f"then, for instance: bench run --model alexnet-trained --benchmark majajhong.IT --metric {METRIC}:selection=paper",
    ]
