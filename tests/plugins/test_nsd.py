"""Import of the Natural Scenes Dataset: miniatures of both layouts against NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from miniatures.nsd import SHAPE, World
from miniatures.nsd_layouts import (  # noqa: F401 (fixtures)
    BETAS,
    DESIGN,
    WORLD,
    copied_published,
    copied_release,
    run,
    written_layouts,
)
from PIL import Image

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import MissingDataError
from plugins.benchmarks import nsd
from plugins.benchmarks._nsd_published import ceiling_of, read_ceiling
from plugins.benchmarks._nsd_release import read_design, standardise
from plugins.benchmarks.nsd import PUBLISHED, REGIONS, RELEASE, Scanning


def test_the_miniature_is_worth_testing() -> None:
    assert [len(set(WORLD.shown(s).tolist())) for s in range(3)] == [40, 40, 38]
    assert len(WORLD.shared) == 17  # one of the eighteen was not yet shown to the subject with fewer sessions
    counts = np.unique(WORLD.shown(2), return_counts=True)[1]
    assert set(counts.tolist()) == {1, 2, 3}


@pytest.mark.parametrize("region", REGIONS)
def test_release_against_numpy(home: Path, release: Path, region: str) -> None:
    said: list[str] = []
    assert run(release, said) == ["subj01", "subj02", "subj03"]
    for subject in WORLD.subjects:
        found = nsd.responses(RELEASE, subject, region)
        ids, averages = WORLD.averages(subject, region)
        assert found.stimulus_ids == tuple(ids)
        np.testing.assert_allclose(found.values, averages, rtol=0, atol=1e-6)
        assert found.region == region
        assert found.subject_names == (subject,)
        assert found.hash == nsd.responses_hash(RELEASE, subject, region)
        z = WORLD.z_scored(subject)[:, WORLD.atlas == REGIONS[region].atlas]
        shown = WORLD.shown(WORLD.subjects.index(subject))
        assert found.trials is not None
        assert found.trials.stimulus_ids == tuple(f"image{n:05d}" for n in WORLD.shared)
        for row, number in enumerate(WORLD.shared):
            trials = found.trials.values[row]
            np.testing.assert_allclose(trials[: (shown == number).sum()], z[shown == number], rtol=0, atol=1e-6)
            assert np.isnan(trials[(shown == number).sum() :]).all()
        x, y, zz = np.argwhere(WORLD.atlas == REGIONS[region].atlas)[0]
        assert found.neuroid_ids[0] == f"{subject}/{region}/{x}-{y}-{zz}"
    assert any("tested on the 17 images that every subject saw" in line for line in said)
    assert dataset_checks.verify(RELEASE) == []


@pytest.mark.parametrize("dataset", [PUBLISHED, RELEASE], ids=["published", "release"])
def test_stimuli_and_splits(home: Path, whole: Path, dataset: Any) -> None:
    run(whole / ("release" if dataset is RELEASE else "published"))
    for s, subject in enumerate(WORLD.subjects):
        stimuli = nsd.stimuli(dataset, subject)
        for position in (0, 13, len(stimuli) - 1):
            number = int(stimuli.stimulus_ids[position].removeprefix("image"))
            assert np.array_equal(np.asarray(stimuli.image(position)), WORLD.pixels[number])
        (fold,) = nsd.splits(stimuli).folds
        assert fold.test == tuple(f"image{n:05d}" for n in WORLD.shared)
        assert set(fold.train) == {f"image{n:05d}" for n in WORLD.shown(s)} - set(fold.test)
    assert not (datasets.part_folder(dataset, "subj01") / "images").exists()


def test_both_layouts_give_the_same_averages(home: Path, whole: Path) -> None:
    run(whole / "release")
    run(whole / "published")
    for subject in WORLD.subjects:
        for region in REGIONS:
            ours, theirs = (nsd.responses(d, subject, region) for d in (RELEASE, PUBLISHED))
            assert ours.stimulus_ids == theirs.stimulus_ids
            assert nsd.splits(nsd.stimuli(RELEASE, subject)) == nsd.splits(nsd.stimuli(PUBLISHED, subject))
            np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=2e-7)  # one rounding to float32
            assert theirs.trials is None
            assert not theirs.has_trials
    assert dataset_checks.verify(PUBLISHED) == []


def test_standardise_is_the_z_score_of_numpy_and_leaves_silent_voxels_out() -> None:
    betas = np.random.Generator(np.random.Philox(3)).integers(-3000, 3000, (40, 5)).astype(np.int16)
    betas[:, 2] = 17
    found = standardise(betas)
    percent = betas / 300
    expected = (percent - percent.mean(axis=0)) / np.where(percent.std(axis=0) > 1e-9, percent.std(axis=0), np.nan)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    assert np.isnan(found[:, 2]).all()


def test_voxels_silent_in_a_session_are_left_out_and_counted(home: Path, release: Path) -> None:
    where = np.argwhere(WORLD.atlas == 2)[1]
    with h5py.File(release / BETAS, "r+") as handle:
        handle["betas"][:, where[2], where[1], where[0]] = 0
    said: list[str] = []
    run(release, said)
    assert nsd.responses(RELEASE, "subj01", "midventral").n_neuroids == (WORLD.atlas == 2).sum() - 1
    assert nsd.responses(RELEASE, "subj02", "midventral").n_neuroids == (WORLD.atlas == 2).sum()
    assert any("subj01" in line and "(1 more left out" in line for line in said)
    extra = datasets.read_manifest(RELEASE, "subj01")["extra"]["regions"]
    assert [extra[r]["left_out"] for r in REGIONS] == [0, 1, 0]
    np.testing.assert_allclose(
        nsd.responses(RELEASE, "subj01", "ventral").values, WORLD.averages("subj01", "ventral")[1], rtol=0, atol=1e-6
    )


def test_importing_again_changes_nothing_unless_the_files_did(home: Path, release: Path, tmp_path: Path) -> None:
    run(release)
    manifest = datasets.part_folder(RELEASE, "subj01") / "manifest.json"
    before = manifest.read_bytes()
    said: list[str] = []
    run(release, said)
    assert sum("already imported" in line for line in said) == 3
    assert manifest.read_bytes() == before
    moved = release.rename(tmp_path / "moved")
    with pytest.raises(MissingDataError, match="import the data again"):
        nsd.stimuli(RELEASE, "subj01").image(0)
    run(moved, said)
    assert np.asarray(nsd.stimuli(RELEASE, "subj01").image(0)).shape == (24, 24, 3)
    assert json.loads(manifest.read_bytes())["target_hash"] == json.loads(before)["target_hash"]
    with h5py.File(moved / BETAS, "r+") as handle:
        handle["betas"][0, 0, 0, :] += 300
    said.clear()
    run(moved, said)
    assert sum("already imported" in line for line in said) == 2


def test_the_published_folder_itself_and_a_single_region(home: Path, tmp_path: Path) -> None:
    source = World().write_published(tmp_path / "p", regions=["ventral"])
    run(source / "naturalscenes")
    assert nsd.responses(PUBLISHED, "subj01", "ventral").n_neuroids == (WORLD.atlas == 5).sum()
    with pytest.raises(MissingDataError, match="nsd/subj01 holds no early visual stream"):
        nsd.responses(PUBLISHED, "subj01", "early")


def test_ceilings_of_the_files(home: Path, published: Path) -> None:
    said: list[str] = []
    run(published, said)
    found = nsd.responses(PUBLISHED, "subj02", "early")
    path = published / "naturalscenes/noise_ceilings/fithrf_GLMdenoise_RR/roi=early visual stream"
    dataset = xr.load_dataset(path / "all_stimuli.subject=1.nc")
    r, k = dataset["correlation"].values, dataset["repetition"].values[:, None]
    whole = k * r / (1 + (k - 1) * r)
    assert found.reliability is not None
    np.testing.assert_allclose(found.reliability, whole.mean(axis=0), rtol=1e-6)
    published_number = np.sqrt(whole[whole >= 0]).mean()
    ceiling = read_ceiling(path / "all_stimuli.subject=1.nc", r.shape[1])
    assert ceiling.published == pytest.approx(published_number)
    assert ceiling.n_dropped == (whole < 0).sum() > 0
    assert any(f"ceilings of r: early {published_number:.3f}" in line for line in said)


@pytest.mark.parametrize("k", [2, 3])
def test_ceilings_on_simulated_repetitions(k: int) -> None:
    """The correlation of two repetitions leads to the squared correlation of the mean of k with the signal."""
    random = np.random.Generator(np.random.Philox(k))
    noise = np.array([0.5, 1.0, 2.0])
    signal = random.standard_normal((20_000, 1))
    trials = signal + noise * random.standard_normal((k, 20_000, 3))
    pairs = [(a, b) for a in range(k) for b in range(a)]
    r = np.array([[np.corrcoef(trials[a, :, v], trials[b, :, v])[0, 1] for v in range(3)] for a, b in pairs])
    found = ceiling_of(r, np.full(len(pairs), k))
    np.testing.assert_allclose(found.reliability, 1 / (1 + noise**2 / k), atol=0.02)
    truth = [np.corrcoef(trials[:, :, v].mean(axis=0), signal[:, 0])[0, 1] for v in range(3)]
    assert found.published == pytest.approx(np.mean(truth), abs=0.01)


def test_the_design_is_cut_at_each_subjects_sessions(release: Path) -> None:
    design = read_design(release / DESIGN, WORLD.scanning)
    assert [len(design.images[s]) for s in WORLD.subjects] == [120, 120, 80]
    for s, subject in enumerate(WORLD.subjects):
        assert np.array_equal(design.images[subject], WORLD.shown(s))
    assert list(design.shared) == WORLD.shared
    assert sum(Scanning().sessions.values()) * Scanning().trials == 213_000  # trials of the whole dataset


def test_image_files_of_the_miniature_are_the_pixels(published: Path) -> None:
    number = WORLD.shared[1]
    image = Image.open(published / f"naturalscenes/images/image{number:05d}.png")
    assert np.array_equal(np.asarray(image), WORLD.pixels[number])
    assert WORLD.betas["subj01"].shape == (120, *SHAPE)
