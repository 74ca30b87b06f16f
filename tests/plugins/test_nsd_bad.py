"""Damaged and partial releases and averages of NSD, missing packages, killed imports: one clear line, nothing half-written."""

from __future__ import annotations

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
from miniatures.nsd_layouts import (  # noqa: F401 (fixtures)
    BETAS,
    DESIGN,
    WORLD,
    copied_published,
    copied_release,
    run,
    written_layouts,
)
from scipy.io import loadmat, savemat

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import BenchError, InputError, MissingDataError
from plugins.benchmarks._nsd_import import import_published, import_release
from plugins.benchmarks.nsd import RELEASE

ATLAS = "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz"
STIMULI = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
EARLY = "naturalscenes/early visual stream/preprocessed/subject=0.nc"


def left_behind(home: Path, name: str) -> set[str]:
    folder = home / "data" / name
    return {f.name for f in folder.iterdir() if not f.name.endswith(".lock")} if folder.exists() else set()


def test_a_failed_import_leaves_what_was_there(home: Path, release: Path) -> None:
    run(release)
    before = datasets.target_hash(RELEASE, "subj01")
    truncate(release / BETAS)
    with pytest.raises(InputError):
        run(release)
    assert datasets.target_hash(RELEASE, "subj01") == before
    assert dataset_checks.verify(RELEASE) == []
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


def check_refusal(folder: Path, message: str) -> None:
    """Check that an import is refused in one line."""
    with pytest.raises(BenchError, match=message) as caught:
        run(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.status in (2, 3)


@pytest.mark.parametrize("case", BROKEN_RELEASES)
def test_broken_releases(home: Path, release: Path, case: str) -> None:
    damage, message = BROKEN_RELEASES[case]
    damage(release)
    check_refusal(release, message)
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
    check_refusal(published, message)
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


KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark_core import dataset_checks, datasets
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
    assert dataset_checks.verify(RELEASE) == []
    assert [part.present for part in dataset_checks.status(RELEASE)][:3] == [True, False, False]
    assert any(name.endswith(".tmp") for name in left_behind(home, "nsd-release"))
    said: list[str] = []
    run(release, said)
    assert sum("already imported" in line for line in said) == 1
    assert left_behind(home, "nsd-release") == {"subj01", "subj02", "subj03"}
    assert dataset_checks.verify(RELEASE) == []
