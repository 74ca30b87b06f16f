"""Import of the Natural Scenes Dataset: miniatures of both layouts against NumPy, and what is wrong with broken ones."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import xarray as xr
from miniatures.nsd import SHAPE, World
from PIL import Image
from scipy.io import loadmat, savemat

from benchmark_core import datasets
from benchmark_core.errors import BenchError, InputError, MissingDataError
from plugins.benchmarks import nsd
from plugins.benchmarks._nsd_import import import_published, import_release
from plugins.benchmarks._nsd_published import ceiling_of, read_ceiling
from plugins.benchmarks._nsd_release import read_design, standardise
from plugins.benchmarks.nsd import PUBLISHED, REGIONS, RELEASE, Scanning

WORLD = World()
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session02.hdf5"
DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"
ATLAS = "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz"
STIMULI = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
EARLY = "naturalscenes/early visual stream/preprocessed/subject=0.nc"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both layouts, to copy from."""
    folder = tmp_path_factory.mktemp("nsd")
    WORLD.write_release(folder / "release")
    WORLD.write_published(folder / "published", ceilings=True)
    return folder


@pytest.fixture
def release(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole / "release", tmp_path / "release")


@pytest.fixture
def published(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole / "published", tmp_path / "published")


def run(source: Path, said: list[str] | None = None) -> list[str]:
    lines = said if said is not None else []
    if (source / "nsddata").is_dir():
        return import_release(source, lines.append, WORLD.scanning)
    return import_published(source, lines.append)


def left_behind(home: Path, name: str) -> set[str]:
    folder = home / "data" / name
    return {f.name for f in folder.iterdir() if not f.name.endswith(".lock")} if folder.exists() else set()


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
    assert datasets.verify(RELEASE) == []


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
    assert datasets.verify(PUBLISHED) == []


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


def test_a_failed_import_leaves_what_was_there(home: Path, release: Path) -> None:
    run(release)
    before = datasets.target_hash(RELEASE, "subj01")
    truncate(release / BETAS)
    with pytest.raises(InputError):
        run(release)
    assert datasets.target_hash(RELEASE, "subj01") == before
    assert datasets.verify(RELEASE) == []
    assert left_behind(home, "nsd-release") == {"subj01", "subj02", "subj03"}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path: Path, array: str, change: Callable[[np.ndarray], Any]) -> None:
    with h5py.File(path, "r+") as handle:
        values = change(handle[array][()])
        del handle[array]
        handle[array] = values


def change_design(path: Path, **changes: Any) -> None:
    found = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    for name, change in changes.items():
        found[name] = change(found[name])
    savemat(path, {k: v for k, v in found.items() if v is not None})


def put(values: np.ndarray, where: Any, value: Any) -> np.ndarray:
    values = values.copy()
    values[where] = value
    return values


def save_atlas(path: Path, values: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


BROKEN_RELEASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a session is missing": (lambda f: (f / BETAS).unlink(), "betas_session02.hdf5 is missing"),
    "a session is cut off": (lambda f: truncate(f / BETAS), "betas_session02.hdf5 cannot be read as HDF5"),
    "a session is empty": (lambda f: (f / BETAS).write_bytes(b""), "betas_session02.hdf5 cannot be read as HDF5"),
    "a session has no betas": (
        lambda f: h5py.File(f / BETAS, "w").close(),
        "betas_session02.hdf5 holds no array 'betas'",
    ),
    "a session has too few trials": (
        lambda f: rewrite(f / BETAS, "betas", lambda b: b[:-1]),
        r"betas have shape \(39, 6, 4, 5\); expected \(40, 6, 4, 5\)",
    ),
    "axes are turned": (
        lambda f: rewrite(f / BETAS, "betas", lambda b: b.transpose(0, 3, 2, 1)),
        r"betas have shape \(40, 5, 4, 6\)",
    ),
    "betas are floats": (
        lambda f: rewrite(f / BETAS, "betas", lambda b: b / 300),
        "betas are float64, expected int16",
    ),
    "the atlas has another shape": (
        lambda f: save_atlas(f / ATLAS, WORLD.atlas[:4]),
        "expected .* a streams atlas of 4 x 4 x 6 voxels",
    ),
    "the atlas is missing": (lambda f: (f / ATLAS).unlink(), "streams.nii.gz is missing"),
    "the atlas is cut off": (lambda f: truncate(f / ATLAS), "streams.nii.gz cannot be read as NIfTI"),
    "the atlas has no ventral stream": (
        lambda f: save_atlas(f / ATLAS, np.where(WORLD.atlas == 5, 0, WORLD.atlas).astype(np.int16)),
        "has no voxel of the ventral visual stream",
    ),
    "the atlas has four dims": (
        lambda f: save_atlas(f / ATLAS, np.stack([WORLD.atlas] * 2, axis=3)),
        "expected a volume",
    ),
    "the design is missing": (lambda f: (f / DESIGN).unlink(), "nsd_expdesign.mat is missing"),
    "the design is cut off": (lambda f: truncate(f / DESIGN), "nsd_expdesign.mat cannot be read as a MATLAB file"),
    "the design lacks a variable": (
        lambda f: savemat(f / DESIGN, {"masterordering": WORLD.order + 1}),
        "holds no variable 'subjectim'",
    ),
    "the ordering counts from 0": (
        lambda f: change_design(f / DESIGN, masterordering=lambda v: v - 1),
        "masterordering holds 0.0, out of range; expected whole numbers from 1 to 40",
    ),
    "the ordering is too large": (
        lambda f: change_design(f / DESIGN, masterordering=lambda v: put(v, (0, 3), 41)),
        "masterordering holds 41.0, out of range",
    ),
    "the ordering is short": (
        lambda f: change_design(f / DESIGN, masterordering=lambda v: v[:, :60]),
        "masterordering has 60 trials, expected at least 120",
    ),
    "an image number is too large": (
        lambda f: change_design(f / DESIGN, subjectim=lambda v: put(v, (1, 3), 73_001)),
        "subjectim holds 73001.0, out of range",
    ),
    "an image number is no number": (
        lambda f: change_design(f / DESIGN, subjectim=lambda v: put(v, (1, 3), np.nan)),
        "subjectim holds nan, out of range",
    ),
    "subjects are missing in the design": (
        lambda f: change_design(f / DESIGN, subjectim=lambda v: v[:2]),
        "subjectim has 2 rows for 3 subjects",
    ),
    "nothing is shared": (
        lambda f: change_design(f / DESIGN, subjectim=lambda v: v + 100.0 * np.arange(3)[:, None]),
        "0 images were shown to all subjects",
    ),
    "images are missing": (
        lambda f: rewrite(f / STIMULI, "imgBrick", lambda b: b[:70]),
        "holds 70 images, none of stimulus_id 'image0007",
    ),
    "images are floats": (lambda f: rewrite(f / STIMULI, "imgBrick", lambda b: b / 255), "of uint8"),
    "images are in another array": (
        lambda f: h5py.File(f / STIMULI, "w").create_dataset("images", data=WORLD.pixels).file.close(),
        "holds no array 'imgBrick'; it holds 'images'",
    ),
    "the images are cut off": (lambda f: truncate(f / STIMULI), "nsd_stimuli.hdf5 cannot be read as HDF5"),
    "the images are missing": (lambda f: (f / STIMULI).unlink(), "no photographs: expected .*nsd_stimuli.hdf5"),
    "no subject is there": (
        lambda f: (shutil.rmtree(f / "nsddata_betas"), (f / "nsddata_betas").mkdir()),
        "holds no betas: expected nsddata_betas/ppdata/subj01",
    ),
}


@pytest.mark.parametrize("case", BROKEN_RELEASES)
def test_broken_releases(home: Path, release: Path, case: str) -> None:
    damage, message = BROKEN_RELEASES[case]
    damage(release)
    with pytest.raises(BenchError, match=message) as caught:
        run(release)
    assert "\n" not in str(caught.value)
    assert caught.value.status in (2, 3)
    assert "subj01" not in left_behind(home, "nsd-release")


def edit(path: Path, change: Callable[[xr.Dataset], xr.Dataset]) -> None:
    dataset = xr.load_dataset(path, engine="netcdf4")
    path.unlink()
    change(dataset).drop_encoding().to_netcdf(path, engine="netcdf4")


def with_stimulus(change: Callable[[np.ndarray], Any]) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda d: d.assign_coords(stimulus=("presentation", change(d["stimulus"].values)))


BROKEN_AVERAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "the file is cut off": (lambda f: truncate(f / EARLY), "subject=0.nc cannot be read as netCDF"),
    "the file is empty": (lambda f: (f / EARLY).write_bytes(b""), "subject=0.nc cannot be read as netCDF"),
    "another variable": (lambda f: edit(f / EARLY, lambda d: d.rename(beta="x")), "holds no variable 'beta'"),
    "no stimulus ids": (lambda f: edit(f / EARLY, lambda d: d.drop_vars("stimulus")), "holds no variable 'stimulus'"),
    "other dims": (lambda f: edit(f / EARLY, lambda d: d.rename_dims(neuroid="voxel")), r"beta has dims .*'voxel'"),
    "a third dim": (lambda f: edit(f / EARLY, lambda d: d.expand_dims("time")), "expected .presentation, neuroid."),
    "whole numbers": (lambda f: edit(f / EARLY, lambda d: d.assign(beta=d["beta"].astype("int16"))), "holds int16"),
    "an infinite value": (
        lambda f: edit(f / EARLY, lambda d: d.assign(beta=d["beta"].where(d["beta"] < 1, np.inf))),
        "holds an infinite beta for stimulus_id 'image",
    ),
    "ids are numbers": (
        lambda f: edit(f / EARLY, with_stimulus(lambda s: np.arange(len(s)))),
        "names images '0', '1', '2' and 37 more; expected image00000",
    ),
    "an id twice": (
        lambda f: edit(f / EARLY, with_stimulus(lambda s: put(s, 3, s[4]))),
        "holds stimulus_id 'image.*' more than once",
    ),
    "ids out of range": (
        lambda f: edit(f / EARLY, with_stimulus(lambda s: put(s, 3, "image73000"))),
        "names images 'image73000'",
    ),
    "regions differ": (
        lambda f: edit(f / EARLY, lambda d: d.isel(presentation=slice(5, None))),
        "is in one region and not in another",
    ),
    "no presentation": (lambda f: edit(f / EARLY, lambda d: d.isel(presentation=slice(0))), "beta is empty"),
    "a shared image was not recorded": (
        lambda f: (f / "naturalscenes/nsd_ids_shared").write_bytes(pickle.dumps(["image00000.png", "image72999.png"])),
        "has no betas of the shared stimulus_id .*'image72999'",
    ),
    "shared ids are missing": (lambda f: (f / "naturalscenes/nsd_ids_shared").unlink(), "nsd_ids_shared is missing"),
    "shared ids are no pickle": (
        lambda f: (f / "naturalscenes/nsd_ids_shared").write_bytes(b"image00001.png\n"),
        "nsd_ids_shared cannot be read as a pickle",
    ),
    "shared ids run something": (
        lambda f: (f / "naturalscenes/nsd_ids_shared").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR."),
        "asks for os.system",
    ),
    "one shared id": (
        lambda f: (f / "naturalscenes/nsd_ids_shared").write_bytes(pickle.dumps(["image00000.png"])),
        "lists 1 images",
    ),
    "an image is missing": (
        lambda f: (f / f"naturalscenes/images/image{WORLD.shared[0]:05d}.png").unlink(),
        f"lacks images: stimulus_id 'image{WORLD.shared[0]:05d}'",
    ),
    "no images": (lambda f: shutil.rmtree(f / "naturalscenes/images"), "no photographs: expected"),
    "ceilings of other voxels": (
        lambda f: edit(
            next((f / "naturalscenes/noise_ceilings").rglob("*stream/all_stimuli.subject=0.nc")),
            lambda d: d.isel(neuroid=slice(1, None)),
        ),
        "voxels, and the betas of the same region",
    ),
    "ceilings of five repetitions": (
        lambda f: edit(
            next((f / "naturalscenes/noise_ceilings").rglob("*stream/all_stimuli.subject=0.nc")),
            lambda d: d.assign_coords(repetition=("pair", [2, 3, 3, 5])),
        ),
        "2 or 3 repetitions",
    ),
    "no betas at all": (
        lambda f: [p.unlink() for p in (f / "naturalscenes").rglob("preprocessed/*.nc")],
        "holds no betas: expected",
    ),
}


@pytest.mark.parametrize("case", BROKEN_AVERAGES)
def test_broken_averages(home: Path, published: Path, case: str) -> None:
    damage, message = BROKEN_AVERAGES[case]
    damage(published)
    with pytest.raises(BenchError, match=message) as caught:
        run(published)
    assert "\n" not in str(caught.value)
    assert caught.value.status in (2, 3)
    assert "subj01" not in left_behind(home, "nsd")


def test_folders_that_hold_something_else(home: Path, whole: Path, tmp_path: Path) -> None:
    for wrong, message in ((tmp_path, "holds no .* expected"), (tmp_path / "no", "does not exist")):
        for importer in (import_published, import_release):
            with pytest.raises(BenchError, match=message):
                importer(wrong, print)
    with pytest.raises(
        InputError, match="holds the official release; import it with: bench data import nsd-release --from"
    ):
        import_published(whole / "release", print)
    with pytest.raises(InputError, match="holds published averages; import them with: bench data import nsd --from"):
        import_release(whole / "published", print)


@pytest.mark.parametrize(("module", "file"), [("h5py", "betas_session01"), ("nibabel", "streams.nii.gz")])
def test_missing_packages_are_named(
    home: Path, release: Path, monkeypatch: pytest.MonkeyPatch, module: str, file: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingDataError, match=rf"{file}.* needs {module}; install it: pip install 'cortex-bench\[nsd\]'"
    ):
        run(release)


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


KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark_core import datasets
from miniatures.nsd import World
from plugins.benchmarks._nsd_import import import_release

write = datasets._write_netcdf


def stopped(path, target, *rest):
    write(path, target, *rest)
    if target.subject_names == ("subj02",):
        os.kill(os.getpid(), signal.SIGKILL)


datasets._write_netcdf = stopped
import_release(Path(sys.argv[1]), print, World().scanning)
"""


def test_killed_in_the_middle(home: Path, release: Path) -> None:
    """Subjects written by then are whole, the one being written is absent, and the next run completes."""
    tests = Path(__file__).resolve().parent.parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(release)], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert datasets.verify(RELEASE) == []
    assert [part.present for part in datasets.status(RELEASE)][:3] == [True, False, False]
    assert any(name.endswith(".tmp") for name in left_behind(home, "nsd-release"))
    said: list[str] = []
    run(release, said)
    assert sum("already imported" in line for line in said) == 1
    assert left_behind(home, "nsd-release") == {"subj01", "subj02", "subj03"}
    assert datasets.verify(RELEASE) == []
