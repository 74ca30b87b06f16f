"""Import of Majaj, Hong et al. (2015) from miniatures of both layouts, and what becomes of damaged and partial ones."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from miniatures import majajhong as mini
from PIL import Image

from benchmark_core import datasets
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.keys import file_sha256
from benchmark_core.reliability import mean_noise
from benchmark_core.specs import BenchmarkSpec
from benchmark_core.stimuli import StimulusSet
from plugins.benchmarks import _majajhong_assembly as assemblies
from plugins.benchmarks._majajhong_import import import_folder
from plugins.benchmarks.majajhong import DATASET, own_split, register_benchmarks

WORLD = mini.make(n_objects=3, per_object=(5, 5))
IDS = list(WORLD.stimuli["image_id"])
N = len(IDS)
ASSEMBLY, VARIABLE = mini.ASSEMBLY, mini.VARIABLE
TABLE, ZIP = "stimulus_hvm-public.csv", "stimulus_hvm-public.zip"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all layouts, written once; tests that spoil something work on copies."""
    folder = tmp_path_factory.mktemp("layouts")
    mini.write_brain_score(folder / "older", WORLD)
    mini.write_brain_score(folder / "newer", WORLD, newer=True)
    mini.write_paper(folder / "paper", WORLD)
    mini.write_paper(folder / "averages", WORLD, ids=False)
    mini.write_ids(folder / "ids", WORLD)
    return folder


@pytest.fixture
def copied(layouts: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a layout to where it may be spoilt."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(layouts / name, tmp_path / f"copy of {name}"))

    return copy


def take(source: Path, verify: bool = True) -> list[str]:
    """Import a folder and return what was said."""
    said: list[str] = []
    import_folder(source, said.append, verify)
    return said


def benchmark(name: str) -> BenchmarkSpec:
    return {b.name: b for b in register_benchmarks()}[f"majajhong.{name}"]


def parts(home: Path) -> set[str]:
    folder = home / "data" / "majajhong"
    return {f.name for f in folder.iterdir() if not f.name.endswith(".lock")} if folder.exists() else set()


@pytest.mark.parametrize("layout", ["older", "newer", "averages"])
@pytest.mark.parametrize("region", ["V4", "IT"])
def test_canonical_averages_are_those_of_plain_pandas(home: Path, layouts: Path, layout: str, region: str) -> None:
    """Bit for bit: the made-up responses are multiples of 1/64, so their sums are exact in any order."""
    take(layouts / layout)
    responses = datasets.load_responses(DATASET, region)
    expected = WORLD.averages(region)
    assert responses.stimulus_ids == tuple(expected.index) == tuple(sorted(IDS))
    assert np.array_equal(responses.averages(), expected.to_numpy())
    assert responses.region == region
    animals = [a for a in ("Chabo", "Tito") for _ in WORLD.rows(a, region)]
    assert responses.subjects == tuple(animals)
    assert responses.neuroid_ids == tuple(f"{a}/{region}/{animals[:i].count(a):03d}" for i, a in enumerate(animals))
    assert responses.has_trials == (layout != "averages")
    assert datasets.verify(DATASET) == []
    extra = datasets.read_manifest(DATASET, region)["extra"]
    assert extra["recorded_neuroid_ids"] == ([] if layout == "averages" else list(expected.columns))


def test_both_namings_of_brain_score_are_one_recording(home: Path, layouts: Path) -> None:
    hashes = []
    for layout in ("older", "newer"):
        take(layouts / layout)
        stimuli = datasets.load_stimuli(DATASET, "IT")
        hashes.append([datasets.target_hash(DATASET, r) for r in ("V4", "IT")] + [stimuli.manifest_hash])
        shutil.rmtree(home)
    assert hashes[0] == hashes[1]
    assert hashes[0][0] != hashes[0][1]


def test_trials_keep_their_order(home: Path, layouts: Path) -> None:
    """Trials of a stimulus lie in the order of ``repetition``, and stimuli shown less often are filled up with NaN."""
    take(layouts / "older")
    responses = datasets.load_responses(DATASET, "V4")
    columns = [i for s in ("Chabo", "Tito") for i in WORLD.rows(s, "V4")]
    assert responses.values.shape == (N, 5, 5)
    for p, row in WORLD.presentations.iterrows():
        i = responses.stimulus_ids.index(row["image_id"])
        assert np.array_equal(responses.values[i, row["repetition"]], WORLD.trials[int(p), columns])  # type: ignore[call-overload]
    repetitions = np.isfinite(responses.values[:, :, 0]).sum(axis=1)
    variation = dict(zip(WORLD.stimuli["image_id"], WORLD.stimuli["variation"], strict=True))
    assert repetitions.tolist() == [3 if variation[i] == 0 else 5 for i in responses.stimulus_ids]


def test_absent_trial_is_said_and_left_out(home: Path, copied: Callable[[str], Path]) -> None:
    source = copied("older")
    rewrite(set_value(np.nan))(source)
    assert "majajhong/V4: 1 single responses are absent (NaN)" in take(source)
    trials = WORLD.trials.copy()
    trials[7, 3] = np.nan
    expected = pd.DataFrame(trials).groupby(WORLD.presentations["image_id"].to_numpy()).mean().sort_index()
    columns = [i for s in ("Chabo", "Tito") for i in WORLD.rows(s, "V4")]
    assert np.array_equal(datasets.load_responses(DATASET, "V4").averages(), expected[columns].to_numpy())


def test_noise_of_trials_is_that_of_plain_pandas(home: Path, layouts: Path) -> None:
    """Reliability rests on s^2 / n of every stimulus."""
    take(layouts / "newer")
    groups = pd.DataFrame(WORLD.trials).groupby(WORLD.presentations["image_id"].to_numpy())
    columns = [i for s in ("Chabo", "Tito") for i in WORLD.rows(s, "IT")]
    expected = (groups.var(ddof=1) / groups.count()).sort_index()[columns].to_numpy()
    np.testing.assert_allclose(mean_noise(datasets.load_responses(DATASET, "IT").values), expected, rtol=1e-12)


def test_images_keep_their_bytes_and_labels(home: Path, layouts: Path) -> None:
    files = dict(zip(WORLD.stimuli["image_id"], WORLD.stimuli["image_file_name"], strict=True))
    for layout in ("older", "newer", "paper"):
        take(layouts / layout)
        stimuli = datasets.load_stimuli(DATASET, "V4")
        assert [f.read_bytes() for f in stimuli.files] == [WORLD.images[files[i]] for i in stimuli.stimulus_ids]
        for column in ("object_name", "category_name", "variation"):
            expected = dict(zip(WORLD.stimuli["image_id"], WORLD.stimuli[column].astype(str), strict=True))
            assert stimuli.metadata[column] == tuple(expected[i] for i in stimuli.stimulus_ids)
        shutil.rmtree(home)


@pytest.mark.parametrize("order", [("presentation", "neuroid", "time_bin"), ("time_bin", "neuroid", "presentation")])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_any_order_of_axes_and_any_block(
    layouts: Path, tmp_path: Path, order: tuple[str, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mini.assembly(WORLD)
    if dtype == "i2":
        data[VARIABLE] = np.round(data[VARIABLE] * 64)
    data[VARIABLE] = data[VARIABLE].astype(dtype).transpose(*order)
    chunks = tuple({"presentation": 50, "neuroid": 4, "time_bin": 1}[d] for d in order)
    data.to_netcdf(tmp_path / "a.nc", encoding={VARIABLE: {"chunksizes": chunks, "zlib": True}})
    monkeypatch.setattr(assemblies, "BLOCK_BYTES", 3000)
    found = assemblies.read_trials(tmp_path / "a.nc", "IT").responses
    monkeypatch.undo()
    plain = assemblies.read_trials(layouts / "older" / ASSEMBLY, "IT").responses
    scale = 64 if dtype == "i2" else 1
    assert found.neuroid_ids == plain.neuroid_ids
    assert np.array_equal(found.values, plain.values * scale, equal_nan=True)


def test_netcdf3_with_padded_characters(layouts: Path, tmp_path: Path) -> None:
    data = mini.assembly(WORLD)
    data = data.assign_coords({c: v.astype(str) for c, v in data.coords.items() if v.dtype == object})
    data["variation"], data["repetition"] = data["variation"].astype("i4"), data["repetition"].astype("i4")
    data["time_bin_start"], data["time_bin_end"] = (
        data["time_bin_start"].astype("i4"),
        data["time_bin_end"].astype("i4"),
    )
    data = data.drop_vars(["col", "row"])
    data.to_netcdf(tmp_path / "a.nc", format="NETCDF3_CLASSIC")
    found = assemblies.read_trials(tmp_path / "a.nc", "V4").responses
    assert found.hash == assemblies.read_trials(layouts / "older" / ASSEMBLY, "V4").responses.hash


def test_published_split(home: Path, layouts: Path) -> None:
    take(layouts / "paper")
    lists = {p.name: sorted(pickle.loads(p.read_bytes())) for p in (layouts / "ids").iterdir()}
    for region in ("V4", "IT"):
        for name, suffix in ((region, ""), (f"{region}-shuffled", ""), (f"{region}-demo", "_demo")):
            spec = benchmark(name)
            (fold,) = spec.splits(spec.stimuli()).folds
            assert list(fold.train) == lists[f"majaj_train_ids{suffix}"]
            assert list(fold.test) == lists[f"majaj_test_ids{suffix}"]
            assert spec.target_hash is not None
            assert spec.target_hash() == spec.target().hash
            assert spec.target().stimulus_ids == spec.stimuli().stimulus_ids
    assert len(benchmark("V4-demo").stimuli()) == 20
    assert not benchmark("V4").target().has_trials, "averages alone have no ceiling"


def test_ids_may_come_later_and_stay(home: Path, layouts: Path) -> None:
    take(layouts / "older")
    before = datasets.target_hash(DATASET, "IT")
    with pytest.raises(MissingDataError, match=r"majaj_train_ids and majaj_test_ids .* or use majajhong\.IT-ownsplit"):
        benchmark("IT").splits(benchmark("IT").stimuli())
    with pytest.raises(MissingDataError, match="majaj_train_ids_demo"):
        benchmark("IT-demo").stimuli()
    assert "majajhong/IT: added the ids of 'split' and the ids of 'demo'" in take(layouts / "ids")
    assert len(benchmark("IT").splits(benchmark("IT").stimuli()).folds[0].test) == N // 4
    assert benchmark("IT-demo").target_hash() == benchmark("IT-demo").target().hash  # type: ignore[misc]
    assert datasets.target_hash(DATASET, "IT") == before
    assert datasets.verify(DATASET) == []
    assert all("already imported" in line for line in take(layouts / "older") if line.startswith("majajhong/"))
    take(layouts / "newer")
    assert len(benchmark("IT").splits(benchmark("IT").stimuli()).folds[0].test) == N // 4, "a fresh import keeps them"


def test_averages_do_not_replace_trials(home: Path, layouts: Path, copied: Callable[[str], Path]) -> None:
    take(layouts / "older")
    said = take(layouts / "paper")
    assert "majajhong/V4: single trials are here, and the averages are theirs; kept the trials" in said
    assert benchmark("V4").target().has_trials
    assert len(benchmark("V4").splits(benchmark("V4").stimuli()).folds[0].train) == N - N // 4, "their ids were added"
    other = copied("paper")
    spoil_averages(lambda x: x + 0.01)(other)
    with pytest.raises(InputError, match="does not hold the averages of the trials that are here; remove"):
        take(other)


def test_trials_replace_averages_and_keep_the_ids(home: Path, layouts: Path) -> None:
    take(layouts / "paper")
    averages = benchmark("V4").target().averages()
    take(layouts / "older")
    target = benchmark("V4").target()
    assert target.has_trials
    assert np.array_equal(target.averages(), averages)
    assert len(benchmark("V4").splits(benchmark("V4").stimuli()).folds[0].test) == N // 4


def test_mixed_folder(home: Path, copied: Callable[[str], Path]) -> None:
    """The paper's folder with the public assembly in it: trials, images of the folder, ids."""
    source = copied("paper")
    shutil.copy(copied("older") / ASSEMBLY, source / "majajhong")
    take(source / "majajhong")
    assert benchmark("V4").target().has_trials
    assert len(benchmark("V4-demo").stimuli()) == 20
    shutil.rmtree(home)
    spoil_averages(lambda x: x * 1.001)(source)
    with pytest.raises(InputError, match="disagree: the averages are not those of the trials"):
        take(source)
    assert parts(home) == set()


def test_averages_in_single_precision_agree(home: Path, layouts: Path, copied: Callable[[str], Path]) -> None:
    source = copied("averages")
    spoil_averages(lambda x: x.astype("f4"))(source)
    take(layouts / "older")
    assert any("kept the trials" in line for line in take(source))


def test_one_region_alone(home: Path, copied: Callable[[str], Path]) -> None:
    source = copied("averages")
    for path in (source / "majajhong").glob("*_REGION_IT"):
        path.unlink()
    assert f"majajhong/IT: not in {source}, left out" in take(source)
    assert parts(home) == {"V4"}
    with pytest.raises(MissingDataError, match="majajhong/IT is not on this machine"):
        benchmark("IT").stimuli()


def test_own_split_of_the_public_size() -> None:
    """640 of 3200, and exactly a fifth of every object at every degree of variation; whatever else is in the set."""
    rows = sorted({(i, o, str(v)) for i, o, v, _ in mini.full_size_presentations()})
    columns = {"object_name": tuple(r[1] for r in rows), "variation": tuple(r[2] for r in rows)}
    ids = tuple(r[0] for r in rows)
    stimuli = StimulusSet(ids, tuple(Path(i) for i in ids), ids, columns)
    (fold,) = own_split("b", stimuli).folds
    assert (len(fold.train), len(fold.test)) == (2560, 640)
    tested = pd.DataFrame([r[1:] for r in rows if r[0] in set(fold.test)]).value_counts()
    assert set(tested[:, "0"]) == {2}
    assert set(tested[:, "3"]) == {8}
    assert len(tested) == 128
    assert fold == own_split("b", StimulusSet(ids, stimuli.files, ids, columns)).folds[0]


def test_own_split_needs_labels(home: Path, copied: Callable[[str], Path]) -> None:
    source = copied("averages")
    table = source / "majajhong" / "image_dicarlo_hvm-public.csv"
    pd.read_csv(table)[["image_id", "image_file_name"]].to_csv(table, index=False)
    take(source)
    with pytest.raises(
        MissingDataError, match=r"majajhong\.V4-ownsplit needs object_name and variation of every image"
    ):
        benchmark("V4-ownsplit").splits(benchmark("V4-ownsplit").stimuli())


def test_labels_come_from_the_assembly_where_the_table_has_none(home: Path, copied: Callable[[str], Path]) -> None:
    source = copied("older")
    pd.read_csv(source / TABLE)[["image_id", "image_file_name"]].to_csv(source / TABLE, index=False)
    take(source)
    spec = benchmark("V4-ownsplit")
    assert len(spec.splits(spec.stimuli()).folds[0].test) == N // 5


def test_shuffled_benchmarks_differ_in_their_images_alone(home: Path, layouts: Path) -> None:
    take(layouts / "paper")
    plain, shuffled = benchmark("IT"), benchmark("IT-shuffled")
    assert plain.stimuli().manifest_hash != shuffled.stimuli().manifest_hash
    assert plain.stimuli().manifest_hash == benchmark("V4").stimuli().manifest_hash, "features are shared by regions"
    assert plain.splits(plain.stimuli()) == shuffled.splits(shuffled.stimuli())
    assert shuffled.stimuli().image(0).size == (224, 224)
    assert benchmark("IT-ownsplit-shuffled").stimuli().manifest_hash == shuffled.stimuli().manifest_hash


def test_second_import_changes_nothing_and_repairs(home: Path, layouts: Path) -> None:
    take(layouts / "older")
    made = (home / "data" / "majajhong" / "V4").stat().st_ino
    assert sum("already imported from the same files" in line for line in take(layouts / "older")) == 2
    assert (home / "data" / "majajhong" / "V4").stat().st_ino == made
    next((home / "data" / "majajhong" / "V4" / "images").iterdir()).write_bytes(b"damaged")
    assert datasets.verify(DATASET) != []
    take(layouts / "older")
    assert datasets.verify(DATASET) == []


# What can be wrong with a source. Each case spoils a copy of a layout; the message is one line that names the file.


def spoil_averages(change: Callable[[Any], Any], name: str = "SUBJECT_Tito_REGION_V4") -> Callable[[Path], None]:
    def step(source: Path) -> None:
        path = source / "majajhong" / name
        with xr.open_dataset(path) as data:
            held = data.load()
        held["x"] = change(held["x"])
        held.to_netcdf(path)

    return step


def rewrite(change: Callable[[xr.Dataset], xr.Dataset], name: str = "") -> Callable[[Path], None]:
    """Return a step that changes the assembly, or one of the files of averages."""

    def step(source: Path) -> None:
        path = source / "majajhong" / name if name else source / ASSEMBLY
        with xr.open_dataset(path) as data:
            held = data.load()
        change(held).to_netcdf(path)

    return step


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def step(source: Path) -> None:
        path = source / name
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    return step


def damage(name: str) -> Callable[[Path], None]:
    """Return a step that overwrites the second half of a file with ones."""

    def step(source: Path) -> None:
        path = source / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))

    return step


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    return lambda source: change(pd.read_csv(source / TABLE, dtype=str)).to_csv(source / TABLE, index=False)


def repack(**changes: bytes | None) -> Callable[[Path], None]:
    """Return a step that packs the archive anew with members replaced (None leaves one out)."""

    def step(source: Path) -> None:
        with zipfile.ZipFile(source / ZIP, "w") as archive:
            for name, content in (WORLD.images | changes).items():
                if content is not None:
                    archive.writestr(name, content)

    return step


def lists(**values: Any) -> Callable[[Path], None]:
    def step(source: Path) -> None:
        for name, value in values.items():
            content = value if isinstance(value, bytes) else pickle.dumps(value)
            (source / "majajhong" / name).write_bytes(content)

    return step


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch was_run",)


def gif() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(np.full((9, 9), v, dtype=np.uint8)) for v in (0, 200)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def set_value(value: float) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(data: xr.Dataset) -> xr.Dataset:
        data[VARIABLE][3, 7, 0] = value
        return data

    return change


def silence(data: xr.Dataset) -> xr.Dataset:
    """Leave one neuroid without any response to one stimulus."""
    data[VARIABLE][3, np.flatnonzero(data["image_id"].values == IDS[4]), 0] = np.nan
    return data


def rename_id(data: xr.Dataset) -> xr.Dataset:
    ids = data["image_id"].values.astype(object)
    ids[ids == IDS[4]] = "f" * 40
    return data.assign_coords(image_id=("presentation", ids))


def empty(source: Path) -> None:
    """Write an assembly without any presentation."""
    with netCDF4.Dataset(source / ASSEMBLY, "w") as file:
        file.createDimension("presentation", None)
        file.createDimension("neuroid", 2)
        file.createVariable(VARIABLE, "f4", ("neuroid", "presentation"))


FIRST = WORLD.stimuli["image_file_name"][0]
TITO = "SUBJECT_Tito_REGION_V4"

BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "assembly cut": ("older", cut(ASSEMBLY, 0.6), f"{ASSEMBLY} cannot be read as netCDF .*; get it again"),
    "assembly empty": ("older", lambda s: (s / ASSEMBLY).write_bytes(b""), "cannot be read as netCDF"),
    "assembly is text": ("older", lambda s: (s / ASSEMBLY).write_text("<Error>"), "cannot be read as netCDF"),
    "assembly is a folder": ("older", lambda s: ((s / ASSEMBLY).unlink(), (s / ASSEMBLY).mkdir()), "cannot be read"),
    "no responses": ("older", rewrite(lambda d: d.drop_vars(VARIABLE)), "0 variables with the dims neuroid and"),
    "responses are texts": ("older", rewrite(lambda d: d.astype(str)), "not numbers"),
    "two time bins": ("older", rewrite(lambda d: xr.concat([d, d], "time_bin")), "time_bin 2.*and one time bin"),
    "no ids": ("older", rewrite(lambda d: d.drop_vars("image_id")), "no coordinate 'stimulus_id' or 'image_id'"),
    "no animals": ("older", rewrite(lambda d: d.drop_vars("animal")), "no coordinate 'animal' or 'subject'"),
    "no regions": ("older", rewrite(lambda d: d.drop_vars("region")), "no coordinate 'region'"),
    "region absent": (
        "older",
        rewrite(lambda d: d.isel(neuroid=d.region == "IT")),
        "no neuroids of region 'V4'; .*'IT'",
    ),
    "no presentations": ("older", empty, f"{VARIABLE!r} is empty"),
    "NaN responses": ("older", rewrite(silence), f"neuroid 'Tito_L_P_3_3' has no response to stimulus_id '{IDS[4]}'"),
    "infinite response": (
        "older",
        rewrite(set_value(np.inf)),
        "neuroid 'Tito_L_P_3_3' to stimulus_id '.*' is infinite",
    ),
    "unknown id in the assembly": ("older", rewrite(rename_id), f"{TABLE} does not list stimulus_id 'ffff"),
    "table missing": ("older", lambda s: (s / TABLE).unlink(), r"the table of images \(stimulus_hvm-public.csv or"),
    "table empty": ("older", lambda s: (s / TABLE).write_bytes(b""), f"{TABLE} lists no images"),
    "table without ids": (
        "older",
        table(lambda t: t.drop(columns="image_id")),
        "no column 'stimulus_id' or 'image_id'",
    ),
    "table without files": ("older", table(lambda t: t.drop(columns="image_file_name")), "no column 'filename' or"),
    "table lists one twice": (
        "older",
        table(lambda t: pd.concat([t, t[3:4]])),
        f"line {N + 2}: stimulus_id '.*' is listed twice",
    ),
    "table lacks one": (
        "older",
        table(lambda t: t.drop(index=5)),
        "does not list stimulus_id '.*', which has responses",
    ),
    "table shares a file": ("older", table(lambda t: t.assign(image_file_name=FIRST)), "to two stimuli"),
    "table leaves the folder": (
        "older",
        table(lambda t: t.replace(FIRST, "../x.png")),
        r"line 2: '\.\./x.png' is not a",
    ),
    "table is binary": ("older", lambda s: (s / TABLE).write_bytes(b"\xff\xfe\x00"), "is not UTF-8 text"),
    "table ragged": (
        "older",
        lambda s: (s / TABLE).write_text("image_id,image_file_name\na\n"),
        "line 2: wrong number",
    ),
    "images missing": ("older", lambda s: (s / ZIP).unlink(), "the images .* are missing"),
    "zip cut": ("older", cut(ZIP, 0.7), f"{ZIP} cannot be read as a zip archive"),
    "zip damaged": ("older", damage(ZIP), "cannot be read as a zip archive"),
    "zip lacks an image": (
        "older",
        repack(**{FIRST: None}),
        rf"lacks the image '{FIRST.replace('+', '.')} .stimulus_id",
    ),
    "zip with unsafe name": ("older", repack(**{"../a.png": b"x"}), r"unsafe name '\.\./a.png'"),
    "image cut": ("older", repack(**{FIRST: WORLD.images[FIRST][:200]}), "image object0.* cannot be decoded"),
    "image is text": ("older", repack(**{FIRST: b"text"}), "cannot be decoded .not an image"),
    "image animated": ("older", repack(**{FIRST: gif()}), "has 2 frames; a stimulus is one picture"),
    "averages cut": ("averages", cut(f"majajhong/{TITO}", 0.5), f"{TITO} cannot be read as netCDF"),
    "one animal missing": ("averages", lambda s: (s / "majajhong" / TITO).unlink(), f"{TITO} missing .both animals"),
    "averages named otherwise": (
        "averages",
        rewrite(lambda d: d.rename(x="y"), TITO),
        "has no variable 'x'; it holds 'stim",
    ),
    "averages NaN": ("averages", spoil_averages(lambda x: x.where(x != x[2, 1, 0])), "is nan; averages are finite"),
    "averages twice": (
        "averages",
        rewrite(lambda d: xr.concat([d, d[{"stimulus_id": [0]}]], "stimulus_id"), TITO),
        "more than once",
    ),
    "averages lack one": (
        "averages",
        rewrite(lambda d: d.isel(stimulus_id=slice(1, None)), TITO),
        f"{TITO}: stimulus_id '.*' missing",
    ),
    "averages of trials": ("averages", rewrite(lambda d: d.isel(time_bin=[0, 0]), TITO), "time_bin 2"),
    "test ids missing": ("paper", lambda s: (s / "majajhong" / "majaj_test_ids").unlink(), "majaj_test_ids missing"),
    "ids hostile": ("paper", lists(majaj_train_ids=[Evil()]), "majaj_train_ids asks for posix.system.*nothing was run"),
    "ids are numbers": ("paper", lists(majaj_train_ids=np.arange(9)), "majaj_train_ids holds an array of type 'i8'"),
    "ids cut": ("paper", cut("majajhong/majaj_test_ids", 0.5), "majaj_test_ids cannot be read as a pickle"),
    "ids empty": ("paper", lists(majaj_test_ids=[]), "majaj_test_ids holds no ids"),
    "ids unknown": (
        "paper",
        lists(majaj_test_ids=[*IDS[3:9], "nobody"]),
        "names stimulus_id 'nobody', which no image has",
    ),
    "ids with extensions": (
        "paper",
        lists(majaj_test_ids=[f"{i}.png" for i in IDS]),
        rf"\.png'.* and {N - 3} more, which no image",
    ),
    "ids twice": ("paper", lists(majaj_test_ids=[IDS[3], IDS[3]]), "more than once"),
    "ids on both sides": ("paper", lists(majaj_test_ids=[IDS[0], IDS[3]]), "would be trained on and tested on"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_source_is_one_clear_line_and_leaves_nothing(
    home: Path, copied: Callable[[str], Path], case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layout, spoil, message = BAD[case]
    source = copied(layout)
    spoil(source)
    with pytest.raises(BenchError, match=message) as caught:
        take(source)
    assert caught.value.status in (2, 3)
    assert "\n" not in str(caught.value)
    assert parts(home) == set()
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: None, InputError, "does not exist"),
        (lambda p: p.write_bytes(b""), InputError, "is not a folder"),
        (lambda p: p.mkdir(), MissingDataError, "holds no files of majajhong: expected assy_dicarlo_MajajHong2015"),
        (
            lambda p: mini.write_ids(p, WORLD),
            MissingDataError,
            "holds ids but no responses, and none are on this machine",
        ),
    ],
)
def test_wrong_folder(home: Path, tmp_path: Path, make: Callable[[Path], Any], error: type, words: str) -> None:
    make(tmp_path / "source")
    with pytest.raises(error, match=words):
        take(tmp_path / "source")


def test_damaged_data_block_of_the_assembly(tmp_path: Path) -> None:
    """The header is sound and the damage shows only when the block is read."""
    data = mini.assembly(WORLD)
    path = tmp_path / "a.nc"
    data.to_netcdf(
        path, encoding={VARIABLE: {"zlib": True, "chunksizes": (13, len(WORLD.trials), 1), "fletcher32": True}}
    )
    with netCDF4.Dataset(path) as file:
        assert file[VARIABLE].filters()["fletcher32"]
    content = bytearray(path.read_bytes())
    packed = max(range(0, len(content) - 4096, 512), key=lambda i: len(set(content[i : i + 4096])))
    content[packed + 512 : packed + 1024] = bytes(512)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="cannot be read as netCDF"):
        assemblies.read_trials(path, "IT")


def test_stimuli_without_repetition_in_a_huge_recording(
    layouts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemblies, "LARGEST_TRIALS", 1000)
    with pytest.raises(InputError, match=f"{N} stimuli with up to 5 repetitions are no recording of this kind"):
        assemblies.read_trials(layouts / "older" / ASSEMBLY, "V4")


def test_full_disk_is_found_out_beforehand(home: Path, layouts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20_000))
    with pytest.raises(InputError, match="are needed; free some space"):
        take(layouts / "older")
    assert parts(home) == set()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("NetCDF: HDF error")])
@pytest.mark.parametrize(
    ("free", "words"), [(5_000, "No space left on device.; free some space"), (10**9, "check the disk")]
)
def test_disk_that_fills_up_while_netcdf_is_written(
    home: Path, layouts: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, free: int, words: str
) -> None:
    """On a full disk the library raises one of these two, seen on small file systems in memory."""

    def fail(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        raise error

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    with pytest.raises(InputError, match=f"cannot write .*{words}"):
        take(layouts / "older")
    assert parts(home) == set()


def test_failed_import_keeps_what_was_there(home: Path, layouts: Path, copied: Callable[[str], Path]) -> None:
    take(layouts / "older")
    old = datasets.target_hash(DATASET, "V4")
    source = copied("newer")
    repack(**{FIRST: b"no image"})(source)
    with pytest.raises(InputError, match="cannot be decoded"):
        take(source)
    assert datasets.target_hash(DATASET, "V4") == old
    assert datasets.verify(DATASET) == []
    assert parts(home) == {"V4", "IT"}


def die_while_importing(source: Path, after: int) -> int:
    """Import in a process that is killed when it hashes a written file after ``after`` others; return its status."""
    child = os.fork()
    if child == 0:
        hashed = []

        def hash_or_die(path: Path) -> str:
            hashed.append(path)
            if len(hashed) > after:
                os.kill(os.getpid(), signal.SIGKILL)
            return file_sha256(path)

        datasets.file_sha256 = hash_or_die
        with suppress(BaseException):
            take(source)
        os._exit(1)
    return os.waitpid(child, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("after", "left"), [(0, set()), (2, {"V4"})])
def test_killed_import_leaves_whole_parts_or_none(home: Path, layouts: Path, after: int, left: set[str]) -> None:
    assert os.WTERMSIG(die_while_importing(layouts / "older", after)) == signal.SIGKILL
    assert {s.part for s in datasets.status(DATASET) if s.present} == left
    assert datasets.verify(DATASET) == []
    take(layouts / "older")
    assert parts(home) == {"V4", "IT"}
    assert datasets.verify(DATASET) == []


def test_benchmarks_are_declared_without_heavy_imports() -> None:
    code = (
        "import sys\n"
        "import plugins.benchmarks.majajhong as module\n"
        "print(*(b.name for b in module.register_benchmarks()))\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'PIL', 'requests', 'pooch', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    kinds = ("", "-shuffled", "-demo", "-ownsplit", "-ownsplit-shuffled")
    assert done.stdout.split() == [f"majajhong.{region}{kind}" for region in ("V4", "IT") for kind in kinds]
