"""Whether anything may be downloaded: ``bench run --offline``, or ``BENCH_OFFLINE``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "BENCH_OFFLINE"
_OF_LIBRARIES = ("HF_HUB_OFFLINE",)  # so that what a plugin's own library would fetch is refused, too


def is_offline() -> bool:
    """Whether ``BENCH_OFFLINE`` forbids downloads (any value but nothing, 0, false and no)."""
    return os.environ.get(VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


@contextmanager
def offline(forbid: bool = True) -> Iterator[None]:
    """Forbid downloads inside the block, or leave that to ``BENCH_OFFLINE``.

    Processes started inside inherit it. Hugging Face's library obeys where it was not imported before.
    """
    if not forbid and not is_offline():
        yield
        return
    before = {name: os.environ.get(name) for name in (VARIABLE, *_OF_LIBRARIES)}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
