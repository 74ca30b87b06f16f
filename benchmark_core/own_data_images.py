"""A folder of images: finding the file of each stimulus id, and looking at what the files hold."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from benchmark_core.errors import BenchError, InputError, did_you_mean
from benchmark_core.preprocessing import eight_bits
from benchmark_core.stimuli import name_ids

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm", ".jp2"})
NEARLY_CONSTANT = 2.0  # standard deviation of grey levels, of 255
AT_ONCE = 256  # images in the hands of the decoding threads


@dataclass(frozen=True)
class Matches:
    """Which file belongs to which stimulus id.

    Parameters
    ----------
    files
        ``{stimulus_id: name in the folder}``.
    missing
        Ids without a file.
    several
        Ids that fit several files, with these.
    shared
        Files that several ids fit, with these.
    unused
        Files that no id fits.
    """

    files: Mapping[str, str]
    missing: tuple[str, ...] = ()
    several: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFolder:
    """Images below a folder, by their path in it (with ``/``)."""

    path: Path
    files: Mapping[str, Path]

    @classmethod
    def open(cls, path: Path) -> ImageFolder:
        """Find all images below a folder; hidden files and folders are left out, links to folders followed once.

        Raises
        ------
        InputError
            If it is no folder, or holds no images.
        """
        if not path.is_dir():
            what = "is no folder" if path.exists() else "does not exist"
            hint = "; unpack it first" if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz") else ""
            raise InputError(f"--images {path} {what}{hint or '; name the folder that holds the images'}")
        files = dict(_walk(path))
        if not files:
            there = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
            shown = f"it holds {name_ids(there)}" if there else "it is empty"
            raise InputError(f"--images {path} holds no images ({', '.join(sorted(SUFFIXES))}); {shown}")
        return cls(path, files)

    def match(self, stimulus_ids: Iterable[str]) -> Matches:
        """Match ids to files: by path in the folder or by name, with extension or without.

        The closest kind of match counts: the path, the path without extension, the name, the name without
        extension; last, an id whose own extension differs from the file's.
        """
        levels: list[dict[str, list[str]]] = [{}, {}, {}, {}]
        for name in self.files:
            path = PurePosixPath(_normal(name))
            keys = (str(path), str(path.with_suffix("")), path.name, path.stem)
            for level, key in zip(levels, keys, strict=True):
                level.setdefault(key, []).append(name)
        files: dict[str, str] = {}
        missing: list[str] = []
        several: dict[str, tuple[str, ...]] = {}
        for stimulus_id in stimulus_ids:
            found = _find(stimulus_id, levels)
            if len(found) == 1:
                files[stimulus_id] = found[0]
            elif found:
                several[stimulus_id] = tuple(sorted(found))
            else:
                missing.append(stimulus_id)
        owners: dict[str, list[str]] = {}
        for stimulus_id, name in files.items():
            owners.setdefault(name, []).append(stimulus_id)
        shared = {name: tuple(ids) for name, ids in owners.items() if len(ids) > 1}
        taken = {*owners, *(name for names in several.values() for name in names)}
        return Matches(files, tuple(missing), several, shared, tuple(n for n in self.files if n not in taken))

    def suggest(self, stimulus_id: str, unused: Iterable[str]) -> str:
        """Return which file an id without one may have meant, as a question, or nothing.

        One that is another stimulus's only if the two are spelled alike.
        """
        names = sorted({PurePosixPath(name).stem for name in self.files})
        lower = [name for name in names if name.lower() == PurePosixPath(stimulus_id).stem.lower()]
        if lower:
            return f" Did you mean {lower[0]}?"
        if stimulus_id.isdecimal():
            same = [
                n
                for n in names
                if (digits := n.lstrip("".join(set(n) - set("0123456789")))).isdecimal()
                and int(digits) == int(stimulus_id)
            ]
            if same:
                return f" Did you mean {same[0]}?"
        spare = sorted({PurePosixPath(name).stem for name in unused})
        return did_you_mean(PurePosixPath(stimulus_id).stem, spare[:2000])


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the images below a folder, in the order of their names, each folder once."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a loop of links
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _find(stimulus_id: str, levels: Sequence[Mapping[str, list[str]]]) -> list[str]:
    text = _normal(stimulus_id).replace("\\", "/").removeprefix("./")
    path = PurePosixPath(text)
    keys = [text, text, path.name, path.name]
    if path.suffix.lower() in SUFFIXES:
        keys[3] = path.stem
    for level, key in zip(levels, keys, strict=True):
        if key in level:
            return level[key]
    return levels[3].get(path.name, [])


@dataclass(frozen=True)
class Look:
    """What one image holds.

    Parameters
    ----------
    pixels
        SHA-256 of size and decoded pixels (8 bits, RGB): the same for the same picture in any file format without loss.
    deviation
        Standard deviation of its grey levels, of 255.
    size
        Width and height in pixels.
    problem
        Why it cannot be used, or nothing.
    """

    pixels: str
    deviation: float
    size: tuple[int, int]
    problem: str = ""


def open_image(path: Path) -> Image.Image:
    """Decode an image file.

    Raises
    ------
    InputError
        If it cannot be decoded, or holds several frames.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(path)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise InputError(f"{path} holds {frames} frames; save the one that was shown as an image of its own")
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = "no image" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise InputError(f"{path} cannot be decoded ({reason}); save it again or leave it out") from None
    return image


def look_at(image: Image.Image) -> Look:
    """Look at a decoded image.

    Raises
    ------
    InputError
        If its pixels have no agreed range.
    """
    rgb = eight_bits(image).convert("RGB")
    content = hashlib.sha256(f"{rgb.size}".encode())
    content.update(rgb.tobytes())
    grey = np.asarray(rgb.convert("L"), dtype=np.float64)
    return Look(content.hexdigest(), float(grey.std()), rgb.size)


def look_at_all(open_one: Callable[[int], Image.Image], n: int, progress: Callable[[str], None]) -> list[Look]:
    """Look at n images with several threads; what is wrong with one is in its ``problem``.

    Parameters
    ----------
    open_one
        Returns the image at a position, decoded.
    n
        How many there are.
    progress
        Called with a line now and then, where there are many.
    """

    def look(position: int) -> Look:
        try:
            return look_at(open_one(position))
        except BenchError as error:
            return Look("", 0.0, (0, 0), str(error))

    looks: list[Look] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, n, AT_ONCE):
            if start and start % (20 * AT_ONCE) == 0:
                progress(f"looked at {start} of {n} images")
            looks += threads.map(look, range(start, min(n, start + AT_ONCE)))
    return looks


def same_pictures(ids: Sequence[str], looks: Sequence[Look]) -> list[tuple[str, ...]]:
    """Return the ids of images with the same pixels, sets of two or more."""
    by_pixels: dict[str, list[str]] = {}
    for stimulus_id, look in zip(ids, looks, strict=True):
        if not look.problem:
            by_pixels.setdefault(look.pixels, []).append(stimulus_id)
    return [tuple(same) for same in by_pixels.values() if len(same) > 1]
