"""The restricted unpickler: what NumPy and Python write is read; what anyone else writes is refused, and not run."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_core.errors import InputError
from benchmark_core.safe_pickle import LARGEST_FILE, read_texts, texts_from_bytes

IDS = ["8a72e2bfdb8c267b57232bf96f069374d5b21832", "image00012.png", "ünïcode 猿"]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        IDS,
        tuple(IDS),
        np.array(IDS, dtype=object),
        np.array(IDS),
        np.array(IDS).astype(">U60"),
        np.array([np.str_(i) for i in IDS], dtype=object),
        [np.str_(i) for i in IDS],
        np.array(IDS, dtype=object)[::-1][::-1],
        np.asfortranarray(np.array(IDS)),
    ],
    ids=["list", "tuple", "objects", "U", "big-endian", "objects of str_", "str_", "strided", "fortran"],
)
def test_what_numpy_and_python_write_is_read(value: Any, protocol: int) -> None:
    assert texts_from_bytes(pickle.dumps(value, protocol=protocol)) == IDS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ascii_bytes_of_fixed_width_are_read(protocol: int) -> None:
    assert texts_from_bytes(pickle.dumps(np.array([b"abc", b"de"]), protocol=protocol)) == ["abc", "de"]


def test_older_names_of_the_modules_are_read() -> None:
    """NumPy 1 wrote numpy.core where NumPy 2 writes numpy._core."""
    new = pickle.dumps(np.array(IDS, dtype=object), protocol=2)
    assert b"numpy._core.multiarray" in new
    assert texts_from_bytes(new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")) == IDS


@settings(max_examples=25)
@given(st.lists(st.text(max_size=8)), st.sampled_from(list(PROTOCOLS)), st.booleans())
def test_any_texts_come_back(values: list[str], protocol: int, as_array: bool) -> None:
    held = np.array(values, dtype=object) if as_array else values
    assert texts_from_bytes(pickle.dumps(held, protocol=protocol)) == values


class Calls:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class OfState:
    def __init__(self) -> None:
        self.a = 1


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda mark: Calls(os.system, f"touch {mark}"), "asks for posix.system"),
        (lambda mark: Calls(subprocess.check_call, ["touch", mark]), "asks for subprocess.check_call"),
        (lambda mark: Calls(eval, f"open({mark!r}, 'w')"), "asks for builtins.eval"),
        (lambda mark: Calls(getattr, "x", "join"), "asks for builtins.getattr"),
        (lambda mark: Calls(open, mark, "w"), "asks for"),
        (lambda mark: np.array(["a", Calls(os.system, f"touch {mark}")], dtype=object), "asks for posix.system"),
        (lambda mark: ["a", Calls(os.system, f"touch {mark}")], "asks for posix.system"),
        (lambda mark: Calls(np.fromfile, mark), "asks for numpy"),
        (lambda mark: Calls(np.load, mark), "asks for numpy"),
        (lambda mark: OfState(), "asks for"),
        (lambda mark: np.arange(4), "holds an array of type 'i8'"),
        (lambda mark: np.array([1.5, 2.5]), "holds an array of type 'f8'"),
        (lambda mark: np.array([["a", "b"]]), r"array of shape \(1, 2\)"),
        (lambda mark: np.array(["a"], dtype=[("x", "U1")]), "holds an array"),
        (lambda mark: np.array(["a", 5], dtype=object), "holds a int where a text should be"),
        (lambda mark: np.array(["a", None], dtype=object), "holds a nonetype where a text should be"),
        (lambda mark: ["a", b"b"], "holds a bytes where a text should be"),
        (lambda mark: [["a"], ["b"]], "holds a list where a text should be"),
        (lambda mark: {"a": "b"}, "holds dict, not a list of texts"),
        (lambda mark: "abc", "holds str, not a list of texts"),
        (lambda mark: {"a", "b"}, "set"),
        (lambda mark: None, "holds NoneType"),
    ],
)
def test_anything_else_is_refused_and_not_run(tmp_path: Path, value: Callable[[str], Any], words: str) -> None:
    mark, path = tmp_path / "was run", tmp_path / "ids"
    path.write_bytes(pickle.dumps(value(str(mark)), protocol=4))
    with pytest.raises(InputError, match=words) as caught:
        read_texts(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "nothing was run" in message
    assert "\n" not in message
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x04",
        pickle.dumps(IDS)[:-5],
        pickle.dumps(np.array(IDS))[:-9],
        opcodes(b"cos\nsystem\n", b"X\x04\x00\x00\x00true", b"\x85R"),
        opcodes(b"]r", struct.pack("<I", 0xFFFFFFFF)),  # a memo of 4e9 entries
        opcodes(b"]", b"\x8b", struct.pack("<i", -5)),  # a negative length
        opcodes(b"\x8e" + struct.pack("<Q", 2**62)),  # 4 EB of bytes
        opcodes(b"cnumpy\nndarray\n", b"}b"),  # changes a function
        opcodes(b"cnumpy\ndtype\n", b"X\x02\x00\x00\x00U9\x85\x81"),  # makes an object of a function
        opcodes(b"cnumpy.core.multiarray\n_reconstruct\n)R"),  # an array without content
        opcodes(b"X\x01\x00\x00\x00aQ"),  # a persistent id
        opcodes(b"]\x94h\x00a"),  # a list within itself
        opcodes(b"\x82\x01"),  # an extension code
        b"\x80\xff.",
    ],
)
def test_damaged_and_hand_made_pickles_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ids").write_bytes(content)
    with pytest.raises(InputError, match=r"ids .*nothing was run") as caught:
        read_texts(tmp_path / "ids")
    assert "\n" not in str(caught.value)


def test_lengths_that_lie_are_refused() -> None:
    good = pickle.dumps(np.array(["abcd", "efgh"]), protocol=2)
    assert texts_from_bytes(good) == ["abcd", "efgh"]
    with pytest.raises(pickle.UnpicklingError):
        texts_from_bytes(good.replace(b"K\x02\x85", b"K\x03\x85"))


@settings(max_examples=25)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_noise_never_raises_anything_else(noise: bytes, at: int) -> None:
    content = pickle.dumps(np.array(IDS, dtype=object), protocol=2)
    for damaged in (noise, content[:at] + noise + content[at + len(noise) :]):
        with suppress(pickle.UnpicklingError):
            assert all(type(text) is str for text in texts_from_bytes(damaged))


def test_a_file_larger_than_any_list_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "ids").open("wb") as handle:
        handle.truncate(LARGEST_FILE + 1)
    with pytest.raises(InputError, match="larger than any list of ids"):
        read_texts(tmp_path / "ids")


def test_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_texts(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_texts(tmp_path / "none")
