"""Images in zip archives and folders that others made: read one at a time, trusting nothing about them."""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from PIL import Image, UnidentifiedImageError

from benchmark_core.errors import InputError
from benchmark_core.stimuli import name_ids

# RuntimeError: an encrypted member; NotImplementedError: an unknown compression method.
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
LARGEST_SIDE = 10_000  # pixels


def safe_members(archive: Path, infos: Sequence[zipfile.ZipInfo], largest: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by name, without the litter of file managers.

    Raises
    ------
    InputError
        For unsafe names, links, names that appear twice, and members that would unpack to more than ``largest`` bytes.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.orig_filename  # `filename` has had its separators and zero bytes tidied away
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in name or re.match(r"[A-Za-z]:", name):
            raise InputError(f"{archive} holds the unsafe name {name!r}; nothing was imported from it")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{archive} holds a link, {name!r}; nothing was imported from it")
        if info.is_dir() or "__MACOSX" in path.parts or path.name.startswith("."):
            continue
        if info.file_size > largest:
            raise InputError(f"{archive}: {name!r} would unpack to {info.file_size} bytes; no image here is that large")
        if name in members:
            raise InputError(f"{archive} holds {name!r} twice")
        members[name] = info
    return members


def check_image(content: bytes, what: str) -> None:
    """Check that the bytes of an image file can be decoded to one picture of a sensible size.

    Raises
    ------
    InputError
        Naming ``what``.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            size, frames = image.size, getattr(image, "n_frames", 1)
            if max(size) <= LARGEST_SIDE and frames == 1:  # else not even decoded: it may be huge
                image.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f"{what} cannot be decoded ({reason}); get it again") from None
    if frames != 1:
        raise InputError(f"{what} has {frames} frames; a stimulus is one picture")
    if max(size) > LARGEST_SIDE:
        raise InputError(f"{what} is {size[0]} x {size[1]} pixels; no stimulus is that large")


class ImageSource(Protocol):
    """Where image files come from: a folder or an archive."""

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every file, by its name without folders."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""


class ImageFolder:
    """The files of a folder, not of folders in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every file."""
        try:
            return {p.name: p.stat().st_size for p in self.folder.iterdir() if p.is_file()}
        except OSError as error:
            raise InputError(f"cannot read {self.folder}: {error.strerror}") from None

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {self.folder / name}: {error.strerror}") from None

    def __str__(self) -> str:
        return str(self.folder)


class ImageArchive:
    """The files of a zip archive, wherever in it they lie."""

    def __init__(self, archive: Path, largest: int) -> None:
        self.archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        try:
            self._handle = zipfile.ZipFile(archive)
            found = safe_members(archive, self._handle.infolist(), largest)
        except ARCHIVE_ERRORS as error:
            raise self._damaged(error) from None
        for path, info in found.items():
            name = PurePosixPath(path.replace("\\", "/")).name
            if name in self.members:
                raise InputError(f"{archive} holds two files named {name!r}, in different folders")
            self.members[name] = info

    def sizes(self) -> Mapping[str, int]:
        """Return the unpacked size in bytes of every file."""
        return {name: info.file_size for name, info in self.members.items()}

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        try:
            return self._handle.read(self.members[name])
        except ARCHIVE_ERRORS as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"{self.archive} cannot be read as a zip archive ({error}); get it again")

    def __str__(self) -> str:
        return str(self.archive)


class StimulusImages(Mapping[str, tuple[str, bytes]]):
    """``{stimulus_id: (file name, bytes)}``, as a part of a dataset takes it; read and decoded one image at a time.

    Parameters
    ----------
    names
        File name of each stimulus_id.
    source
        Where the files are.

    Raises
    ------
    InputError
        If files are missing, naming them and their stimuli.
    """

    def __init__(self, names: Mapping[str, str], source: ImageSource) -> None:
        self.names, self.source = dict(names), source
        sizes = source.sizes()
        missing = [f"{name} (stimulus_id {i})" for i, name in names.items() if name not in sizes]
        if missing:
            raise InputError(f"{source} lacks the image {name_ids(missing)}; get it again")
        self.n_bytes = sum(sizes[name] for name in names.values())

    def __getitem__(self, stimulus_id: str) -> tuple[str, bytes]:
        name = self.names[stimulus_id]
        content = self.source.read(name)
        check_image(content, f"{self.source}: image {name} of stimulus_id {stimulus_id!r}")
        return name, content

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
