"""Profiles: every second is put down to one stage, and nothing else changes."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import make_toy_world

from benchmark_core import InputError, profiling, run
from benchmark_core.profile_report import NOWHERE, profiled, table
from benchmark_core.profiling import OTHER, STAGES, Profile, Spent, recording, stage


class Clock:
    """Counters that a test moves: every second by the clock takes half a second of processor and reads 10 bytes."""

    now = 0.0

    def read(self) -> profiling._Reading:
        return profiling._Reading(self.now, self.now / 2, 100, int(10 * self.now), int(self.now))

    def resident(self) -> int:
        return 70


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that recordings of this test go by."""
    found = Clock()
    monkeypatch.setattr(profiling, "_Counters", lambda: found)
    return found


def seconds(profile: Profile) -> dict[str, float]:
    """Return the seconds of each stage."""
    return {name: spent.wall_s for name, spent in profile.by_stage().items()}


def test_a_stage_gets_the_time_that_no_stage_within_takes(clock: Clock) -> None:
    with recording() as profile:
        clock.now = 1
        with stage("metric"):
            clock.now = 3
            for moment in (4, 6):
                with stage("kernel"):
                    clock.now = moment
            clock.now = 11
        clock.now = 12
    assert seconds(profile) == {"kernel": 3, "metric": 7, OTHER: 2}
    assert profile.by_stage()["kernel"] == Spent(2, 3, 1.5, 70, 30, 3)
    assert (profile.total.wall_s, profile.total.cpu_s, profile.total.read_bytes) == (12, 6, 120)


@given(st.recursive(st.lists(st.integers(1, 9), max_size=3), lambda inner: st.lists(inner, max_size=4), max_leaves=12))
def test_stages_add_up_to_the_whole(tree: Any) -> None:
    """Whatever is nested in whatever; the leaves are seconds that pass."""
    clock, passed = Clock(), 0

    def go(node: Any, depth: int) -> None:
        nonlocal passed
        with stage(f"depth {depth}"):
            for child in node if isinstance(node, list) else []:
                if isinstance(child, int):
                    passed += child
                    clock.now += child
                else:
                    go(child, depth + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiling, "_Counters", lambda: clock)
        with recording() as profile, profiling.cell("only"):
            go(tree, 0)
    assert sum(seconds(profile).values()) == profile.total.wall_s == passed
    assert profile.cells[1].wall_s == passed


def test_a_stage_ends_with_an_error(clock: Clock) -> None:
    with recording() as profile:
        with suppress(ValueError), stage("metric"), stage("kernel"):
            clock.now = 2
            raise ValueError("wrong")
        clock.now = 3
    assert seconds(profile) == {"kernel": 2, "metric": 0, OTHER: 1}


def test_decorated_functions_recursion_and_stages_of_ones_own(clock: Clock) -> None:
    @stage("my own stage")
    def factorial(n: int) -> int:
        """Count down."""
        clock.now += 1
        return n * factorial(n - 1) if n else 1

    assert factorial(3) == 6  # nobody records
    assert (factorial.__name__, factorial.__doc__) == ("factorial", "Count down.")
    with recording() as profile:
        assert factorial(3) == 6
    assert seconds(profile) == {OTHER: 0, "my own stage": 4}
    assert profile.by_stage()["my own stage"].calls == 4


def test_cells_and_what_is_noted_of_them(clock: Clock) -> None:
    with recording() as profile:
        with profiling.cell("one"), stage("kernel"):
            clock.now = 2
            profiling.note(layers=3, cached=False)
            profiling.note(layers=4, cached=True)
        with profiling.cell("two"):
            clock.now = 7
    nobody, one, two = profile.cells
    assert (nobody.wall_s, one.wall_s, two.wall_s) == (0, 2, 5)
    assert one.facts == {"layers": 7, "cached": True}
    profiling.note(layers=1)  # nobody records
    with profiling.cell("three"):
        pass


def test_other_threads_are_left_out(clock: Clock) -> None:
    def work() -> None:
        with stage("kernel"):
            clock.now += 5

    with recording() as profile, stage("forward"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seconds(profile) == {"forward": 5, OTHER: 0}


def test_a_stage_that_began_before_the_recording(clock: Clock) -> None:
    with stage("metric"):
        around = recording()
        profile = around.__enter__()
        clock.now = 1
    assert seconds(profile) == {OTHER: 0}
    around.__exit__(None, None, None)
    assert seconds(profile) == {OTHER: 1}


def test_real_counters(tmp_path: Path) -> None:
    """Sleeping takes no processor time, a large array shows where it is made, bytes where they are written and read."""
    started = time.perf_counter()
    with recording() as profile:
        with stage("forward"):
            time.sleep(0.05)
        with stage("kernel"):
            held = np.ones(2**24)
        with stage("spool write"):
            (tmp_path / "file").write_bytes(bytes(10**6))
        with stage("spool read"):
            (tmp_path / "file").read_bytes()
        del held
    elapsed = time.perf_counter() - started
    found = profile.by_stage()
    assert 0.05 <= found["forward"].wall_s <= elapsed
    assert found["forward"].cpu_s < 0.05
    assert found["kernel"].peak_rss_bytes - found["forward"].peak_rss_bytes > 0.9 * 8 * 2**24 or (
        found["kernel"].peak_rss_bytes > 8 * 2**24  # pages that earlier tests left, used again
    )
    if Path("/proc/self/io").exists():
        assert 10**6 <= found["spool write"].written_bytes < 1.1e6
        assert 10**6 <= found["spool read"].read_bytes < 1.1e6
    assert sum(spent.wall_s for spent in found.values()) == pytest.approx(profile.total.wall_s, rel=1e-6)
    assert profile.total.wall_s <= elapsed


def test_the_document_is_a_trace_too(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "MOST_EVENTS", 2)
    with recording() as profile, profiling.cell("one"):
        for _ in range(3):
            with stage("metric"):
                clock.now += 1
                with stage("kernel"):
                    clock.now += 2
    document = json.loads(json.dumps(profile.as_document(), allow_nan=False))
    assert document["format"] == 1
    assert document["total"]["wall_s"] == 9
    assert list(document["stages"]) == ["kernel", "metric", OTHER]
    assert [one["name"] for one in document["cells"]] == ["", "one"]
    assert document["cells"][1]["stages"]["kernel"] == {
        "calls": 3,
        "wall_s": 6,
        "cpu_s": 3,
        "peak_rss_bytes": 70,
        "read_bytes": 60,
        "written_bytes": 6,
    }
    first, second = document["traceEvents"]
    assert (first["name"], first["ph"], first["ts"], first["dur"]) == ("kernel", "X", 1e6, 2e6)
    assert (second["name"], second["ts"], second["dur"], second["args"]) == ("metric", 0, 3e6, {"cell": "one"})
    assert document["events_dropped"] == 4


def test_the_table(clock: Clock) -> None:
    with recording() as profile:
        for name, status, moment in (("a", "ok", 1.0), ("b", "failed", 4.0), ("c", "ok", 5.0)):
            with profiling.cell(name), stage("kernel"):
                clock.now = moment
                profiling.note(status=status, cached=name == "a", layers=1)
    first, heads, *rows = table(profile)
    assert first == "profile: 5.00 s, 2.50 s of processor time, at most 70B in memory"
    assert heads.split() == ["stage", "wall", "s", "share", "CPU", "s", "memory", "read", "written", "times"]
    assert rows[0].split() == ["kernel", "5.00", "100", "%", "2.50", "70", "50", "5", "3"]
    assert [row.split()[:3] for row in rows[-3:]] == [
        ["3.00", "failed", "kernel"],
        ["1.00", "recorded", "kernel"],
        ["1.00", "cached", "layers"],
    ]


def test_many_cells_are_summed_up(clock: Clock) -> None:
    with recording() as profile:
        for number in range(20):
            with profiling.cell(f"cell {number}"):
                clock.now += 1
    assert table(profile)[-1] == "and 8 more cells, 8.00 s together"


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "no" / "x.json", "there is no folder")):
        with pytest.raises(InputError, match=words), profiled(path, print):
            pytest.fail("began all the same")
    said: list[str] = []
    with pytest.raises(KeyError), profiled(tmp_path / "p.json", said.append):
        raise KeyError
    assert json.loads((tmp_path / "p.json").read_text())["stages"]  # of what was done until then
    assert said[-1] == f"profile: {tmp_path / 'p.json'}"
    with profiled(NOWHERE, said.append):
        pass
    assert said[-1].startswith(OTHER)


def test_a_run_and_its_scores(tmp_path: Path, home: Path) -> None:
    """All stages of a run from nothing to a record; scores are those of a run that nobody records."""
    world = make_toy_world(tmp_path / "toys")
    options: dict[str, Any] = {"plugins": [world], "device": "cpu", "records": tmp_path / "records"}
    with recording() as profile:
        first = run("toy", "toy.V4", **options)[0]
    spent = profile.by_stage()
    computed = {
        "plan",
        "imports",
        "target",
        "store read",
        "weights",
        "decoding",
        "forward",
        "spool write",
        "spool read",
    }
    computed |= {"kernel", "store write", "metric", "decomposition", "penalties", "prediction", "bootstrap", "record"}
    assert set(spent) == computed | {OTHER}
    assert set(STAGES) >= computed
    assert all(one.calls and one.wall_s > 0 for one in spent.values())
    assert sum(one.wall_s for one in spent.values()) == pytest.approx(profile.total.wall_s, rel=1e-6)
    assert profile.cells[1].facts == {"layers": 2, "layers_computed": 2, "status": "ok", "cached": False}
    assert spent["kernel"].calls >= 2  # both layers
    assert profile.total.written_bytes > 0 or not Path("/proc/self/io").exists()

    again = run("toy", "toy.V4", force=True, **options)[0]
    left_out = ("provenance", "seconds", "peak_rss_bytes")
    assert {k: v for k, v in again.items() if k not in left_out} == {
        k: v for k, v in first.items() if k not in left_out
    }

    with recording() as profile:
        run("toy", "toy.V4", **options)
    assert set(profile.by_stage()) == {"plan", "record", OTHER}
    assert profile.cells[1].facts == {"status": "ok", "cached": True}
