"""Stimulus sets: order, hashes, manifests, images, and what happens when they are wrong."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.stimuli import StimulusSet, match_stimuli, name_ids


def make(ids: tuple[str, ...], groups: bool = False) -> StimulusSet:
    metadata = {"group": tuple(i[0] for i in ids)} if groups else {}
    return StimulusSet(ids, tuple(Path(f"{i}.png") for i in ids), tuple(f"hash of {i}" for i in ids), metadata)


def image_bytes(seed: int = 0, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    pixels = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, format=kind)
    return out.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    files = {f"s{i}": tmp_path / f"{i}.png" for i in range(4)}
    for i, path in enumerate(files.values()):
        path.write_bytes(image_bytes(i))
    return files


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=12, unique=True), st.randoms())
def test_order_is_irrelevant(ids: list[str], shuffle: random.Random) -> None:
    shuffled = list(ids)
    shuffle.shuffle(shuffled)
    first, second = make(tuple(ids), groups=True), make(tuple(shuffled), groups=True)
    assert first.stimulus_ids == second.stimulus_ids == tuple(sorted(ids))
    assert first.manifest_hash == second.manifest_hash
    for position, stimulus_id in enumerate(second.stimulus_ids):
        assert second.files[position] == Path(f"{stimulus_id}.png")
        assert second.sha256[position] == f"hash of {stimulus_id}"
        assert second.groups is not None
        assert second.groups[position] == stimulus_id[0]


def test_manifest_hash_is_of_ids_and_contents_alone() -> None:
    stimuli = make(("a", "b"))
    assert StimulusSet(("a", "b"), (Path("x"), Path("y")), stimuli.sha256, {"k": ("1", "2")}).manifest_hash == (
        stimuli.manifest_hash
    )
    assert StimulusSet(("a", "c"), stimuli.files, stimuli.sha256).manifest_hash != stimuli.manifest_hash
    assert StimulusSet(("a", "b"), stimuli.files, stimuli.sha256[::-1]).manifest_hash != stimuli.manifest_hash


def test_duplicate_ids_are_named() -> None:
    with pytest.raises(InputError, match="duplicate stimulus_id 'b'"):
        make(("a", "b", "b"))


def test_columns_must_be_of_one_length() -> None:
    with pytest.raises(InputError, match="1 values of 'sha256' for 2"):
        StimulusSet(("a", "b"), (Path("x"), Path("y")), ("1",))
    with pytest.raises(InputError, match="3 values of 'group' for 2"):
        StimulusSet(("a", "b"), (Path("x"), Path("y")), ("1", "2"), {"group": ("g",) * 3})
    with pytest.raises(InputError, match="at least one"):
        StimulusSet((), (), ())


def test_subset_and_index() -> None:
    stimuli = make(("a1", "b1", "c1", "d1"), groups=True)
    part = stimuli.subset(["d1", "a1"])
    assert part.stimulus_ids == ("a1", "d1")
    assert part.groups == ("a", "d")
    assert part.sha256 == ("hash of a1", "hash of d1")
    assert stimuli.index(["c1", "a1"]) == [2, 0]
    with pytest.raises(InputError, match="'x', 'y' not in the stimulus set"):
        stimuli.subset(["a1", "x", "y"])


def test_name_ids_abbreviates() -> None:
    assert name_ids(["a", "b"]) == "'a', 'b'"
    assert name_ids(list("abcdefgh")) == "'a', 'b', 'c' and 5 more"


def test_images_are_decoded(images: dict[str, Path]) -> None:
    stimuli = StimulusSet.from_files(images)
    for position in range(4):
        assert np.array_equal(
            np.asarray(stimuli.image(position)), np.asarray(Image.open(io.BytesIO(image_bytes(position))))
        )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_truncated_image_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cut"
    path.write_bytes(image_bytes(kind=kind)[:-40])
    with pytest.raises(InputError, match="'s0' cannot be decoded") as caught:
        StimulusSet.from_files({"s0": path}).image(0)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_image_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="'s0' cannot be decoded"):
        StimulusSet.from_files({"s0": tmp_path / "x"}).image(0)


def test_changed_or_missing_image_is_noticed(images: dict[str, Path]) -> None:
    stimuli = StimulusSet.from_files(images)
    images["s1"].write_bytes(image_bytes(7))
    with pytest.raises(InputError, match="'s1' has changed since it was imported"):
        stimuli.image(1)
    images["s2"].unlink()
    with pytest.raises(MissingDataError, match="'s2' is missing"):
        stimuli.image(2)
    images["s3"].unlink()
    images["s3"].mkdir()
    with pytest.raises(InputError, match="cannot read the image of stimulus_id 's3'"):
        stimuli.image(3)
    with pytest.raises(MissingDataError, match="'s2' is missing"):
        StimulusSet.from_files(images)


# As csv.DictWriter may meet them; the csv module cannot tell a lone carriage return from the end of a line.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(ids=st.lists(texts, min_size=1, max_size=8, unique=True), column=texts, values=st.data())
def test_manifest_round_trip(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], column: str, values: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    if column in ("stimulus_id", "file_name", "sha256"):
        column += "2"
    metadata = {column: tuple(values.draw(texts) for _ in ids)}
    files = tuple(folder / "images" / f"{i}.png" for i in range(len(ids)))
    stimuli = StimulusSet(tuple(ids), files, tuple(str(i) for i in range(len(ids))), metadata)
    path = folder / "stimuli.csv"
    path.write_bytes(stimuli.to_csv(folder / "images").encode())
    assert StimulusSet.from_manifest(path, folder / "images") == stimuli


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lists no stimuli"),
        (b"stimulus_id,file_name,sha256\n", "lists no stimuli"),
        (b"stimulus_id,sha256\na,1\n", "has no column 'file_name'"),
        (b"stimulus_id;file_name;sha256\na;b;1\n", "has no column"),
        (b"stimulus_id,file_name,sha256\na,b\n", "line 2: wrong number of columns"),
        (b"stimulus_id,file_name,sha256\na,b,1\nb,c,1,2\n", "line 3: wrong number of columns"),
        (b"stimulus_id,file_name,sha256\na,b,1\na,c,2\n", "duplicate stimulus_id 'a'"),
        ("stimulus_id,file_name,sha256\nß,b,1\n".encode("latin-1"), "is not UTF-8"),
        ("stimulus_id,file_name,sha256\na,b,1\n".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_bad_manifest_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "stimuli.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        StimulusSet.from_manifest(path, tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"manifest is missing.*stimuli\.csv"):
        StimulusSet.from_manifest(tmp_path / "stimuli.csv", tmp_path)
    with pytest.raises(InputError, match="cannot read the stimulus manifest"):
        StimulusSet.from_manifest(tmp_path, tmp_path)


def test_manifest_does_not_open_images(tmp_path: Path) -> None:
    (tmp_path / "stimuli.csv").write_text("stimulus_id,file_name,sha256,group\nb,nowhere.png,1,g\na,no.png,2,h\n")
    stimuli = StimulusSet.from_manifest(tmp_path / "stimuli.csv", tmp_path / "images")
    assert stimuli.stimulus_ids == ("a", "b")
    assert stimuli.groups == ("h", "g")
    assert stimuli.files[0] == tmp_path / "images" / "no.png"


def test_match_stimuli_names_ids_both_ways() -> None:
    match_stimuli(["a", "b"], ["b", "a"], "x")
    with pytest.raises(InputError, match="the file: stimulus_id 'a', 'b', 'c' and 1 more missing"):
        match_stimuli(["a", "b", "c", "d"], ["e"], "the file")
    with pytest.raises(InputError, match="the file: stimulus_id 'c' not in the stimulus set"):
        match_stimuli(["a", "b"], ["a", "b", "c"], "the file")
