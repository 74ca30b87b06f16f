"""When downloads are forbidden."""

from __future__ import annotations

import os

import pytest

from benchmark_core.offline import is_offline, offline


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, False), ("", False), ("0", False), ("False", False), ("no", False), ("1", True), ("yes", True)],
)
def test_the_environment(monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool) -> None:
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("BENCH_OFFLINE", value)
    assert is_offline() == expected


@pytest.mark.parametrize("named", [None, "0", "1"])
@pytest.mark.parametrize("forbid", [True, False])
def test_the_block(monkeypatch: pytest.MonkeyPatch, named: str | None, forbid: bool) -> None:
    """Inside, libraries are told as well; afterwards everything is as before."""
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    if named is not None:
        monkeypatch.setenv("BENCH_OFFLINE", named)
    before = dict(os.environ)
    with offline(forbid):
        forbidden = forbid or named == "1"
        assert is_offline() == forbidden
        assert os.environ.get("HF_HUB_OFFLINE") == ("1" if forbidden else None)
    assert dict(os.environ) == before
