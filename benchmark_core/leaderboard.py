"""From score records to the leaderboard: a table, and a CSV that is a pure function of the records."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import InputError
from benchmark_core.leaderboard_columns import NAMES, text_of
from benchmark_core.leaderboard_columns import row_of as row_of
from benchmark_core.published import Published, published_on
from benchmark_core.records import Score, unpack_resamples

COLUMNS = NAMES
PUBLISHED = ("published_r_pattern", "published_ci_low", "published_ci_high", "published_recipe")


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard with the record that it was made from.

    Parameters
    ----------
    row
        A value, or None, for each of :data:`COLUMNS`.
    record
        The record, as :func:`benchmark_core.records.read_record` gives it.
    """

    row: dict[str, Any]
    record: Mapping[str, Any]


def leaderboard_entries(
    records: Iterable[Mapping[str, Any]], published: Sequence[Published] | None = None
) -> list[Entry]:
    """Return the rows of the leaderboard, in its order, each with its record.

    Parameters
    ----------
    records, published
        As for :func:`leaderboard`.
    """
    held = list(records)
    by_key = {record["key"]: record for record in held}
    return [Entry(row, by_key[row["key"]]) for row in leaderboard(held, published)]


def leaderboard(
    records: Iterable[Mapping[str, Any]], published: Sequence[Published] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of the leaderboard, each with a value, or None, for every one of :data:`COLUMNS`.

    One row per record; a record without a score gives way to one of the same cell with a score. Rows are ordered by
    benchmark, benchmark version and metric, then by score (best first, those without a score last), then by name,
    so that scores of different benchmark versions never mix. ``in_best_set`` says which models cannot be told from the
    best (:func:`mark_best_sets`).

    Parameters
    ----------
    records
        Score records, in any order.
    published
        Scores to show beside ours; those that come with the program if left out.
    """
    scored: list[Mapping[str, Any]] = []
    unscored: list[Mapping[str, Any]] = []
    for record in records:
        (scored if record["status"] == "ok" else unscored).append(record)
    have = {_cell(record) for record in scored}
    rows = [row_of(r) for r in [*scored, *(r for r in unscored if _cell(r) not in have)]]
    for draws in draws_of_one_model(rows):
        scores = [row["score"] for row in draws]
        mean, sd = statistics.fmean(scores), statistics.stdev(scores)
        for row in draws:
            row |= {"n_seeds": len(scores), "seed_mean": mean, "seed_sd": sd}
    mark_best_sets(rows, {record["key"]: record for record in scored})
    add_published(rows, published)
    return sorted(rows, key=_order)


def draws_of_one_model(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the scored rows that differ in the models' seed only, where there are several."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["score"] is not None and row["status"] == "ok":
            names = ("benchmark", "benchmark_version", "metric", "metric_version", "model_version", "requested_layer")
            group = (*(str(row[n]) for n in names), row["precision"], without_seed(row["model"]))
            groups.setdefault(group, {}).setdefault(row["model"], row)
    # Sorted, so that the sums do not depend on the order of the records.
    return [[draws[m] for m in sorted(draws)] for draws in groups.values() if len(draws) > 1]


def mark_best_sets(rows: Sequence[dict[str, Any]], records: Mapping[str, Mapping[str, Any]]) -> None:
    """Say of rows whether they belong to the best set of their benchmark and metric (``in_best_set``).

    Who competes: single models whose layer was chosen on training stimuli (``auto``; the best of layers that were named
    is chosen on test stimuli). Draws of one model compete as one, at their mean score, so that nobody wins by drawing
    often. None for all others, for records without resamples, for those that do not share theirs with the best, and
    for everybody where the best has none.

    Parameters
    ----------
    rows
        Of the leaderboard; changed in place.
    records
        Records by key.
    """
    if all(record.get("resamples") is None for record in records.values()):
        return
    drawn = {row["key"]: draws for draws in draws_of_one_model(rows) for row in draws}
    fields: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        if row["score"] is None or row["status"] != "ok" or row["requested_layer"] != "auto":
            continue
        if len(records[row["key"]]["models"]) != 1:
            continue
        draws = drawn.get(row["key"], [row])
        field = tuple(str(row[n]) for n in ("benchmark", "benchmark_version", "metric", "metric_version"))
        fields.setdefault(field, {})[f"{without_seed(row['model'])} {draws[0]['key']}"] = draws
    for entries in fields.values():
        if len(entries) == 1:  # nobody to compare with: no numpy needed
            for row in next(iter(entries.values())):
                row["in_best_set"] = True if records[row["key"]].get("resamples") is not None else None
            continue
        from benchmark_core.comparison import best_set

        scores = {name: mean_score([records[row["key"]] for row in draws]) for name, draws in entries.items()}
        best = min(scores, key=lambda name: (-float(scores[name].value or 0.0), name))
        key = scores[best].resamples_key
        sharing = {name: score for name, score in scores.items() if key is not None and score.resamples_key == key}
        members = set(best_set(sharing)) if sharing else set()
        for name in sharing:
            for row in entries[name]:
                row["in_best_set"] = name in members


def mean_score(records: Sequence[Mapping[str, Any]]) -> Score:
    """Return the mean score of records with the mean of their resamples; without, where these are not shared."""
    from benchmark_core.comparison import comparable

    value = statistics.fmean(float(record["score"]) for record in records)
    unpacked = [found for found in map(unpack_resamples, records) if found is not None and comparable(found[0])]
    keys = {(key, len(values)) for values, key in unpacked}
    if len(unpacked) < len(records) or len(keys) > 1:
        return Score(value)
    total = unpacked[0][0]
    for values, _ in unpacked[1:]:
        total = total + values
    return Score(value, resamples=total / len(unpacked), resamples_key=keys.pop()[0])


def without_seed(models: str) -> str:
    """Return a row's models without their seeds."""
    parts = []
    for identifier in models.split(" + "):
        name, _, rest = identifier.partition(":")
        kept = [pair for pair in rest.split(",") if pair and not pair.startswith("seed=")]
        parts.append(f"{name}:{','.join(kept)}" if kept else name)
    return " + ".join(parts)


def one_row_a_model(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return leaderboard rows with the draws of one model as one, at their mean score.

    Its interval is the mean of those of the draws: that of one draw over stimuli, beside which ``seed_sd`` is the
    spread over draws.
    """
    every = [dict(row) for row in rows]
    drawn = {row["key"]: draws for draws in draws_of_one_model(every) for row in draws}
    merged = []
    for row in every:
        draws = drawn.get(row["key"])
        if draws is None:
            merged.append(row)
        elif row is draws[0]:
            means = {name: _mean([d[name] for d in draws]) for name in ("ci_low", "ci_high", "ceiling", "r_neuroid")}
            layers = {d["layer"] for d in draws}
            same = {"layer": layers.pop() if len(layers) == 1 else "varies", "model": without_seed(row["model"])}
            merged.append(row | means | same | {"score": row["seed_mean"]})
    return sorted(merged, key=_order)


def add_published(rows: Sequence[dict[str, Any]], published: Sequence[Published] | None = None) -> None:
    """Write published scores beside those of the same cell.

    Parameters
    ----------
    rows
        Of the leaderboard; changed in place.
    published
        As for :func:`leaderboard`.
    """
    from benchmark_core.agreement import cells_of, published_for, recipe_differences

    if published is None:
        published = published_on({r["benchmark"] for r in rows if r["r_pattern"] is not None})
    cells = cells_of(published)
    for row in rows:
        found = published_for(row, cells)
        if found is not None:
            values = (found.r_pattern, found.ci_low, found.ci_high, "; ".join(recipe_differences(row, found)) or None)
            row.update(zip(PUBLISHED, values, strict=True))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _cell(record: Mapping[str, Any]) -> tuple[Any, ...]:
    requested = record.get("requested_layer", record["layer"])
    return (tuple(record["models"]), record["benchmark"], record["benchmark_version"], record["metric"], requested)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    score = row["score"]
    rounded = None if score is None else float(f"{score:.6g}")
    return (
        row["benchmark"],
        int(row["benchmark_version"]),
        row["metric"],
        rounded is None,
        -(rounded or 0.0),
        row["model"],
        row["layer"],
        row["key"],
    )


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV text: six significant digits, empty where there is no value, ``\\n`` line ends."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([text_of(row[column]) for column in COLUMNS])
    return out.getvalue()


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write the leaderboard's CSV, atomically.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the CSV file to write, e.g. {path / 'leaderboard.csv'}")
    write_atomically(path, to_csv(rows).encode())
