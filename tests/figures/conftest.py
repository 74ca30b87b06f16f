"""What the tests of figures share: the plugins, and figures drawn once."""

from __future__ import annotations

import pytest

from benchmark_core.registry import Registry


@pytest.fixture(scope="session")
def built_ins() -> Registry:
    """Return the built-in plugins."""
    return Registry(installed=False)
