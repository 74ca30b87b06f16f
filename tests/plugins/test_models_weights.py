"""Weights from Philox streams, against the generator's definition and torch.nn.init."""

from __future__ import annotations

import math
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmark_core.errors import InputError
from plugins.models._philox_weights import DEFAULT, INITS, draw_biases, draw_filters, draw_permutation

SHAPE = (20, 3, 3)
FILTERS = 300


def draw(
    init: str = "kaiming_uniform", filters: int = FILTERS, shape: tuple[int, ...] = SHAPE, **options: Any
) -> np.ndarray:
    return draw_filters(filters, shape, init=init, **{"seed": 0, "layer": 2, **options})


def global_generators() -> tuple[Any, ...]:
    """Return the state of every global random generator."""
    state: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), state[1].tolist(), state[2:], random.getstate()


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """One block of Philox4x64-10 (Salmon et al., 2011), in plain integers."""
    word = 2**64
    c, k = [counter >> 64 * i & (word - 1) for i in range(4)], list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [b // word ^ c[1] ^ k[0], b % word, a // word ^ c[3] ^ k[1], a % word]
        k = [(k[0] + 0x9E3779B97F4A7C15) % word, (k[1] + 0xBB67AE8584CAA73B) % word]
    return c


def test_reference_generator() -> None:
    """The reference above gives the known answer of the authors' test vectors."""
    assert philox(0, (0, 0)) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), layer=st.integers(1, 5), number=st.integers(0, 10**6))
def test_recipe(seed: int, layer: int, number: int) -> None:
    """A filter's weights are those that the recipe defines, word for word."""
    words = [w for block in (1, 2) for w in philox(block, (seed, layer << 32 | number))]
    halves = np.array([half for w in words for half in (w & 0xFFFFFFFF, w >> 32)], dtype=np.float64)
    options: dict[str, Any] = {"seed": seed, "layer": layer, "first": number, "last": number + 1}
    uniform = draw_filters(10**7, (15,), init="uniform", **options)[0]
    assert uniform.tolist() == (halves[:15] // 2**8 / 2**24).tolist()
    kaiming = draw_filters(10**7, (15,), init="kaiming_uniform", **options)[0]
    np.testing.assert_allclose(kaiming, (2 * uniform.astype(float) - 1) * math.sqrt(6 / 15), rtol=1e-6)
    radius, angle = np.sqrt(-2 * np.log((halves[0::2] + 0.5) / 2**32)), 2 * np.pi * halves[1::2] / 2**32
    normal = draw_filters(10**7, (15,), init="normal", **options)[0]
    np.testing.assert_allclose(normal[0::2], radius * np.cos(angle), atol=1e-5)
    np.testing.assert_allclose(normal[1::2], (radius * np.sin(angle))[:7], atol=1e-5)


@pytest.mark.parametrize("init", INITS)
def test_distribution_is_torchs(init: str) -> None:
    """Mean, deviation, range and shape of the distribution are those of the torch.nn.init function of the name."""
    ours = draw(init, filters=400).astype(float)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        drawn = torch.empty(400, *SHAPE)
        getattr(torch.nn.init, f"{init}_")(drawn)
    theirs = drawn.numpy().astype(float)
    error = theirs.std() / math.sqrt(theirs.size)
    assert abs(ours.mean() - theirs.mean()) < 6 * error
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    if "uniform" in init:
        assert ours.min() == pytest.approx(theirs.min(), abs=1e-3)
        assert ours.max() == pytest.approx(theirs.max(), rel=1e-3)
    assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("init", "law"),
    [
        ("kaiming_uniform", stats.uniform(-math.sqrt(6 / 180), 2 * math.sqrt(6 / 180))),
        ("kaiming_normal", stats.norm(0, math.sqrt(2 / 180))),
        ("xavier_uniform", stats.uniform(-math.sqrt(6 / (180 + 2700)), 2 * math.sqrt(6 / (180 + 2700)))),
        ("xavier_normal", stats.norm(0, math.sqrt(2 / (180 + 2700)))),
        ("uniform", stats.uniform(0, 1)),
        ("normal", stats.norm(0, 1)),
        (DEFAULT, stats.uniform(-math.sqrt(1 / 180), 2 * math.sqrt(1 / 180))),
    ],
)
def test_distribution_is_the_formula(init: str, law: Any) -> None:
    weights = draw(init).astype(float)
    assert stats.kstest(weights.ravel(), law.cdf).pvalue > 1e-3
    low, high = law.support()
    assert weights.min() >= low * (1 + 1e-6)
    assert weights.max() <= high * (1 + 1e-6)


def test_filters_and_weights_are_independent() -> None:
    weights = draw("normal", filters=200, shape=(500,))
    between, along = np.corrcoef(weights), np.corrcoef(weights.T)
    for correlations in (between, along):
        off = correlations[~np.eye(len(correlations), dtype=bool)]
        assert np.abs(off).max() < 6 / math.sqrt(200)
    assert stats.kstest(np.arctanh(between[np.triu_indices(200, 1)]) * math.sqrt(497), "norm").pvalue > 1e-3


@pytest.mark.parametrize("filters", [100, 400])
def test_orthogonal(filters: int) -> None:
    weights = draw("orthogonal", filters=filters).reshape(filters, -1).astype(float)
    gram = weights @ weights.T if filters <= 180 else weights.T @ weights
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)


@pytest.mark.parametrize("init", INITS)
def test_narrow_layer_is_the_start_of_a_wide_one(init: str) -> None:
    narrow, wide = draw(init, filters=30), draw(init, filters=150)[:30]
    if init == "orthogonal":
        np.testing.assert_allclose(narrow, wide, atol=1e-5)
    elif init.startswith("xavier"):
        scale = math.sqrt((180 + 30 * 9) / (180 + 150 * 9))
        np.testing.assert_allclose(narrow * scale, wide, rtol=1e-5)
    else:
        assert np.array_equal(narrow, wide)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("filters", [100, FILTERS])
def test_any_range_of_filters(init: str, filters: int) -> None:
    whole, part = draw(init, filters=filters), draw(init, filters=filters, first=17, last=61)
    assert part.shape == (44, *SHAPE)
    np.testing.assert_allclose(part, whole[17:61], rtol=0, atol=1e-5 if init == "orthogonal" else 0)


@pytest.mark.parametrize("init", INITS)
def test_same_seed_same_weights_and_no_global_generator(init: str) -> None:
    before = global_generators()
    first = draw(init)
    assert np.array_equal(first, draw(init))
    assert global_generators() == before
    others: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2**63}, {"layer": 3}]
    for other in others:
        assert not np.isclose(first, draw(init, **other)).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("init", ["kaiming_uniform", "normal", "uniform"])
def test_threads_change_no_weight(init: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = draw(init, first=5, last=105)
    monkeypatch.setattr("benchmark_core.threads.n_threads", lambda: 3)
    monkeypatch.setattr("plugins.models._philox_weights._FEW", 0)
    np.testing.assert_array_equal(draw(init, first=5, last=105), alone)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the weights asked for are held, and a filter's words by each thread: no second copy of a layer."""
    monkeypatch.setattr("benchmark_core.threads.n_threads", lambda: 1)
    out = np.empty((200, 1000, 5, 5), dtype=np.float32)
    tracemalloc.start()
    try:
        draw_filters(200, (1000, 5, 5), seed=0, layer=3, out=out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1e6 < out.nbytes
    assert np.array_equal(out[100], draw_filters(200, (1000, 5, 5), seed=0, layer=3, first=100, last=101)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "glorot"}, "unknown init 'glorot'; use one of kaiming_uniform"),
        ({"first": 10, "last": 10}, "filters 10 to 10 are not in a layer of 300 filters"),
        ({"last": 301}, "filters 0 to 301 are not in a layer of 300 filters"),
        ({"first": -1}, "filters -1 to 300"),
        ({"seed": -1}, "seed -1 is not allowed"),
        ({"seed": 2**64}, "is not allowed"),
    ],
)
def test_bad_requests(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw(**options)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), layer=st.integers(0, 60), first=st.integers(0, 10**6), n=st.integers(1, 40))
def test_recipe_of_biases(seed: int, layer: int, first: int, n: int) -> None:
    """Filter i has 32-bit word i of the stream (seed, layer, 2**32 - 1), whatever range is drawn."""
    biases = draw_biases(2 * 10**6, 180, seed=seed, layer=layer, first=first, last=first + n)
    for number in {first, first + n // 2, first + n - 1}:
        word = philox(1 + number // 8, (seed, layer << 32 | 2**32 - 1))[number % 8 // 2]
        unit = (word >> 32 * (number % 2) & 0xFFFFFFFF) // 2**8 / 2**24
        assert biases[number - first] == pytest.approx((2 * unit - 1) / math.sqrt(180), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("module", [torch.nn.Conv2d(20, 400, 3), torch.nn.Linear(180, 4000)])
def test_default_is_what_torch_does_without_being_asked(module: torch.nn.Conv2d | torch.nn.Linear) -> None:
    filters, *shape = module.weight.shape
    ours = (
        draw_filters(filters, tuple(shape), seed=0, layer=2, init=DEFAULT),
        draw_biases(filters, 180, seed=0, layer=2),
    )
    assert module.bias is not None
    for drawn, theirs in zip(ours, (module.weight, module.bias), strict=True):
        values = theirs.detach().numpy()
        assert drawn.shape == values.shape
        assert drawn.dtype == np.float32
        assert stats.ks_2samp(drawn.ravel(), values.ravel()).pvalue > 1e-3
        assert np.abs(drawn).max() <= np.float32(180**-0.5)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 60), seed=st.integers(0, 100), number=st.integers(0, 1))
def test_permutation(n: int, seed: int, number: int) -> None:
    drawn = draw_permutation(n, seed=seed, layer=6, number=number)
    assert sorted(drawn.tolist()) == list(range(n))
    assert drawn.tolist() == draw_permutation(n, seed=seed, layer=6, number=number).tolist()


def test_permutations_are_uniform() -> None:
    first = [draw_permutation(11, seed=seed, layer=6, number=seed % 2)[0] for seed in range(2200)]
    assert stats.chisquare(np.bincount(first, minlength=11)).pvalue > 1e-3
