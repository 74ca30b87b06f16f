"""Products of blocks on several cores: the sum, its digits, errors, and what is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from benchmark_core import symmetric_products
from benchmark_core.symmetric_products import TOGETHER, SymmetricProducts

RANDOM = np.random.default_rng(0)
# A core that multiplies a block alone has a thread of BLAS; so does a single one, whose digits are compared.
pytestmark = pytest.mark.usefixtures("one_thread")
BLOCKS = [RANDOM.normal(size=(300, b)) for b in (70, 1, 130, 64, 64, 90, 200, 3, 70)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    symmetric_products._symmetric_update(np.float32)  # a library that is not loaded cannot be limited
    with threadpool_limits(1, user_api="blas"):
        yield


def summed(single: bool, at_once: int, blocks: list[np.ndarray] = BLOCKS) -> SymmetricProducts:
    products = SymmetricProducts(len(blocks[0]), single, at_once)
    for block in blocks:
        values = products.room(block.shape[1])
        values[:] = block
        products.add(values)
    return products


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("count", [1, TOGETHER - 1, TOGETHER, len(BLOCKS)])
def test_the_sum_is_the_same_to_the_last_digit_for_any_number_at_once(single: bool, count: int) -> None:
    found = [np.tril(summed(single, at_once, BLOCKS[:count]).total()) for at_once in (1, 2, 5)]
    expected = sum(block @ block.T for block in BLOCKS[:count])
    np.testing.assert_allclose(found[0], np.tril(expected), rtol=0, atol=2e-4 if single else 1e-12)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("single", [False, True])
def test_a_narrower_last_block_is_multiplied_in_halves(monkeypatch: pytest.MonkeyPatch, single: bool) -> None:
    monkeypatch.setattr(symmetric_products, "WIDE", 60)
    blocks, update, widths = [BLOCKS[6], BLOCKS[6], BLOCKS[0]], symmetric_products._symmetric_update, []

    def noting(dtype: Any) -> Any:
        def multiply(values: np.ndarray, out: np.ndarray, add: bool) -> None:
            widths.append(values.shape[1])
            update(dtype)(values, out, add)

        return multiply

    monkeypatch.setattr(symmetric_products, "_symmetric_update", noting)
    found = []
    for at_once in (1, 2, 3):
        products = summed(single, at_once, blocks)
        products.wait()
        assert sorted(widths) == [35, 35, 200, 200]
        assert {len(room) for room in products._rooms} <= {300 * 200, 300 * 70}
        assert len({room.ctypes.data for room in products._rooms}) == len(products._rooms) <= at_once + 1
        found.append(np.tril(products.total()))
        widths.clear()
    expected = sum(block @ block.T for block in blocks)
    np.testing.assert_allclose(found[0], np.tril(expected), rtol=0, atol=1e-3 if single else 1e-12)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    parted = SymmetricProducts(300, single, 1)
    for block in blocks[:2]:
        parted.room(200)[:] = block
        parted.add(block.astype(parted.dtype))
    narrow = parted.copy()
    values = narrow.room(70)
    values[:] = blocks[2]
    narrow.add(values)
    np.testing.assert_array_equal(np.tril(narrow.total()), found[0])


def test_products_are_added_in_order_though_they_end_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    update, another = symmetric_products._symmetric_update(np.float32), threading.Event()
    ended = []

    def uneven(values: np.ndarray, out: np.ndarray, add: bool) -> None:
        if values.shape[1] == len(BLOCKS[0][0]):  # the first one
            assert another.wait(timeout=30)
        update(values, out, add)
        ended.append(values.shape[1])
        another.set()

    expected = summed(True, 1).total()
    monkeypatch.setattr(symmetric_products, "_symmetric_update", lambda dtype: uneven)
    found = summed(True, 3).total()
    assert sorted(ended) == sorted(b.shape[1] for b in BLOCKS)
    assert ended[0] != BLOCKS[0].shape[1]
    np.testing.assert_array_equal(np.tril(found), np.tril(expected))


def test_products_go_on_while_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them at once, beside the thread that reads: all three meet."""
    update, together = symmetric_products._symmetric_update(np.float64), threading.Barrier(3)

    def meeting(values: np.ndarray, out: np.ndarray, add: bool) -> None:
        together.wait(timeout=30)
        update(values, out, add)

    monkeypatch.setattr(symmetric_products, "_symmetric_update", lambda dtype: meeting)
    products = summed(False, 2, BLOCKS[:2])
    together.wait(timeout=30)
    monkeypatch.undo()
    np.testing.assert_array_equal(np.tril(products.total()), np.tril(summed(False, 1, BLOCKS[:2]).total()))


def test_blas_has_its_threads_again() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert set(before) == {2}
        products = summed(False, 2)
        assert set(blas_threads()) == {1}
        products.total()
        assert blas_threads() == before
        products = summed(False, 2)
        products.close()
        products.close()  # once too often is allowed
        assert blas_threads() == before


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    products = summed(True, 4)
    assert threading.active_count() > before
    products.wait()
    assert threading.active_count() == before
    assert products.count == len(BLOCKS)


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("wrong", [0, 4, len(BLOCKS) - 1])
def test_an_error_in_a_product_is_raised(monkeypatch: pytest.MonkeyPatch, at_once: int, wrong: int) -> None:
    """And nobody goes on waiting for the product that never was."""
    update = symmetric_products._symmetric_update(np.float32)
    calls = iter(range(len(BLOCKS)))

    def failing(values: np.ndarray, out: np.ndarray, add: bool) -> None:
        if next(calls) == wrong:
            raise MemoryError("no room")
        update(values, out, add)

    before = blas_threads()
    monkeypatch.setattr(symmetric_products, "_symmetric_update", lambda dtype: failing)
    with pytest.raises(MemoryError, match="no room"):
        summed(True, at_once).total()
    assert blas_threads() == before


def test_a_copy_goes_its_own_way() -> None:
    products = summed(True, 2, BLOCKS[:6])
    other = products.copy()
    for block in BLOCKS[6:]:
        values = other.room(block.shape[1])
        values[:] = block
        other.add(values)
    np.testing.assert_array_equal(np.tril(other.total()), np.tril(summed(True, 1).total()))
    np.testing.assert_array_equal(np.tril(products.total()), np.tril(summed(True, 1, BLOCKS[:6]).total()))


@pytest.mark.parametrize("single", [False, True])
def test_sums_beside_each_other_share_memory_and_nothing_else(single: bool) -> None:
    first = SymmetricProducts(300, single, 1)
    second = SymmetricProducts(300, single, 1, first)
    for block in BLOCKS:
        for products, factor in ((first, 1.0), (second, 3.0)):
            values = products.room(block.shape[1])
            values[:] = factor * block
            products.add(values)
    assert len(first._rooms) == 1
    assert len(first._spaces) <= 2  # in single precision a space is exchanged for the first of each group
    for products, factor in ((first, 1.0), (second, 3.0)):
        alone = summed(single, 1, [factor * block for block in BLOCKS])
        np.testing.assert_array_equal(np.tril(products.total()), np.tril(alone.total()))


@pytest.mark.parametrize(
    ("n", "threads", "expected"),
    [(3200, 2, 2), (3200, 4, 4), (3200, 16, 1), (200, 2, 1), (20_000, 2, 1), (3200, 1, 1)],
)
def test_blocks_at_once_are_as_many_as_memory_and_one_reader_allow(
    monkeypatch: pytest.MonkeyPatch, n: int, threads: int, expected: int
) -> None:
    monkeypatch.setattr("benchmark_core.threads.n_threads", lambda: threads)
    products = SymmetricProducts.__new__(SymmetricProducts)
    products.n, products.dtype = n, np.float64
    assert products._most_at_once(4096) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scipys_own_wrapper_serves_where_integers_have_another_size(
    monkeypatch: pytest.MonkeyPatch, dtype: Any
) -> None:
    values = np.ascontiguousarray(BLOCKS[2].astype(dtype))
    direct = symmetric_products._symmetric_update.__wrapped__(dtype)
    monkeypatch.setattr(symmetric_products, "_SIGNATURE", b"void (char *, char *, long *, ")
    wrapper = symmetric_products._symmetric_update.__wrapped__(dtype)
    for factor, add in ((1, False), (2, True)):
        outs = [np.tril(np.full((300, 300), 0 if add else np.nan, dtype=dtype)) for _ in range(2)]
        for update, out in zip((direct, wrapper), outs, strict=True):
            if add:
                update(values, out, False)
            update(values, out, add)
        np.testing.assert_array_equal(np.tril(outs[0]), np.tril(outs[1]))
        np.testing.assert_allclose(np.tril(outs[0]), factor * np.tril(values @ values.T), rtol=0, atol=1e-4)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("count", [1, TOGETHER, len(BLOCKS)])
def test_many_stimuli_need_no_memory_beside_the_sum(monkeypatch: pytest.MonkeyPatch, single: bool, count: int) -> None:
    monkeypatch.setattr(symmetric_products, "LARGE", 300)
    products = SymmetricProducts(300, single)
    for block in BLOCKS[:count]:
        values = products.room(block.shape[1])
        values[:] = block
        products.add(values)
    assert not products._spaces
    assert products._pool is None
    expected = np.tril(sum(block @ block.T for block in BLOCKS[:count]))
    np.testing.assert_allclose(np.tril(products.total()), expected, rtol=0, atol=2e-4 if single else 1e-12)
    other = products.copy()
    nothing = other.room(1)
    nothing[:] = 0
    other.add(nothing)
    np.testing.assert_allclose(np.tril(other.total(last=True)), expected, rtol=0, atol=2e-4 if single else 1e-12)
