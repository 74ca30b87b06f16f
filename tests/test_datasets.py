"""Parts of datasets: what is written comes back, and whatever is damaged is noticed and named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark_core import dataset_checks, datasets
from benchmark_core.assembly import Responses
from benchmark_core.datasets import Part
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.keys import file_sha256
from benchmark_core.specs import DatasetSpec

DATASET = DatasetSpec(name="toy", parts=("one", "two"), importer="nowhere:importer", fetcher="nowhere:fetch")
IDS = tuple(f"toy/{name}" for name in ("c", "a", "b"))


def image(path: Path, grey: int) -> bytes:
    Image.new("RGB", (16, 16), (grey, grey, grey)).save(path, format="PNG")
    return path.read_bytes()


@pytest.fixture
def part(tmp_path: Path) -> Part:
    values = np.arange(24.0).reshape(3, 2, 4)
    values[1, 1, 0] = np.nan
    return Part(
        images={i: (f"{i[-1]}.png", image(tmp_path / "image", n)) for n, i in enumerate(IDS)},
        responses=Responses(IDS, values, tuple("wxyz"), ("s1", "s1", "s2", "s2"), "V4"),
        metadata={"group": dict(zip(IDS, ("g1", "g2", "g1"), strict=True))},
        variables={"true_rate": np.arange(12.0).reshape(3, 4)},
        sources={"file.zip": "0123"},
        extra={"seed": 3},
    )


def written(home: Path) -> set[str]:
    """Return what lies in the dataset's folder, lock files apart."""
    folder = home / "data" / "toy"
    return {f.name for f in folder.iterdir() if not f.name.endswith(".lock")} if folder.exists() else set()


def test_what_is_written_comes_back(home: Path, part: Part) -> None:
    folder = datasets.write_part(DATASET, "one", part)
    assert folder == home / "data" / "toy" / "one"
    stimuli = datasets.load_stimuli(DATASET, "one")
    assert stimuli.stimulus_ids == ("toy/a", "toy/b", "toy/c")
    assert stimuli.groups == ("g2", "g1", "g1")
    assert [np.asarray(stimuli.image(i))[0, 0, 0] for i in range(3)] == [1, 2, 0]
    responses = datasets.load_responses(DATASET, "one")
    assert responses.hash == part.responses.hash == datasets.target_hash(DATASET, "one")
    assert responses.subjects == ("s1", "s1", "s2", "s2")
    assert responses.region == "V4"
    assert np.array_equal(datasets.load_dataset(DATASET, "one")["true_rate"], part.variables["true_rate"])
    manifest = datasets.read_manifest(DATASET, "one")
    assert manifest["stimuli_hash"] == stimuli.manifest_hash
    assert (manifest["n_stimuli"], manifest["n_repetitions"], manifest["n_neuroids"]) == (3, 2, 4)
    assert (manifest["sources"], manifest["extra"]) == ({"file.zip": "0123"}, {"seed": 3})
    assert dataset_checks.verify(DATASET) == []


def test_averages_have_no_repetitions(home: Path, part: Part) -> None:
    averages = Responses(IDS, np.ones((3, 4)), tuple("wxyz"), ("s",) * 4)
    datasets.write_part(DATASET, "one", replace(part, responses=averages))
    assert datasets.read_manifest(DATASET, "one")["n_repetitions"] is None
    assert not datasets.load_responses(DATASET, "one").has_trials


def test_status(home: Path, part: Part) -> None:
    assert [(s.part, s.present, s.n_bytes, s.problem) for s in dataset_checks.status(DATASET)] == [
        ("one", False, 0, ""),
        ("two", False, 0, ""),
    ]
    folder = datasets.write_part(DATASET, "two", part)
    first, second = dataset_checks.status(DATASET)
    assert not first.present
    assert (second.present, second.n_stimuli, second.n_neuroids, second.path) == (True, 3, 4, folder)
    assert second.n_bytes == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    (folder / "manifest.json").write_text("{")
    _, broken = dataset_checks.status(DATASET)
    assert (broken.present, broken.n_stimuli) == (True, None)
    assert "is damaged" in broken.problem


@pytest.mark.parametrize("function", [datasets.load_stimuli, datasets.load_responses, datasets.target_hash])
def test_absent_part_names_the_commands(home: Path, function: Callable[[DatasetSpec, str], object]) -> None:
    with pytest.raises(MissingDataError) as caught:
        function(DATASET, "one")
    assert "toy/one is not on this machine" in str(caught.value)
    assert "`bench data fetch toy` or `bench data import toy --from DIR`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not home.exists(), "looking must write nothing"
    with pytest.raises(InputError, match="no part 'three'; it has one, two"):
        function(DATASET, "three")


def test_keys_need_neither_numpy_nor_netcdf(home: Path, part: Part) -> None:
    datasets.write_part(DATASET, "one", part)
    code = (
        "import sys\n"
        "from benchmark_core import dataset_checks, datasets\n"
        "from benchmark_core.specs import DatasetSpec\n"
        "spec = DatasetSpec(name='toy', parts=('one', 'two'))\n"
        "print(datasets.load_stimuli(spec, 'one').manifest_hash, datasets.target_hash(spec, 'one'))\n"
        "dataset_checks.status(spec)\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'netCDF4', 'PIL', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [datasets.load_stimuli(DATASET, "one").manifest_hash, part.responses.hash]


def test_manifest_alone_gives_the_target_hash(home: Path, part: Part) -> None:
    folder = datasets.write_part(DATASET, "one", part)
    (folder / "responses.nc").unlink()
    assert datasets.target_hash(DATASET, "one") == part.responses.hash


@pytest.mark.parametrize("case", ["missing", "extra", "bad text", "bad folder"])
def test_failed_write_leaves_nothing(home: Path, part: Part, case: str) -> None:
    if case == "missing":
        part = replace(part, images={i: part.images[i] for i in IDS[:2]})
    elif case == "extra":
        part = replace(part, images={**part.images, "toy/d": ("d.png", b"x")})
    elif case == "bad text":
        part = replace(part, metadata={"group": {IDS[0]: "g"}})
    else:
        part = replace(part, images=dict.fromkeys(IDS, ("sub/x.png", b"x")))
    with pytest.raises((BenchError, KeyError, OSError)):
        datasets.write_part(DATASET, "one", part)
    assert written(home) == set()


def test_interrupted_write_keeps_the_old_part(home: Path, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets.write_part(DATASET, "one", part)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "_write_netcdf", interrupted)
    other = replace(part, extra={"seed": 4})
    with pytest.raises(KeyboardInterrupt):
        datasets.write_part(DATASET, "one", other)
    assert written(home) == {"one"}
    assert datasets.read_manifest(DATASET, "one")["extra"] == {"seed": 3}
    assert dataset_checks.verify(DATASET) == []
    monkeypatch.undo()


def test_part_set_aside_by_a_killed_process_comes_back(home: Path, part: Part) -> None:
    folder = datasets.write_part(DATASET, "one", part)
    folder.rename(folder.with_name(".one.old"))
    assert datasets.load_stimuli(DATASET, "one").stimulus_ids[0] == "toy/a"
    assert written(home) == {"one"}


def test_unwritable_home_is_one_clear_error(tmp_path: Path, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(InputError, match="BENCH_HOME") as caught:
        datasets.write_part(DATASET, "one", part)
    assert "\n" not in str(caught.value)
    assert [s.present for s in dataset_checks.status(DATASET)] == [False, False]


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))


def forge(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forge_responses(folder: Path) -> None:
    """Replace the responses and their checksum, but not the content hash."""
    Responses(IDS, np.zeros((3, 4)), tuple("wxyz"), ("s",) * 4).to_xarray().to_netcdf(folder / "responses.nc")
    refresh(folder)


def forge_ids(folder: Path) -> None:
    """Replace the responses by those to other stimuli, with checksum and content hash to match."""
    other = Responses(("toy/a", "toy/b", "toy/x"), np.zeros((3, 4)), tuple("wxyz"), ("s",) * 4)
    other.to_xarray().to_netcdf(folder / "responses.nc")
    refresh(folder)
    forge(folder, target_hash=other.hash)


def forge_netcdf(folder: Path) -> None:
    (folder / "responses.nc").write_bytes(b"CDF but not really")
    refresh(folder)


def forge_stimuli(folder: Path) -> None:
    text = (folder / "stimuli.csv").read_text()
    (folder / "stimuli.csv").write_text(text.replace("toy/c", "toy/d"))
    refresh(folder)


def refresh(folder: Path) -> None:
    forge(folder, files={name: file_sha256(folder / name) for name in ("stimuli.csv", "responses.nc")})


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "image changed": (lambda f: flip(f / "images" / "a.png", -20), ["'toy/a' has changed"]),
    "image cut": (
        lambda f: (f / "images" / "a.png").write_bytes((f / "images" / "a.png").read_bytes()[:60]),
        ["'toy/a' has changed"],
    ),
    "image gone": (lambda f: (f / "images" / "b.png").unlink(), ["'toy/b' is missing"]),
    "images gone": (lambda f: shutil.rmtree(f / "images"), ["'toy/a'", "'toy/b'", "'toy/c'"]),
    "stray file": (lambda f: (f / "images" / "notes.txt").write_text("x"), ["stray file"]),
    "netCDF changed": (lambda f: flip(f / "responses.nc", -20), ["responses.nc has changed since it was written"]),
    "netCDF gone": (lambda f: (f / "responses.nc").unlink(), ["responses.nc is missing"]),
    "netCDF forged": (forge_responses, ["does not have the target_hash"]),
    "netCDF is none": (forge_netcdf, ["cannot read"]),
    "ids differ": (forge_ids, ["'toy/c' missing"]),
    "stimuli changed": (lambda f: flip(f / "stimuli.csv", -3), ["stimuli.csv has changed"]),
    "stimuli gone": (lambda f: (f / "stimuli.csv").unlink(), ["stimuli.csv is missing"]),
    "stimuli forged": (forge_stimuli, ["does not have the stimuli_hash", "'toy/d' missing"]),
    "manifest cut": (lambda f: (f / "manifest.json").write_text("{"), ["manifest.json is damaged"]),
    "manifest binary": (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe\0"), ["manifest.json is damaged"]),
    "manifest a list": (lambda f: (f / "manifest.json").write_text("[]"), ["not of format 1"]),
    "manifest newer": (lambda f: forge(f, format=2), ["not of format 1"]),
    "manifest elsewhere": (lambda f: forge(f, part="two"), ["not that of toy/one"]),
    "manifest poor": (lambda f: (f / "manifest.json").write_text('{"format": 1}'), ["not that of toy/one"]),
    "manifest gone": (lambda f: (f / "manifest.json").unlink(), ["has lost its manifest.json"]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_noticed_and_named(home: Path, part: Part, case: str) -> None:
    folder = datasets.write_part(DATASET, "one", part)
    damage, expected = DAMAGE[case]
    damage(folder)
    problems = dataset_checks.verify(DATASET)
    assert len(problems) == len(expected), problems
    for problem, words in zip(problems, expected, strict=True):
        assert words in problem
        assert problem.startswith("toy/one: ")
        assert "\n" not in problem


@pytest.mark.parametrize("case", ["netCDF changed", "netCDF gone", "netCDF is none", "manifest cut", "manifest gone"])
def test_damaged_responses_are_not_loaded(home: Path, part: Part, case: str) -> None:
    damage, expected = DAMAGE[case]
    damage(datasets.write_part(DATASET, "one", part))
    with pytest.raises(BenchError, match=r"get it again with `bench data fetch toy`") as caught:
        datasets.load_responses(DATASET, "one")
    assert expected[0] in str(caught.value)


def test_verify_says_what_it_checks(home: Path, part: Part) -> None:
    datasets.write_part(DATASET, "two", part)
    said: list[str] = []
    dataset_checks.verify(DATASET, said.append)
    assert said == ["toy/two: checking"]
