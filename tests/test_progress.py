"""Progress is drawn on terminals, with the time that is left, and nowhere else."""

from __future__ import annotations

import io
import re

import pytest

from benchmark_core.progress import progress_display


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def shown(monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int, int]], terminal: bool = True) -> str:
    stream = Stream(terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with progress_display() as progress:
        for step in steps:
            progress(*step)
    return stream.getvalue()


def test_quiet_where_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, [("forwarding", 0, 3), ("forwarding", 3, 3)], terminal=False) == ""


def test_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown(monkeypatch, [("forwarding", 0, 3), ("forwarding", 2, 3)]))
    assert "forwarding" in text
    assert "2/3" in text
    assert "left" in text


def test_a_step_that_starts_again_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words come again for another benchmark; the time left is that of the new step."""
    import rich.progress

    added = []
    add_task = rich.progress.Progress.add_task
    monkeypatch.setattr(
        rich.progress.Progress,
        "add_task",
        lambda self, what, **rest: added.append(what) or add_task(self, what, **rest),
    )
    shown(monkeypatch, [("a", 0, 2), ("a", 1, 2), ("a", 2, 2), ("a", 0, 2), ("a", 1, 2), ("b", 0, 1)])
    assert added == ["a", "a", "b"]
