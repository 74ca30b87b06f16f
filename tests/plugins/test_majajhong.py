"""Import of Majaj, Hong et al. (2015) from miniatures of both layouts, checked against plain pandas."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from miniatures import majajhong as mini
from miniatures.majajhong_layouts import (  # noqa: F401 (fixtures)
    ASSEMBLY,
    IDS,
    TABLE,
    VARIABLE,
    WORLD,
    N,
    copies_of_layouts,
    no_waiting_for_the_disk,
    parts,
    rewrite,
    set_value,
    spoil_averages,
    take,
    written_layouts,
)

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.reliability import mean_noise
from benchmark_core.specs import BenchmarkSpec
from benchmark_core.stimuli import StimulusSet
from plugins.benchmarks import _majajhong_assembly as assemblies
from plugins.benchmarks.majajhong import DATASET, own_split, register_benchmarks


def benchmark(name: str) -> BenchmarkSpec:
    return {b.name: b for b in register_benchmarks()}[f"majajhong.{name}"]


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
    assert dataset_checks.verify(DATASET) == []
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
    for trial, (_, row) in zip(WORLD.trials, WORLD.presentations.iterrows(), strict=True):
        i = responses.stimulus_ids.index(row["image_id"])
        assert np.array_equal(responses.values[i, row["repetition"]], trial[columns])
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
    demo = benchmark("IT-demo")
    assert demo.target_hash is not None
    assert demo.target_hash() == demo.target().hash
    assert datasets.target_hash(DATASET, "IT") == before
    assert dataset_checks.verify(DATASET) == []
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


def test_table_goes_with_the_images_of_its_own_name(home: Path, copied: Callable[[str], Path]) -> None:
    """Newer names in a table that came without its images do not spoil the older pair."""
    source = copied("averages")
    newer = WORLD.stimuli.assign(image_file_name=[f"{i}.png" for i in IDS])
    newer.rename(columns={"image_file_name": "filename"}).to_csv(source / "majajhong" / TABLE, index=False)
    take(source)
    assert dataset_checks.verify(DATASET) == []


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
    assert dataset_checks.verify(DATASET) != []
    take(layouts / "older")
    assert dataset_checks.verify(DATASET) == []


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
