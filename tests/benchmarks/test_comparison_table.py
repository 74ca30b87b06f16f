"""The table of ``make bench``: nothing is cut off, and what is not there stays empty."""

from __future__ import annotations

from comparison_table import WIDEST, table


def test_rows_become_aligned_lines() -> None:
    long = "kernel and metric stage of a single subject and region, in single precision, decomposition included"
    rows = [
        {
            "what": long,
            "size": "3200 x 108000",
            "ours_s": 15.24,
            "baseline": "himalaya",
            "baseline_s": 30.85,
            "ratio": 2.024,
        },
        {"what": "kernel", "size": "n", "ours_s": 0.5, "limit": "92 GFLOP/s", "share_of_limit": 0.671, "threads": 2},
        {"what": "alone", "size": "", "ours_s": None} | dict.fromkeys(("baseline", "baseline_s", "ratio", "limit")),
    ]
    lines = table(rows)
    text = " ".join(" ".join(lines).split())
    assert all(word in text for word in long.split())
    assert "15.2 s" in text
    assert "2.02" in text
    assert "0.67 of 92 GFLOP/s" in text
    assert "0.500 s" in text
    assert "None" not in text
    ends = {line.index("15.2 s") + 6 for line in lines if "15.2 s" in line}
    assert ends == {lines[0].index("ours") + 4}
    assert max(len(line.split("  ")[0]) for line in lines) <= WIDEST
