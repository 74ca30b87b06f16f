"""Progress with time left, on stderr; silent where stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmark_core.pipeline import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID


@contextmanager
def progress_display() -> Iterator[Progress]:
    """Yield a callback (what, done, total) that draws one bar per step."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}
        reached = 0

        def show(what: str, done: int, total: int) -> None:
            nonlocal reached
            if what not in tasks or done < reached:  # a new step, or the same of another benchmark: its own time left
                for task in list(bars.task_ids):
                    bars.remove_task(task)
                tasks.clear()
                tasks[what] = bars.add_task(what, total=total)
            reached = done
            bars.update(tasks[what], completed=done, total=total)

        yield show
