"""The table that ``make bench`` ends with: ours, baseline, ratio and share of the limit, of the benchmarks that ran."""

from __future__ import annotations

from typing import Any

import pytest
from comparison_table import table


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the rows that benchmarks left in ``extra_info``; each beside what it was compared with in the same test."""
    session = getattr(config, "_benchmarksession", None)
    rows = [row for one in getattr(session, "benchmarks", []) for row in one.extra_info.get("rows", [])]
    if rows:
        terminalreporter.section("ours, baseline, ratio, share of limit")
        for line in table(rows):
            terminalreporter.write_line(line)
        terminalreporter.write_line("Seconds by the clock; (cpu): the ratio of processor times, all threads together.")
