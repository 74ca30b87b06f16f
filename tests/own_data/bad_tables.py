"""Tables of responses with something wrong in them, or that are no tables at all."""

from __future__ import annotations

from pathlib import Path

from bad_cases import case, responses, table, whole_table


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
