"""Scores that Kazemian, Elmoznino and Bonner published, under the identifiers that they have here.

``leaderboard/published.csv`` holds them as their authors name things, one score a line. Standard library only.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.identifiers import Value, canonical

ANALYSES = ("main", "init", "nonlinearity", "ablation", "pca", "shuffled-pixels")
"""The analyses whose scores are encoding scores of a model, which can be shown beside ours."""
REFERENCE = "Kazemian, Elmoznino and Bonner; scores and code: https://doi.org/10.5281/zenodo.16920087"
COLUMNS = (
    "analysis",
    "benchmark",
    "model",
    "width",
    "n_features",
    "n_components",
    "init",
    "nonlinearity",
    "score",
    "ci_low",
    "ci_high",
)
_WIDTHS = {"fully-connected": "features", "vit-custom": "D"}  # what the width is called; "filters" in expansion5l
METRIC = "encoding"
_EXPANSION = "expansion5l"
_FIXED = {"expansion5l-linear": {"nonlinearity": "none"}}  # what a variant's name says already


@dataclass(frozen=True)
class Published:
    """One published score.

    Parameters
    ----------
    analysis
        Where in the study it is from; one of :data:`ANALYSES`.
    model, benchmark, metric
        Identifiers here, each in its canonical form.
    r_pattern
        The score: Pearson r across neuroids for each test stimulus, averaged over these and over subjects. It is the
        field ``r_pattern`` of a record here, not its ``score``.
    ci_low, ci_high
        Percentiles 2.5 and 97.5 of 1000 resamples of the test stimuli.
    n_features
        Features of the model, where the study gives them.
    """

    analysis: str
    model: str
    benchmark: str
    metric: str
    r_pattern: float
    ci_low: float | None = None
    ci_high: float | None = None
    n_features: int | None = None


def identify(row: Mapping[str, str], canonical_model: Callable[[str], str] = str) -> tuple[str, str, str]:
    """Return what a line of the table is called here: identifiers of model and benchmark, and of the metric.

    Parameters
    ----------
    row
        A line by the names of its columns.
    canonical_model
        Function from any identifier of a model to its canonical one, for instance
        ``lambda text: registry.model(text).identifier``. Without it, parameters that have their default value are
        written out.

    Raises
    ------
    InputError
        If the line is not of one of :data:`ANALYSES`, or a number in it is none.
    """
    analysis, model = row["analysis"], row["model"]
    if analysis not in ANALYSES:
        raise InputError(
            f"scores of the analysis {analysis!r} have no model and metric here; known: {', '.join(ANALYSES)}"
        )
    given: dict[str, Value] = {}
    if row["width"]:
        given[_WIDTHS.get(model, "filters")] = _whole(row, "width")
    if model.startswith(_EXPANSION):  # the table fills these columns for other models, too, where they mean nothing
        stated = {"init": row["init"], "nonlinearity": row["nonlinearity"]}
        fixed = _FIXED.get(model, {})
        given |= {name: value for name, value in stated.items() if value and fixed.get(name) != value}
    options: dict[str, Value] = {"selection": "paper"}
    if row["n_components"]:
        # Fitted on standardised features there, too, which are then left as they are where they are projected.
        options |= {"components": _whole(row, "n_components"), "standardise": True}
    return canonical_model(canonical(model, given)), row["benchmark"], canonical(METRIC, options)


def read_published(path: Path, canonical_model: Callable[[str], str] = str) -> Iterator[Published]:
    """Read the table and yield the scores of :data:`ANALYSES`, in its order.

    Parameters
    ----------
    path
        The CSV file (UTF-8) with the columns :data:`COLUMNS`.
    canonical_model
        See :func:`identify`.

    Raises
    ------
    MissingDataError
        If the file is not there.
    InputError
        If it is not such a table; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    except FileNotFoundError:
        raise MissingDataError(f"the table of published scores is not there: {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the table of published scores {path} ({error})") from None
    absent = [c for c in COLUMNS if not rows or c not in rows[0]]
    if absent:
        raise InputError(f"{path} is no table of published scores: it has no column {', '.join(absent)}")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}, line {number}: wrong number of columns")
        if row["analysis"] not in ANALYSES:
            continue
        try:
            model, benchmark, metric = identify(row, canonical_model)
            yield Published(
                analysis=row["analysis"],
                model=model,
                benchmark=benchmark,
                metric=metric,
                r_pattern=_number(row, "score"),
                ci_low=_number(row, "ci_low") if row["ci_low"] else None,
                ci_high=_number(row, "ci_high") if row["ci_high"] else None,
                n_features=_whole(row, "n_features") if row["n_features"] else None,
            )
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None


def table_path() -> Path:
    """Return the table that comes with the program: beside this file where it is installed, else in the checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "published.csv"
    return installed if installed.is_file() else here.parent / "leaderboard" / "published.csv"


def published_on(benchmarks: Collection[str]) -> list[Published]:
    """Return the published scores on these benchmarks, of the table that comes with the program.

    Raises
    ------
    MissingDataError, InputError
        If that table is not there or damaged.
    """
    if not benchmarks or not any(score.benchmark in benchmarks for score in read_published(table_path())):
        return []
    from benchmark_core.registry import Registry

    registry = Registry(installed=False)
    every = read_published(table_path(), lambda text: registry.model(text).identifier)
    return [score for score in every if score.benchmark in benchmarks]


def _whole(row: Mapping[str, str], column: str) -> int:
    try:
        return int(row[column])
    except ValueError:
        raise InputError(f"{column} {row[column]!r} is not a whole number") from None


def _number(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{column} {row[column]!r} is not a number")
    return value
