"""Reading lists of texts from pickles that others made, without running anything that is in them.

Published lists of stimulus ids are often pickled lists or NumPy arrays of text. A pickle is a program; this reader
runs it with stand-ins for the six functions that such arrays need, none of which is NumPy's own, so it can build a
list of texts and nothing else. No other pickle is read anywhere.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark_core.errors import InputError

LARGEST_FILE = 64_000_000  # bytes; 73 000 ids take less than 10 MB
LARGEST_MEMO = 10_000_000  # a larger memo index would make the reader set that much memory aside

_ALLOWED = {
    **{(f"numpy.{core}.multiarray", name): name for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "_frombuffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}


class _Refused(pickle.UnpicklingError):
    """The pickle holds something else than texts; the message says what, for people."""


def read_texts(path: Path) -> list[str]:
    """Return the texts in a pickled list, tuple or NumPy array, in order.

    Parameters
    ----------
    path
        A pickle of any protocol that holds a flat list or tuple of texts, or a NumPy array of texts (of objects, or of
        fixed-width text or ASCII bytes).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        If it cannot be read, is damaged, is larger than any list of ids, or holds or asks for anything else. Nothing in
        it has been run then.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is larger than any list of ids ({path.stat().st_size} bytes); nothing was read")
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        return texts_from_bytes(content)
    except _Refused as error:
        raise InputError(
            f"{path} {error}; only pickled lists and arrays of text are read, and nothing was run"
        ) from None


def texts_from_bytes(content: bytes) -> list[str]:
    """Return the texts in the bytes of a pickle; see :func:`read_texts`.

    Raises
    ------
    pickle.UnpicklingError
        For anything but texts, with the reason in a few words.
    """
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > LARGEST_MEMO:
                raise _Refused("is damaged (it claims to hold more objects than it has bytes)")
        return _texts(_TextUnpickler(io.BytesIO(content)).load())
    except _Refused:
        raise
    except Exception as error:  # a damaged or hostile pickle can raise anything
        detail = " ".join(str(error).split())[:80]
        raise _Refused(f"cannot be read as a pickle ({detail or type(error).__name__})") from None


class _TextUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"asks for {module}.{name}, which no list of texts needs")
        return _StandIn(_ALLOWED[module, name])

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("refers to objects outside of it")


class _StandIn:
    """Takes the place of one of NumPy's functions in a pickle."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        raise _Refused("tries to change a function")

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "dtype":
            return _Dtype(*arguments)
        if self.name == "_reconstruct":
            return _Array()
        if self.name == "_frombuffer":
            data, dtype, shape, _ = arguments
            array = _Array()
            array.__setstate__((1, shape, dtype, False, bytes(data)))
            return array
        if self.name == "scalar":
            dtype, data = arguments
            return _decode(dtype, data, 1)[0]
        if self.name == "encode":  # how protocols 0 to 2 write bytes
            text, encoding = arguments
            return str(text).encode({"latin1": "latin1", "latin-1": "latin1"}[encoding])
        raise _Refused(f"calls {self.name}, which no list of texts needs")


class _Dtype:
    """Stands for a NumPy dtype: its code (``O8``, ``U40``, ``S40``) and byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = str(code).lstrip("<>=|"), ">" if str(code).startswith(">") else "<"

    def __setstate__(self, state: Any) -> None:
        if str(state[1]) in ("<", ">"):
            self.order = str(state[1])


class _Array:
    """Stands for a NumPy array: its texts, once its state is known."""

    __slots__ = ("texts",)

    def __init__(self) -> None:
        self.texts: list[str] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, _, data = state
        if not isinstance(shape, tuple) or len(shape) != 1 or not isinstance(shape[0], int):
            raise _Refused(f"holds an array of shape {shape!r:.40}, not a plain list")
        if not isinstance(dtype, _Dtype):
            raise _Refused("holds an array of unknown type")
        self.texts = _of_objects(data) if dtype.code.startswith("O") else _decode(dtype, data, shape[0])
        if len(self.texts) != shape[0]:
            raise _Refused(f"holds {len(self.texts)} texts where it claims {shape[0]}")


def _of_objects(values: Any) -> list[str]:
    if not isinstance(values, (list, tuple)):
        raise _Refused(f"holds {type(values).__name__}, not a list of texts")
    return _checked(values)


def _checked(values: Sequence[Any]) -> list[str]:
    for value in values:
        if type(value) is not str:
            raise _Refused(f"holds a {type(value).__name__.lstrip('_').lower()} where a text should be")
    return list(values)


def _decode(dtype: Any, data: Any, count: int) -> list[str]:
    """Return fixed-width texts from the bytes of an array; trailing zeros are padding, as NumPy has it."""
    if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
        raise _Refused("holds an array of unknown type")
    kind, width = dtype.code[:1], dtype.code[1:]
    if kind not in ("U", "S") or not width.isdecimal() or int(width) < 1:
        raise _Refused(f"holds an array of type {dtype.code!r:.20}, not of text")
    size = int(width) * (4 if kind == "U" else 1)
    encoding = "ascii" if kind == "S" else ("utf-32-be" if dtype.order == ">" else "utf-32-le")
    if len(data) != size * count:
        raise _Refused(f"is damaged ({len(data)} bytes where {count} texts of {size} bytes should be)")
    return [bytes(data[i : i + size]).decode(encoding).rstrip("\0") for i in range(0, len(data), size)]


def _texts(loaded: Any) -> list[str]:
    if isinstance(loaded, _Array):
        if loaded.texts is None:
            raise _Refused("is damaged (an array without content)")
        return loaded.texts
    return _of_objects(loaded)
