"""What the tests of the contract share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark_core.contract import CHECKS, CheckResult, Kind, run_checks
from benchmark_core.registry import Registry

Check = Callable[[Registry, Kind, str], dict[str, CheckResult]]


@pytest.fixture(scope="session")
def check() -> Check:
    """Return a function that runs the contract and gives {check: result}; every check has one."""

    def run(registry: Registry, kind: Kind, identifier: str) -> dict[str, CheckResult]:
        results = list(run_checks(registry, kind, identifier))
        assert [r.check for r in results] == list(CHECKS[kind])
        assert all("\n" not in r.reason and r.seconds >= 0 for r in results)
        assert all(r.reason for r in results if r.status != "pass")
        return {r.check: r for r in results}

    return run


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Point BENCH_HOME and BENCH_CACHE to new folders for all tests of a module; return the first."""
    folder = tmp_path_factory.mktemp("contract")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        yield folder / "home"
