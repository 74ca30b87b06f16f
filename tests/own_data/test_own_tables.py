"""Tables are read to the last digit, in the dialects that spreadsheets write."""

from __future__ import annotations

import builtins
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark_core import own_data_tables
from benchmark_core.errors import InputError
from benchmark_core.own_data_tables import open_table, read_lines


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def whole(path: Path, texts: list[str], numbers: list[str], **options: Any) -> tuple[list[list[str]], np.ndarray]:
    blocks = list(open_table(path, **options).blocks(texts, numbers))
    return [[t for b in blocks for t in b.texts[name]] for name in texts], np.concatenate([b.numbers for b in blocks])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=8))
def test_numbers_come_back_bit_for_bit(tmp_path: Path, values: list[float]) -> None:
    path = write(tmp_path / "t.csv", "id,x\n" + "".join(f"a{i},{v!r}\n" for i, v in enumerate(values)))
    _, numbers = whole(path, ["id"], ["x"])
    assert np.array_equal(numbers[:, 0], np.array(values), equal_nan=True)


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("id,x,y\na,1.5,2\nb,-1e-3,\n", "."),
        ("\ufeffid,x,y\r\na,1.5,2\r\nb,-1e-3,NaN\r\n", "."),
        ("id;x;y\na;1.5;2\nb;-1e-3;NA\n", "."),
        ("id;x;y\na;1,5;2\nb;-1e-3;n/a\n", ","),
        ("id\tx\ty\na\t1.5\t2\nb\t-1e-3\tnull\n", "."),
        ('"id","x","y",\na, 1.5 ,"2",\n\nb,-1e-3,none,\n,,,\n', "."),
    ],
)
def test_dialects_say_the_same(tmp_path: Path, text: str, decimal: str) -> None:
    texts, numbers = whole(write(tmp_path / "t.csv", text), ["id"], ["x", "y"], decimal=decimal)
    assert texts == [["a", "b"]]
    assert np.array_equal(numbers, [[1.5, 2.0], [-1e-3, math.nan]], equal_nan=True)


def test_ids_are_texts_whatever_they_look_like(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,x\n007,1\nNaN,2\n1e5,3\nTrue,4\n")
    assert whole(path, ["id"], ["x"])[0] == [["007", "NaN", "1e5", "True"]]


def test_blocks_do_not_change_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"s{i}", i / 7) for i in range(50)]
    csv_path = write(tmp_path / "t.csv", "id,x\n" + "".join(f"{a},{b!r}\n" for a, b in rows))
    parquet_path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": [a for a, _ in rows], "x": [b for _, b in rows]}), parquet_path)
    for cells in (1, 14, 500_000):
        monkeypatch.setattr(own_data_tables, "CELLS", cells)
        for path in (csv_path, parquet_path):
            texts, numbers = whole(path, ["id"], ["x"])
            assert texts == [[a for a, _ in rows]]
            assert numbers[:, 0].tolist() == [b for _, b in rows]


def test_parquet_takes_any_numbers_and_any_ids(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "number": pyarrow.array([1, 2, 3], pyarrow.int64()),
            "bytes": pyarrow.array([b"a", b"b", b"c"]),
            "category": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
            "float32": pyarrow.array([0.5, None, 2.5], pyarrow.float32()),
            "int8": pyarrow.array([1, 2, None], pyarrow.int8()),
            "nothing": pyarrow.nulls(3),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    texts, numbers = whole(tmp_path / "t.parquet", ["number", "bytes", "category"], ["float32", "int8", "nothing"])
    assert texts == [["1", "2", "3"], ["a", "b", "c"], ["x", "y", "x"]]
    nan = math.nan
    assert np.array_equal(numbers, [[0.5, 1, nan], [nan, 2, nan], [2.5, nan, nan]], equal_nan=True)


def test_parquet_without_pyarrow_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'cortex-bench\[parquet\]'"):
        open_table(write(tmp_path / "t.parquet", b"PAR1"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("  \n \n", "is empty"),
        ("id,x,x\na,1,2\n", "has 'x' twice among its columns"),
        ("0.1,0.5,1.5\n1,2,3\n", "has no header"),
        (b"PK\x03\x04xxxx", "an Excel file or an archive; save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0xxxx", "an Excel file"),
        (b"\xff\xfei\x00d\x00", "UTF-16"),
        (b"\x80\x04\x95abc", "pickle, which is never opened"),
        (b"id,x\n\xe4,1\n", "is not UTF-8 text"),
        ("id,x\na,1\nb,2,3\n", "line 3 has 3 fields where the header has 2"),
        ("id,x\na,1\nb\n", "line 3 has 1 fields"),
        ("id,x\na,1\nb,two\n", "line 3, column 'x': 'two' is not a number"),
        ("id;x\na;1,5\n", "add --decimal ,"),
        ("id,x\na,inf\n", "line 2, column 'x': an infinite value"),
        ('id,x\na,"1\n', "cannot be read as CSV"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: str | bytes, words: str) -> None:
    path = write(tmp_path / "t.csv", content)
    with pytest.raises(InputError) as caught:
        whole(path, ["id"], ["x"])
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [(b"PAR1 not quite", "cannot be read as parquet"), (b"", "cannot be read as parquet")]
)
def test_a_damaged_parquet_file_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_table(write(tmp_path / "t.parquet", content))


def test_text_in_a_number_column_of_parquet_is_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"], "x": ["1"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column 'x' holds string, not numbers"):
        whole(tmp_path / "t.parquet", ["id"], ["x"])


def test_a_comma_cannot_part_columns_and_decimals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="drop --decimal"):
        open_table(write(tmp_path / "t.csv", "id,x\na,1\n"), decimal=",")


def test_lines_of_ids(tmp_path: Path) -> None:
    assert read_lines(write(tmp_path / "ids.txt", "\ufeffa\r\n b \r\nc\r\n\r\n")) == ["a", "b", "c"]
    with pytest.raises(InputError, match="line 2 is empty"):
        read_lines(write(tmp_path / "ids.txt", "a\n\nb\n"))
