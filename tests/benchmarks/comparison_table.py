"""Rows of comparisons as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

HEAD = ("what", "size", "ours", "baseline", "", "ratio", "(cpu)", "share of limit", "", "threads", "device")
NUMBERS = {2, 4, 5, 6, 7, 9}  # columns set to the right
WIDEST = 56


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return the texts of a row; see ``timing.row``."""

    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:.3f} s" if value < 1 else f"{value:.1f} s"

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    def text(value: Any) -> str:
        return "" if value is None else str(value)

    return [
        text(row.get("what")),
        text(row.get("size")),
        seconds(row.get("ours_s")),
        text(row.get("baseline")),
        seconds(row.get("baseline_s")),
        number(row.get("ratio")),
        number(row.get("ratio_cpu")),
        number(row.get("share_of_limit")),
        f"of {row['limit']}" if row.get("limit") is not None else "",
        text(row.get("threads")),
        text(row.get("device")),
    ]


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table; texts that are too long go on in the next line."""
    lines: list[list[str]] = [list(HEAD)]
    for row in rows:
        texts = [_folded(text) for text in cells(row)]
        lines += [[text[i] if i < len(text) else "" for text in texts] for i in range(max(map(len, texts)))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return [
        "  ".join(
            text.rjust(width) if column in NUMBERS else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _folded(text: str) -> list[str]:
    """Return a text in lines of at most :data:`WIDEST` letters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDEST:
            lines.append("  " + word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip() if len(lines) == 1 else f"{lines[-1]} {word}"
    return lines
