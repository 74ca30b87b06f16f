"""Stimulus sets: ids, files and metadata, bound together by a manifest hash."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.hdf5_images import is_row, read_row
from benchmark_core.keys import digest, file_sha256
from benchmark_core.preprocessing import ShuffledPixels

if TYPE_CHECKING:
    from PIL import Image

MANIFEST_COLUMNS = ("stimulus_id", "file_name", "sha256")


@dataclass(frozen=True)
class StimulusSet:
    """Images with ids, always in the order of their ids.

    Build one with :meth:`from_manifest` or :meth:`from_files`. The order in which stimuli are given is irrelevant:
    they are sorted by ``stimulus_id``.

    Parameters
    ----------
    stimulus_ids
        Unique ids, sorted.
    files
        Image file of each stimulus, or the row of an array in an HDF5 file (:mod:`benchmark_core.hdf5_images`).
    sha256
        SHA-256 (hex) of each file's bytes, as recorded when the data came in; checked when a file is read.
    metadata
        Further columns, one text per stimulus; ``group`` (e.g. the photograph a crop comes from) makes folds,
        resamples and penalty selection respect groups.
    derivation
        What is done to every image after decoding, for a set derived from another; enters the manifest hash.
    """

    stimulus_ids: tuple[str, ...]
    files: tuple[Path, ...]
    sha256: tuple[str, ...]
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    derivation: ShuffledPixels | None = None

    def __post_init__(self) -> None:
        n = len(self.stimulus_ids)
        if n == 0:
            raise InputError("a stimulus set needs at least one stimulus")
        repeated = [i for i, count in Counter(self.stimulus_ids).items() if count > 1]
        if repeated:
            raise InputError(f"duplicate stimulus_id {name_ids(repeated)}; every stimulus needs an id of its own")
        for name, column in (("files", self.files), ("sha256", self.sha256), *self.metadata.items()):
            if len(column) != n:
                raise InputError(f"stimulus set: {len(column)} values of {name!r} for {n} stimulus ids")
        order = sorted(range(n), key=self.stimulus_ids.__getitem__)
        if order != list(range(n)):

            def take(column: Sequence[Any]) -> tuple[Any, ...]:
                return tuple(column[i] for i in order)

            object.__setattr__(self, "stimulus_ids", take(self.stimulus_ids))
            object.__setattr__(self, "files", take(self.files))
            object.__setattr__(self, "sha256", take(self.sha256))
            object.__setattr__(self, "metadata", {k: take(v) for k, v in self.metadata.items()})

    def __len__(self) -> int:
        return len(self.stimulus_ids)

    @property
    def manifest_hash(self) -> str:
        """Hash of ids, image contents and derivation; independent of order, file names and metadata."""
        document: dict[str, Any] = {"stimuli": [list(p) for p in zip(self.stimulus_ids, self.sha256, strict=True)]}
        return digest(document if self.derivation is None else document | {"derivation": self.derivation.as_key()})

    @property
    def groups(self) -> tuple[str, ...] | None:
        """Group of each stimulus, or None where stimuli do not come in groups."""
        return self.metadata.get("group")

    def index(self, stimulus_ids: Sequence[str]) -> list[int]:
        """Return the positions of ids in this set.

        Raises
        ------
        InputError
            Naming the ids that are not in the set.
        """
        where = {stimulus_id: i for i, stimulus_id in enumerate(self.stimulus_ids)}
        missing = [i for i in stimulus_ids if i not in where]
        if missing:
            raise InputError(f"stimulus_id {name_ids(missing)} not in the stimulus set")
        return [where[i] for i in stimulus_ids]

    def subset(self, stimulus_ids: Iterable[str]) -> StimulusSet:
        """Return the stimuli with the given ids."""
        positions = self.index(list(stimulus_ids))
        return StimulusSet(
            tuple(self.stimulus_ids[i] for i in positions),
            tuple(self.files[i] for i in positions),
            tuple(self.sha256[i] for i in positions),
            {k: tuple(v[i] for i in positions) for k, v in self.metadata.items()},
            self.derivation,
        )

    def with_shuffled_pixels(self, seed: int = 0) -> StimulusSet:
        """Return the same stimuli with their pixels shuffled; see :class:`~benchmark_core.preprocessing.ShuffledPixels`."""
        return replace(self, derivation=ShuffledPixels(seed=seed))

    def image(self, position: int) -> Image.Image:
        """Decode one image, after checking its bytes against the manifest, and derive what is asked for.

        Raises
        ------
        MissingDataError
            If the file is gone.
        InputError
            If the file has changed or is not a readable image.
        """
        from PIL import Image

        path, stimulus_id = self.files[position], self.stimulus_ids[position]
        pixels = None
        try:
            if is_row(path):
                pixels = read_row(path)
                content = pixels.tobytes()
            else:
                content = path.read_bytes()
        except FileNotFoundError:
            raise MissingDataError(
                f"image of stimulus_id {stimulus_id!r} is missing: {path}; import the data again"
            ) from None
        except OSError as error:
            raise InputError(
                f"cannot read the image of stimulus_id {stimulus_id!r}, {path}: {error.strerror}"
            ) from None
        if hashlib.sha256(content).hexdigest() != self.sha256[position]:
            raise InputError(
                f"image of stimulus_id {stimulus_id!r} has changed since it was imported: {path}; import the data again"
            )
        try:
            image = Image.open(io.BytesIO(content)) if pixels is None else Image.fromarray(pixels)
            image.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"image of stimulus_id {stimulus_id!r} cannot be decoded: {path} ({error})") from None
        if self.derivation is None:
            return image
        try:
            return self.derivation(image)
        except InputError as error:
            raise InputError(f"stimulus_id {stimulus_id!r}: {error}") from None

    @classmethod
    def from_files(
        cls, files: Mapping[str, Path], metadata: Mapping[str, Mapping[str, str]] | None = None
    ) -> StimulusSet:
        """Build a stimulus set from image files, hashing each.

        Parameters
        ----------
        files
            Image file of each stimulus_id.
        metadata
            ``{column: {stimulus_id: text}}``.
        """
        for stimulus_id, path in files.items():
            if not Path(path).is_file():
                raise MissingDataError(f"image of stimulus_id {stimulus_id!r} is missing: {path}")
        ids = tuple(files)
        return cls(
            ids,
            tuple(Path(files[i]) for i in ids),
            tuple(file_sha256(Path(files[i])) for i in ids),
            {column: tuple(values[i] for i in ids) for column, values in (metadata or {}).items()},
        )

    @classmethod
    def from_manifest(cls, manifest: Path, images: Path) -> StimulusSet:
        """Read a ``stimuli.csv`` with the columns stimulus_id, file_name, sha256 and any further metadata.

        Parameters
        ----------
        manifest
            The CSV file (UTF-8).
        images
            Folder that ``file_name`` is relative to.
        """
        try:
            with manifest.open(newline="", encoding="utf-8") as handle:
                rows = list(csv.DictReader(handle))
        except FileNotFoundError:
            raise MissingDataError(f"stimulus manifest is missing: {manifest}") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{manifest} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
        except (OSError, csv.Error) as error:
            raise InputError(f"cannot read the stimulus manifest {manifest}: {error}") from None
        if not rows:
            raise InputError(f"{manifest} lists no stimuli")
        absent = [c for c in MANIFEST_COLUMNS if c not in rows[0]]
        if absent:
            raise InputError(f"{manifest} has no column {', '.join(map(repr, absent))}")
        ragged = next((n for n, row in enumerate(rows, start=2) if None in row or None in row.values()), None)
        if ragged is not None:
            raise InputError(f"{manifest}, line {ragged}: wrong number of columns")
        extra = [c for c in rows[0] if c not in MANIFEST_COLUMNS]
        return cls(
            tuple(r["stimulus_id"] for r in rows),
            tuple(images / r["file_name"] for r in rows),
            tuple(r["sha256"] for r in rows),
            {c: tuple(r[c] for r in rows) for c in extra},
        )

    def to_csv(self, images: Path) -> str:
        """Return the manifest as CSV text, file names relative to ``images``."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*MANIFEST_COLUMNS, *self.metadata])
        for i, stimulus_id in enumerate(self.stimulus_ids):
            name = self.files[i].relative_to(images).as_posix()
            writer.writerow([stimulus_id, name, self.sha256[i], *(column[i] for column in self.metadata.values())])
        return out.getvalue()


def name_ids(ids: Sequence[str], most: int = 3) -> str:
    """Name the first few of many ids: ``'a', 'b', 'c' and 5 more``."""
    shown = ", ".join(repr(i) for i in ids[:most])
    return shown if len(ids) <= most else f"{shown} and {len(ids) - most} more"


def match_stimuli(expected: Sequence[str], found: Sequence[str], what: str) -> None:
    """Check that two lists hold the same stimulus ids.

    Raises
    ------
    InputError
        Naming the ids that are missing from, or extra in, ``found``.
    """
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing:
        raise InputError(f"{what}: stimulus_id {name_ids(missing)} missing")
    if extra:
        raise InputError(f"{what}: stimulus_id {name_ids(extra)} not in the stimulus set")
