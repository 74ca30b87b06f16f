"""A page with everything on it, and a browser to open it in, where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import chromium
import pytest
from page_driver import Page
from page_records import many, rich

from benchmark_core.leaderboard import leaderboard_entries
from benchmark_core.leaderboard_page import write_html
from benchmark_core.published import Published


@pytest.fixture(scope="session")
def rich_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a page with benchmarks, metrics, draws, failures, a published score and a hostile name; return its address."""
    published = [Published("main", "plain", "toy.V4", "encoding:selection=paper", 0.8, 0.78, 0.82)]
    path = tmp_path_factory.mktemp("page") / "rich.html"
    write_html(leaderboard_entries(rich(), published), path)
    return path.as_uri()


@pytest.fixture(scope="session")
def many_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a page of 2000 rows; return its address."""
    path = tmp_path_factory.mktemp("page") / "many.html"
    write_html(leaderboard_entries(many(), []), path)
    return path.as_uri()


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Chromium, or skip the test."""
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    if driver is None:
        pytest.skip("no chromium and chromedriver on the PATH (or in BENCH_CHROMIUM, BENCH_CHROMEDRIVER)")
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the source of axe-core, or skip the test."""
    cache = getattr(request.config, "cache", None)  # absent under -p no:cacheprovider
    source = chromium.axe_script(cache.mkdir("axe") if cache else tmp_path_factory.mktemp("axe"))
    if source is None:
        pytest.skip("no axe-core: name axe.min.js with BENCH_AXE, or let npm fetch it")
    return source


@pytest.fixture
def page(chrome: Any) -> Page:
    """Return what opens pages and looks at them."""
    return Page(chrome)
