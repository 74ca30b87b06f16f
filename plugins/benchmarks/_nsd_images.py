"""The photographs of the Natural Scenes Dataset, left where they are: 73 000 images are too large to copy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.hdf5_images import image_array, open_hdf5, row_path
from benchmark_core.keys import file_sha256
from benchmark_core.stimuli import StimulusSet, name_ids

ARRAY = "imgBrick"
N_IMAGES = 73_000


def stimulus_id(number: int) -> str:
    """Return the id of an image, from its number counted from 0."""
    return f"image{number:05d}"


def number_of(name: str) -> int | None:
    """Return the number of an image from its id, with or without an extension; None for another text."""
    digits = name.removesuffix(".png").removeprefix("image")
    return int(digits) if digits.isdecimal() and name.startswith("image") and len(digits) == 5 else None


@dataclass
class Photographs:
    """Where the photographs lie: an HDF5 file, or a folder of PNG files.

    Parameters
    ----------
    place
        ``nsd_stimuli.hdf5`` (array ``imgBrick``, images x height x width x 3, uint8) or the folder.
    progress
        Called with one line when there is much to read.
    """

    place: Path
    progress: Callable[[str], None] = lambda line: None
    _sha256: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def folder(self) -> Path:
        """The folder that file names are relative to."""
        return self.place if self.place.is_dir() else self.place.parent

    def file(self, stimulus_id: str) -> Path:
        """Return the file of an image, or its row in the HDF5 file."""
        if self.place.is_dir():
            return self.place / f"{stimulus_id}.png"
        number = number_of(stimulus_id)
        assert number is not None
        return row_path(self.place, ARRAY, number)

    def stimulus_set(self, ids: Sequence[str], metadata: Mapping[str, Mapping[str, str]]) -> StimulusSet:
        """Return the images with the given ids, hashing those not met before; one image is held at a time.

        Raises
        ------
        MissingDataError
            Naming the ids that have no image.
        InputError
            If the file is damaged or holds something else.
        """
        new = sorted(i for i in ids if i not in self._sha256)
        if len(new) > 1000:
            self.progress(f"reading {len(new)} images in {self.place}")
        self._sha256.update(self._png_hashes(new) if self.place.is_dir() else self._row_hashes(new))
        return StimulusSet(
            tuple(ids),
            tuple(self.file(i) for i in ids),
            tuple(self._sha256[i] for i in ids),
            {column: tuple(values[i] for i in ids) for column, values in metadata.items()},
        )

    def _png_hashes(self, ids: Iterable[str]) -> dict[str, str]:
        files = {i: self.file(i) for i in ids}
        missing = [i for i, path in files.items() if not path.is_file()]
        if missing:
            raise MissingDataError(f"{self.place} lacks images: stimulus_id {name_ids(missing)} (expected ID.png)")
        try:
            return {i: file_sha256(path) for i, path in files.items()}
        except OSError as error:
            raise InputError(f"cannot read {error.filename}: {error.strerror}") from None

    def _row_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        try:
            with open_hdf5(self.place) as handle:
                images = image_array(self.place, handle, ARRAY)
                missing = [i for i in ids if (number_of(i) or 0) >= images.shape[0]]
                if missing:
                    raise MissingDataError(
                        f"{self.place} holds {images.shape[0]} images, none of stimulus_id {name_ids(missing)}"
                    )
                return {i: hashlib.sha256(images[number_of(i)].tobytes()).hexdigest() for i in ids}
        except FileNotFoundError:
            raise MissingDataError(f"{self.place} is missing; it holds the photographs") from None


def find_photographs(places: Sequence[Path], progress: Callable[[str], None]) -> Photographs:
    """Return the first of several places that is there.

    Raises
    ------
    MissingDataError
        If none is.
    """
    for place in places:
        if place.exists():
            return Photographs(place, progress)
    raise MissingDataError(f"no photographs: expected {' or '.join(map(str, places))}")
