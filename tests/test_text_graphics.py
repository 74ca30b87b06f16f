"""Bars, sparklines and histograms of characters."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_core.text_graphics import (
    ASCII,
    UNICODE,
    Axis,
    bar,
    characters,
    histogram,
    quantiles,
    shortened,
    sparkline,
)

numbers = st.floats(-1e3, 1e3, allow_nan=False)


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), ("cp437", ASCII)]
)
def test_ascii_where_the_encoding_lacks_a_character(encoding: str, expected: object) -> None:
    assert characters(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is expected
    assert characters(io.StringIO()) is ASCII  # no encoding at all
    for drawn in (UNICODE, ASCII):
        assert len(drawn.levels) == 8
        assert {len(c) for c in (drawn.left, drawn.line, drawn.right, drawn.point, drawn.alone, drawn.ellipsis)} == {1}
    assert "".join(ASCII.levels + ASCII.left + ASCII.point + ASCII.ellipsis).isascii()


def test_a_bar_lies_where_the_interval_is() -> None:
    axis = Axis(0.0, 1.0)
    assert bar({"score": 0.55, "ci_low": 0.35, "ci_high": 0.75}, axis, 10, ASCII) == "   |-o-|  "
    assert bar({"score": 0.55, "ci_low": 0.35, "ci_high": 0.75}, axis, 10, UNICODE) == "   ├─●─┤  "
    assert bar({"score": 0.55, "ci_low": None, "ci_high": None}, axis, 10, ASCII) == "     o    "
    assert bar({"score": 1.0, "ci_low": 0.95, "ci_high": 1.3}, axis, 10, ASCII) == "         o"
    assert bar({"score": None}, axis, 10, ASCII) == " " * 10
    assert bar({"score": 0.5, "status": "failed"}, axis, 10, ASCII) == " " * 10


@given(st.lists(st.tuples(numbers, st.floats(0, 100)), min_size=1, max_size=6), st.integers(8, 40))
def test_the_axis_has_round_ends_and_holds_everything(pairs: list[tuple[float, float]], width: int) -> None:
    rows = [{"score": v, "ci_low": v - half, "ci_high": v + half} for v, half in pairs]
    axis = Axis.of(rows)
    slack = 1e-6 * max(1.0, abs(axis.low), abs(axis.high))
    assert axis.low <= min(0, *(float(r["ci_low"]) for r in rows)) + slack
    assert axis.high >= max(0, *(float(r["ci_high"]) for r in rows)) - slack
    assert len(axis.heading(width)) >= width
    for row in rows:
        drawn = bar(row, axis, width, UNICODE)
        assert len(drawn) == width
        assert drawn.count(UNICODE.point) == 1


@pytest.mark.parametrize(
    ("scores", "ends"),
    [((0.47,), (0, 0.5)), ((-0.02, 0.47), (-0.05, 0.5)), ((92.0,), (0, 95)), ((), (0, 1)), ((0.0,), (0, 1))],
)
def test_ends_of_the_axis(scores: tuple[float, ...], ends: tuple[float, float]) -> None:
    axis = Axis.of([{"score": s} for s in scores])
    assert (axis.low, axis.high) == pytest.approx(ends)


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], UNICODE) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0.5, 1], ASCII) == "_+@"
    assert sparkline([0, None, 1], UNICODE) == "▁ █"
    assert sparkline([0.5], UNICODE, low=0, high=1) == "▅"
    assert sparkline([2, 2], UNICODE) == "▅▅"
    assert sparkline([None, None], UNICODE) == "  "


@given(st.lists(numbers, min_size=1, max_size=200))
def test_histograms_count_everything_once_like_numpy(values: list[float]) -> None:
    counts, low, high = histogram(values, 20)
    assert sum(counts) == len(values)
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    assert low - slack <= min(values)
    assert high + slack >= max(values)
    if max(values) - min(values) > 1e-3:
        assert 1 <= len(counts) <= 24
        edges = np.linspace(low, high, len(counts) + 1)
        inside = [v for v in values if np.abs(edges - v).min() > 1e-6]  # on an edge, rounding decides
        if len(inside) == len(values):
            assert counts == np.histogram(values, edges)[0].tolist()


@given(st.lists(numbers, min_size=1, max_size=60))
def test_quantiles_are_those_of_numpy(values: list[float]) -> None:
    at = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    np.testing.assert_allclose(quantiles(values, at), np.quantile(values, at), rtol=1e-9, atol=1e-9)


def test_long_names_lose_their_middle() -> None:
    assert shortened("expansion5l:filters=300", 15, UNICODE) == "expansi…ers=300"
    assert shortened("short", 15, UNICODE) == "short"
    assert shortened("abcdef", 2, ASCII) == "ab"
    assert all(len(shortened("x" * 30, n, ASCII)) == n for n in range(1, 30))
