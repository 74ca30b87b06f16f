"""Whatever is wrong with a user's files: one clear line that names the fix, and nothing written."""

from __future__ import annotations

from pathlib import Path

import bad_arrays  # noqa: F401 (its cases)
import bad_options  # noqa: F401 (its cases)
import bad_tables  # noqa: F401 (its cases)
import pytest
from bad_cases import CASES, responses, whole_table
from lab import NEUROIDS, Lab, wide_rows, write_csv
from said import Bench


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
