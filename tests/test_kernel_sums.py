"""The sums of pass 2 against plain products, for any cut into blocks, in both precisions, and with several threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_core import feature_blocks, kernel_sums
from benchmark_core.arrays import Backend
from benchmark_core.kernel_sums import KernelSums

BACKENDS = [Backend("numpy"), Backend("torch")]


def added(
    features: np.ndarray, cuts: list[int], n_held: int = 0, exact: bool = True, backend: Backend = BACKENDS[0]
) -> KernelSums:
    sums = KernelSums.start(len(features), n_held, True, backend, exact)
    for first, last in zip([0, *cuts], [*cuts, features.shape[1]], strict=True):
        sums = sums.plus(first, features[:, first:last])
    return sums


@pytest.mark.parametrize("backend", BACKENDS, ids=["numpy", "torch"])
@given(st.integers(1, 40), st.integers(2, 60), st.data())
@settings(max_examples=25, deadline=None)
def test_sums_are_those_of_all_features(backend: Backend, n: int, p: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, p - 1), max_size=5)))
    x = (np.random.default_rng(n * p).normal(size=(n, p)) + 30).astype(np.float32)
    wide = x.astype(np.float64)
    mean, centred = wide.mean(axis=0), wide - wide.mean(axis=0)
    kernel = added(x, cuts, backend=backend).finish(max(p, n + 1))[1]
    assert kernel is not None
    np.testing.assert_allclose(kernel, centred @ centred.T, atol=1e-12 * p)
    np.testing.assert_array_equal(kernel, kernel.T)
    held = p if p <= n else 0
    features, _, row_sums, products, square = added(x, cuts, n_held=held, backend=backend).finish(p)
    if held:
        np.testing.assert_array_equal(features, wide)
    np.testing.assert_allclose(row_sums, wide.sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(products, wide @ mean, rtol=1e-13)
    assert square == pytest.approx(mean @ mean, rel=1e-13)


@given(st.integers(2, 70), st.integers(1, 90), st.integers(1, 3), st.data())
@settings(max_examples=40, deadline=None)
def test_sums_in_single_precision(n: int, p: int, at_once: int, data: st.DataObject) -> None:
    """Whatever was subtracted on the way, and however many blocks were added up before the kernel got them."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, p - 1)), max_size=11))) if p > 1 else []
    x = (np.random.default_rng(n * p).normal(size=(n, p)) + 30).astype(np.float32)
    wide = x.astype(np.float64)
    mean, centred = wide.mean(axis=0), wide - wide.mean(axis=0)
    sums = KernelSums.start(n, p if p <= n else 0, True, BACKENDS[0], exact=False, at_once=at_once)
    for first, last in zip([0, *cuts], [*cuts, p], strict=True):
        sums = sums.plus(first, x[:, first:last])
    for last in (False, True):  # finishing leaves the sums as they were, until the last time
        features, kernel, row_sums, products, square = sums.finish(p, last)
        if p <= n:
            np.testing.assert_array_equal(features, wide)
        else:
            assert kernel is not None
            np.testing.assert_allclose(kernel, centred @ centred.T, atol=2e-5 * p)
        np.testing.assert_allclose(row_sums, wide.sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(products, wide @ mean, rtol=1e-6)
        assert square == pytest.approx(mean @ mean, rel=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_a_block_may_change_as_soon_as_it_is_added(exact: bool) -> None:
    """Spools read every block into the same array, while products of those before still go on."""
    x = np.random.default_rng(5).normal(size=(300, 900)).astype(np.float32)
    sums = KernelSums.start(300, 0, True, BACKENDS[0], exact, at_once=2)
    room = np.empty((300, 100), dtype=np.float32)
    for first in range(0, 900, 100):
        room[:] = x[:, first : first + 100]
        sums = sums.plus(first, room)
        np.testing.assert_array_equal(room, x[:, first : first + 100])  # and it is left as it was
        room[:] = np.nan
    np.testing.assert_array_equal(sums.finish(900)[1], added(x, [*range(100, 900, 100)], exact=exact).finish(900)[1])


def test_single_precision_keeps_kernels_centred() -> None:
    """A mean of a thousand deviations, rounded to single precision, must not show."""
    random = np.random.default_rng(0)
    x = (random.normal(size=(60, 900)) + 1000 * random.normal(size=900)).astype(np.float32)
    exact, fast = (added(x, [300, 500], exact=exact).finish(900)[1] for exact in (True, False))
    assert exact is not None
    assert fast is not None
    assert np.abs(fast.sum(axis=0)).max() < 1e-9 * np.abs(exact).max()
    assert 0 < np.abs(fast - exact).max() < 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize("exact", [True, False])
def test_a_copy_leaves_the_sums_as_they_were(exact: bool) -> None:
    x = np.random.default_rng(1).normal(size=(12, 40)).astype(np.float32)
    sums = added(x[:, :30], [16], n_held=12, exact=exact)
    kernel_before = sums.finish(30)[1]
    before = [np.array(a) for a in (sums.row_sums, sums.mean_products, sums.held)]
    narrow = sums.plus(30, x[:, 30:35], copy=True)
    for now, then in zip((sums.row_sums, sums.mean_products, sums.held), before, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(sums.finish(30)[1], kernel_before)
    centred = x[:, :35].astype(np.float64) - x[:, :35].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(narrow.finish(35)[1], centred @ centred.T, atol=1e-12 if exact else 1e-4)
    # A narrow layer is the same if nothing wider was asked for, but for BLAS, which looks at where arrays lie.
    alone = added(x[:, :35], [16, 30], exact=exact).finish(35)[1]
    np.testing.assert_allclose(narrow.finish(35)[1], alone, atol=1e-12 if exact else 1e-5)


@pytest.mark.parametrize("exact", [True, False])
def test_threads_change_no_digit_of_other_sums(monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    """What is not left to BLAS is the same however rows and columns are divided among threads."""
    x = (np.random.default_rng(2).normal(size=(101, 333)) + 5).astype(np.float32)
    monkeypatch.setattr(feature_blocks, "ROWS", 7)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr("benchmark_core.threads.n_threads", lambda threads=threads: threads)
        found.append(added(x, [100], exact=exact))
    for name in ("row_sums", "mean_products", "mean_square"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))
    np.testing.assert_array_equal(found[0].finish(333)[1], found[1].finish(333)[1])


def test_memory_that_was_not_written_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a symmetric product is left as it lay in memory, where anything may be, signalling NaNs too."""
    x = np.random.default_rng(3).normal(size=(50, 300)).astype(np.float32)
    expected = added(x, [100], exact=False).finish(300)[1]
    empty = np.empty

    def full_of_nonsense(shape: int | tuple[int, ...], dtype: Any = float) -> np.ndarray:
        made = empty(shape, dtype=dtype)
        if made.dtype == np.float32:
            made.view(np.uint32)[...] = 0x7FA00000
        return np.asarray(made)

    monkeypatch.setattr(np, "empty", full_of_nonsense)
    with np.errstate(all="raise"):
        found = added(x, [100], exact=False).finish(300)[1]
    np.testing.assert_array_equal(found, expected)


def test_the_last_kernel_is_finished_where_it_is() -> None:
    x = np.random.default_rng(4).normal(size=(300, 900)).astype(np.float32)
    sums = added(x, [400])
    copied = sums.finish(900)[1]
    assert copied is not None
    assert sums.products is not None
    assert not np.shares_memory(copied, sums.products.kernel)
    last = sums.finish(900, last=True)[1]
    np.testing.assert_array_equal(last, copied)
    assert last is sums.products.kernel


@pytest.mark.parametrize(
    ("case", "limit"),
    [("offset", 1e-13), ("outlier in the sample", 1e-12), ("outlier", 1e-12), ("constant", 1e-14), ("sorted", 1e-14)],
)
def test_a_mean_of_some_stimuli_is_enough(case: str, limit: float) -> None:
    """Against exact means in extended precision: error relative to the norms of both stimuli, where features make it hard."""
    n, p = 200, 300
    random = np.random.default_rng(6)
    x = random.normal(size=(n, p))
    if case == "offset":
        x += 1e5 * random.normal(size=p)
    elif case.startswith("outlier"):
        step = n // kernel_sums.SAMPLE
        x[step * np.arange(32)[:, None] + (case == "outlier"), random.integers(p, size=(32, 2))] += 1e4
    elif case == "constant":
        x[:, ::2] = 0.1
    else:
        x += 10 * np.linspace(-1, 1, n)[:, None]
    x = x.astype(np.float32)
    wide = x.astype(np.longdouble)
    centred = wide - wide.mean(axis=0)
    expected = (centred @ centred.T).astype(np.float64)
    kernel = added(x, [170]).finish(p)[1]
    norms = np.sqrt(np.diag(expected))
    assert np.abs((kernel - expected) / np.outer(norms, norms)).max() < limit
