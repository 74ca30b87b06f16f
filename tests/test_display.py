"""Scores as notebooks show them: well-formed HTML that is small, escaped, and without colours or script."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_leaderboard import record, with_resamples

from benchmark_core.api import as_score
from benchmark_core.display import BAR, MOST_ROWS
from benchmark_core.records import Score
from benchmark_core.results import Leaderboard, Results


class Reader(HTMLParser):
    """Collect tags, attributes and text; fail on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def full(model: str = "pixels", score: float | None = 0.469, **changes: Any) -> dict[str, Any]:
    """Return a record as the metric ``encoding`` makes it."""
    fields: dict[str, Any] = {
        "ci_low": 0.446,
        "ci_high": 0.491,
        "ceiling": 0.744,
        "r_neuroid": 0.581,
        "r_pattern": 0.908,
        "n_stimuli": 640,
        "n_neuroids": 51,
        "n_neuroids_valid": 50,
        "n_features": 9408,
        "details": {},
        "subjects": {"PE": {"score": 0.469, "ci_low": 0.446, "ci_high": 0.491, "ceiling": 0.744}},
        "warnings": [],
    }
    return record(model, score, **(fields | changes))


def test_a_score_is_one_line_at_the_prompt() -> None:
    assert repr(as_score(full())) == "Score(0.469, 95 % 0.446 to 0.491, pixels on toy.V4, encoding, layer output)"
    assert repr(Score(0.25)) == "Score(0.250)"
    assert repr(Score(None)) == "Score(no value)"
    assert repr(as_score(full(None, models=[], ci_low=None, layer=""))) == "Score(0.469, toy.V4, encoding)"


def test_the_card_of_a_score() -> None:
    found = Reader(as_score(full(warnings=["penalty at the edge"]))._repr_html_())
    text = " ".join(found.texts)
    for part in ("pixels on toy.V4 v1", "0.469", "0.446 to 0.491", "0.744", "640 stimuli, 50 neuroids, 9408 features"):
        assert part in text
    assert "note: penalty at the edge" in text
    assert "PE" not in text  # a single subject says what the score says
    two = {"PE": {"score": 0.5, "ceiling": 0.7}, "WE": {"score": None, "ceiling": 0.1}}
    text = " ".join(Reader(as_score(full(subjects=two))._repr_html_()).texts)
    assert "PE 0.500 - 0.700 WE - - 0.100" in text


def test_a_score_that_no_runner_made_has_a_card() -> None:
    text = " ".join(Reader(Score(0.25, fields={"r_neuroid": 0.5, "n_stimuli": 12})._repr_html_()).texts)
    assert "0.250" in text
    assert "12 stimuli" in text
    assert "no value" in Score(None)._repr_html_()


def circles(found: Reader) -> list[float]:
    return [float(attributes["cx"] or "nan") for tag, attributes in found.tags if tag == "circle"]


def test_bars_share_an_axis_from_0_to_1() -> None:
    scores = (1.0, 0.5, 0.0)
    rows = [full(f"m{s}", s, ci_low=s - 0.0, ci_high=s, key=f"{s}") for s in scores]
    high, half, zero = circles(Reader(Leaderboard.of(rows)._repr_html_()))
    assert 0 < zero < half < high < BAR[0]
    assert half == pytest.approx((zero + high) / 2, abs=0.1)
    (alone,) = circles(Reader(as_score(rows[1])._repr_html_()))
    assert alone == half


def test_bars_of_a_count_go_as_far_as_its_intervals() -> None:
    rows = [full("a", 59.0, ci_low=50.0, ci_high=60.0, key="a"), full("b", 3.0, ci_low=2.0, ci_high=4.0, key="b")]
    ends = [
        (float(a["x1"] or "nan"), float(a["x2"] or "nan"))
        for tag, a in Reader(Leaderboard.of(rows)._repr_html_()).tags
        if tag == "line" and "stroke-width" in a
    ]
    assert all(0 < low < high < BAR[0] for low, high in ends)
    assert "more" not in Results(rows)._repr_html_()


def test_nothing_is_drawn_without_an_interval() -> None:
    found = Reader(Leaderboard.of([record("m", 0.5)])._repr_html_())
    assert found.count("svg") == 0
    failed = Reader(Results([full(score=None, status="failed", error="no memory")])._repr_html_())
    assert "failed" in failed.texts
    assert failed.count("svg") == 0


def test_tables_are_apart_by_benchmark_and_metric_and_mark_the_best_set() -> None:
    rows = [with_resamples("a", 0.5, 1), with_resamples("c", 0.4, 3), full("a", metric="rsa", key="r")]
    found = Reader(Leaderboard.of(rows)._repr_html_())
    assert found.count("table") == 2
    assert "0.500*" in found.texts
    assert "0.400" in found.texts
    assert "* cannot be told from the best (all pairs, 5 %)" in found.texts


def test_long_tables_are_cut_and_say_so() -> None:
    rows = [full(f"m{i}", 0.3, key=str(i)) for i in range(MOST_ROWS + 7)]
    found = Reader(Leaderboard.of(rows)._repr_html_())
    assert found.count("tr") == MOST_ROWS + 1
    assert f"7 more of {MOST_ROWS + 7} rows: to_frame() has all" in found.texts
    assert repr(Leaderboard.of(rows)).endswith("and 7 more: to_frame() has all")
    assert len(Leaderboard.of(rows)._repr_html_()) < 60_000


def test_an_empty_leaderboard_says_so() -> None:
    assert "no scores" in Leaderboard([])._repr_html_()
    assert repr(Leaderboard([])) == "Leaderboard of 0 rows"
    assert "no scores" in Results()._repr_html_()


TAGS = set(re.findall(r"\w+", "div p strong table thead tbody tr th td svg line circle"))
HOSTILE = '<script>alert("x")</script> & \'"><b>'


@given(st.one_of(st.just(HOSTILE), st.text(max_size=30)))
def test_whatever_stands_in_a_record_is_text(text: str) -> None:
    odd = full(
        text,
        benchmark=text,
        metric=text,
        layer=text,
        key=text,
        warnings=[text],
        subjects={text: {"score": 1}, "b": {"score": 2}},
    )
    for markup in (as_score(odd)._repr_html_(), Leaderboard.of([odd])._repr_html_(), Results([odd])._repr_html_()):
        found = Reader(markup)
        assert {tag for tag, _ in found.tags} <= TAGS
        assert text in "".join(found.texts) or not text.strip() or "\r" in text


def test_no_colours_scripts_or_addresses() -> None:
    rows = [with_resamples("a", 0.5, 1, ci_low=0.4, ci_high=0.6), with_resamples("b", 0.4, 3)]
    for markup in (as_score(full())._repr_html_(), Leaderboard.of(rows)._repr_html_()):
        assert not re.search(r"script|http|class=|color:|background|#[0-9a-f]{3}", markup)
        assert set(re.findall(r'(?:stroke|fill)="([^"]*)"', markup)) == {"currentColor"}
        assert set(re.findall(r'style="([^"]*)"', markup)) <= {"text-align:left"}
