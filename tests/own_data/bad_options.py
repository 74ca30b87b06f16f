"""Responses that are fine by themselves, with images, subjects, regions, splits or groups that do not fit them."""

from __future__ import annotations

import shutil
from pathlib import Path

from bad_cases import AVERAGES, array, case, responses, whole_table
from lab import NEUROIDS, picture, wide_rows, write_csv


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
