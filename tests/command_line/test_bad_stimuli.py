"""Images and their manifest: damaged, replaced, gone, or ill-formed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import Bench, flip, forge_manifest
from PIL import Image

from benchmark_core.keys import file_sha256
from benchmark_core.records import read_records

MODEL = ("run", "--model", "toy-pixels", "--json")


def check_one_failure(bench: Bench, home: Path, benchmark: str, status: int, *words: str) -> None:
    """Run a cell that cannot be scored: one line, a result that says so, and a whole record of the same."""
    done = bench(*MODEL, "--benchmark", benchmark)
    kind = "missing-data" if status == 3 else "failed"
    done.fails(status, f"{kind}: toy-pixels on {benchmark}: ", *words)
    (result,) = done.results
    assert (result["status"], result["score"]) == (kind, None)
    # A record does not name the user's folders.
    kept = result["error"].replace(str(home), "BENCH_HOME")
    assert [r["error"] for r in read_records(home / "records")] == [kept]
    assert not list(home.parent.rglob("*.arrays")), "no representation of half the stimuli"


def cut(path: Path) -> None:
    """Cut an image short, and say in the manifests that it is meant to be so."""
    put(path, path.read_bytes()[:250])


def put(path: Path, content: bytes) -> None:
    """Replace an image, and say in the manifests that it is meant to be so."""
    before = file_sha256(path)
    path.write_bytes(content)
    part = path.parent.parent
    stimuli = part / "stimuli.csv"
    stimuli.write_text(stimuli.read_text().replace(before, file_sha256(path)))
    forge_manifest(part, files={name: file_sha256(part / name) for name in ("stimuli.csv", "responses.nc")})


def replace(path: Path) -> None:
    Image.new("RGB", (12, 12)).save(path, format="JPEG")


def make_text(path: Path) -> None:
    put(path, b"not an image")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", (12, 12)), "JPEG", exif=exif)


def see_through() -> bytes:
    image = Image.new("RGBA", (12, 12), (9, 99, 199, 255))
    image.putpixel((3, 4), (9, 99, 199, 254))
    return encoded(image)


def palette_with_a_hole() -> bytes:
    return encoded(Image.linear_gradient("L").resize((12, 12)).quantize(8), transparency=0)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


IMAGES: dict[str, tuple[Callable[[Path], object], int, list[str]]] = {
    "truncated": (cut, 2, ["'toy/07' cannot be decoded", "07.jpg"]),
    "no image": (make_text, 2, ["'toy/07'", "07.jpg"]),
    "truncated after the import": (
        lambda p: p.write_bytes(p.read_bytes()[:250]),
        2,
        ["'toy/07' has changed", "import"],
    ),
    "replaced": (replace, 2, ["'toy/07' has changed since it was imported", "07.jpg", "import the data again"]),
    "one byte": (lambda p: flip(p, -20), 2, ["'toy/07' has changed"]),
    "deleted": (lambda p: p.unlink(), 3, ["'toy/07' is missing", "07.jpg", "import the data again"]),
    "a folder": (make_folder, 2, ["cannot read the image of stimulus_id 'toy/07'", "Is a directory"]),
    "all deleted": (lambda p: shutil.rmtree(p.parent), 3, ["'toy/00' is missing"]),
}


IMAGES |= {
    "transparent pixels": (lambda p: put(p, see_through()), 2, ["'toy/07': it has transparent pixels; save it on the"]),
    "a palette with a hole": (lambda p: put(p, palette_with_a_hole()), 2, ["'toy/07': it has transparent pixels"]),
    "turned by EXIF": (lambda p: put(p, turned()), 2, ["'toy/07': its EXIF orientation is 6, not upright; save it as"]),
    "floating-point": (
        lambda p: put(p, encoded(Image.new("F", (12, 12)), "TIFF")),
        2,
        ["'toy/07': images of mode 'F' have no agreed range; convert them to 8 bits"],
    ),
}
KINDS = {
    "grey": lambda image: encoded(image.convert("L")),
    "an alpha channel that hides nothing": lambda image: encoded(image.convert("RGBA")),
    "grey with alpha": lambda image: encoded(image.convert("LA")),
    "palette": lambda image: encoded(image.quantize(16)),
    "CMYK": lambda image: encoded(image.convert("CMYK"), "JPEG"),
    "16 bits": lambda image: encoded(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)),
    "black and white": lambda image: encoded(image.convert("1")),
}


def test_images_of_any_kind_become_rgb_or_grey(bench: Bench, part: Path) -> None:
    """Among the others, one of each."""
    for number, make in enumerate(KINDS.values()):
        path = part / "images" / f"{number:02d}.jpg"
        put(path, make(Image.open(path).convert("RGB")))
    done = bench(*MODEL, "--benchmark", "toy.V4")
    assert done.status == 0, done.stderr
    assert done.results[0]["n_stimuli"] == 40


@pytest.mark.parametrize("case", IMAGES)
def test_image(bench: Bench, part: Path, home: Path, case: str) -> None:
    spoil, status, words = IMAGES[case]
    spoil(part / "images" / "07.jpg")
    check_one_failure(bench, home, "toy.V4", status, *words)


PARTS: dict[str, tuple[Callable[[Path], object], int, list[str]]] = {
    "manifest cut": (lambda p: (p / "manifest.json").write_text('{"format"'), 2, ["manifest.json is damaged"]),
    "manifest a number": (lambda p: (p / "manifest.json").write_text("3"), 2, ["manifest.json is not of format 1"]),
    "manifest of the future": (lambda p: forge_manifest(p, format=2), 2, ["manifest.json is not of format 1"]),
    "manifest of another": (lambda p: forge_manifest(p, part="two"), 2, ["is not that of toy/one"]),
    "manifest gone": (lambda p: (p / "manifest.json").unlink(), 3, ["has lost its manifest.json"]),
    "stimuli.csv gone": (lambda p: (p / "stimuli.csv").unlink(), 3, ["stimuli.csv is missing"]),
    "stimuli.csv changed": (lambda p: flip(p / "stimuli.csv", -3), 2, ["stimuli.csv has changed since"]),
    "responses cut": (lambda p: (p / "responses.nc").write_bytes(b"CDF"), 2, ["responses.nc has changed since"]),
    "responses gone": (lambda p: (p / "responses.nc").unlink(), 3, ["responses.nc is missing"]),
    "gone": (shutil.rmtree, 3, ["toy/one is not on this machine"]),
}


@pytest.mark.parametrize("case", PARTS)
def test_part(bench: Bench, part: Path, home: Path, case: str) -> None:
    spoil, status, words = PARTS[case]
    spoil(part)
    check_one_failure(bench, home, "toy.V4", status, *words, "`bench data import toy --from DIR`")


@pytest.mark.parametrize("case", [c for c in PARTS if c != "gone" and "manifest" in c])
def test_lists_show_a_damaged_part(bench: Bench, part: Path, case: str) -> None:
    PARTS[case][0](part)
    data = bench("data", "list")
    assert data.status == 0
    assert "one        damaged: " in data.stdout
    assert "None" not in data.stdout
    listed = {row["name"]: row["data"] for row in bench("list", "benchmarks", "--json").json["benchmarks"]}
    assert listed["toy.V4"] == "damaged"
    assert "damaged: " in bench("info", "toy.V4").stdout
    assert "0 of 2 parts here" in bench("doctor").stdout


def test_doctor_says_what_is_here_how_large_and_what_benchmarks_need(bench: Bench, part: Path) -> None:
    document = bench("doctor", "--json").json
    toy = next(d for d in document["datasets"] if d["name"] == "toy")
    assert toy["bytes"] == sum(f.stat().st_size for f in part.rglob("*") if f.is_file())
    assert toy["damage"] is None  # nobody looked
    ready = {b["name"]: b["ready"] for b in document["benchmarks"]}
    assert ready["toy.V4"]
    assert not ready["majajhong.V4"]
    missing = next(b["missing"] for b in document["benchmarks"] if b["name"] == "majajhong.V4")
    assert "`bench data fetch majajhong`" in missing
    assert "majajhong.V4-demo" in next(line for line in bench("doctor").stdout.splitlines() if missing in line)


def test_doctor_reads_the_data_on_request(bench: Bench, part: Path) -> None:
    whole = bench("doctor", "--verify")
    assert (whole.status, "dataset toy: 1 of 2 parts here" in whole.stdout) == (0, True)
    assert ", verified" in whole.stdout
    image = next(part.rglob("*.jpg"))
    image.write_bytes(image.read_bytes()[:-9])
    spoilt = bench("doctor", "--verify")
    assert spoilt.status == 2
    assert ", DAMAGED" in spoilt.stdout
    assert image.name in spoilt.stdout


def rows_of(part: Path) -> list[str]:
    return (part / "stimuli.csv").read_text().splitlines()


def spoil_heading(rows: list[str]) -> list[str]:
    return [rows[0].replace("sha256", "md5"), *rows[1:]]


CSVS: dict[str, tuple[Callable[[list[str]], list[str]], list[str]]] = {
    "missing column": (spoil_heading, ["has no column 'sha256'"]),
    "empty": (lambda rows: [], ["lists no stimuli"]),
    "heading alone": (lambda rows: rows[:1], ["lists no stimuli"]),
    "row too short": (lambda rows: [*rows[:5], "toy/04,04.jpg", *rows[6:]], ["line 6: wrong number of columns"]),
    "row too long": (lambda rows: [*rows[:5], rows[5] + ",more", *rows[6:]], ["line 6: wrong number of columns"]),
    "duplicate id": (lambda rows: [*rows, rows[3]], ["duplicate stimulus_id 'toy/02'"]),
    "id too few": (lambda rows: rows[:-1], ["stimulus_id 'toy/39' not in the stimulus set"]),
    "id too many": (lambda rows: [*rows, "toy/x," + rows[1].split(",", 1)[1]], ["stimulus_id 'toy/x' missing"]),
    "id renamed": (lambda rows: [r.replace("toy/07", "toy/7") for r in rows], ["stimulus_id 'toy/7' missing"]),
}


@pytest.mark.parametrize("case", CSVS)
def test_stimuli_of_a_stranger(bench: Bench, part: Path, home: Path, case: str) -> None:
    spoil, words = CSVS[case]
    (home / "stimuli.csv").write_text("\n".join([*spoil(rows_of(part)), ""]))
    check_one_failure(bench, home, "toy.V4-csv", 2, *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "stimulus_id,file_name,sha256\ncaf\xe9,a.jpg,00\n".encode("latin-1"),
            ["is not UTF-8 text (byte 32)", "UTF-8"],
        ),
        ("stimulus_id,file_name,sha256\na,a.jpg,00\n".encode("utf-16"), ["is not UTF-8 text"]),
        (b'stimulus_id,file_name,sha256\n"a,a.jpg' + b"x" * 200_000, ["cannot read the stimulus manifest", "field"]),
    ],
    ids=["latin-1", "utf-16", "endless field"],
)
def test_stimuli_in_another_encoding(bench: Bench, part: Path, home: Path, content: bytes, words: list[str]) -> None:
    (home / "stimuli.csv").write_bytes(content)
    check_one_failure(bench, home, "toy.V4-csv", 2, "stimuli.csv", *words)


def test_stimuli_csv_is_missing(bench: Bench, part: Path, home: Path) -> None:
    check_one_failure(bench, home, "toy.V4-csv", 3, "stimulus manifest is missing", "stimuli.csv")


def test_fewer_stimuli_than_folds(bench: Bench, part: Path, home: Path) -> None:
    check_one_failure(bench, home, "toy.V4-folds", 2, "40 stimuli cannot be split into 50 folds")


def test_split_with_an_id_that_no_stimulus_has(bench: Bench, part: Path, home: Path) -> None:
    check_one_failure(bench, home, "toy.V4-foreign", 2, "stimulus_id 'toy/absent' not in the stimulus set")
