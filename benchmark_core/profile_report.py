"""A profile as a table for people, and as a file for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import InputError
from benchmark_core.home import expand
from benchmark_core.profiling import CellProfile, Profile, recording

NOWHERE = Path("-")
"""Stands for no file: a table only."""
MOST_CELLS = 12
LONGEST = 3  # stages named for a cell


@contextmanager
def profiled(named: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Record what runs within, then say its table, and write its document to a file.

    Parameters
    ----------
    named
        The file, or :data:`NOWHERE`.
    say
        Called with each line.

    Raises
    ------
    InputError
        At once if nothing can be written to the file, or at the end.
    """
    path = None if named == NOWHERE else profile_path(named)
    try:
        with recording() as profile:
            yield
    finally:
        for line in table(profile):
            say(line)
        if path is not None:
            write_profile(profile, path)
            say(f"profile: {path}")


def profile_path(named: Path) -> Path:
    """Return where a profile is to be written, found out before anything is computed.

    Raises
    ------
    InputError
        If nothing can be written there.
    """
    path = expand(named).absolute()
    if path.is_dir():
        raise InputError(f"--profile {path} is a folder; name a file, e.g. {path / 'profile.json'}")
    if not path.parent.is_dir():
        raise InputError(f"--profile {path}: there is no folder {path.parent}; make it or name another file")
    return path


def write_profile(profile: Profile, path: Path) -> None:
    """Write the JSON document of a profile.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    write_atomically(path, (json.dumps(profile.as_document(), indent=1, allow_nan=False) + "\n").encode())


def table(profile: Profile) -> list[str]:
    """Return a profile as lines: the whole, its stages, and its cells, those that took longest first."""
    total = profile.total
    stages = [
        (
            name,
            f"{spent.wall_s:.2f}",
            f"{100 * spent.wall_s / total.wall_s if total.wall_s else 0:.0f} %",
            f"{spent.cpu_s:.2f}",
            _size(spent.peak_rss_bytes),
            _size(spent.read_bytes),
            _size(spent.written_bytes),
            str(spent.calls),
        )
        for name, spent in profile.by_stage().items()
    ]
    lines = [
        f"profile: {total.wall_s:.2f} s, {total.cpu_s:.2f} s of processor time, at most {_size(total.peak_rss_bytes)}B in memory",
        *_aligned([("stage", "wall s", "share", "CPU s", "memory", "read", "written", "times"), *stages]),
    ]
    cells = sorted(profile.cells[1:], key=lambda c: -c.wall_s)
    if len(cells) > 1:
        rows = [(f"{c.wall_s:.2f}", _origin(c), _longest(c), c.name) for c in cells[:MOST_CELLS]]
        lines += _aligned([("wall s", "origin", "longest stages", "cell"), *rows], left={1, 2, 3})
        if len(cells) > MOST_CELLS:
            rest = cells[MOST_CELLS:]
            lines.append(f"and {len(rest)} more cells, {sum(c.wall_s for c in rest):.2f} s together")
    return lines


def _origin(cell: CellProfile) -> str:
    """Say what of a cell was computed."""
    if cell.facts.get("cached"):
        return "recorded"
    if cell.facts.get("status", "ok") != "ok":
        return str(cell.facts["status"])
    return "computed" if cell.facts.get("layers_computed") or not cell.facts.get("layers") else "cached layers"


def _longest(cell: CellProfile) -> str:
    stages = sorted(cell.stages.items(), key=lambda item: -item[1].wall_s)[:LONGEST]
    return ", ".join(f"{name} {spent.wall_s:.2f}" for name, spent in stages if spent.wall_s >= 0.005)


def _size(n_bytes: int) -> str:
    """Write a number of bytes, without the B."""
    for power, letter in ((9, "G"), (6, "M"), (3, "k")):
        if n_bytes >= 10**power:
            return f"{n_bytes / 10**power:.3g} {letter}"
    return str(n_bytes)


def _aligned(rows: Sequence[Sequence[str]], left: set[int] | None = None) -> Iterator[str]:
    """Align columns to the right, but for those in ``left`` (by default the first)."""
    sides = {0} if left is None else left
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        texts = (t.ljust(w) if i in sides else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True)))
        yield "  ".join(texts).rstrip()
