"""Layouts of NSD in miniature for tests: written once, copied where they are to be spoilt, and imported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from miniatures.nsd import World

from plugins.benchmarks._nsd_import import import_published, import_release

WORLD = World()
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session02.hdf5"
DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"


@pytest.fixture(name="whole", scope="module")
def written_layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both layouts, to copy from."""
    folder = tmp_path_factory.mktemp("nsd")
    WORLD.write_release(folder / "release")
    WORLD.write_published(folder / "published", ceilings=True)
    return folder


@pytest.fixture(name="release")
def copied_release(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole / "release", tmp_path / "release")


@pytest.fixture(name="published")
def copied_published(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole / "published", tmp_path / "published")


def run(source: Path, said: list[str] | None = None) -> list[str]:
    lines = said if said is not None else []
    if (source / "nsddata").is_dir():
        return import_release(source, lines.append, WORLD.scanning)
    return import_published(source, lines.append)
