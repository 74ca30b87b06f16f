"""Real recordings, written out as a laboratory would have them and added, score what the built-in benchmarks do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from lab import write_csv
from said import Bench

from benchmark_core.assembly import Responses
from benchmark_core.own_data import add
from benchmark_core.own_data_layout import Hints
from benchmark_core.own_data_reading import Request
from benchmark_core.registry import Registry
from plugins.benchmarks._cowley2023_import import import_folder
from plugins.benchmarks.cowley2023 import SESSIONS

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def imported(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Import session 210325 (trials) and 210224 (averages) once; return the folder that holds home and cache."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        sessions = tuple(s for s in SESSIONS if s.name in ("210325", "210224"))
        import_folder(real_data / "cowley2023", lambda line: None, sessions)
    return folder


@pytest.fixture
def files(imported: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the home of the imported sessions; return a folder for files."""
    monkeypatch.setenv("BENCH_HOME", str(imported / "home"))
    monkeypatch.setenv("BENCH_CACHE", str(imported / "cache"))
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def images_of(imported: Path, session: str) -> Path:
    """Return a folder in which images lie as their ids say: SESSION/image0001.jpg."""
    folder = imported / f"shown_{session}"
    if not folder.exists():
        folder.mkdir()
        os.symlink(imported / "home" / "data" / "cowley2023" / session / "images", folder / session)
    return folder


def rows(responses: Responses) -> list[list[object]]:
    """Return a row for each presentation; ``%.17g`` loses no digit."""
    values = responses.values if responses.has_trials else responses.values[:, None]
    return [
        [stimulus_id, *(f"{v:.17g}" for v in values[s, r])]
        for s, stimulus_id in enumerate(responses.stimulus_ids)
        for r in range(values.shape[1])
        if np.isfinite(values[s, r]).any()
    ]


def as_csv(folder: Path, responses: Responses) -> Hints:
    write_csv(folder / "a.csv", ["image", *responses.neuroid_ids], rows(responses))
    return Hints()


def as_parquet(folder: Path, responses: Responses) -> Hints:
    import pandas as pd

    frame = pd.DataFrame(rows(responses), columns=["image", *responses.neuroid_ids])
    frame.astype(dict.fromkeys(responses.neuroid_ids, float)).to_parquet(folder / "a.parquet")
    return Hints()


def as_npy(folder: Path, responses: Responses) -> Hints:
    """As the authors publish it: neurons x images (x repetitions)."""
    trials = responses.has_trials
    np.save(folder / "a.npy", responses.values.transpose((2, 0, 1) if trials else (1, 0)))
    (folder / "ids.txt").write_text("\n".join(responses.stimulus_ids))
    axes = ("neuroid", "stimulus", "repetition") if trials else ("neuroid", "stimulus")
    return Hints(ids=str(folder / "ids.txt"), axes=axes)


def as_npz(folder: Path, responses: Responses) -> Hints:
    np.savez(
        folder / "a.npz",
        spikes=responses.values,
        image_ids=np.array(responses.stimulus_ids),
        neuron_ids=np.array(responses.neuroid_ids),
    )
    return Hints(axes=("stimulus", "repetition", "neuroid") if responses.has_trials else ())


def as_netcdf(folder: Path, responses: Responses) -> Hints:
    dims = ("image", "repetition", "neuron") if responses.has_trials else ("image", "neuron")
    coordinates = {"image": list(responses.stimulus_ids), "neuron_id": ("neuron", list(responses.neuroid_ids))}
    xr.DataArray(responses.values, dims=dims, coords=coordinates).transpose(*dims[::-1]).to_netcdf(folder / "a.nc")
    return Hints()


FORMATS: tuple[Callable[[Path, Responses], Hints], ...] = (as_csv, as_parquet, as_npy, as_npz, as_netcdf)


@pytest.mark.parametrize(("session", "built_in"), [("210325", "cowley2023.V4"), ("210224", "cowley2023.V4-210224")])
def test_every_format_of_real_recordings_gives_the_built_in_target_and_splits(
    imported: Path, files: Path, session: str, built_in: str
) -> None:
    spec = Registry.default().benchmark(built_in)
    stimuli, target = spec.stimuli(), spec.target()
    for number, write in enumerate(FORMATS if session == "210224" else (as_csv, as_netcdf)):
        folder = files / str(number)
        folder.mkdir()
        hints = write(folder, target)
        path = next(p for p in folder.iterdir() if p.name != "ids.txt")
        request = Request(images_of(imported, session), (path,), ("V4",), ("PE",), hints)
        name = f"{write.__name__}_{session}"
        added = add(name, request, dry_run=bool(number))
        assert added.reports[0]["problems"] == []
        if not number:
            again = Registry.default().benchmark(f"{name}.V4")
            assert np.array_equal(again.target().values, target.values, equal_nan=True)
            assert again.stimuli().manifest_hash == stimuli.manifest_hash
            assert again.splits(again.stimuli()).hash == spec.splits(stimuli).hash
            content = added.dataset.regions["V4"].content
        elif write is not as_npy:
            assert added.dataset.regions["V4"].content == content, "other formats are the same to the last digit"


@pytest.mark.parametrize(
    ("session", "built_in", "write"),
    [
        ("210325", "cowley2023.V4", as_npy),
        pytest.param("210224", "cowley2023.V4-210224", as_csv, marks=pytest.mark.slow),
    ],
)
def test_scores_equal_those_of_the_built_in_benchmark(
    imported: Path, files: Path, bench: Bench, session: str, built_in: str, write: Callable[[Path, Responses], Hints]
) -> None:
    target = Registry.default().benchmark(built_in).target()
    hints = write(files, target)
    path = next(p for p in files.iterdir() if p.name != "ids.txt")
    add(f"own_{session}", Request(images_of(imported, session), (path,), ("V4",), ("PE",), hints))
    done = bench("run", "--json", "-m", "pixels", "-b", built_in, "-b", f"own_{session}.V4")
    assert done.status == 0, done.err
    theirs, ours = json.loads(done.out)["results"]
    assert (theirs["benchmark"], ours["benchmark"]) == (built_in, f"own_{session}.V4")
    for name in ("score", "ci_low", "ci_high", "ceiling", "r_neuroid", "r_neuroid_median", "r_pattern"):
        assert ours[name] == (None if theirs[name] is None else pytest.approx(theirs[name], abs=1e-9)), name
    assert ours["score"] > 0.02
    checked = bench("data", "check", built_in)
    assert checked.status == 0
    if session == "210325":
        assert "6 to 10, median 8" in checked.out
        assert "reliability  median 0.7" in checked.out
