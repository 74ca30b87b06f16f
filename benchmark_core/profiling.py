"""Where the time and memory of a run go: stages, timed apart from each other.

Code that takes its time says what it is doing, as a context manager or a decorator::

    with stage("decoding"):
        images = next(source)

    @stage("decomposition")
    def decompose(...): ...

Unless somebody records (:func:`recording`, ``bench run --profile``) that costs a look at a context variable. Stages
nest, and each gets only the time that no stage within it takes: at every border between two, all that has passed since the
last border is put down to the stage that was innermost. So the seconds of all stages add up to the whole.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1
OTHER = "other"
"""What no stage claims."""
STAGES = (
    "plan",
    "imports",
    "target",
    "store read",
    "weights",
    "decoding",
    "forward",
    "spool write",
    "spool read",
    "head",
    "kernel",
    "store write",
    "metric",
    "decomposition",
    "penalties",
    "prediction",
    "bootstrap",
    "record",
    OTHER,
)
"""Stages of a run, in the order in which they are shown; plugins may name others, which follow."""
ON_DEVICE = {"forward", "head", "kernel", "decomposition", "penalties", "prediction"}
"""Stages that wait, while somebody records, for what they left a GPU to do."""
MOST_EVENTS = 20_000
EVERY = 0.02  # seconds between looks at the memory in use

_recording: ContextVar[Profile | None] = ContextVar("recording", default=None)


class stage(ContextDecorator):  # reads as a word: with stage("kernel")
    """Say what is being done; a context manager, or a decorator of a function that is no generator.

    Parameters
    ----------
    name
        One of :data:`STAGES`, or a name of one's own.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> stage:
        profile = _recording.get()
        if profile is not None:
            profile.enter(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        profile = _recording.get()
        if profile is not None:
            profile.leave(self.name)


@contextmanager
def recording() -> Iterator[Profile]:
    """Record the stages of what runs within; the profile is complete when it ends.

    Stages of other threads, and of worker processes, are left out: their processor time is put down to what this thread
    is doing meanwhile (that of processes, when they end).
    """
    profile = Profile()
    token = _recording.set(profile)
    sampler = threading.Thread(target=profile.watch_memory, name="memory of the profile", daemon=True)
    sampler.start()
    try:
        yield profile
    finally:
        _recording.reset(token)
        profile.finish()
        sampler.join()


@contextmanager
def cell(name: str) -> Iterator[None]:
    """Put what runs within down to a cell."""
    profile = _recording.get()
    if profile is None:
        yield
        return
    profile.enter_cell(name)
    try:
        yield
    finally:
        profile.leave_cell()


def note(**facts: Any) -> None:
    """Note facts about the cell at hand: numbers are added up, anything else replaces what was noted before."""
    profile = _recording.get()
    if profile is not None:
        profile.note(facts)


@dataclass
class Spent:
    """What a stage took, without the stages within it.

    Parameters
    ----------
    calls
        How often it was entered.
    wall_s, cpu_s
        Seconds by the clock, and of all processors.
    peak_rss_bytes
        Largest resident set seen while it was innermost: exact where that is the largest of the process so far, otherwise
        sampled every 20 ms and at its borders.
    read_bytes, written_bytes
        Through the operating system, from its cache or from the disk; 0 where the system does not count them.
    """

    calls: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def plus(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(
            self.calls + other.calls,
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_rss_bytes, other.peak_rss_bytes),
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
        )


@dataclass
class CellProfile:
    """What one cell took, by stage, and facts about it; the first, without a name, is what belongs to no cell."""

    name: str
    stages: dict[str, Spent] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def wall_s(self) -> float:
        """Seconds by the clock."""
        return sum(spent.wall_s for spent in self.stages.values())


class Profile:
    """Stages of a run, by cell."""

    def __init__(self) -> None:
        self.cells = [CellProfile("")]
        self.dropped = 0
        self.total = Spent(1)
        self._cell = self.cells[0]
        self._open: list[tuple[str, float]] = []  # stages entered and not left, with their beginnings
        self._events: list[tuple[str, str, float, float]] = []
        self._counters = _Counters()
        self._seen = 0  # largest resident set since the last border
        self._done = threading.Event()
        self._start = self._last = self._counters.read()
        self._spent(OTHER).calls = 1

    def enter(self, name: str) -> None:
        """Begin a stage."""
        self._border()
        self._open.append((name, self._last.wall_s))
        self._spent(name).calls += 1

    def leave(self, name: str) -> None:
        """End a stage (one that was entered before this profile began is none of its business)."""
        if not self._open or self._open[-1][0] != name:
            return
        if name in ON_DEVICE:
            _wait_for_device()
        self._border()
        _, started = self._open.pop()
        if len(self._events) < MOST_EVENTS:
            self._events.append((name, self._cell.name, started, self._last.wall_s - started))
        else:
            self.dropped += 1

    def enter_cell(self, name: str) -> None:
        """Begin a cell."""
        self._border()
        self._cell = CellProfile(name)
        self.cells.append(self._cell)

    def leave_cell(self) -> None:
        """End it."""
        self._border()
        self._cell = self.cells[0]

    def note(self, facts: dict[str, Any]) -> None:
        """Note facts about the cell at hand."""
        known = self._cell.facts
        for name, value in facts.items():
            count = isinstance(value, (int, float)) and not isinstance(value, bool)
            known[name] = known.get(name, 0) + value if count else value

    def finish(self) -> None:
        """End the profile."""
        self._border()
        self._done.set()
        self.total = self._last.since(self._start)
        self.total.calls = 1
        self.total.peak_rss_bytes = max((s.peak_rss_bytes for c in self.cells for s in c.stages.values()), default=0)

    def watch_memory(self) -> None:
        """Look at the resident set again and again, until the profile ends; for a thread of its own."""
        while not self._done.wait(EVERY):
            self._seen = max(self._seen, self._counters.resident())

    def by_stage(self) -> dict[str, Spent]:
        """Return what each stage took, over all cells, in the order of :data:`STAGES`."""
        found: dict[str, Spent] = {}
        for one in self.cells:
            for name, spent in one.stages.items():
                found[name] = spent.plus(found.get(name, Spent()))
        order = {name: i for i, name in enumerate(STAGES)}
        return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))

    def as_document(self) -> dict[str, Any]:
        """Return the profile as plain data; see ``docs/performance.md``. Chrome's trace viewer and Perfetto read it, too."""
        return {
            "format": FORMAT,
            "total": asdict(self.total),
            "stages": {name: asdict(spent) for name, spent in self.by_stage().items()},
            "cells": [
                {
                    "name": one.name,
                    "wall_s": one.wall_s,
                    **one.facts,
                    "stages": {name: asdict(spent) for name, spent in one.stages.items()},
                }
                for one in self.cells
            ],
            "events_dropped": self.dropped,
            "traceEvents": [
                {
                    "name": name,
                    "ph": "X",
                    "ts": round(1e6 * (started - self._start.wall_s), 1),
                    "dur": round(1e6 * seconds, 1),
                    "pid": 1,
                    "tid": 1,
                    "args": {"cell": of_cell},
                }
                for name, of_cell, started, seconds in self._events
            ],
        }

    def _spent(self, name: str) -> Spent:
        return self._cell.stages.setdefault(name, Spent())

    def _border(self) -> None:
        """Put what has passed since the last border down to the innermost stage."""
        now = self._counters.read()
        passed = now.since(self._last)
        grown = now.peak_rss_bytes if now.peak_rss_bytes > self._last.peak_rss_bytes else 0
        passed.peak_rss_bytes = max(grown, self._seen, self._counters.resident())
        name = self._open[-1][0] if self._open else OTHER
        self._cell.stages[name] = self._spent(name).plus(passed)
        self._seen, self._last = 0, now


@dataclass(frozen=True)
class _Reading:
    """Counters of the process at one moment."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    read_bytes: int
    written_bytes: int

    def since(self, before: _Reading) -> Spent:
        """Return what has passed."""
        return Spent(
            0,
            self.wall_s - before.wall_s,
            self.cpu_s - before.cpu_s,
            0,
            self.read_bytes - before.read_bytes,
            self.written_bytes - before.written_bytes,
        )


class _Counters:
    """Reads the counters of this process, as far as the system keeps them."""

    def __init__(self) -> None:
        from benchmark_core.provenance import peak_rss

        self._peak_rss = peak_rss
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0

    def read(self) -> _Reading:
        """Return all of them."""
        times = os.times()
        read = written = 0
        with suppress(OSError, ValueError, IndexError), open("/proc/self/io", "rb") as file:
            counts = file.read().split()
            read, written = int(counts[1]), int(counts[3])
        # Children count when they have ended.
        cpu = time.process_time() + times.children_user + times.children_system
        return _Reading(time.perf_counter(), cpu, self._peak_rss(), read, written)

    def resident(self) -> int:
        """Return the resident set in bytes; 0 where the system does not say."""
        try:
            with open("/proc/self/statm", "rb") as file:
                return int(file.read().split()[1]) * self._page
        except (OSError, ValueError, IndexError):
            return 0


def _wait_for_device() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
        torch.cuda.synchronize()
