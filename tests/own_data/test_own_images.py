"""Images are matched by name, and told apart by their pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from lab import picture
from PIL import Image

from benchmark_core.errors import InputError
from benchmark_core.own_data_images import ImageFolder, look_at, look_at_all, open_image, same_pictures


def folder_of(tmp_path: Path, *names: str) -> ImageFolder:
    for name in names:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return ImageFolder.open(tmp_path / "images")


@pytest.mark.parametrize(
    ("stimulus_id", "file"),
    [
        ("a/im1.png", "a/im1.png"),
        ("a/im1", "a/im1.png"),
        ("im2.JPG", "b/im2.JPG"),
        ("im2", "b/im2.JPG"),
        ("im2.png", "b/im2.JPG"),
        ("/data/shown/im2.jpg", "b/im2.JPG"),
        ("b\\im2", "b/im2.JPG"),
        ("./im3.v2", "im3.v2.png"),
        ("im3.v2", "im3.v2.png"),
        ("été", "e\u0301te\u0301.png"),
    ],
)
def test_ids_find_files_by_path_or_name(tmp_path: Path, stimulus_id: str, file: str) -> None:
    folder = folder_of(
        tmp_path, "a/im1.png", "b/im1.png", "b/im2.JPG", "im3.v2.png", "e\u0301te\u0301.png", "notes.txt"
    )
    assert folder.match([stimulus_id]).files == {stimulus_id: file}


def test_what_fits_nothing_or_too_much_is_told_apart(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "im1.png", "im1.jpg", "im2.png", "im003.png", "spare.png")
    found = folder.match(["im1", "im1.jpg", "im2", "im2.png", "im9"])
    assert found.files == {"im1.jpg": "im1.jpg", "im2": "im2.png", "im2.png": "im2.png"}
    assert found.several == {"im1": ("im1.jpg", "im1.png")}
    assert found.shared == {"im2.png": ("im2", "im2.png")}
    assert found.missing == ("im9",)
    assert found.unused == ("im003.png", "spare.png")
    assert folder.suggest("IM2.png", found.unused) == " Did you mean im2?"
    assert folder.suggest("3", found.unused) == " Did you mean im003?"
    assert folder.suggest("im22", folder.files) == " Did you mean im2 or im1?"
    assert folder.suggest("im22", found.unused) == ""  # files that are some other stimulus's are no suggestion


def test_litter_and_loops_of_links_are_passed_over(tmp_path: Path) -> None:
    folder_of(tmp_path, "im1.png", "._im1.png", ".hidden/im2.png", "__MACOSX/im1.png", "deep/er/im3.png")
    os.symlink(tmp_path / "images", tmp_path / "images" / "deep" / "loop")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "images" / "dangling.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "im4.png").touch()
    os.symlink(tmp_path / "elsewhere", tmp_path / "images" / "linked")
    assert set(ImageFolder.open(tmp_path / "images").files) == {"im1.png", "deep/er/im3.png", "linked/im4.png"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("", None, "does not exist; name the folder"),
        ("set.zip", b"PK", "is no folder; unpack it first"),
        ("notes/x.txt", b"", "holds no images"),
        ("notes", "folder", "it is empty"),
    ],
)
def test_what_is_no_folder_of_images_is_one_line(
    tmp_path: Path, name: str, content: bytes | str | None, words: str
) -> None:
    path = tmp_path / (name or "absent")
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        ImageFolder.open(path.parent if path.suffix == ".txt" else path)


def test_the_same_pixels_are_found_in_other_formats_and_modes(tmp_path: Path) -> None:
    image = picture(1)
    grey = image.convert("L")
    for name, what in {
        "a.png": image,
        "b.bmp": image,
        "c.tif": image,
        "d.png": image.convert("RGBA"),
        "e.png": picture(2),
        "f.png": grey,
        "g.png": grey.convert("RGB"),
        "h.png": image.resize((4, 16)),
        "i.png": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }.items():
        what.save(tmp_path / name)
    names = sorted(p.name for p in tmp_path.iterdir())
    looks = look_at_all(lambda at: open_image(tmp_path / names[at]), len(names), lambda line: None)
    assert same_pictures(names, looks) == [("a.png", "b.bmp", "c.tif", "d.png"), ("f.png", "g.png")]
    assert looks[0].deviation == pytest.approx(np.asarray(image.convert("L"), dtype=float).std())
    assert looks[0].size == (8, 8)


def test_images_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    frames = [picture(i) for i in range(3)]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "text.png").write_bytes(b"no image at all")
    whole = tmp_path / "cut.png"
    picture(1, 64).save(whole)
    whole.write_bytes(whole.read_bytes()[:2000])
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "float.tif")
    names = ["animated.gif", "cut.png", "float.tif", "text.png"]
    looks = look_at_all(lambda at: open_image(tmp_path / names[at]), 4, lambda line: None)
    for look, words in zip(looks, ("holds 3 frames", "cut.png", "no agreed range", "no image"), strict=True):
        assert words in look.problem
        assert "\n" not in look.problem


def test_odd_modes_are_images(tmp_path: Path) -> None:
    image = picture(1)
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    image.convert("P").save(tmp_path / "palette.png")
    image.convert("1").save(tmp_path / "bits.png")
    Image.fromarray((np.arange(16, dtype=np.uint16) * 4000).reshape(4, 4)).save(tmp_path / "deep.png")
    for path in tmp_path.iterdir():
        assert look_at(open_image(path)).deviation > 0
