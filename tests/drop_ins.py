"""Plugin files dropped into a folder: their text, the folder, and a registry of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark_core.registry import Registry

HEADER = "from benchmark_core import BenchmarkSpec, KFold, MetricSpec, ModelFamily, ModelSpec, Parameter, hookimpl\n"


def model(name: str, version: int = 1, extra: str = "") -> str:
    return f"""{HEADER}
@hookimpl
def register_models():
    return [ModelSpec(name={name!r}, version={version}, load=dict{extra})]
"""


@pytest.fixture(name="folder")
def drop_in_folder(tmp_path: Path) -> Path:
    path = tmp_path / "drop-ins"
    path.mkdir()
    return path


def from_folders(*folders: Path) -> Registry:
    return Registry(folders, built_in=False, installed=False)
