"""Small graphics made of characters: interval bars, sparklines and histograms, in Unicode or plain ASCII."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

_BLOCKS = "▁▂▃▄▅▆▇█"
_LEVELS = "_.-=+*#@"  # rising, one for each block


@dataclass(frozen=True)
class Characters:
    """What graphics are drawn with.

    Parameters
    ----------
    levels
        From low to high.
    left, line, right, point, alone
        An interval's ends and line, the value on it, and a value without an interval.
    ellipsis
        For what is left out.
    """

    levels: str
    left: str
    line: str
    right: str
    point: str
    alone: str
    ellipsis: str


UNICODE = Characters(_BLOCKS, "├", "─", "┤", "●", "●", "…")
ASCII = Characters(_LEVELS, "|", "-", "|", "o", "o", "~")


def characters(stream: TextIO | None = None) -> Characters:
    """Return what a stream (stdout if left out) can show: ASCII where its encoding lacks one of the others."""
    encoding = getattr(sys.stdout if stream is None else stream, "encoding", None) or "ascii"
    try:
        "".join((UNICODE.levels, UNICODE.left, UNICODE.line, UNICODE.right, UNICODE.point, UNICODE.ellipsis)).encode(
            encoding
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


@dataclass(frozen=True)
class Axis:
    """From where to where bars of several scores are drawn."""

    low: float
    high: float

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Axis:
        """Return an axis with round ends that holds zero, and all scores and intervals."""
        known = [float(v) for row in rows for n in ("score", "ci_low", "ci_high") if (v := row.get(n)) is not None]
        low, high = min([0.0, *known]), max([0.0, *known])
        if high == low:
            return cls(0.0, 1.0)
        step = 10.0 ** math.floor(math.log10(high - low)) / 2
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)

    def heading(self, width: int) -> str:
        """Return the ends as a heading of this width at least."""
        low, high = f"{self.low:.6g}", f"{self.high:.6g}"
        return low + " " * max(1, width - len(low) - len(high)) + high


def bar(row: Mapping[str, Any], axis: Axis, width: int, drawn: Characters) -> str:
    """Return a score and its interval on an axis, ``width`` characters wide; spaces where there is no score."""
    if row.get("score") is None or row.get("status", "ok") != "ok":
        return " " * width

    def place(value: float) -> int:
        share = (value - axis.low) / (axis.high - axis.low)
        return min(width - 1, max(0, int(share * width)))

    cells = [" "] * width
    low, high = row.get("ci_low"), row.get("ci_high")
    at = place(row["score"])
    if low is None or high is None:
        cells[at] = drawn.alone
        return "".join(cells)
    first, last = place(low), place(high)
    cells[first : last + 1] = drawn.line * (last - first + 1)
    cells[first], cells[last] = drawn.left, drawn.right
    cells[at] = drawn.point
    return "".join(cells)


def sparkline(
    values: Sequence[float | None], drawn: Characters, low: float | None = None, high: float | None = None
) -> str:
    """Return one character for each value, from the lowest to the highest level; a space for None.

    Parameters
    ----------
    values
        Numbers, or None.
    drawn
        Characters.
    low, high
        What the lowest and highest level stand for; the least and the largest value if left out.
    """
    known = [v for v in values if v is not None]
    if not known:
        return " " * len(values)
    bottom, top = min(known) if low is None else low, max(known) if high is None else high
    levels = drawn.levels

    def level(value: float | None) -> str:
        if value is None:
            return " "
        if top <= bottom:
            return levels[len(levels) // 2]
        share = (value - bottom) / (top - bottom)
        return levels[min(len(levels) - 1, max(0, int(share * len(levels))))]

    return "".join(level(v) for v in values)


def histogram(values: Sequence[float], bins: int = 20) -> tuple[list[int], float, float]:
    """Return counts of values in equal bins with round ends, and these ends.

    Parameters
    ----------
    values
        Finite numbers, one at least.
    bins
        About how many bins.

    Returns
    -------
    Counts, and the lower and the upper end of the axis.
    """
    least, most = min(values), max(values)
    if most == least:
        return [len(values)], least, most
    rough = (most - least) / bins
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    counts = [0] * max(1, last - first)
    for value in values:
        counts[min(len(counts) - 1, max(0, int(value / step - first + 1e-9)))] += 1
    return counts, first * step, last * step


def quantiles(values: Sequence[float], at: Sequence[float]) -> list[float]:
    """Return quantiles by linear interpolation between order statistics (numpy's default)."""
    ordered = sorted(values)
    found = []
    for share in at:
        position = share * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        found.append(ordered[below] + (position - below) * (ordered[above] - ordered[below]))
    return found


def shortened(text: str, width: int, drawn: Characters) -> str:
    """Return a text that is too long with its middle left out."""
    if len(text) <= width or width < 3:
        return text[: max(width, 1)] if len(text) > width else text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + drawn.ellipsis + text[len(text) - tail :]
