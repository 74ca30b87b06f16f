"""The contract of plugins as tests: one for each identifier and check.

pytest loads this module wherever cortex-bench is installed, so it imports nothing but pytest, and does nothing unless
identifiers are listed in the file that configures pytest::

    [tool.pytest.ini_options]
    testpaths = ["tests", "pyproject.toml"]
    bench_identifiers = ["my-model:filters=8", "mydata.V4"]

The tests are collected from that very file: ``pytest pyproject.toml`` runs them, and
``pytest pyproject.toml::my-model:filters=8::determinism`` runs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from benchmark_core.contract import CheckResult, Kind
    from benchmark_core.registry import Registry


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what can be written into pytest's configuration."""
    parser.addini(
        "bench_identifiers",
        "models, benchmarks and metrics (identifiers or globs) to run the contract of cortex-bench for",
        type="args",
        default=[],
    )
    parser.addini(
        "bench_plugins", "folders of cortex-bench plugin files, relative to this file", type="paths", default=[]
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the contract from the configuration file that lists identifiers."""
    config = parent.config
    if file_path != config.inipath or not config.getini("bench_identifiers"):
        return None
    return ContractFile.from_parent(parent, path=file_path)


class ContractFile(pytest.File):
    """The identifiers of a configuration file."""

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield a collector for each identifier.

        Raises
        ------
        CollectError
            For an identifier that cannot be found, in one line.
        """
        from benchmark_core.contract import expand
        from benchmark_core.errors import BenchError

        try:
            registry = self._registry()
            listed = [found for name in self.config.getini("bench_identifiers") for found in expand(registry, name)]
        except BenchError as error:
            raise self.CollectError(f"bench_identifiers in {self.path.name}: {error}") from None
        for kind, identifier in dict.fromkeys(listed):
            yield Identifier.from_parent(self, name=identifier, kind=kind, registry=registry)

    def _registry(self) -> Registry:
        """Return a registry with the package that the file belongs to, installed or not."""
        from benchmark_core.contract_paths import modules_of_package, open_package
        from benchmark_core.registry import Registry

        folders = self.config.getini("bench_plugins")
        modules = modules_of_package(self.path.parent)
        return open_package(self.path.parent, modules, folders) if modules else Registry.default(folders)


class Identifier(pytest.Collector):
    """One identifier; its contract is run once, when its first check is."""

    def __init__(self, *, kind: Kind, registry: Registry, **rest: Any) -> None:
        super().__init__(**rest)
        self.kind, self.registry = kind, registry
        self._results: dict[str, CheckResult] | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each check."""
        from benchmark_core.contract import CHECKS

        for check in CHECKS[self.kind]:
            yield CheckItem.from_parent(self, name=check)

    def result(self, check: str) -> CheckResult:
        """Return the result of one check."""
        from benchmark_core.contract import run_checks

        if self._results is None:
            self._results = {result.check: result for result in run_checks(self.registry, self.kind, self.name)}
        return self._results[check]


class CheckItem(pytest.Item):
    """One check of one identifier; data or weights that are not here skip it."""

    def runtest(self) -> None:
        """Fail or skip with the reason, in one line."""
        assert isinstance(self.parent, Identifier)
        result = self.parent.result(self.name)
        if result.status == "fail":
            pytest.fail(f"{result.identifier}: {result.reason}", pytrace=False)
        if result.status in ("skip", "missing"):
            pytest.skip(result.reason)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Say where the test comes from."""
        assert self.parent is not None
        return self.path, None, f"{self.parent.name} {self.name}"
