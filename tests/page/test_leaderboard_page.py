"""The page is one valid file, the same bytes for the same records, and nothing in a record can become markup."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_records import HOSTILE, many, record, rich

from benchmark_core.errors import InputError
from benchmark_core.leaderboard import leaderboard_entries
from benchmark_core.leaderboard_page import (
    LIBRARY,
    SCRIPTS,
    _families,
    in_script,
    page_data,
    to_html,
    write_html,
)
from benchmark_core.published import Published
from benchmark_core.records import read_records

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGE = REPOSITORY / "benchmark_core" / "page"
COMMITTED = REPOSITORY / "leaderboard" / "leaderboard.html"


class Elements(HTMLParser):
    """All elements of a document with their attributes, and the texts of its scripts and styles."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style") and self.cdata_elem:
            self.texts.append((*self.found[-1], data))

    def raw(self, tag: str, **attributes: str) -> list[str]:
        """Return the texts of scripts or styles that have exactly these attributes."""
        whole: dict[int, str] = {}
        for name, given_, text in self.texts:
            if name == tag and given_ == attributes:
                whole[id(given_)] = whole.get(id(given_), "") + text
        return list(whole.values())


@pytest.fixture(scope="module")
def page() -> str:
    return to_html(leaderboard_entries(rich(), []))


def data_of(document: str) -> Any:
    (text,) = Elements(document).raw("script", type="application/json", id="data")
    return json.loads(text)


@pytest.mark.parametrize("which", ["synthetic", "committed"])
def test_the_html_is_valid(page: str, which: str) -> None:
    document = page if which == "synthetic" else COMMITTED.read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(document)
    ids = [a["id"] for _, a in Elements(document).found if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_committed_page_is_what_the_records_give(tmp_path: Path) -> None:
    write_html(leaderboard_entries(read_records(REPOSITORY / "leaderboard" / "records")), tmp_path / "again.html")
    same = (tmp_path / "again.html").read_bytes() == COMMITTED.read_bytes()
    assert same, "leaderboard/leaderboard.html is not that of the records; run `make leaderboard`"


def test_the_order_of_the_records_changes_no_byte(page: str) -> None:
    shuffled = rich()
    random.Random(3).shuffle(shuffled)
    assert to_html(leaderboard_entries(shuffled, [])) == page


def test_nothing_is_asked_of_the_network(page: str) -> None:
    elements = Elements(page)
    for tag, attributes in elements.found:
        assert tag not in ("iframe", "object", "embed", "base", "img", "video", "audio", "source")
        for name in ("src", "href", "action", "srcset", "poster", "data", "formaction"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:,")), (tag, name, value)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    (style,) = elements.raw("style")
    assert not re.search(r"@import|url\(|@font-face", style)


def test_the_policy_allows_these_scripts_and_nothing_else(page: str) -> None:
    elements = Elements(page)
    metas = [a for tag, a in elements.found if tag == "meta"]
    assert metas[1]["http-equiv"] == "Content-Security-Policy"  # before anything that it governs
    policy = dict(part.strip().split(" ", 1) for part in (metas[1]["content"] or "").split(";"))
    assert policy["default-src"] == "'none'"  # so connect, font, frame, media, object and worker too
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "data:"

    def hashes(texts: list[str]) -> set[str]:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}

    assert set(policy["script-src"].split()) == hashes(elements.raw("script"))
    assert set(policy["style-src"].split()) == hashes(elements.raw("style"))
    assert len(elements.raw("script")) == 2


def test_a_strangers_names_stay_inside_the_data(page: str) -> None:
    tags = [tag for tag, _ in Elements(page).found]
    assert tags.count("script") == 3
    assert {"img", "b"}.isdisjoint(tags)
    assert HOSTILE in {row["model"] for row in data_of(page)["rows"]}
    raw = Elements(page).raw("script", type="application/json", id="data")[0]
    assert raw.isascii()
    assert not re.search("[<>&]", raw)


@given(st.recursive(st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_text_survives_and_cannot_end_a_script(value: Any) -> None:
    text = in_script(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert "<" not in text


def test_the_scripts_make_text_of_texts() -> None:
    """No way from a string to markup or code."""
    for name in SCRIPTS:
        source = (PAGE / name).read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|fetch\(", source)
    for name in (*SCRIPTS, LIBRARY):
        assert not re.search(r"</script|<!--", (PAGE / name).read_text(encoding="utf-8"), re.IGNORECASE)


def test_the_library_is_the_one_that_its_readme_names() -> None:
    content = (PAGE / LIBRARY).read_bytes()
    readme = (PAGE / "README.md").read_text(encoding="utf-8")
    assert f"sha256  {hashlib.sha256(content).hexdigest()}" in readme
    assert f"size    {len(content)} bytes" in readme
    assert f"`{LIBRARY}`" in readme
    assert "MIT License" in (PAGE / "tanstack-table-core-LICENSE.txt").read_text(encoding="utf-8")
    assert b"@license MIT" in content


def test_the_table_has_a_heading_for_everything_and_every_control_a_label(page: str) -> None:
    root = html5lib.parse(page, namespaceHTMLElements=False)
    columns = {th.get("data-column") for th in root.iter("th")}
    assert {"model", "benchmark", "metric", "score", "interval", "bar", "ceiling", "r", "published", "layer"} <= columns
    assert all(th.get("scope") == "col" for th in root.iter("th"))
    assert root.find(".//table/caption") is not None
    labelled = {control for label in root.iter("label") for control in label if control.tag in ("input", "select")}
    assert labelled == {*root.iter("input"), *root.iter("select")}
    assert root.get("lang") == "en"
    assert root.find(".//dialog").get("aria-labelledby") == "card-title"
    assert {b.get("type") for b in root.iter("button")} == {"button"}


def test_rows_carry_what_the_leaderboard_says() -> None:
    entries = leaderboard_entries(rich(), [])
    data = page_data(entries)
    assert len(data["rows"]) == len(entries)
    for row, entry in zip(data["rows"], entries, strict=True):
        assert row["id"] == entry.row["key"]
        group = data["groups"][row["group"]]
        assert (group["benchmark"], group["metric"]) == (f"{entry.row['benchmark']} v1", entry.row["metric"])
        for ours, theirs in (("score", "score"), ("ci_low", "ci_low"), ("r", "r_neuroid"), ("best", "in_best_set")):
            value = entry.row[theirs]
            assert row.get(ours) == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)
            if isinstance(row.get(ours), float):
                assert group["low"] <= row["score"] <= group["high"]
    assert {r["best"] for r in data["rows"] if "best" in r} == {True, False}
    assert data["groups"][data["start"]]["metric"] == "encoding"  # has most scores


def test_draws_of_one_model_are_one_row_at_their_mean() -> None:
    (together,) = page_data(leaderboard_entries(rich(), []))["draws"]
    assert together["model"] == "deep-untrained"
    assert together["score"] == pytest.approx(0.22)
    assert together["draws"]["sd"] == pytest.approx(0.0282843)
    rows = page_data(leaderboard_entries(rich(), []))["rows"]
    assert sorted(rows[i]["model"] for i in together["members"]) == ["deep-untrained", "deep-untrained:seed=1"]


def test_scales_hold_scores_and_ceilings() -> None:
    groups = {
        (g["benchmark"], g["metric"]): (g["low"], g["high"])
        for g in page_data(leaderboard_entries(rich(), []))["groups"]
    }
    assert groups["toy.V4 v1", "encoding"] == (0, 1)
    assert groups["faces.IT v1", "rsa"] == (
        pytest.approx(-0.01),
        pytest.approx(0.6),
    )  # an interval below 0; the upper bound
    assert groups["toy.V4 v1", "spectrum"] == (0, 7.5)


def test_versions_of_a_benchmark_are_apart() -> None:
    data = page_data(leaderboard_entries([record("a", key="1"), record("a", benchmark_version=2, key="2")], []))
    assert [g["benchmark"] for g in data["groups"]] == ["toy.V4 v1", "toy.V4 v2"]


def test_published_numbers_stand_beside_ours() -> None:
    theirs = Published("main", "pixels", "majajhong.V4", "encoding:selection=paper", 0.41, 0.39, 0.43)
    ours = [record("pixels", benchmark="majajhong.V4", key="a"), record("pixels", key="b")]
    rows = {r["benchmark"]: r for r in page_data(leaderboard_entries(ours, [theirs]))["rows"]}
    shown = rows["majajhong.V4 v1"]["published"]
    assert (shown["r_pattern"], shown["ci_low"], shown["ci_high"]) == (0.41, 0.39, 0.43)
    assert "zenodo" in shown["source"]
    assert "published" not in rows["toy.V4 v1"]


def test_families() -> None:
    names = [
        "expansion5l:filters=3",
        "expansion5l-256",
        "alexnet-untrained:seed=2",
        "alexnet-trained",
        "vit-custom:D=12",
    ]
    names += ["vit-untrained", "timm/resnet50.a1_in1k", "own/Net:module=@ab", "pixels"]
    found = _families(names)
    assert [found[n] for n in names] == [
        *("expansion5l", "expansion5l", "alexnet", "alexnet", "vit", "vit", "timm", "own/Net", "pixels")
    ]


def test_a_page_without_scores_is_a_page() -> None:
    document = to_html(leaderboard_entries([], []))
    html5lib.HTMLParser(strict=True).parse(document)
    assert data_of(document)["rows"] == []


def test_two_thousand_rows_stay_below_four_megabytes() -> None:
    assert len(to_html(leaderboard_entries(many(), []))) < 4e6


def test_a_folder_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; name the HTML file to write, e\.g\. .*leaderboard\.html"):
        write_html([], tmp_path)


def test_numbers_have_six_digits_and_nothing_else_is_lost() -> None:
    (row,) = page_data(leaderboard_entries([record(score=1 / 3, details={"x": 2 / 3, "n": 12345678})], []))["rows"]
    assert row["score"] == 0.333333
    values = {r["name"]: r["value"] for t in row["card"]["tables"] for r in t["rows"]}
    assert values == {"x": 0.666667, "n": 12345678}
