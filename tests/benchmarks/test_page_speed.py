"""Sorting the leaderboard's page: 2000 rows in headless Chromium, processor time of the page's thread."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import chromium
import pytest

from benchmark_core.leaderboard import leaderboard_entries
from benchmark_core.leaderboard_page import write_html

sys.path.append(str(Path(__file__).resolve().parent.parent / "page"))
from page_records import many

LIMIT = 0.2


@pytest.mark.parametrize("column", ["score", "model"])
def test_sort_two_thousand_rows(benchmark: Any, tmp_path: Path, column: str) -> None:
    path = tmp_path / "many.html"
    write_html(leaderboard_entries(many(2000), []), path)
    driver = chromium.start(tmp_path / "profile")
    if driver is None:
        pytest.skip("no chromium and chromedriver")
    try:
        driver.get(path.as_uri() + "#sort=-features")
        click = f"document.querySelector('th[data-column={column}] button').click()"
        took: list[float] = []
        benchmark.pedantic(lambda: took.append(chromium.cpu_seconds(driver, click)["TaskDuration"]), rounds=7)
    finally:
        driver.quit()
    median = sorted(took[1:])[len(took[1:]) // 2]
    benchmark.extra_info["rows"] = [
        {
            "what": f"page: sort by {column}, drawing included (processor time)",
            "size": "2000 rows",
            "ours_s": median,
            "baseline": None,
            "baseline_s": None,
            "ratio": None,
            "limit": f"{LIMIT} s",
            "share_of_limit": median / LIMIT,
            "threads": 1,
            "device": "cpu",
        }
    ]
