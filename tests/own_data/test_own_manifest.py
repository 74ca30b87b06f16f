"""Manifests survive any text, are guarded against edits, and cost the registry next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import Lab, write_wide

from benchmark_core import datasets
from benchmark_core.errors import InputError
from benchmark_core.listing import listing
from benchmark_core.own_data import add
from benchmark_core.own_data_manifest import (
    MANIFEST,
    OwnDataset,
    RegionEntry,
    check_split,
    dataset_folder,
    from_toml,
    splits_from_column,
    to_toml,
)
from benchmark_core.registry import Registry
from benchmark_core.stimuli import StimulusSet

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
ENTRY = RegionEntry(1, "abc", 24, 4, 3, ("M1",))
SIMPLE = OwnDataset("lab", "kfold:5", False, {"V4": ENTRY})


@given(TEXT, TEXT, TEXT, st.lists(TEXT, max_size=3))
def test_any_text_comes_back(description: str, column: str, file: str, subjects: list[str]) -> None:
    dataset = OwnDataset(
        "lab",
        f"column:{column or 'x'}",
        True,
        {"V4": replace(ENTRY, subjects=tuple(subjects)), "IT": ENTRY},
        ({"file": file, "sha256": "0"}, {"file": "b"}),
        description,
    )
    assert from_toml(to_toml(dataset), Path("x")) == dataset


def test_odd_file_names_do_not_spoil_a_manifest() -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    text = to_toml(replace(SIMPLE, sources=({"file": name},)))
    assert tomllib.loads(text)["sources"] == [{"file": "caf?.csv"}]


def test_a_manifest_is_readable() -> None:
    lines = to_toml(SIMPLE).splitlines()
    assert lines[0].startswith("# A dataset of your own")
    assert 'split = "kfold:5"' in lines
    assert "[regions.V4]" in lines
    assert 'subjects = ["M1"]' in lines


def test_the_description_may_be_edited_and_nothing_that_versions_stand_for() -> None:
    text = to_toml(SIMPLE)
    assert from_toml(text.replace('description = ""', 'description = "mine"'), Path("x")).description == "mine"
    for old, new in (("kfold:5", "kfold:4"), ("grouped = false", "grouped = true"), ("version = 1", "version = 2")):
        with pytest.raises(InputError, match="was edited where versions stand for what it says"):
            from_toml(text.replace(old, new), Path("x"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not of format 1"),
        ("format = 2\n", "not of format 1"),
        ("format = [", "is damaged"),
        ("format = 1\n", "is damaged"),
        (to_toml(SIMPLE).replace("n_stimuli = 24", 'n_stimuli = "many"'), "is damaged"),
        (to_toml(SIMPLE).replace("kfold:5", "leave-one-out"), "--split leave-one-out is not allowed"),
    ],
)
def test_a_damaged_manifest_is_one_line(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_toml(text, Path("dataset.toml"))


def test_a_damaged_dataset_costs_itself_only(lab: Lab) -> None:
    path = write_wide(lab.folder / "a.csv")
    add("good", lab.request(path))
    add("bad", lab.request(path))
    (dataset_folder("bad") / MANIFEST).write_text("format = [")
    with pytest.warns(UserWarning, match=r"bad/dataset\.toml is damaged.*bad is left out"):
        registry = Registry.default()
    assert "good.V4" in registry.benchmarks.names()
    assert "bad.V4" not in registry.benchmarks.names()
    assert add("bad", lab.request(path), replace=True).dataset.regions["V4"].version == 1


def test_a_replacement_cut_off_between_its_renames_is_finished_at_discovery(lab: Lab) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv")))
    folder = dataset_folder("lab")
    folder.rename(folder.with_name(".lab.old"))
    assert "lab.V4" in Registry.default().benchmarks.names()
    assert folder.is_dir()


@pytest.mark.parametrize("text", ["kfold:1", "kfold:x", "kfold:-3", "column:", "test:", "half", ""])
def test_splits_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="use kfold:5, column:NAME or test:FILE"):
        check_split(text)


def test_splits_as_they_are_kept() -> None:
    assert [check_split(t) for t in ("kfold", "kfold:05", "column:a:b", "test:x.txt")] == [
        "kfold:5",
        "kfold:5",
        "column:a:b",
        "test:x.txt",
    ]


def test_a_split_of_one_value_is_refused() -> None:
    ids = ("a", "b", "c")
    stimuli = StimulusSet(ids, (Path("x"),) * 3, ("0",) * 3, {"split": ("train",) * 3})
    with pytest.raises(InputError, match="nothing is left to test"):
        splits_from_column(stimuli)


def test_listing_imports_nothing_heavy_and_looks_through_no_folder_of_images(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = add("lab0", lab.request(write_wide(lab.folder / "a.csv")))
    for i in range(1, 20):
        folder = dataset_folder(f"lab{i}")
        (folder / "V4").mkdir(parents=True)
        (folder / MANIFEST).write_text(to_toml(replace(added.dataset, name=f"lab{i}")))
        manifest = json.loads((added.folder / "V4" / "manifest.json").read_text()) | {"dataset": f"lab{i}"}
        (folder / "V4" / "manifest.json").write_text(json.dumps(manifest))

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("a folder was looked through")

    monkeypatch.setattr(datasets.os, "walk", forbidden)
    rows = {r["name"]: r for r in listing(Registry.default(), "benchmarks")["benchmarks"]}
    assert all(rows[f"lab{i}.V4"]["data"] == "here" for i in range(20))
    code = (
        "import sys; from benchmark_core import cli; sys.argv = ['bench', 'list', 'benchmarks', 'lab*']\n"
        "try: cli.main()\nexcept SystemExit as e: assert not e.code\n"
        "heavy = {'torch', 'numpy', 'pandas', 'xarray', 'netCDF4', 'PIL', 'pyarrow', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("your own recordings") == 20
