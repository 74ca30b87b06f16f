"""Whatever is wrong with a user's files: one clear line that names the fix, and nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from lab import IDS, NEUROIDS, TRIALS, Lab, picture, wide_rows, write_csv, write_wide
from said import Bench

AVERAGES = np.nanmean(TRIALS, axis=1)
Case = Callable[[Path, Path], tuple[list[str], tuple[str, ...]]]
CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    """Add a case: a function of (folder for files, folder of images) that returns options and words of the line."""
    CASES[make.__name__.strip("_").replace("_", " ")] = make
    return make


def table(folder: Path, content: str, name: str = "a.csv", **options: str) -> list[str]:
    (folder / name).write_text(content, encoding="utf-8")
    return responses(folder / name)


def responses(path: Path) -> list[str]:
    return ["--responses", str(path)]


def array(folder: Path, values: np.ndarray, ids: object = IDS) -> list[str]:
    np.save(folder / "a.npy", values)
    (folder / "ids.txt").write_text("\n".join(map(str, ids)) + "\n")  # type: ignore[call-overload]
    return [*responses(folder / "a.npy"), "--ids", str(folder / "ids.txt")]


def netcdf(folder: Path, dataset: xr.Dataset) -> list[str]:
    dataset.to_netcdf(folder / "a.nc")
    return responses(folder / "a.nc")


def whole_table(folder: Path) -> list[str]:
    return responses(write_wide(folder / "a.csv"))


@case
def images_that_are_not_there(folder: Path, images: Path):
    return [*whole_table(folder), "--images", str(folder / "nowhere")], ("nowhere does not exist",)


@case
def a_folder_without_images(folder: Path, images: Path):
    return [*whole_table(folder), "--images", str(folder)], ("holds no images", "'a.csv'")


@case
def a_file_instead_of_a_folder(folder: Path, images: Path):
    return [*whole_table(folder), "--images", str(images / "im00.png")], ("is no folder",)


@case
def the_wrong_folder(folder: Path, images: Path):
    picture(1).save(folder / "other.png")
    return (
        [*whole_table(folder), "--images", str(folder)],
        ("24 of 24 stimulus ids have no image", "files are named like 'other.png'"),
    )


@case
def no_such_file(folder: Path, images: Path):
    return responses(folder / "b.csv"), ("b.csv does not exist",)


@case
def a_folder_of_responses(folder: Path, images: Path):
    return responses(folder), ("is a folder; name the file in it",)


@case
def an_excel_file(folder: Path, images: Path):
    (folder / "a.xlsx").write_bytes(b"PK\x03\x04")
    return responses(folder / "a.xlsx"), ("is an Excel file: save the sheet as 'CSV UTF-8'",)


@case
def an_excel_file_named_csv(folder: Path, images: Path):
    (folder / "a.csv").write_bytes(b"PK\x03\x04\x00\x00")
    return responses(folder / "a.csv"), ("is an Excel file or an archive; save the sheet as CSV",)


@case
def a_matlab_file(folder: Path, images: Path):
    (folder / "a.mat").write_bytes(b"MATLAB 5.0")
    return responses(folder / "a.mat"), ("is a MATLAB file: save a table with writetable",)


@case
def a_pickle(folder: Path, images: Path):
    (folder / "a.pkl").write_bytes(b"\x80\x04")
    return responses(folder / "a.pkl"), ("pickle, which is never opened",)


@case
def a_kind_that_is_not_read(folder: Path, images: Path):
    (folder / "a.json").write_text("{}")
    return responses(folder / "a.json"), ("is of a kind that is not read; use CSV",)


@case
def an_empty_table(folder: Path, images: Path):
    return table(folder, ""), ("a.csv is empty",)


@case
def a_header_and_no_rows(folder: Path, images: Path):
    return table(folder, "id,n1\n"), ("has a header and no rows",)


@case
def no_column_of_ids(folder: Path, images: Path):
    return table(folder, "picture_nr,n1\nim00,1\n"), ("no column of stimulus ids", "--ids COLUMN", "'picture_nr', 'n1'")


@case
def another_column_of_ids_than_there_is(folder: Path, images: Path):
    return (
        [*table(folder, "picture,n1\nim00,1\n"), "--ids", "pictures"],
        ("has no column 'pictures' (named by --ids)", "Did you mean picture?"),
    )


@case
def text_in_a_column_of_numbers(folder: Path, images: Path):
    return table(folder, "id,n1\nim00,1\nim01,high\n"), ("line 3, column 'n1': 'high' is not a number", "--ignore 'n1'")


@case
def decimal_commas(folder: Path, images: Path):
    return table(folder, "id;n1\nim00;1,5\n"), ("column 'n1': '1,5'", "add --decimal ,")


@case
def two_columns_of_one_name(folder: Path, images: Path):
    return table(folder, "id,n1,n1\nim00,1,2\n"), ("has 'n1' twice among its columns",)


@case
def an_infinite_response(folder: Path, images: Path):
    return table(folder, "id,n1\nim00,inf\n"), ("line 2, column 'n1': an infinite value",)


@case
def an_empty_id(folder: Path, images: Path):
    return table(folder, "id,n1\nim00,1\n,2\n"), ("the stimulus id of row 2 is empty",)


@case
def an_empty_id_in_a_long_table(folder: Path, images: Path):
    rows = "id,neuron,rate\nim00,a,1\nim00,b,2\n,a,3\n"
    return table(folder, rows), ("the stimulus id of row 3 is empty",)


@case
def a_subject_without_responses(folder: Path, images: Path):
    return table(folder, "id,subject,n1\nim00,A,1\nim01,B,\n"), ("holds no response of B",)


@case
def no_neuroids(folder: Path, images: Path):
    return table(folder, "id,repetition\nim00,1\n"), ("no column of responses beside 'id', 'repetition'",)


@case
def a_repetition_twice(folder: Path, images: Path):
    return table(folder, "id,rep,n1\nim00,1,2\nim00,1,3\n"), ("'im00' has the repetition '1' twice",)


@case
def a_repetition_twice_in_a_long_table(folder: Path, images: Path):
    rows = "id,neuron,rep,rate\nim00,a,1,2\nim00,b,1,2\nim00,a,1,3\n"
    return table(folder, rows), ("'im00' has the repetition '1' twice",)


@case
def a_column_that_is_no_neuroid(folder: Path, images: Path):
    return table(folder, "id,Session,n1\nim00,1,2\n"), ("the column 'Session' is no neuroid", "--ignore 'Session'")


@case
def axes_for_a_table(folder: Path, images: Path):
    return [*whole_table(folder), "--axes", "stimulus,neuroid"], ("--axes is for arrays",)


@case
def ids_without_images(folder: Path, images: Path):
    rows = [*wide_rows(), ["Im03.PNG", 1, 2, 3, 4]]
    path = write_csv(folder / "a.csv", ["id", *NEUROIDS], rows)
    return responses(path), ("1 of 25 stimulus ids", "'Im03.PNG'", "Did you mean im03?", "--only-matched")


@case
def ids_that_fit_several_files(folder: Path, images: Path):
    shutil.copytree(images, folder / "images")
    picture(1).save(folder / "images" / "im03.jpg")
    return (
        [*whole_table(folder), "--images", str(folder / "images")],
        ("1 stimulus id(s) fit several files", "'im03' both 'im03.jpg' and 'im03.png'"),
    )


@case
def two_ids_for_one_file(folder: Path, images: Path):
    rows = [*wide_rows(), ["im03.png", 1, 2, 3, 4]]
    path = write_csv(folder / "a.csv", ["id", *NEUROIDS], rows)
    return responses(path), ("'im03.png' both 'im03' and 'im03.png'",)


@case
def an_image_that_is_none(folder: Path, images: Path):
    shutil.copytree(images, folder / "images")
    (folder / "images" / "im03.png").write_bytes(b"nothing")
    return [*whole_table(folder), "--images", str(folder / "images")], ("im03.png cannot be decoded (no image)",)


@case
def an_animated_image(folder: Path, images: Path):
    shutil.copytree(images, folder / "images")
    (folder / "images" / "im03.png").unlink()
    picture(1).save(folder / "images" / "im03.gif", save_all=True, append_images=[picture(2)])
    return [*whole_table(folder), "--images", str(folder / "images")], ("im03.gif holds 2 frames",)


@case
def an_array_of_objects(folder: Path, images: Path):
    np.save(folder / "o.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    return [*array(folder, AVERAGES)[2:], *responses(folder / "o.npy")], ("o.npy holds Python objects",)


@case
def an_array_of_texts(folder: Path, images: Path):
    return array(folder, AVERAGES.astype(str)), ("holds texts, not numbers",)


@case
def an_array_of_complex_numbers(folder: Path, images: Path):
    return array(folder, AVERAGES + 1j), ("holds complex numbers, not numbers",)


@case
def an_array_with_one_axis(folder: Path, images: Path):
    return array(folder, AVERAGES[:, 0]), ("has shape (24,)", "save array[:, None]")


@case
def a_transposed_array(folder: Path, images: Path):
    return array(folder, AVERAGES.T), ("shape (4, 24) for 24 ids", "add --axes neuroid,stimulus")


@case
def three_axes_without_names(folder: Path, images: Path):
    return array(folder, TRIALS), ("has 3 axes, (24, 3, 4)", "--axes stimulus,repetition,neuroid")


@case
def axes_of_another_number(folder: Path, images: Path):
    return [*array(folder, TRIALS), "--axes", "stimulus,neuroid"], ("has 3 axes, (24, 3, 4); --axes names 2",)


@case
def unknown_axes(folder: Path, images: Path):
    return [*array(folder, AVERAGES), "--axes", "stimulus,neuron"], ("'neuron' is no axis", "Did you mean neuroid?")


@case
def fewer_ids_than_rows(folder: Path, images: Path):
    return array(folder, AVERAGES, IDS[:-1]), ("that is 24 stimuli, but there are 23 ids",)


@case
def an_array_without_ids(folder: Path, images: Path):
    return array(folder, AVERAGES)[:2], ("does not say which stimulus each row is", "--ids ids.txt")


@case
def ids_that_are_not_there(folder: Path, images: Path):
    return [*array(folder, AVERAGES)[:3], str(folder / "no.txt")], ("no.txt does not exist", "needs --ids FILE")


@case
def a_truncated_array(folder: Path, images: Path):
    options = array(folder, AVERAGES)
    (folder / "a.npy").write_bytes((folder / "a.npy").read_bytes()[:300])
    return options, ("cannot be read as a NumPy array",)


@case
def an_infinite_value_in_an_array(folder: Path, images: Path):
    values = AVERAGES.copy()
    values[3, 2] = -np.inf
    return array(folder, values), ("neuroid 'n2' has an infinite value",)


@case
def an_archive_with_several_arrays(folder: Path, images: Path):
    np.savez(folder / "a.npz", x=AVERAGES, y=AVERAGES, ids=np.array(IDS))
    return responses(folder / "a.npz"), ("several variables of numbers, 'x', 'y'; name one with --variable",)


@case
def a_variable_that_is_not_there(folder: Path, images: Path):
    np.savez(folder / "a.npz", x=AVERAGES, ids=np.array(IDS))
    return [*responses(folder / "a.npz"), "--variable", "z"], ("has no variable 'z'", "it has 'x', 'ids'")


@case
def a_truncated_netcdf_file(folder: Path, images: Path):
    netcdf(folder, xr.Dataset({"x": (("stimulus", "neuroid"), AVERAGES)}))
    (folder / "a.nc").write_bytes((folder / "a.nc").read_bytes()[:500])
    return responses(folder / "a.nc"), ("cannot be read as netCDF",)


@case
def dims_with_unknown_names(folder: Path, images: Path):
    return (
        netcdf(folder, xr.Dataset({"x": (("dim_0", "neuroid"), AVERAGES)})),
        ("what 'dim_0' stands for is not known", "--axes stimulus,neuroid"),
    )


@case
def netcdf_without_ids(folder: Path, images: Path):
    return (
        netcdf(folder, xr.Dataset({"x": (("stimulus", "neuroid"), AVERAGES)})),
        ("no coordinate of stimulus ids known by its name along 'stimulus'", "--ids"),
    )


@case
def netcdf_without_numbers(folder: Path, images: Path):
    return netcdf(folder, xr.Dataset({"x": ("stimulus", list(IDS))})), ("no variable with numbers",)


@case
def another_subject_than_the_file_says(folder: Path, images: Path):
    rows = [[*r, "AB"[k % 2]] for k, r in enumerate(wide_rows())]
    path = write_csv(folder / "a.csv", ["id", *NEUROIDS, "subject"], rows)
    return [*responses(path), "--subject", "C"], ("holds the subjects 'A', 'B'; leave out --subject C",)


@case
def a_region_that_is_no_name(folder: Path, images: Path):
    return [*whole_table(folder), "--region", "---"], ("'---' cannot name a region", "e.g. --region V4")


@case
def a_region_with_a_reserved_name(folder: Path, images: Path):
    return [*whole_table(folder), "--region", "tree"], ("a region cannot be named 'tree' here",)


@case
def more_subjects_than_files(folder: Path, images: Path):
    return [*whole_table(folder), "--subject", "A", "--subject", "B"], ("2 --subject for 1 --responses",)


@case
def an_unknown_split(folder: Path, images: Path):
    return [*whole_table(folder), "--split", "half"], ("--split half is not allowed; use kfold:5",)


@case
def more_folds_than_stimuli(folder: Path, images: Path):
    return [*whole_table(folder), "--split", "kfold:30"], ("24 stimuli cannot be split into 30 folds",)


@case
def a_split_column_that_is_not_there(folder: Path, images: Path):
    return [*whole_table(folder), "--split", "column:set"], ("has no column 'set' (for groups or splits)",)


@case
def a_split_with_a_third_part(folder: Path, images: Path):
    rows = [[*r, ("train", "val", "test")[int(r[0][2:]) % 3]] for r in wide_rows()]
    path = write_csv(folder / "a.csv", ["id", *NEUROIDS, "set"], rows)
    return [*responses(path), "--split", "column:set"], (
        "'test', 'train', 'val'",
        "use 'train' and 'test' and nothing else",
    )


@case
def repetitions_on_both_sides_of_a_split(folder: Path, images: Path):
    rows = [[*r, "test" if k == 0 else "train"] for k, r in enumerate(wide_rows())]
    path = write_csv(folder / "a.csv", ["id", *NEUROIDS, "set"], rows)
    return [*responses(path), "--split", "column:set"], ("'im23' has both 'test' and 'train'",)


@case
def a_stimulus_without_a_group(folder: Path, images: Path):
    rows = [[*r, "" if r[0] == "im05" else "g"] for r in wide_rows()]
    path = write_csv(folder / "a.csv", ["id", *NEUROIDS, "object"], rows)
    return [*responses(path), "--groups", "object"], ("1 stimuli have no group: 'im05'",)


@case
def a_test_list_that_is_not_there(folder: Path, images: Path):
    return [*whole_table(folder), "--split", f"test:{folder}/no.txt"], ("no.txt does not exist",)


@case
def a_test_list_with_unknown_stimuli(folder: Path, images: Path):
    (folder / "test.txt").write_text("im01\nim02\nim77\n")
    return [*whole_table(folder), "--split", f"test:{folder}/test.txt"], ("1 stimuli that have no responses: 'im77'",)


@case
def groups_for_a_plain_list_of_ids(folder: Path, images: Path):
    return [*array(folder, AVERAGES), "--groups", "object"], ("holds ids only, no column 'object'",)


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_clear_line_and_nothing_is_written(
    lab: Lab, bench: Bench, home: Path, name: str, request: pytest.FixtureRequest
) -> None:
    options, words = CASES[name](lab.folder, lab.images)
    images = [] if "--images" in options else ["--images", str(lab.images)]
    region = [] if "--region" in options else ["--region", "V4"]
    done = bench("data", "add", "lab", *images, *region, *options)
    assert done.status == 2, done
    assert done.out == ""
    lines = done.err.splitlines()
    errors = [line for line in lines if not line.startswith(("reading ", "looking at ", "warning: plugins."))]
    assert len(errors) == 1, done.err
    assert errors[0].startswith("error: ")
    for word in words:
        assert word in errors[0]
    assert not (home / "data").exists() or list((home / "data").iterdir()) == []


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 50


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my-lab", "use letters, digits and _"),
        ("../lab", "use letters, digits and _"),
        ("", "use letters, digits and _"),
        ("cowley2023", "the name 'cowley2023' is taken"),
        ("simulated", "the name 'simulated' is taken"),
    ],
)
def test_names_that_cannot_be_used(lab: Lab, bench: Bench, name: str, words: str) -> None:
    done = bench("data", "add", name, "--images", lab.images, *whole_table(lab.folder))
    assert done.status == 2
    assert words in done.err.splitlines()[-1]


def test_a_folder_in_the_way_is_left_alone(lab: Lab, bench: Bench, home: Path) -> None:
    (home / "data" / "lab").mkdir(parents=True)
    (home / "data" / "lab" / "precious.txt").write_text("mine")
    done = bench("data", "add", "lab", "--replace", "--images", lab.images, *whole_table(lab.folder))
    assert done.status == 2
    assert "is in the way" in done.err
    assert (home / "data" / "lab" / "precious.txt").read_text() == "mine"


def test_a_read_only_home_is_one_line(lab: Lab, bench: Bench, home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file")
    done = bench("data", "add", "lab", "--images", lab.images, *whole_table(lab.folder))
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith("error: cannot write")
    home.unlink()


def test_stimuli_without_image_are_left_out_on_request(lab: Lab, bench: Bench) -> None:
    rows = [*wide_rows(), ["blank", 1.0, 2.0, 3.0, 4.0]]
    path = write_csv(lab.folder / "a.csv", ["id", *NEUROIDS], rows)
    done = bench("data", "add", "lab", "--images", lab.images, *responses(path), "--only-matched")
    assert done.status == 0
    assert "1 stimuli without image left out ('blank')" in done.out


def test_removing_asks_and_says_what_goes(lab: Lab, bench: Bench, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench("data", "add", "lab", "--images", lab.images, *whole_table(lab.folder), "--region", "V4")
    done = bench("data", "remove", "lab")
    assert done.status == 2
    assert done.err.splitlines()[-1] == "error: not removed, because nobody can be asked here; add --yes"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *args, **kwargs: False)
    assert bench("data", "remove", "lab").status == 2
    assert (home / "data" / "lab").is_dir()
    monkeypatch.setattr("typer.confirm", lambda *args, **kwargs: True)
    done = bench("data", "remove", "lab")
    assert (done.status, done.out) == (0, "lab: removed\n")
    assert f"removing lab.V4 v1: {home / 'data' / 'lab'}" in done.err
    assert "your own files and score records stay" in done.err
    assert not (home / "data" / "lab").exists()
    assert bench("data", "remove", "simulated", "--yes").status == 2


def test_fetching_and_importing_what_was_added_say_where_it_came_from(lab: Lab, bench: Bench) -> None:
    bench("data", "add", "lab", "--images", lab.images, *whole_table(lab.folder))
    done = bench("data", "import", "lab", "--from", lab.folder)
    assert done.status == 2
    assert "it came from `bench data add lab --replace` and your own files" in done.err
