"""Kernels that are read when they are needed: the same numbers, and few of them in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy import make_toy_world

from benchmark_core import run
from benchmark_core import stored_representation as room
from benchmark_core.errors import BenchError
from benchmark_core.representation import Representation
from benchmark_core.ridge import penalty_criteria
from benchmark_core.stored_representation import StoredRepresentation, if_large

IDS = [f"s{i:02d}" for i in range(20)]
SIZE = 8 * 20 * 20


def make(folder: Path, layer: str, n_features: int = 30) -> tuple[Representation, Path]:
    values = np.random.Generator(np.random.Philox(len(layer))).standard_normal((20, n_features))
    whole, path = Representation.from_features(values, IDS, layer), folder / layer
    whole.save(path, {})
    return whole, path


def in_memory(stored: Representation) -> bool:
    assert isinstance(stored, StoredRepresentation)
    return stored._kernel is not None


def test_numbers_are_those_of_the_whole(tmp_path: Path) -> None:
    whole, path = make(tmp_path, "a")
    stored = StoredRepresentation.of(whole, path)
    assert not in_memory(stored)
    assert np.array_equal(stored.gram(), whole.gram())
    assert np.array_equal(stored.coordinates(), whole.coordinates())
    y = np.random.Generator(np.random.Philox(9)).standard_normal((15, 3))
    assert np.array_equal(
        penalty_criteria(stored.decomposition(IDS[:15]), y), penalty_criteria(whole.decomposition(IDS[:15]), y)
    )


def test_the_least_recently_read_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_HELD", 2 * SIZE)
    layers = [if_large(*make(tmp_path, name), n_layers=3) for name in ("a", "bb", "ccc")]
    for layer in layers:
        layer.decomposition(IDS[:15])
    assert [in_memory(layer) for layer in layers] == [False, True, True]
    assert [len(layer._decompositions) for layer in layers] == [0, 1, 1]
    assert layers[0].kernel is not None
    assert [in_memory(layer) for layer in layers] == [True, False, True]


def test_one_kernel_is_held_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_HELD", 1)
    layers = [if_large(*make(tmp_path, name), n_layers=2) for name in ("a", "bb")]
    for layer in layers:
        assert layer.kernel is not None
    assert [in_memory(layer) for layer in layers] == [False, True]


def test_small_layers_and_features_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, path = make(tmp_path, "a")
    assert if_large(whole, path, 12) is whole
    monkeypatch.setattr(room, "MOST_HELD", 1)
    assert if_large(whole, path, 1) is whole
    narrow, path = make(tmp_path, "bb", n_features=5)
    assert if_large(narrow, path, 12) is narrow


def test_a_lost_file_is_one_line(tmp_path: Path) -> None:
    whole, path = make(tmp_path, "a")
    stored = StoredRepresentation.of(whole, path)
    path.unlink()
    with pytest.raises(BenchError, match="the store lost layer 'a'"):
        stored.gram()


def test_scores_do_not_depend_on_it(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_toy_world(tmp_path / "toys")
    (whole,) = run("toy", "toy.V4", plugins=[world])
    monkeypatch.setattr(room, "MOST_HELD", 1)
    (again,) = run("toy", "toy.V4", plugins=[world], force=True)  # kernels from the store
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    (anew,) = run("toy", "toy.V4", plugins=[world], force=True)
    for result in (again, anew):
        assert (result["key"], result["score"], result["layer"]) == (whole["key"], whole["score"], whole["layer"])
