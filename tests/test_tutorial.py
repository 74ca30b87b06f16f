"""The notebook of the documentation runs from top to bottom, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from tutorial import PATH, execute

COMMITTED = nbformat.read(PATH, as_version=4)


def texts(notebook: Any) -> list[str]:
    """Return the text of each code cell's outputs."""
    return [
        "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def kinds(notebook: Any) -> list[set[str]]:
    """Return what each code cell shows: streams by name, data by type."""
    return [
        {kind for output in cell.outputs for kind in ([output.name] if "name" in output else output.data)}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def numbers(text: str) -> list[float]:
    """Return what has three decimals: scores and shares, no times and no hashes."""
    return [float(found) for found in re.findall(r"(?<![\d.])-?\d\.\d{3}(?!\d)", text)]


# The kernel and each command import torch anew: half a minute, ten times that where many share the machine.
@pytest.mark.timeout(900)
def test_the_tutorial_runs_and_shows_the_numbers_that_are_committed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = execute(tmp_path / "run")
    assert kinds(notebook) == kinds(COMMITTED), "run `make tutorial`"
    for found, shown in zip(texts(notebook), texts(COMMITTED), strict=True):
        np.testing.assert_allclose(numbers(found), numbers(shown), atol=0.005, err_msg=f"run `make tutorial`: {shown}")
    assert sum(len(numbers(text)) for text in texts(notebook)) > 50
    assert not home.exists()  # it keeps to a folder of its own


def test_committed_outputs_are_small_and_say_nothing_of_a_machine() -> None:
    source = PATH.read_text(encoding="utf-8")
    assert len(source) < 200_000
    assert COMMITTED.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(not cell.metadata for cell in COMMITTED.cells)
    assert not re.search("\x1b|Traceback|Warning", "\n".join(texts(COMMITTED)))
    assert set(re.findall(r"(?<![\w.<*])/(?:\w+/)+\w+", "\n".join(texts(COMMITTED)))) <= {"/tmp/tutorial/home/records"}
    counts = [cell.execution_count for cell in COMMITTED.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))  # run once, from top to bottom


def test_the_numbers_of_a_text() -> None:
    assert numbers("0.486 (0.380 to -0.593) @1.2345 8.3 s, 10.123, module=@0123456789ab 2.571") == [
        0.486,
        0.38,
        -0.593,
        2.571,
    ]
