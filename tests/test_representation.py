"""Pass 2 and coordinates: inner products between stimuli, from features, blocks or a file, in every shape."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_core import spool as spool_room
from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError, ModelError
from benchmark_core.representation import Representation, from_spool, prefixes_from_spool
from benchmark_core.spool import Spool
from benchmark_core.store import CorruptFileWarning


def ids_of(n: int) -> tuple[str, ...]:
    return tuple(f"s{i:04d}" for i in range(n))


def draw(n: int, features: int, *, seed: int = 0, rank: int | None = None, offset: float = 0.0) -> np.ndarray:
    """Return features that float32 holds exactly, so that a spool loses nothing."""
    rng = np.random.Generator(np.random.Philox(seed))
    values = rng.normal(size=(n, features))
    if rank is not None:
        values = rng.integers(-3, 4, (n, rank)) @ rng.integers(-3, 4, (rank, features)).astype(float)
    values = values + offset * rng.normal(size=features)
    return values.astype(np.float32).astype(np.float64)


def spooled(folder: Path, values: np.ndarray, chunk_rows: int = 7) -> Spool:
    spool = Spool.create(folder, len(values), ["layer"], chunk_rows, 1)
    for chunk in spool.absent():
        rows = spool.rows(chunk)
        spool.write(chunk, {"layer": values[rows.start : rows.stop]}, 0.0)
    return spool


def reduced(spool: Spool, **options: Any) -> Representation:
    return from_spool(spool, "layer", ids_of(spool.n), **{"key": "k", "backend": Backend(), **options})


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compare relative to the largest value, as sums of products round."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-300))


SHAPES = {
    "P < n": (12, 5),
    "P = n": (9, 9),
    "P = n + 1": (9, 10),
    "P > n": (8, 100),
    "one feature": (6, 1),
    "two": (2, 30),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_three_ways_to_one_gram_matrix(tmp_path: Path, shape: tuple[int, int], offset: float) -> None:
    values = draw(*shape, offset=offset)
    centred = values - values.mean(axis=0)
    for representation in (
        reduced(spooled(tmp_path / "s", values)),
        Representation.from_features(values, ids_of(len(values)), "layer"),
    ):
        close(representation.gram(), centred @ centred.T, 1e-11)
        close(representation.gram(centred=False), values @ values.T, 1e-13)
        close(representation.row_sums, values.sum(axis=1), 1e-12)
        assert representation.n_features == shape[1]
        assert (representation.features is None) == (shape[1] > shape[0]) == (representation.kernel is not None)
        if representation.features is not None:
            np.testing.assert_array_equal(representation.features, values)


@settings(max_examples=60)
@given(
    n=st.integers(2, 14),
    features=st.integers(1, 40),
    rank=st.none() | st.integers(1, 6),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 2**32),
)
def test_coordinates_have_the_same_inner_products(
    n: int, features: int, rank: int | None, offset: float, scale: float, seed: int
) -> None:
    values = scale * draw(n, features, seed=seed, rank=rank, offset=offset)
    representation = Representation.from_features(values, ids_of(n))
    coordinates = representation.coordinates()
    assert coordinates.shape == (n, min(n, features))
    assert coordinates.dtype == np.float64
    close(coordinates @ coordinates.T, values @ values.T, 1e-11)
    # What is left when a common mean 1000 times the spread is taken away again is still right.
    centred, spread = values - values.mean(axis=0), coordinates - coordinates.mean(axis=0)
    close(spread @ spread.T, centred @ centred.T, 1e-8)
    again = representation.coordinates(centred=True)
    assert again.shape == coordinates.shape
    close(again @ again.T, centred @ centred.T, 1e-11)


@pytest.mark.parametrize("shape", [(20, 8), (20, 300)])
def test_estimators_predict_the_same_from_coordinates(shape: tuple[int, int]) -> None:
    """Ridge and principal components depend on features through inner products only."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge

    values = draw(*shape, offset=10.0)
    coordinates = Representation.from_features(values, ids_of(20)).coordinates()
    y = np.random.Generator(np.random.Philox(5)).normal(size=(15, 3))
    predictions = [Ridge(alpha=2.0).fit(x[:15], y).predict(x[15:]) for x in (values, coordinates)]
    np.testing.assert_allclose(predictions[1], predictions[0], rtol=1e-8, atol=1e-9)
    projections = [np.abs(PCA(3, svd_solver="full").fit(x[:15]).transform(x)) for x in (values, coordinates)]
    np.testing.assert_allclose(projections[1], projections[0], rtol=1e-7, atol=1e-8)


def test_axes_too_short_for_the_kernel_keep_their_product_with_the_mean() -> None:
    """One direction and the rounding of float32: its square is below the kernel's own rounding."""
    values = draw(3, 5, rank=1, offset=1.0)
    spread = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    assert 0 < spread[1] < 2e-8 * spread[0]
    coordinates = Representation.from_features(values, ids_of(3)).coordinates()
    close(coordinates @ coordinates.T, values @ values.T, 1e-14)


def test_constant_features_and_single_stimuli() -> None:
    flat = Representation.from_features(np.full((4, 6), 3.0), ids_of(4))
    np.testing.assert_array_equal(flat.gram(), 0)
    close(flat.coordinates() @ flat.coordinates().T, np.full((4, 4), 54.0), 1e-14)
    np.testing.assert_array_equal(flat.coordinates(centred=True), 0)
    alone = Representation.from_features(np.array([[3.0, 4.0]]), ("a",))
    close(alone.coordinates(), np.array([[5.0]]), 1e-14)


@pytest.mark.parametrize("shape", [(9, 4), (9, 60)])
def test_the_order_of_stimuli_is_irrelevant(shape: tuple[int, int]) -> None:
    values, ids = draw(*shape), ids_of(9)
    first = Representation.from_features(values, ids)
    order = np.random.Generator(np.random.Philox(3)).permutation(9)
    second = Representation.from_features(values[order], [ids[i] for i in order])
    assert second.stimulus_ids == first.stimulus_ids
    np.testing.assert_array_equal(second.coordinates(), first.coordinates())
    np.testing.assert_array_equal(second.gram(), first.gram())
    assert first.index(["s0003", "s0001"]) == [3, 1]
    with pytest.raises(InputError, match="layer 'features' holds no features of stimulus_id 'x'"):
        first.index(["s0003", "x"])


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("features", [5, 150])
def test_no_block_size_changes_a_representation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, features: int
) -> None:
    values = draw(10, features, offset=1e3)
    expected = reduced(spooled(tmp_path / "a", values))
    monkeypatch.setattr(spool_room, "BLOCK", block)
    found = reduced(spooled(tmp_path / "b", values, chunk_rows=3))
    close(found.gram(), expected.gram(), 1e-12)
    if found.features is not None:
        np.testing.assert_array_equal(found.features, values)
    for name in ("row_sums", "mean_products"):
        close(getattr(found, name), getattr(expected, name), 1e-12)
    assert found.mean_square == pytest.approx(expected.mean_square, rel=1e-12)


@pytest.mark.parametrize("exact", [True, False])
def test_backends_and_precisions(tmp_path: Path, exact: bool) -> None:
    values = draw(12, 500, offset=100.0)
    spool = spooled(tmp_path / "s", values)
    expected = reduced(spool)
    centred = values - values.mean(axis=0)
    for backend in (Backend("numpy"), Backend("torch")):
        found = reduced(spool, backend=backend, exact=exact)
        assert found.kernel is not None
        assert found.kernel.dtype == np.float64
        close(found.kernel, centred @ centred.T, 1e-12 if exact else 1e-5)
        np.testing.assert_array_equal(found.kernel, found.kernel.T)
        close(found.row_sums, expected.row_sums, 1e-13 if exact else 1e-6)
        close(found.mean_products, expected.mean_products, 1e-13 if exact else 1e-6)
        assert found.mean_square == pytest.approx(expected.mean_square, rel=1e-14 if exact else 1e-6)
        if not exact:
            assert np.abs(found.kernel - centred @ centred.T).max() > 0


@pytest.mark.parametrize("widths", [[9], [40], [100], [150], [9, 40, 100, 150], [100, 150]])
def test_widths_in_single_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widths: list[int]) -> None:
    """Held or not, alone or before wider ones, over several blocks that are added up in single precision."""
    monkeypatch.setattr(spool_room, "BLOCK", 16)
    values = draw(30, 150, offset=20.0)
    given = {width: str(width) for width in widths}
    spool = spooled(tmp_path / "s", values)
    found = list(prefixes_from_spool(spool, "layer", ids_of(30), keys=given, backend=Backend(), exact=False))
    for width, representation in zip(widths, found, strict=True):
        some = values[:, :width]
        centred = some - some.mean(axis=0)
        close(representation.gram(), centred @ centred.T, 1e-6)
        close(representation.row_sums, some.sum(axis=1), 1e-6)
        close(representation.mean_products, some @ some.mean(axis=0), 1e-6)
        assert representation.mean_square == pytest.approx(float((some.mean(axis=0) ** 2).sum()), rel=1e-6)


def test_progress_counts_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_room, "BLOCK", 10)
    seen: list[tuple[int, int]] = []
    reduced(spooled(tmp_path / "s", draw(3, 25)), progress=lambda done, of: seen.append((done, of)))
    assert seen == [(10, 25), (20, 25), (25, 25)]


def test_features_are_never_held_whole(tmp_path: Path) -> None:
    """Memory is a few blocks, however many features there are."""
    n, peaks = 16, []
    for blocks in (4, 32):
        features = blocks * spool_room.BLOCK
        spool = spooled(tmp_path / str(blocks), np.ones((n, features), dtype=np.float32), chunk_rows=4)
        tracemalloc.start()
        try:
            reduced(spool)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    block = n * spool_room.BLOCK * 8
    assert max(peaks) < 4 * block
    assert peaks[1] < 1.1 * peaks[0]
    assert max(peaks) < n * features * 4 / 3


@pytest.mark.parametrize("shape", [(6, 4), (6, 50)])
def test_saved_and_read_again(tmp_path: Path, shape: tuple[int, int]) -> None:
    representation = reduced(spooled(tmp_path / "s", draw(*shape)))
    path = tmp_path / "kernels" / "k.arrays"
    assert Representation.load(path, Backend()) is None
    representation.save(path, {"device": "cpu", "seconds": 1.5})
    found = Representation.load(path, Backend("torch"))
    assert found is not None
    again, provenance = found
    assert provenance == {"device": "cpu", "seconds": 1.5}
    assert again.backend == Backend("torch")
    for name in ("layer", "stimulus_ids", "n_features", "mean_square", "key"):
        assert getattr(again, name) == getattr(representation, name)
    for name in ("features", "kernel", "row_sums", "mean_products"):
        np.testing.assert_array_equal(getattr(again, name), getattr(representation, name))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(CorruptFileWarning):
        assert Representation.load(path, Backend()) is None


def test_one_decomposition_for_each_training_set() -> None:
    representation = Representation.from_features(draw(9, 30), ids_of(9))
    train = list(ids_of(9)[:6])
    first = representation.decomposition(train)
    assert representation.decomposition(tuple(train)) is first
    assert representation.decomposition(train[:5]) is not first
    assert first.stimulus_ids == tuple(train)


@pytest.mark.parametrize(
    ("features", "ids", "kind", "message"),
    [
        (np.zeros((2, 3)), ("a",), InputError, r"features have shape \(2, 3\) for 1 stimulus ids"),
        (np.zeros(3), ("a", "b", "c"), InputError, r"features have shape \(3,\)"),
        (np.zeros((2, 0)), ("a", "b"), InputError, "expected .stimuli, features."),
        (np.zeros((2, 3)), ("a", "a"), InputError, "features hold a stimulus_id twice"),
        (np.array([[1.0], [np.nan]]), ("a", "b"), ModelError, "layer 'features' holds values that are not finite"),
    ],
)
def test_features_that_cannot_be_used(features: np.ndarray, ids: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Representation.from_features(features, ids)


@pytest.mark.parametrize("exact", [True, False])
def test_narrow_layers_are_those_alone_and_blas_keeps_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    """Of so many stimuli that each core multiplies blocks of its own; widths in the middle of a block, below n and above."""
    from threadpoolctl import threadpool_info, threadpool_limits

    monkeypatch.setattr(spool_room, "BLOCK", 700)
    monkeypatch.setattr("benchmark_core.symmetric_products.WIDE", 50)
    monkeypatch.setattr("benchmark_core.threads.n_threads", lambda: 2)
    n, widths = 300, (120, 250, 640, 990, 1500)
    values = draw(n, 1500, offset=3.0)

    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        scipy.linalg.blas.dsyrk(1.0, np.eye(2))  # a library that is not loaded is not counted
        before = threads()
        spool = spooled(tmp_path / "all", values, 32)
        keys = {width: str(width) for width in widths}
        together = list(prefixes_from_spool(spool, "layer", ids_of(n), keys=keys, backend=Backend(), exact=exact))
        assert threads() == before
        for found in together:
            width = found.n_features
            alone = reduced(spooled(tmp_path / str(width), values[:, :width], 32), exact=exact)
            for a, b in ((found.features, alone.features), (found.kernel, alone.kernel)):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_array_equal(a, b)
