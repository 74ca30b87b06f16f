"""Images kept as rows of an array in an HDF5 file, too large to unpack: read one by one, when they are needed.

Such an image is named like a file, ``nsd_stimuli.hdf5#imgBrick[123]``: row 123 of the array ``imgBrick``. Its content, for
hashes, is the bytes of its pixels. Reading needs h5py (the optional extra ``nsd``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.errors import InputError, MissingDataError

if TYPE_CHECKING:
    import numpy as np

_ROW = re.compile(r"(.+\.(?:hdf5|h5))#(\w+)\[(\d+)\]")
_CACHE = 64_000_000  # bytes of unpacked chunks kept while a file is read from end to end


def row_path(file: Path, array: str, row: int) -> Path:
    """Return the name of one image."""
    return file.with_name(f"{file.name}#{array}[{row}]")


def is_row(path: Path) -> bool:
    """Whether a path names a row of an array, and no file."""
    return path.name.endswith("]") and _ROW.fullmatch(path.name) is not None


def read_row(path: Path) -> np.ndarray:
    """Return the pixels of one image, (height, width, 3) or (height, width) uint8.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    InputError
        If the file cannot be read, or holds no such array or row.
    MissingDataError
        If h5py is not installed.
    """
    import numpy as np

    found = _ROW.fullmatch(path.name)
    assert found is not None, path
    file, array, row = path.with_name(found[1]), found[2], int(found[3])
    # Opened anew for every image: an open HDF5 file cannot be shared with the processes that decode images.
    with open_hdf5(file) as handle:
        images = image_array(file, handle, array)
        if row >= images.shape[0]:
            raise InputError(f"{file} holds {images.shape[0]} images in {array!r}; there is no image {row}")
        return np.ascontiguousarray(images[row])


def image_array(file: Path, handle: Any, array: str) -> Any:
    """Return an array of images, (images, height, width[, 3]) uint8, of an open file; nothing is read yet.

    Raises
    ------
    InputError
        If there is no such array, or one of another shape or type.
    """
    images = handle.get(array)
    if images is None or not hasattr(images, "shape"):
        raise InputError(
            f"{file} holds no array {array!r}; it holds {', '.join(map(repr, sorted(handle))) or 'nothing'}"
        )
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)) or images.dtype.str != "|u1":
        raise InputError(
            f"{file}: {array!r} has shape {images.shape} of {images.dtype}; expected (images, height, width, 3) of uint8"
        )
    return images


@contextmanager
def open_hdf5(file: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading; whatever goes wrong in it until it is closed becomes one line.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    InputError
        If it is damaged (cut off, for example), or no HDF5 file.
    MissingDataError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise MissingDataError(f"reading {file} needs h5py; install it: pip install 'cortex-bench[nsd]'") from None
    file.stat()  # raises what is wrong with the path itself
    try:
        # Not locked: the data may lie on a disk that cannot be written, or does not know locks.
        with h5py.File(file, "r", locking=False, rdcc_nbytes=_CACHE) as handle:
            yield handle
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} cannot be read as HDF5 ({reason}); it may be cut off: get it again") from None
