"""Banded ridge against scikit-learn, himalaya, refitting without each stimulus, and what must not matter."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from himalaya.kernel_ridge import MultipleKernelRidgeCV
from himalaya.ridge import GroupRidgeCV, solve_group_ridge_random_search
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from benchmark_core.arrays import Backend
from benchmark_core.banded import (
    BAND_PENALTIES,
    BandedFit,
    Bands,
    Subset,
    choose_penalties,
    exclusive_parts,
    fit_bands,
    held_out_r2,
    mean_eigenvalue,
    subsets,
    weightings,
)
from benchmark_core.errors import InputError
from benchmark_core.held_out import RESOLUTION
from benchmark_core.representation import Representation
from benchmark_core.ridge import predicted_deviations

N_TRAIN, N_TEST = 32, 7
WIDTHS = {"narrow": (4, 6), "one": (1, 1), "wide": (50, 90), "mixed": (5, 120), "three": (3, 60, 8)}
KINDS = ("plain", "rank_deficient", "duplicates", "constant_features", "large_means", "one_constant_model", "twins")
ALL = (0, 1)
GRID = weightings(2, 1)


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> list[str]:
    return [f"s{i:04d}" for i in range(n)]


TRAIN, TEST = ids(N_TRAIN + N_TEST)[:N_TRAIN], ids(N_TRAIN + N_TEST)[N_TRAIN:]


def case(widths: str, kind: str = "plain", m: int = 5) -> tuple[list[np.ndarray], np.ndarray]:
    """Features of each model for all stimuli, and responses to the training stimuli."""
    random = rng(1, list(WIDTHS).index(widths), KINDS.index(kind))
    models = []
    for number, p in enumerate(WIDTHS[widths]):
        x = (1 + 3 * number) * random.standard_normal((N_TRAIN + N_TEST, p))
        if kind == "rank_deficient" and p > 2:
            x = x[:, :2] @ random.standard_normal((2, p))
        if kind == "duplicates":
            x[3:6] = x[:3]
        if kind == "constant_features":
            x[:, ::3] = 17.3
        if kind == "large_means":
            x += 1e3 * random.standard_normal(p)
        models.append(x)
    if kind == "one_constant_model":
        models[1][:] = 2.5
    if kind == "twins":
        models[1] = models[0].copy()
    y = sum(x[:N_TRAIN, :3] @ random.standard_normal((min(3, x.shape[1]), m)) for x in models)
    return models, y + 2 * random.standard_normal((N_TRAIN, m)) + 5


def bands(models: list[np.ndarray], backend: Backend | None = None) -> Bands:
    return Bands([Representation.from_features(x, ids(len(x)), f"layer{i}", backend) for i, x in enumerate(models)])


def scales(models: list[np.ndarray]) -> np.ndarray:
    """Mean eigenvalue of each training kernel, from the features."""
    return np.array([((x[:N_TRAIN] - x[:N_TRAIN].mean(0)) ** 2).sum() / (N_TRAIN - 1) for x in models])


def side_by_side(models: list[np.ndarray], weights: tuple[float, ...]) -> np.ndarray:
    scale = scales(models)
    used = [np.sqrt(w / s) * x for w, s, x in zip(weights, scale, models, strict=True) if w > 0 and s > 1e-20]
    return np.concatenate(used, axis=1) if used else np.zeros((N_TRAIN + N_TEST, 1))


def fit_one(models: list[np.ndarray], y: np.ndarray, weights: tuple[float, ...], penalty: float) -> np.ndarray:
    """Predictions of all models with one weighting and one penalty."""
    decomposition, unit = bands(models).decomposition(weights, TRAIN)
    return np.asarray(y.mean(0) + predicted_deviations(decomposition, TEST, y, unit * penalty))


def test_a_fit_predicts_with_what_it_chose() -> None:
    models, y = case("mixed", m=10)
    fits = fit_bands(bands(models), TRAIN, TEST, y, grid=GRID)
    assert len({tuple(w) for w in fits[ALL].weights.T}) > 1
    for fit in fits.values():
        for j in range(10):
            expected = fit_one(models, y[:, [j]], tuple(fit.weights[:, j]), fit.penalties[j])
            np.testing.assert_allclose(y[:, j].mean() + fit.deviations[:, j], expected[:, 0], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:Solving ridge is slower", "ignore:Ill-conditioned")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", WIDTHS)
def test_equals_ridge_on_scaled_features_side_by_side(widths: str, kind: str) -> None:
    models, y = case(widths, kind)
    n = len(models)
    for weights in [(0.3, 0.7)] if n == 2 else [(0.5, 0.2, 0.3), (0.9, 0.0, 0.1)]:
        x = side_by_side(models, weights)
        for penalty in (1e-4, 1.0, 1e5):
            mine = fit_one(models, y, weights, penalty)
            reference = Ridge(alpha=penalty, solver="svd").fit(x[:N_TRAIN], y).predict(x[N_TRAIN:])
            np.testing.assert_allclose(mine, reference, rtol=0, atol=1e-6 * np.abs(reference).max())


@pytest.mark.filterwarnings("ignore:Solving")
@pytest.mark.parametrize("widths", ["narrow", "wide", "mixed", "three"])
def test_predictions_equal_himalaya_for_fixed_weights(widths: str) -> None:
    models, y = case(widths)
    weights = (0.8, 0.2) if len(models) == 2 else (0.6, 0.3, 0.1)
    gamma, penalty = np.array(weights) / scales(models), 3.0
    mine = fit_one(models, y, weights, penalty)
    common = {"n_iter": gamma[None, :], "alphas": np.array([penalty]), "progress_bar": False}
    grouped = GroupRidgeCV(groups="input", cv=3, fit_intercept=True, solver_params={**common, "warn": False})
    grouped.fit([x[:N_TRAIN] for x in models], y)
    np.testing.assert_allclose(grouped.predict([x[N_TRAIN:] for x in models]), mine, rtol=1e-9)
    kernels = np.stack([x @ x[:N_TRAIN].T for x in models])
    multiple = MultipleKernelRidgeCV(kernels="precomputed", cv=3, fit_intercept=True, solver_params=common)
    multiple.fit(kernels[:, :N_TRAIN], y)
    np.testing.assert_allclose(multiple.predict(kernels[:, N_TRAIN:]), mine, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Solving")
@pytest.mark.parametrize("widths", ["narrow", "mixed"])
def test_choice_equals_a_search_by_himalaya_that_leaves_out_every_stimulus(widths: str) -> None:
    models, y = case(widths, m=12)
    grid = weightings(len(models), 1)
    gammas = np.maximum(grid, 1e-12) / scales(models)  # theirs divides by them
    deltas, _, cv_scores, _ = solve_group_ridge_random_search(
        [x[:N_TRAIN] for x in models],
        y,
        n_iter=gammas,
        alphas=np.array(BAND_PENALTIES[::2]),
        cv=KFold(N_TRAIN),
        fit_intercept=True,
        return_weights=True,
        progress_bar=False,
        warn=False,
    )
    whole = fit_bands(bands(models), TRAIN, TEST, y, grid=grid, penalties=BAND_PENALTIES[::2])[
        tuple(range(len(models)))
    ]
    theirs = np.exp(deltas) * scales(models)[:, None] * whole.penalties
    np.testing.assert_allclose(theirs, whole.weights, rtol=1e-9, atol=1e-11)
    of_mean = ((y - y.mean(0)) * N_TRAIN / (N_TRAIN - 1)) ** 2  # errors of the mean of the others
    np.testing.assert_allclose(1 + cv_scores.max(axis=0) / of_mean.mean(0), whole.criteria, rtol=1e-7)


def refitted_r2(x: np.ndarray, y: np.ndarray, penalties: tuple[float, ...], groups: np.ndarray) -> np.ndarray:
    """R^2 of predictions by fitting again without each stimulus (or group), from its own singular values."""
    errors, totals = np.zeros((len(penalties), y.shape[1])), np.zeros(y.shape[1])
    for group in np.unique(groups):
        held = groups == group
        left, singular, right = np.linalg.svd(x[~held] - x[~held].mean(0), full_matrices=False)
        projected, new = left.T @ (y[~held] - y[~held].mean(0)), (x[held] - x[~held].mean(0)) @ right.T
        novelty = y[held] - y[~held].mean(0)
        totals += (novelty**2).sum(0)
        for row, penalty in zip(errors, penalties, strict=True):
            row += ((novelty - new @ ((singular / (singular**2 + penalty))[:, None] * projected)) ** 2).sum(0)
    return np.asarray(1 - errors / totals)


@pytest.mark.parametrize(
    ("widths", "kind"), [*(("mixed", kind) for kind in KINDS), ("narrow", "plain"), ("wide", "plain")]
)
def test_leave_one_out_equals_refitting(widths: str, kind: str) -> None:
    models, y = case(widths, kind)
    penalties = (1e-2, 1.0, 1e3)
    for weights in ((1.0, 0.0), (0.4, 0.6)):
        x = side_by_side(models, weights)[:N_TRAIN]
        decomposition, unit = bands(models).decomposition(weights, TRAIN)
        for groups in (np.arange(N_TRAIN), np.arange(N_TRAIN) // 3):
            names = None if groups.max() == N_TRAIN - 1 else [f"g{g}" for g in groups]
            found = held_out_r2(decomposition, y, [unit * p for p in penalties], names)
            np.testing.assert_allclose(found, refitted_r2(x, y, penalties, groups), rtol=0, atol=1e-7)


def test_constant_responses_have_no_criterion_and_their_mean_as_prediction() -> None:
    models, y = case("mixed")
    y[:, 1] = 0.1
    fit = fit_bands(bands(models), TRAIN, TEST, y, grid=GRID)[ALL]
    assert np.isnan(fit.criteria[1])
    assert fit.penalties[1] == max(BAND_PENALTIES)
    np.testing.assert_allclose(fit.deviations[:, 1], 0, atol=1e-15)
    assert np.isfinite(np.delete(fit.criteria, 1)).all()


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_the_responses_does_not_matter(unit: float) -> None:
    models, y = case("mixed")
    a, b = (fit_bands(bands(models), TRAIN, TEST, v, grid=GRID)[ALL] for v in (y, y * unit))
    np.testing.assert_array_equal(a.weights, b.weights)
    np.testing.assert_allclose(a.deviations, b.deviations / unit, rtol=1e-9)


def test_a_constant_model_adds_nothing() -> None:
    models, y = case("mixed", "one_constant_model")
    fits = fit_bands(bands(models), TRAIN, TEST, y, grid=GRID)
    np.testing.assert_array_equal(fits[ALL].deviations, fits[0,].deviations)
    np.testing.assert_array_equal(fits[1,].deviations, 0)


@pytest.mark.parametrize("widths", ["narrow", "wide"])
def test_identical_models_add_nothing_to_each_other(widths: str) -> None:
    models, y = case(widths, "twins")
    fits = fit_bands(bands(models), TRAIN, TEST, y, grid=weightings(2, 2))
    for alone in (fits[0,], fits[1,]):
        np.testing.assert_allclose(fits[ALL].deviations, alone.deviations, atol=1e-8)


def test_all_constant_models_predict_the_mean() -> None:
    models, y = [np.ones((N_TRAIN + N_TEST, 3)), np.zeros((N_TRAIN + N_TEST, 80))], case("narrow")[1]
    for fit in fit_bands(bands(models), TRAIN, TEST, y, grid=GRID).values():
        np.testing.assert_array_equal(fit.deviations, 0)


def shared_choice(fits: dict[Subset, BandedFit]) -> list[tuple[float, ...]]:
    return [tuple(np.unique(np.vstack([f.weights, f.penalties[None]]), axis=1).T.ravel()) for f in fits.values()]


def test_neuroids_that_share_a_choice_have_one() -> None:
    models, y = case("mixed", m=6)
    owners = np.array([0, 0, 1, 0, 1, 1])
    fits = fit_bands(bands(models), TRAIN, TEST, y, grid=GRID, owners=owners)
    for owner in (0, 1):
        alone = fit_bands(
            bands(models), TRAIN, TEST, y[:, owners == owner], grid=GRID, owners=np.zeros(3, dtype=np.int64)
        )
        for subset in fits:
            np.testing.assert_array_equal(fits[subset].weights[:, owners == owner], alone[subset].weights)
            np.testing.assert_allclose(fits[subset].deviations[:, owners == owner], alone[subset].deviations, rtol=1e-9)
        assert all(len(choice) == 3 for choice in shared_choice(alone))


def test_ties_go_to_the_larger_penalty_and_gaps_are_left_out() -> None:
    table = np.array([[0.5, np.nan, np.nan, 0.2], [0.5, 0.3, np.nan, np.nan], [0.1, 0.9, np.nan, 0.1]])
    penalty, criterion = choose_penalties(table, (1.0, 10.0, 0.1), np.arange(4))
    np.testing.assert_array_equal(penalty, [10.0, 0.1, 10.0, 1.0])
    np.testing.assert_array_equal(criterion, [0.5, 0.9, np.nan, 0.2])
    # The last two share a choice: a penalty that one of them has no criterion for is out.
    assert choose_penalties(table, (1.0, 10.0, 0.1), np.array([0, 1, 2, 1]))[0].tolist() == [10.0, 0.1, 10.0]


@pytest.mark.parametrize(("n_models", "per_decade", "count"), [(2, 1, 7), (2, 2, 11), (3, 1, 37), (3, 2, 6**3 - 5**3)])
def test_weightings_cover_the_simplex(n_models: int, per_decade: int, count: int) -> None:
    grid = weightings(n_models, per_decade)
    assert len(grid) == len(set(grid)) == count
    np.testing.assert_allclose(np.sum(grid, axis=1), 1)
    assert [sorted(w) for w in grid[:n_models]] == [[0.0] * (n_models - 1) + [1.0]] * n_models
    assert [sum(v > 0 for v in w) for w in grid] == sorted(sum(v > 0 for v in w) for w in grid)
    positive = [min(v for v in w if v > 0) / max(w) for w in grid]
    assert min(positive) == pytest.approx(0.01)
    rounded = {tuple(np.round(w, 9)) for w in grid}
    assert {tuple(np.roll(w, 1)) for w in rounded} == rounded


def test_no_penalty_of_the_grid_depends_on_rounding() -> None:
    assert min(BAND_PENALTIES) > RESOLUTION * 44_000  # the largest eigenvalue is at most n - 1 times their mean


def test_a_grid_without_each_model_alone_is_an_error() -> None:
    models, y = case("narrow")
    with pytest.raises(ValueError, match="each model alone"):
        fit_bands(bands(models), TRAIN, TEST, y, grid=[(1.0, 0.0), (0.5, 0.5)])


def test_models_of_other_stimuli_are_an_error_that_names_them() -> None:
    a, b = (Representation.from_features(np.eye(4)[:, :2], names) for names in (list("abcd"), list("abcx")))
    with pytest.raises(InputError, match=r"model 2: stimulus_id 'd' missing"):
        Bands([a, b])


@pytest.mark.parametrize("widths", ["narrow", "mixed", "wide"])
def test_the_sum_of_representations_is_that_of_their_features(widths: str) -> None:
    models, _ = case(widths)
    factors = (0.3, 2.0)
    found = bands(models).combined(factors)
    whole = np.concatenate([np.sqrt(f) * x for f, x in zip(factors, models, strict=True)], axis=1)
    expected = Representation.from_features(whole, ids(len(whole)))
    for centred in (True, False):
        np.testing.assert_allclose(found.gram(centred), expected.gram(centred), atol=1e-9)
    np.testing.assert_allclose(found.row_sums, expected.row_sums, atol=1e-9)
    np.testing.assert_allclose(found.mean_products, expected.mean_products, atol=1e-9)
    assert found.mean_square == pytest.approx(expected.mean_square)
    assert found.n_features == expected.n_features


def test_the_mean_eigenvalue_is_the_trace_over_n_minus_one() -> None:
    models, _ = case("mixed")
    for representation, scale in zip(bands(models).representations, scales(models), strict=True):
        assert mean_eigenvalue(representation.decomposition(TRAIN)) == pytest.approx(scale)


@pytest.mark.parametrize("widths", ["narrow", "wide"])
def test_torch_agrees_with_numpy(widths: str) -> None:
    models, y = case(widths)
    a, b = (
        fit_bands(bands(models, backend), TRAIN, TEST, y, grid=GRID)[ALL] for backend in (Backend(), Backend("torch"))
    )
    np.testing.assert_array_equal(a.weights, b.weights)
    np.testing.assert_allclose(a.deviations, b.deviations, rtol=1e-6, atol=1e-9)


@settings(max_examples=8)
@given(
    widths=st.sampled_from(["narrow", "mixed", "wide"]),
    factors=st.tuples(*[st.sampled_from([1e-6, 0.3, 1e5])] * 2),
    seed=st.integers(0, 2**31),
)
def test_rotation_unit_translation_and_order_do_not_matter(
    widths: str, factors: tuple[float, float], seed: int
) -> None:
    models, y = case(widths)
    random = rng(2, seed)
    expected = fit_bands(bands(models), TRAIN, TEST, y, grid=GRID)
    turned = []
    for factor, x in zip(factors, models, strict=True):
        rotation = np.linalg.qr(random.standard_normal((x.shape[1],) * 2))[0]
        turned.append(factor * (x @ rotation + random.standard_normal(x.shape[1])))
    order = random.permutation(N_TRAIN)
    found = fit_bands(bands(turned[::-1]), [TRAIN[i] for i in order], TEST, y[order], grid=[w[::-1] for w in GRID])
    for subset, other in (((0,), (1,)), ((1,), (0,)), (ALL, ALL)):
        np.testing.assert_allclose(found[other].weights[::-1], expected[subset].weights)
        np.testing.assert_allclose(found[other].deviations, expected[subset].deviations, atol=1e-7)


def test_parts_are_inclusion_and_exclusion() -> None:
    a, b, ab = 0.5, 0.3, 0.6
    two = dict(exclusive_parts({(0,): np.array(a), (1,): np.array(b), (0, 1): np.array(ab)}))
    assert {s: pytest.approx(float(v)) for s, v in two.items()} == {(0,): ab - b, (1,): ab - a, (0, 1): a + b - ab}


@given(st.lists(st.floats(0.01, 1), min_size=7, max_size=7))
def test_parts_of_three_models_are_those_of_a_venn_diagram(areas: list[float]) -> None:
    regions = dict(zip(subsets(3), areas, strict=True))
    r2 = {s: np.array(sum(v for region, v in regions.items() if set(region) & set(s))) for s in regions}
    found = dict(exclusive_parts(r2))
    for region, area in regions.items():
        assert float(found[region]) == pytest.approx(area, abs=1e-12)
    assert sum(float(v) for v in found.values()) == pytest.approx(float(r2[0, 1, 2]))


def test_nothing_is_warned_of() -> None:
    models, y = case("mixed", "duplicates")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_bands(bands(models), TRAIN, TEST, y, grid=GRID)
