"""What Python programs and notebooks look at: the results of a run, and a leaderboard to filter, sort and write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from benchmark_core import leaderboard_columns
from benchmark_core.errors import InputError, did_you_mean
from benchmark_core.home import expand
from benchmark_core.leaderboard import COLUMNS, leaderboard, one_row_a_model, row_of, to_csv, write_csv
from benchmark_core.records import Score, read_records, records_folder
from benchmark_core.tables import interval, number

if TYPE_CHECKING:
    import pandas as pd


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of the leaderboard as a pandas frame, one row each.

    Columns and order are those of the CSV, types those of their units, whatever the rows: shares and correlations are
    float64 (NaN where there is none), counts Int64, flags boolean (NA), texts objects. A column of numbers is one of
    texts where a row has several (``n_features`` of several models).
    """
    import pandas as pd

    listed = list(rows)
    columns = {}
    for column in leaderboard_columns.COLUMNS:
        values = [row.get(column.name) for row in listed]
        several = any(isinstance(value, str) for value in values)
        columns[column.name] = pd.Series(values, dtype="object" if several else _dtype(column.unit))
    return pd.DataFrame(columns, columns=list(COLUMNS))


def _dtype(unit: str) -> str:
    if unit == "true or false":
        return "boolean"
    if unit == leaderboard_columns.COUNT:
        return "Int64"
    return "object" if {leaderboard_columns.TEXT, leaderboard_columns.HASH} & set(unit.split()) else "float64"


class Results(list[dict[str, Any]]):
    """The results of a run: a list of records, in the order of the cells, failed ones included.

    Notebooks show it as a table.

    Examples
    --------
    >>> from benchmark_core import run
    >>> results = run(["pixels", "expansion5l-256:filters=3"], "simulated.V4")  # doctest: +SKIP
    >>> results.to_frame()[["model", "score", "ci_low", "ci_high"]]  # doctest: +SKIP
    """

    @property
    def scores(self) -> list[Score]:
        """Scores of the cells that have one, in the same order."""
        from benchmark_core.api import as_score

        return [as_score(record) for record in self if record["status"] == "ok"]

    def leaderboard(self) -> Leaderboard:
        """Return the leaderboard of these results alone."""
        return Leaderboard.of(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas frame with a row for each result and the leaderboard's columns."""
        return frame_of(map(row_of, self))

    def __repr__(self) -> str:
        return "\n".join([f"Results of {len(self)} cells", *(f"  {_line(row_of(record))}" for record in self)])

    def _repr_html_(self) -> str:
        from benchmark_core.display import tables_of

        return tables_of(list(map(row_of, self)))


class Leaderboard(Sequence[Mapping[str, Any]]):
    """Rows of score records, ordered by benchmark and metric, the best score first.

    Made by :meth:`read` or :meth:`of`; never changed: :meth:`filter`, :meth:`sort` and :meth:`merge_seeds` return another.
    Notebooks show it as tables.

    Parameters
    ----------
    rows
        With the columns of ``leaderboard.csv``.

    Examples
    --------
    >>> from benchmark_core import Leaderboard
    >>> board = Leaderboard.read("leaderboard/records")  # doctest: +SKIP
    >>> board.filter(benchmark="cowley2023.*", metric="encoding").to_frame()  # doctest: +SKIP
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = tuple(rows)

    @classmethod
    def read(cls, records: Path | str | None = None) -> Leaderboard:
        """Return the leaderboard of a folder of records.

        Parameters
        ----------
        records
            The folder (default: ``BENCH_HOME/records``).

        Raises
        ------
        InputError
            If the folder is not there, or a file in it is not a record.
        """
        return cls(leaderboard(read_records(records_folder(Path(records) if records is not None else None))))

    @classmethod
    def of(cls, scores: Iterable[Score | Mapping[str, Any]]) -> Leaderboard:
        """Return the leaderboard of scores, or of results of :func:`benchmark_core.run`.

        The same cell twice, as in results of two runs, is one row.

        Raises
        ------
        InputError
            If a score has no record: a metric was called without the runner.
        """
        records: dict[str, Mapping[str, Any]] = {}
        for score in scores:
            record = score.record if isinstance(score, Score) else score
            if "models" not in record:
                raise InputError(
                    "a score without a record cannot be on a leaderboard: take those that benchmark_core.score returns"
                )
            records[record["key"]] = record
        return cls(leaderboard(records.values()))

    def filter(self, **wanted: Any) -> Leaderboard:
        """Return the rows whose columns have the values wanted.

        ``in_best_set`` and the figures over seeds are those of all rows: who is left out competed all the same.

        Parameters
        ----------
        **wanted
            Column and value: a text may be a glob (``model="expansion5l*"``), a list stands for any of its entries, None for
            an empty field.

        Raises
        ------
        InputError
            For a column that is not there.

        Examples
        --------
        >>> board.filter(benchmark="cowley2023.V4", status="ok", trained=False)  # doctest: +SKIP
        """
        for column in wanted:
            _check_column(column)
        return Leaderboard(
            row for row in self._rows if all(_matches(row[column], value) for column, value in wanted.items())
        )

    def sort(self, by: str = "score", *, ascending: bool | None = None) -> Leaderboard:
        """Return the rows in the order of one column, across benchmarks; ties stay as they are, empty fields come last.

        Parameters
        ----------
        by
            The column.
        ascending
            By default texts are, numbers are not.

        Raises
        ------
        InputError
            For a column that is not there.
        """
        _check_column(by)
        empty = [row for row in self._rows if row[by] is None]
        rest = [row for row in self._rows if row[by] is not None]
        texts = any(isinstance(row[by], str) for row in rest)
        up = texts if ascending is None else ascending
        rest.sort(key=lambda row: str(row[by]) if texts else row[by], reverse=not up)
        return Leaderboard([*rest, *empty])

    def merge_seeds(self) -> Leaderboard:
        """Return one row for the draws of a model: their mean score, with the spread over draws in ``seed_sd``."""
        return Leaderboard(one_row_a_model(self._rows))

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas frame with the columns of ``leaderboard.csv``."""
        return frame_of(self._rows)

    def to_csv(self, path: Path | str | None = None) -> str | None:
        """Write the rows as ``bench leaderboard --csv`` does, or return the text where no path is given.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        if path is None:
            return to_csv(self._rows)
        write_csv(self._rows, expand(Path(path)))
        return None

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Leaderboard: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Leaderboard:
        return Leaderboard(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    def __repr__(self) -> str:
        from benchmark_core.display import MOST_ROWS

        lines = [f"Leaderboard of {len(self)} rows", *(f"  {_line(row)}" for row in self._rows[:MOST_ROWS])]
        more = len(self) - MOST_ROWS
        return "\n".join(lines + ([f"  and {more} more: to_frame() has all"] if more > 0 else []))

    def _repr_html_(self) -> str:
        from benchmark_core.display import tables_of

        return tables_of(self._rows)


def _check_column(column: str) -> None:
    if column not in COLUMNS:
        raise InputError(
            f"the leaderboard has no column {column!r}.{did_you_mean(column, list(COLUMNS))} Columns: {', '.join(COLUMNS)}"
        )


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, tuple, set, frozenset)):
        return any(_matches(value, one) for one in wanted)
    if isinstance(value, str) and isinstance(wanted, str):
        return value == wanted or fnmatchcase(value, wanted)
    return bool(value == wanted)


def _line(row: Mapping[str, Any]) -> str:
    """Return a row as a line of text."""
    score = f"{number(row['score'])} ({interval(row)})" if row["status"] == "ok" else str(row["status"])
    models = f"{row['model']} on " if row["model"] else ""
    return f"{score}  {models}{row['benchmark']}, {row['metric']}" + (f", {row['layer']}" if row["model"] else "")
