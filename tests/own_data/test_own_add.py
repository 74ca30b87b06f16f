"""Adding, extending, replacing and removing: what is on disk, which benchmarks there are, and their versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from lab import IDS, NEUROIDS, TRIALS, Lab, picture, wide_rows, write_csv, write_long, write_wide

from benchmark_core import dataset_checks, datasets, own_data
from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.leaderboard import leaderboard
from benchmark_core.own_data import Added, add, names_taken, remove
from benchmark_core.own_data_manifest import MANIFEST, dataset_folder, read_dataset
from benchmark_core.registry import Registry
from benchmark_core.splits import KFold, Splits
from benchmark_core.stimuli import StimulusSet


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"
    }


def benchmark(name: str) -> tuple[StimulusSet, Responses, Splits]:
    """Return stimuli, target and splits of a benchmark, as a run gets them."""
    spec = Registry.default().benchmark(name)
    stimuli = spec.stimuli()
    target = spec.target()
    assert spec.target_hash is not None
    assert spec.target_hash() == target.hash
    return stimuli, target, spec.splits(stimuli)


def test_five_formats_make_one_and_the_same_benchmark(lab: Lab) -> None:
    expected = Responses(IDS, TRIALS, NEUROIDS, "M1", "V4")
    write_wide(lab.folder / "a.csv")
    write_long(lab.folder / "b.csv")
    np.savez(lab.folder / "c.npz", rates=TRIALS, stimulus_ids=np.array(IDS), neuroid_ids=np.array(NEUROIDS))
    xr.Dataset(
        {"rates": (("neuroid", "repetition", "stimulus"), TRIALS.transpose(2, 1, 0))},
        coords={"stimulus": list(IDS), "neuroid": list(NEUROIDS)},
    ).to_netcdf(lab.folder / "d.nc")
    import pandas as pd

    pd.DataFrame(wide_rows(), columns=["stimulus_id", *NEUROIDS]).to_parquet(lab.folder / "e.parquet")
    for path in sorted(lab.folder.iterdir()):
        axes = ("stimulus", "repetition", "neuroid") if path.suffix == ".npz" else ()
        name = f"lab_{path.stem}"
        add(name, lab.request(path, subjects=("M1",), axes=axes))
        stimuli, target, splits = benchmark(f"{name}.V4")
        order = [target.neuroid_ids.index(n) for n in NEUROIDS]
        assert np.array_equal(target.values[..., order], expected.values, equal_nan=True)
        if path.stem != "b":
            assert target.hash == expected.hash
        assert stimuli.stimulus_ids == IDS
        assert splits.hash == KFold(k=5, seed=0).assign(IDS).hash
        for i in (0, 23):
            assert stimuli.files[i].read_bytes() == (lab.images / f"{IDS[i]}.png").read_bytes()


def test_it_is_a_benchmark_like_any_other(lab: Lab) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv"), subjects=("M1",)), description="Our  monkey")
    registry = Registry.default()
    spec = registry.benchmark("lab.V4")
    assert (spec.version, registry.version(spec).partition("+")[0]) == (1, "1")
    assert spec.description == "Our monkey: 24 stimuli, 4 neuroids, 1 subject, up to 3 repetitions"
    assert spec.origin == str(dataset_folder("lab") / MANIFEST)
    (dataset,) = (d for d in registry.datasets() if d.name == "lab")
    (status,) = dataset_checks.status(dataset)
    assert (status.part, status.present, status.n_stimuli, status.n_neuroids, status.problem) == ("V4", True, 24, 4, "")
    assert dataset_checks.verify(dataset) == []
    assert "lab" not in names_taken(registry)
    assert {"cowley2023", "simulated"} <= names_taken(registry)


def test_damage_is_found_and_the_way_back_named(lab: Lab) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv")))
    (dataset,) = (d for d in Registry.default().datasets() if d.name == "lab")
    (datasets.part_folder(dataset, "V4") / "responses.nc").write_bytes(b"x")
    (problem,) = dataset_checks.verify(dataset)
    assert "has changed since it was written" in problem
    assert "`bench data add lab --replace`" in problem


def test_a_dry_run_writes_nothing_and_says_the_same(lab: Lab, home: Path) -> None:
    request = lab.request(write_wide(lab.folder / "a.csv"))
    would = add("lab", request, dry_run=True)
    assert tree(home) == {}
    done = add("lab", request)
    assert would.dataset == done.dataset
    assert would.reports == done.reports


def test_what_is_there_is_not_overwritten_unless_asked(lab: Lab) -> None:
    path = write_wide(lab.folder / "a.csv")
    add("lab", lab.request(path, subjects=("M1",)))
    before = tree(dataset_folder("lab"))
    with pytest.raises(InputError, match=r"lab has responses of M1 in V4 already.*--replace"):
        add("lab", lab.request(path, subjects=("M1",)))
    assert tree(dataset_folder("lab")) == before
    add("lab", lab.request(path, subjects=("M9",)), replace=True)
    assert benchmark("lab.V4")[1].subject_names == ("M9",)


def version_after(lab: Lab, values: np.ndarray, **options: Any) -> int:
    path = write_csv(
        lab.folder / "v.csv", ["id", *NEUROIDS, "set"], [[*r, int(r[0][2:]) % 3] for r in wide_rows(values)]
    )
    added: Added = add(
        "lab", lab.request(path, ignore=("set",) if "split" not in options else (), **options), replace=True
    )
    return added.dataset.regions["V4"].version


def test_versions_rise_whenever_data_or_split_change_and_only_then(lab: Lab) -> None:
    assert version_after(lab, TRIALS) == 1
    assert version_after(lab, TRIALS) == 1
    assert version_after(lab, TRIALS + 1e-9) == 2
    assert version_after(lab, TRIALS) == 3, "what was there before is another version, too"
    assert version_after(lab, TRIALS, split="kfold:4") == 4
    assert version_after(lab, TRIALS, split="column:set") == 5
    assert version_after(lab, TRIALS, split="column:set", groups="set") == 6
    assert version_after(lab, TRIALS, split="column:set", groups="set") == 6
    other = lab.folder / "images"
    shutil.copytree(lab.images, other)
    picture(99).save(other / "im00.png")
    assert version_after(lab, TRIALS, split="column:set", groups="set", images=other) == 7
    remove("lab")
    assert version_after(lab, TRIALS) == 8, "records of a removed dataset remain, so its versions do"


def test_another_region_leaves_a_version_alone(lab: Lab) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv"), subjects=("M1",)))
    add("lab", lab.request(write_wide(lab.folder / "b.csv", TRIALS + 1), subjects=("M1",), regions=("IT",)))
    added = add("lab", lab.request(write_wide(lab.folder / "c.csv", TRIALS + 2), subjects=("M2",)))
    assert {r: e.version for r, e in added.dataset.regions.items()} == {"IT": 1, "V4": 2}
    assert benchmark("lab.IT")[1].subject_names == ("M1",)


def test_scores_of_two_versions_never_share_a_row() -> None:
    def record(version: int, key: str) -> dict[str, Any]:
        return {
            "key": key, "models": ["pixels"], "benchmark": "lab.V4", "benchmark_version": version, "metric": "encoding",
            "layer": "auto", "status": "ok", "score": 0.1 * version,
        }  # fmt: skip

    rows = leaderboard([record(2, "b"), record(1, "a")])
    assert [(r["benchmark_version"], r["score"]) for r in rows] == [(1, 0.1), (2, 0.2)]


def test_adding_in_two_calls_is_adding_in_one(lab: Lab) -> None:
    """A second subject who saw some of the images, and some that the first did not."""
    nothing = [["im23", "", "NaN", "", ""]]  # shown, and nothing recorded
    a = write_csv(lab.folder / "a.csv", ["id", *NEUROIDS], [*wide_rows(TRIALS[:20]), *nothing])
    b = write_csv(lab.folder / "b.csv", ["id", *NEUROIDS], [r for r in wide_rows(TRIALS + 1) if 9 < int(r[0][2:]) < 23])
    add("one", lab.request(a, b, subjects=("M1", "M2")))
    add("two", lab.request(a, subjects=("M1",)))
    add("two", lab.request(b, subjects=("M2",)))
    one, two = benchmark("one.V4"), benchmark("two.V4")
    assert one[0].manifest_hash == two[0].manifest_hash
    assert one[1].hash == two[1].hash
    assert one[2].hash == two[2].hash
    assert one[1].subject_names == ("M1", "M2")
    assert np.isnan(one[1].of_subject("M2").values[:10]).all()
    found = read_dataset("two")
    assert found is not None
    assert [Path(s["file"]).name for s in found.sources] == ["a.csv", "b.csv"]


def test_one_id_stands_for_one_image(lab: Lab) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv"), subjects=("M1",)))
    other = lab.folder / "other"
    other.mkdir()
    for i, stimulus_id in enumerate(IDS):
        picture(100 + i).save(other / f"{stimulus_id}.png")
    with pytest.raises(InputError, match="'im23' is another image"):
        add("lab", lab.request(write_wide(lab.folder / "b.csv", TRIALS + 1), subjects=("M2",), images=other))


def test_files_of_one_name_from_two_folders_stay_apart(lab: Lab) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv"), subjects=("M1",)))
    other = lab.folder / "more" / "set2"
    other.mkdir(parents=True)
    for i, stimulus_id in enumerate(IDS):
        picture(100 + i).save(other / f"{stimulus_id}.png")
    rows = [[f"set2/{r[0]}", *r[1:]] for r in wide_rows()]
    b = write_csv(lab.folder / "b.csv", ["id", *NEUROIDS], rows)
    add("lab", lab.request(b, subjects=("M2",), images=other.parent))
    c = write_csv(lab.folder / "c.csv", ["id", *NEUROIDS], [[f"{r[0]}.png", *r[1:]] for r in wide_rows(TRIALS + 3)])
    add("lab", lab.request(c, subjects=("M3",), images=other))
    stimuli, target, _ = benchmark("lab.V4")
    assert len(stimuli) == 3 * 24
    for stimulus_id, seed in (("im03", 3), ("set2/im03", 103), ("im03.png", 103)):
        image = stimuli.image(stimuli.index([stimulus_id])[0])
        assert np.array_equal(np.asarray(image), np.asarray(picture(seed)))
    assert target.subject_names == ("M1", "M2", "M3")


def test_splits(lab: Lab) -> None:
    rows = [[*r, "Test" if int(r[0][2:]) < 6 else "train", int(r[0][2:]) % 4, int(r[0][2:]) // 2] for r in wide_rows()]
    path = write_csv(lab.folder / "a.csv", ["id", *NEUROIDS, "set", "fold", "object"], rows)
    ignore = ("set", "fold", "object")
    (lab.folder / "test.txt").write_text("im00.png\nim01\nim02\n")

    def splits(**options: Any) -> Splits:
        add("lab", lab.request(path, ignore=ignore, **options), replace=True)
        return benchmark("lab.V4")[2]

    (fold,) = splits(split="column:set").folds
    assert fold.test == IDS[:6]
    assert fold.train == IDS[6:]
    folds = splits(split="column:fold").folds
    assert [f.test for f in folds] == [IDS[k::4] for k in range(4)]
    (fold,) = splits(split=f"test:{lab.folder / 'test.txt'}").folds
    assert fold.test == IDS[:3]
    assert len(splits(split="kfold:3").folds) == 3
    grouped = splits(split="kfold:4", groups="object").folds
    for fold in grouped:
        assert {int(i[2:]) // 2 for i in fold.test}.isdisjoint({int(i[2:]) // 2 for i in fold.train})
    assert benchmark("lab.V4")[0].groups == tuple(str(i // 2) for i in range(24))


def test_what_is_added_takes_the_split_and_groups_of_what_is_there(lab: Lab) -> None:
    def write(name: str, which: range, add_to: float) -> Path:
        rows = [
            [*r, "Train" if int(r[0][2:]) % 4 else "TEST", int(r[0][2:]) // 2]
            for r in wide_rows(TRIALS + add_to)
            if int(r[0][2:]) in which
        ]
        return write_csv(lab.folder / name, ["id", *NEUROIDS, "set", "object"], rows)

    options: dict[str, Any] = {"split": "column:set", "groups": "object"}
    a, b, c = write("a.csv", range(12), 0), write("b.csv", range(8, 24), 1), write("c.csv", range(12), 2)
    add("two", lab.request(a, subjects=("M1",), **options))
    plain = {"ignore": ("set", "object")}
    with pytest.raises(InputError, match="12 stimuli have no group: 'im12', 'im13'"):
        add("two", lab.request(b, subjects=("M2",), **plain))
    with pytest.raises(InputError, match="two is split by column:set, not kfold:3"):
        add("two", lab.request(b, subjects=("M2",), split="kfold:3"))
    add("two", lab.request(b, subjects=("M2",), **options))
    add("two", lab.request(c, subjects=("M3",), **plain))  # known stimuli only
    stimuli, target, splits = benchmark("two.V4")
    add("one", lab.request(a, b, c, subjects=("M1", "M2", "M3"), **options))
    assert benchmark("one.V4")[1].hash == target.hash
    assert benchmark("one.V4")[2].hash == splits.hash
    assert benchmark("one.V4")[0].groups == stimuli.groups
    assert splits.folds[0].test == IDS[::4]


def test_identical_pictures_are_kept_together_on_request(lab: Lab) -> None:
    images = lab.folder / "images"
    shutil.copytree(lab.images, images)
    for twin, of in ((20, 1), (21, 2), (22, 2)):
        picture(of).save(images / f"{IDS[twin]}.bmp")
        (images / f"{IDS[twin]}.png").unlink()
    rows = [[*r, int(r[0][2:]) // 2] for r in wide_rows()]
    path = write_csv(lab.folder / "a.csv", ["id", *NEUROIDS, "object"], rows)
    add("lab", lab.request(path, images=images, ignore=("object",), group_identical=True))
    groups = dict(zip(IDS, benchmark("lab.V4")[0].groups or (), strict=True))
    assert groups == {i: i for i in IDS} | {"im20": "im01", "im21": "im02", "im22": "im02"}
    add("lab", lab.request(path, images=images, groups="object", group_identical=True), replace=True)
    groups = dict(zip(IDS, benchmark("lab.V4")[0].groups or (), strict=True))
    # 10 = {20, 21} shares a picture with 0 = {0, 1} and with 1 = {2, 3}, which 11 = {22, 23} does, too.
    assert {i for i in IDS if groups[i] == "0"} == {"im00", "im01", "im02", "im03", "im20", "im21", "im22", "im23"}
    clean = add("clean", lab.request(write_wide(lab.folder / "b.csv"), group_identical=True))
    assert not clean.dataset.grouped, "without twins there is nothing to group"


def test_a_replacement_that_fails_leaves_the_old_dataset(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv")))
    before = tree(dataset_folder("lab"))

    def no_room(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets, "fill_part", no_room)
    with pytest.raises(InputError, match="No space left on device"):
        add("lab", lab.request(write_wide(lab.folder / "b.csv", TRIALS + 1)), replace=True)
    assert tree(dataset_folder("lab")) == before


KILLED = """
import os, sys
from pathlib import Path
from benchmark_core import own_data, dataset_checks, datasets
from benchmark_core.own_data_reading import Request

fill = datasets.fill_part
def killed(*args, **kwargs):
    fill(*args, **kwargs)
    os._exit(9)
datasets.fill_part = killed
own_data.add("lab", Request(Path(sys.argv[1]), (Path(sys.argv[2]),), ("V4",)), replace=True)
"""


def test_a_killed_replacement_leaves_the_old_dataset_and_the_next_one_completes(lab: Lab, home: Path) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv")))
    before = tree(dataset_folder("lab"))
    new = write_wide(lab.folder / "b.csv", TRIALS + 1)
    done = subprocess.run([sys.executable, "-c", KILLED, str(lab.images), str(new)], cwd=Path(__file__).parents[2])
    assert done.returncode == 9
    assert tree(dataset_folder("lab")) == before
    assert any(p.name.endswith(".tmp") for p in (home / "data").iterdir())
    added = add("lab", lab.request(new), replace=True)
    assert added.dataset.regions["V4"].version == 2


def test_another_process_meanwhile_is_noticed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv"), subjects=("M1",)))
    real = own_data.prepare

    def slowly(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        (dataset_folder("lab") / MANIFEST).write_text("# another\n")
        return found

    monkeypatch.setattr(own_data, "prepare", slowly)
    with pytest.raises(InputError, match="changed by another process"):
        add("lab", lab.request(write_wide(lab.folder / "b.csv", TRIALS + 1), subjects=("M2",)))


def test_too_little_space_is_said_before_anything_is_written(
    lab: Lab, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 100})
    monkeypatch.setattr(own_data.shutil, "disk_usage", lambda path: full)
    with pytest.raises(InputError, match="has 100 B free, and this needs"):
        add("lab", lab.request(write_wide(lab.folder / "a.csv")))
    assert not home.exists()


def test_removing_takes_the_dataset_and_nothing_else(lab: Lab) -> None:
    path = write_wide(lab.folder / "a.csv")
    add("lab", lab.request(path))
    add("lab2", lab.request(path))
    mine = tree(lab.images) | tree(lab.folder)
    remove("lab")
    assert not dataset_folder("lab").exists()
    assert read_dataset("lab2") is not None
    assert tree(lab.images) | tree(lab.folder) == mine
    with pytest.raises(InputError, match=r"'lab' is not a dataset that was added.* Did you mean lab2"):
        remove("lab")


def test_a_link_in_place_of_a_dataset_does_not_lead_removal_astray(lab: Lab) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv")))
    os.symlink(lab.images, dataset_folder("lab") / "V4" / "link")
    remove("lab")
    assert len(list(lab.images.iterdir())) == len(IDS)
