"""Reading tables, block by block: CSV in the dialects that spreadsheets write, and parquet."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark_core.errors import InputError, did_you_mean

CSV_SUFFIXES = (".csv", ".tsv", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})  # in lower case
CELLS = 500_000  # in one block
FOREIGN = (
    ((b"PK\x03\x04", b"\xd0\xcf\x11\xe0"), "an Excel file or an archive; save the sheet as CSV"),
    ((b"\x89HDF", b"CDF"), "a netCDF or HDF5 file; name it .nc"),
    ((b"PAR1",), "a parquet file; name it .parquet"),
    ((b"\x93NUMPY",), "a NumPy array; name it .npy"),
    ((b"\xff\xfe", b"\xfe\xff"), "UTF-16 text; save it as 'CSV UTF-8'"),
    ((b"\x80\x04", b"\x80\x05"), "a Python pickle, which is never opened; save it as CSV, npy or netCDF"),
)
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")

Reader = Callable[[Sequence[str], Sequence[str]], Iterator["Block"]]


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of a table.

    Parameters
    ----------
    texts
        Columns that were asked for as texts; missing values are empty.
    numbers
        (n_rows, n_columns) float64, the columns that were asked for as numbers; NaN where a value is missing.
    """

    texts: dict[str, list[str]]
    numbers: np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """A table on disk; ``blocks(texts, numbers)`` reads the columns named, as texts and as numbers.

    It raises :class:`InputError` that names line and column for what is no number.
    """

    path: Path
    columns: tuple[str, ...]
    blocks: Reader

    def column(self, name: str, purpose: str) -> str:
        """Return ``name`` if it is a column.

        Raises
        ------
        InputError
            With the columns that there are.
        """
        if name not in self.columns:
            hint = did_you_mean(name, list(self.columns)) or f" It has {name_some(self.columns)}."
            raise InputError(f"{self.path} has no column {name!r} ({purpose}).{hint}")
        return name


def name_some(names: Sequence[str], most: int = 8) -> str:
    """Name the first of many columns, and say how many more there are."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def open_table(path: Path, decimal: str = ".") -> Table:
    """Read the header of a CSV or parquet file.

    Parameters
    ----------
    path
        The file.
    decimal
        ``.`` or ``,``: how a CSV file writes numbers.

    Raises
    ------
    InputError
        If it is no table: empty, binary, without a header, or with two columns of one name.
    """
    return _open_parquet(path) if path.suffix.lower() in PARQUET_SUFFIXES else _open_csv(path, decimal)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, stripped; empty ones at the end are left out.

    Raises
    ------
    InputError
        If it is empty, not UTF-8, or has an empty line between others.
    """
    _look(path)
    with _reading(path):
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not all(lines):
        raise InputError(f"{path}, line {lines.index('') + 1} is empty; every line must hold one id")
    if not lines:
        raise InputError(f"{path} is empty; it must hold one id a line")
    return lines


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as 'CSV UTF-8'") from None
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as CSV ({error}); save it as 'CSV UTF-8'") from None


def _look(path: Path) -> bytes:
    """Return the beginning of a text file, or raise for what is none."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file")
    with _reading(path), path.open("rb") as handle:
        beginning = handle.read(1 << 16)
    if not beginning.strip():
        raise InputError(f"{path} is empty")
    for starts, what in FOREIGN:
        if beginning.startswith(starts):
            raise InputError(f"{path} is {what}")
    return beginning


def check_header(path: Path, columns: Sequence[str]) -> None:
    """Check that the names of columns are names, and all different.

    Raises
    ------
    InputError
        Naming those that are not.
    """
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise InputError(f"{path} has {name_some(repeated)} twice among its columns; give each a name of its own")
    if len(columns) > 1 and all(_is_number(name) for name in columns[1:]) and _is_number(columns[-1]):
        unnamed = "its first line holds numbers: put names of columns above"
        if any("." in name or name.lower() == "nan" for name in columns):
            raise InputError(f"{path} has no header; {unnamed}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _open_csv(path: Path, decimal: str) -> Table:
    beginning = _look(path).decode("utf-8-sig", errors="replace")
    first = re.sub(r'"[^"]*"', "", next(line for line in beginning.splitlines() if line.strip()))
    delimiter = max(",;\t|", key=first.count)  # of several as frequent, the first
    if first.count(delimiter) == 0:
        delimiter = ","
    if decimal == "," and delimiter == ",":
        raise InputError(f"{path} separates columns by commas, so numbers in it have no decimal commas: drop --decimal")
    with _reading(path), path.open(newline="", encoding="utf-8-sig") as handle:
        header = next(row for row in csv.reader(handle, delimiter=delimiter) if any(cell.strip() for cell in row))
    columns = tuple(name.strip() for name in header)
    while columns and not columns[-1]:  # a separator at the end of every line
        columns = columns[:-1]
    check_header(path, columns)

    def blocks(texts: Sequence[str], numbers: Sequence[str]) -> Iterator[Block]:
        text_at = {name: columns.index(name) for name in texts}
        number_at = {name: columns.index(name) for name in numbers}
        n_rows = max(1, CELLS // len(columns))
        rows: list[list[str]] = []
        lines: list[int] = []

        def block() -> Block:
            found = {name: [row[at].strip() for row in rows] for name, at in text_at.items()}
            result = Block(found, _numbers(path, rows, lines, number_at, decimal))
            rows.clear()
            lines.clear()
            return result

        with _reading(path), path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            seen_header = False
            for row in reader:
                if not row or (not row[0].strip() and not any(cell.strip() for cell in row)):
                    continue  # spreadsheets leave empty rows
                if not seen_header:
                    seen_header = True
                    continue
                if len(row) != len(columns) and (len(row) < len(columns) or any(row[len(columns) :])):
                    raise InputError(
                        f"{path}, line {reader.line_num} has {len(row)} fields where the header has {len(columns)}"
                    )
                rows.append(row)
                lines.append(reader.line_num)
                if len(rows) == n_rows:
                    yield block()
        if rows:
            yield block()

    return Table(path, columns, blocks)


def _numbers(
    path: Path, rows: Sequence[Sequence[str]], lines: Sequence[int], columns: dict[str, int], decimal: str
) -> np.ndarray:
    n = len(columns)
    if not n:
        return np.empty((len(rows), 0))
    cells = [row[at] for row in rows for at in columns.values()]
    if decimal == ",":
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        values = np.array(cells, dtype=np.float64)  # Python's own reading of a float: exact to the last digit
    except ValueError:
        names = list(columns)
        values = np.array([_number(path, lines[k // n], names[k % n], cell) for k, cell in enumerate(cells)])
    values = values.reshape(len(rows), n)
    if np.isinf(values).any():
        row, at = np.argwhere(np.isinf(values))[0]
        raise InputError(f"{path}, line {lines[row]}, column {list(columns)[at]!r}: an infinite value; leave it empty")
    return values


def _number(path: Path, line: int, column: str, cell: str) -> float:
    cell = cell.strip()
    if cell.lower() in MISSING:
        return math.nan
    try:
        return float(cell)
    except ValueError:
        fix = f"correct it, or leave the column out with --ignore {column!r}"
        if _COMMA.fullmatch(cell):
            fix = "where the comma is a decimal comma, add --decimal ,"
        raise InputError(f"{path}, line {line}, column {column!r}: {cell!r} is not a number; {fix}") from None


def _open_parquet(path: Path) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(
            f"reading {path} needs pyarrow: pip install 'cortex-bench[parquet]' (or pip install pyarrow)"
        ) from None
    if path.is_dir():
        raise InputError(f"{path} is a folder; name one parquet file")

    @contextmanager
    def reading() -> Iterator[None]:
        with _reading(path):
            try:
                yield
            except pyarrow.ArrowException as error:
                raise InputError(f"{path} cannot be read as parquet ({' '.join(str(error).split())})") from None

    with reading(), parquet.ParquetFile(path) as file:
        columns = tuple(str(name) for name in file.schema_arrow.names)
        n_rows = file.metadata.num_rows
    if not n_rows or not columns:
        raise InputError(f"{path} is empty")
    check_header(path, columns)

    def blocks(texts: Sequence[str], numbers: Sequence[str]) -> Iterator[Block]:
        wanted = [*texts, *numbers]
        size = max(1, CELLS // max(1, len(wanted)))
        row = 0
        with reading(), parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=size, columns=wanted):
                found = {name: [_text(v) for v in batch.column(name).to_pylist()] for name in texts}
                values = np.empty((batch.num_rows, len(numbers)))
                for at, name in enumerate(numbers):
                    values[:, at] = _parquet_numbers(path, name, batch.column(name), row)
                row += batch.num_rows
                yield Block(found, values)

    return Table(path, columns, blocks)


def _parquet_numbers(path: Path, name: str, column: Any, first: int) -> np.ndarray:
    import pyarrow

    kind = column.type
    numeric = (pyarrow.types.is_integer, pyarrow.types.is_floating, pyarrow.types.is_decimal, pyarrow.types.is_null)
    if not any(fits(kind) for fits in numeric):
        raise InputError(
            f"{path}, column {name!r} holds {kind}, not numbers; correct it, or leave the column out with "
            f"--ignore {name!r}"
        )
    values: np.ndarray = column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    if np.isinf(values).any():
        row = first + int(np.flatnonzero(np.isinf(values))[0])
        raise InputError(f"{path}, row {row}, column {name!r}: an infinite value; leave it empty")
    return values


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value).strip()
