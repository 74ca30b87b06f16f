"""Ridge against scikit-learn, himalaya, refitting n times, and 60-digit arithmetic."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import Ridge as HimalayaRidge
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit

from benchmark_core.arrays import Backend
from benchmark_core.held_out import RESOLUTION, held_out
from benchmark_core.representation import Representation
from benchmark_core.ridge import (
    PENALTIES,
    AccuracyWarning,
    accuracy_problem,
    best_penalty,
    correlations,
    penalty_criteria,
    predict,
    predicted_deviations,
)

SHAPES = {"narrow": (40, 7), "wide": (24, 90), "square": (30, 29)}
KINDS = ("plain", "rank_deficient", "duplicates", "constant_features", "large_means")


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> list[str]:
    return [f"s{i:04d}" for i in range(n)]


def case(shape: str, kind: str, neuroids: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training features, test features, training responses."""
    n, p = SHAPES[shape]
    random = rng(1, list(SHAPES).index(shape), KINDS.index(kind))
    x = random.standard_normal((n + 9, p))
    if kind == "rank_deficient":
        x = x[:, :4] @ random.standard_normal((4, p))
    if kind == "duplicates":
        x[3:6] = x[:3]
    if kind == "constant_features":
        x[:, ::3] = 17.3
    if kind == "large_means":
        x += 1e3 * random.standard_normal(p)
    y = x[:n, :3] @ random.standard_normal((3, neuroids)) + random.standard_normal((n, neuroids)) + 5
    return x[:n], x[n:], y


def represent(x: np.ndarray, backend: Backend | None = None) -> Representation:
    return Representation.from_features(x, ids(len(x)), backend=backend)


def fitted(x: np.ndarray, new: np.ndarray, y: np.ndarray, penalty: float | list[float]) -> np.ndarray:
    everything = represent(np.vstack([x, new]))
    names = ids(len(x) + len(new))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        return predict(everything, names[: len(x)], names[len(x) :], y, penalty)


def largest_eigenvalue(x: np.ndarray) -> float:
    return float(np.linalg.norm(x - x.mean(0), 2) ** 2)


def refitted(x: np.ndarray, y: np.ndarray, penalty: float, groups: np.ndarray | None = None) -> np.ndarray:
    """Held-out predictions by fitting again without each stimulus (or group), from its own singular values."""
    groups = np.arange(len(x)) if groups is None else groups
    out = np.empty_like(y)
    for group in np.unique(groups):
        held = groups == group
        left, singular, right = np.linalg.svd(x[~held] - x[~held].mean(0), full_matrices=False)
        weights = right.T @ ((singular / (singular**2 + penalty))[:, None] * (left.T @ (y[~held] - y[~held].mean(0))))
        out[held] = y[~held].mean(0) + (x[held] - x[~held].mean(0)) @ weights
    return out


def exact_prediction(x: np.ndarray, y: np.ndarray, new: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge in 60-digit arithmetic, by the dual normal equations."""
    with mpmath.workdps(60):
        rows, new_rows = mpmath.matrix(x.tolist()), mpmath.matrix(new.tolist())
        n, p = x.shape
        mean = [mpmath.fsum(rows[i, j] for i in range(n)) / n for j in range(p)]
        centred = mpmath.matrix(n, p)
        for i in range(n):
            for j in range(p):
                centred[i, j] = rows[i, j] - mean[j]
        y_mean = mpmath.fsum(map(mpmath.mpf, y.tolist())) / n
        dual = mpmath.lu_solve(
            centred * centred.T + mpmath.mpf(penalty) * mpmath.eye(n),
            mpmath.matrix([mpmath.mpf(v) - y_mean for v in y.tolist()]),
        )
        weights = centred.T * dual
        return np.array(
            [
                float(y_mean + mpmath.fsum((new_rows[i, j] - mean[j]) * weights[j] for j in range(p)))
                for i in range(len(new))
            ]
        )


def scale(reference: np.ndarray) -> float:
    return float(np.abs(reference).max())


@pytest.mark.filterwarnings("ignore:Solving ridge is slower")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_scikit_learn_and_himalaya(shape: str, kind: str) -> None:
    x, new, y = case(shape, kind)
    y[:, 1] = 3.25  # a constant neuroid
    full_rank = np.linalg.matrix_rank(x - x.mean(0)) == len(x) - 1
    compared = 0
    for penalty in PENALTIES:
        if not full_rank and penalty < RESOLUTION * largest_eigenvalue(x):
            continue
        ours = fitted(x, new, y, penalty)
        centred = x - x.mean(0)
        theirs = Ridge(penalty, solver="svd").fit(x, y).predict(new)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * scale(theirs - y.mean(0)))
        himalaya = HimalayaRidge(penalty, fit_intercept=True, solver="svd").fit(centred, y).predict(new - x.mean(0))
        np.testing.assert_allclose(ours, himalaya, rtol=1e-6, atol=1e-6 * scale(theirs - y.mean(0)))
        np.testing.assert_allclose(ours[:, 1], 3.25, rtol=1e-12)
        compared += 1
    assert compared >= 9


def test_one_neuroid_and_one_penalty_per_neuroid() -> None:
    x, new, y = case("wide", "plain")
    together = fitted(x, new, y, [1e-3, 1.0, 1e3, 1e6])
    for j, penalty in enumerate((1e-3, 1.0, 1e3, 1e6)):
        alone = fitted(x, new, y[:, [j]], penalty)
        assert alone.shape == (9, 1)
        np.testing.assert_allclose(together[:, [j]], alone, rtol=1e-12)
        np.testing.assert_allclose(alone, Ridge(penalty).fit(x, y[:, [j]]).predict(new).reshape(9, 1), rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["rank_deficient", "duplicates"])
def test_where_others_lose_their_digits_it_equals_sixty_digit_arithmetic(shape: str, kind: str) -> None:
    x, new, y = case(shape, kind, neuroids=1)
    if shape == "wide":
        x, new = x[:, :60], new[:, :60]
    x, y = x[:16], y[:16]
    lost = np.linalg.matrix_rank(x - x.mean(0)) < min(len(x) - 1, x.shape[1])
    everything = represent(np.vstack([x, new]))
    names = ids(len(x) + len(new))
    for penalty in (1e-10, 1e-6):
        problem = accuracy_problem(everything.decomposition(names[:16]), penalty)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours = predict(everything, names[:16], names[16:], y, penalty)
        assert [w.category for w in caught] == ([AccuracyWarning] if problem else [])
        assert lost or problem is None
        assert np.isfinite(ours).all()
        exact = exact_prediction(x, y[:, 0], new, penalty)
        np.testing.assert_allclose(ours[:, 0], exact, atol=1e-6 * scale(exact))


@pytest.mark.parametrize("factor", [1e3, 1e9])
def test_warns_where_directions_are_lost_and_the_penalty_is_tiny(factor: float) -> None:
    x, new, y = case("wide", "duplicates")
    x, new = np.sqrt(factor) * x, np.sqrt(factor) * new
    everything, names = represent(np.vstack([x, new])), ids(len(x) + len(new))
    with pytest.warns(AccuracyWarning, match="may depend on rounding"):
        ours = predict(everything, names[: len(x)], names[len(x) :], y, 1e-10)
    # The limit of a vanishing penalty is the minimum-norm fit.
    mean = x.mean(0)
    reference = y.mean(0) + (new - mean) @ np.linalg.pinv(x - mean) @ (y - y.mean(0))
    np.testing.assert_allclose(ours, reference, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_leave_one_out_equals_refitting(shape: str, kind: str) -> None:
    x, _, y = case(shape, kind)
    y[:, 1] = -2.0
    decomposition = represent(x).decomposition(ids(len(x)))
    full_rank = np.linalg.matrix_rank(x - x.mean(0)) == len(x) - 1
    penalties = [p for p in PENALTIES if full_rank or p >= RESOLUTION * largest_eigenvalue(x)]
    for fit in held_out(decomposition, y, penalties):
        reference = refitted(x, y, fit.penalty)
        np.testing.assert_allclose(fit.predictions, reference, rtol=1e-9, atol=1e-9 * scale(reference))
        kept = (y.sum(0) - y) / (len(y) - 1)
        np.testing.assert_allclose(fit.means, kept, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["plain", "large_means", "constant_features"])
def test_leave_one_out_errors_equal_those_that_ridge_cv_stores(shape: str, kind: str) -> None:
    x, _, y = case(shape, kind)
    penalties = [p for p in PENALTIES if p >= 1e3 * RESOLUTION * largest_eigenvalue(x)]  # theirs has lost digits below
    stored = RidgeCV(alphas=penalties, store_cv_results=True).fit(x, y).cv_results_  # (n, neuroids, penalties)
    decomposition = represent(x).decomposition(ids(len(x)))
    for number, fit in enumerate(held_out(decomposition, y, penalties)):
        theirs = stored[:, :, number]
        np.testing.assert_allclose((y - fit.predictions) ** 2, theirs, rtol=1e-5, atol=1e-7 * scale(theirs))


@pytest.mark.filterwarnings("ignore:Solving linear kernel ridge is slower")
@pytest.mark.parametrize("shape", ["narrow", "wide"])
def test_leaving_out_groups_equals_himalaya_s_folds(shape: str) -> None:
    """Groups of four as himalaya's folds: the same penalty for each neuroid, and the same held-out error."""
    x, _, y = case(shape, "plain")
    folds, penalties = np.arange(len(x)) // 4, [10.0**e for e in range(-2, 5)]
    theirs = KernelRidgeCV(penalties, kernel="linear", fit_intercept=True, cv=PredefinedSplit(folds)).fit(x, y)
    fits = held_out(represent(x).decomposition(ids(len(x))), y, penalties, [str(f) for f in folds])
    errors = np.array([((y - fit.predictions) ** 2).mean(axis=0) for fit in fits])
    np.testing.assert_allclose(np.array(penalties)[errors.argmin(axis=0)], theirs.best_alphas_, rtol=1e-12)
    np.testing.assert_allclose(-errors.min(axis=0), theirs.cv_scores_.ravel(), rtol=1e-8)


@pytest.mark.parametrize("p", [9, 40], ids=["narrow", "wide"])
def test_ill_conditioned_features_equal_sixty_digit_arithmetic(p: int) -> None:
    """Singular values over nine decades: wherever no warning is due, six digits are right."""
    random = rng(10, p)
    left, right = np.linalg.qr(random.standard_normal((18, 9)))[0], np.linalg.qr(random.standard_normal((p, 9)))[0]
    everything = (left * np.logspace(4, -5, 9)) @ right.T
    x, new, y = everything[:14], everything[14:], random.standard_normal((14, 1)) + 2
    representation, names = represent(everything), ids(18)
    decomposition = representation.decomposition(names[:14])
    compared = 0
    for penalty in PENALTIES[::3]:
        if accuracy_problem(decomposition, penalty):
            continue
        exact = exact_prediction(x, y[:, 0], new, penalty)
        ours = predict(representation, names[:14], names[14:], y, penalty)[:, 0]
        np.testing.assert_allclose(ours, exact, atol=1e-6 * scale(exact))
        compared += 1
    assert compared >= (7 if p == 9 else 3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["plain", "duplicates", "large_means"])
def test_leaving_out_groups_equals_refitting(shape: str, kind: str) -> None:
    x, _, y = case(shape, kind)
    groups = rng(4).integers(0, 8, len(x))
    groups[:2] = 100, 101  # groups of one
    full_rank = np.linalg.matrix_rank(x - x.mean(0)) == len(x) - 1
    decomposition = represent(x).decomposition(ids(len(x)))
    penalties = [p for p in PENALTIES[::3] if full_rank or p >= RESOLUTION * largest_eigenvalue(x)]
    for fit in held_out(decomposition, y, penalties, [str(g) for g in groups]):
        reference = refitted(x, y, fit.penalty, groups)
        assert fit.resolved
        np.testing.assert_allclose(fit.predictions, reference, rtol=1e-7, atol=1e-8 * scale(reference))
        mean = np.array([y[groups != g].mean(0) for g in groups])
        np.testing.assert_allclose(fit.means, mean, rtol=1e-12)


@pytest.mark.parametrize("narrow", [False, True])
def test_leave_one_out_with_duplicates_at_tiny_penalties_equals_sixty_digit_refits(narrow: bool) -> None:
    random = rng(5)
    x = random.standard_normal((10, 6 if narrow else 30))
    x[1] = x[0]
    y = random.standard_normal((10, 1))
    decomposition = represent(x).decomposition(ids(10))
    for fit in held_out(decomposition, y, [1e-10, 1e-8]):
        for i in range(10):
            keep = np.arange(10) != i
            exact = exact_prediction(x[keep], y[keep, 0], x[[i]], fit.penalty)
            np.testing.assert_allclose(fit.predictions[i, 0], exact[0], rtol=1e-6, atol=1e-7)


def test_large_penalties_keep_their_digits() -> None:
    """At 1e9 the fit is 1e-12 of the response; its deviations must not be rounding."""
    x, _, y = case("wide", "plain")
    x *= 1e-4
    decomposition = represent(x).decomposition(ids(len(x)))
    (fit,) = held_out(decomposition, y, [1e9])
    limit = np.empty_like(y)  # first order in 1 / penalty
    for i in range(len(x)):
        keep = np.arange(len(x)) != i
        mean = x[keep].mean(0)
        limit[i] = (x[i] - mean) @ (x[keep] - mean).T @ (y[keep] - y[keep].mean(0)) / 1e9
    np.testing.assert_allclose(fit.deviations, limit, rtol=1e-6)


def test_selection_does_not_fall_for_tiny_penalties() -> None:
    """A nearly flat centred kernel: the textbook form reports r = 1 at 1e-10, where a refit predicts badly."""
    random = rng(6)
    n = 60
    x = 1e4 + 50 * random.standard_normal((n, 400)) * np.linspace(3, 0.01, 400)
    y = (x[:, :5] - x[:, :5].mean(0)) @ random.standard_normal((5, 3)) / 50 + 3 * random.standard_normal((n, 3))
    decomposition = represent(x).decomposition(ids(n))
    criteria = penalty_criteria(decomposition, y)
    assert criteria.shape == (20, 3)
    reference = refitted(x, y, 1e-10)
    kept = (y.sum(0) - y) / (n - 1)
    expected = [stats.pearsonr(reference[:, j] - kept[:, j], y[:, j])[0] for j in range(3)]
    np.testing.assert_allclose(criteria[0], expected, atol=1e-6)
    assert best_penalty(criteria.mean(axis=1), PENALTIES)[0] > 1e-10


def test_published_criterion() -> None:
    x, _, y = case("narrow", "plain")
    decomposition = represent(x).decomposition(ids(len(x)))
    criteria = penalty_criteria(decomposition, y, [0.1, 100.0], ["a", "b"] * 20, "paper")
    for row, penalty in zip(criteria, [0.1, 100.0], strict=True):
        reference = refitted(x, y, penalty)
        np.testing.assert_allclose(row, [stats.pearsonr(reference[:, j], y[:, j])[0] for j in range(4)], rtol=1e-8)


def test_unresolved_groups_are_left_out_of_the_choice() -> None:
    """Duplicates inside a group at a vanishing penalty: the block is singular, and must not look like a perfect fit."""
    x, _, y = case("wide", "duplicates")
    x = 1e4 * x
    groups = [f"g{i % 3}" if i < 6 else f"h{i}" for i in range(len(x))]
    decomposition = represent(x).decomposition(ids(len(x)))
    criteria = penalty_criteria(decomposition, y, [1e-10, 1e3], groups)
    assert np.isnan(criteria[0]).all()
    assert np.isfinite(criteria[1]).all()
    assert best_penalty(criteria.mean(axis=1), [1e-10, 1e3])[0] == 1e3


def test_ties_go_to_the_larger_penalty() -> None:
    assert best_penalty(np.array([0.1, 0.5, 0.5 - 1e-13, 0.2]), [1.0, 10.0, 100.0, 1e3]) == (100.0, 0.5)
    assert best_penalty(np.array([np.nan, 0.1]), [1e-10, 1.0]) == (1.0, 0.1)
    assert best_penalty(np.array([np.nan, np.nan]), [1e-10, 1.0]) == (1.0, None)


@pytest.mark.parametrize("width", [3, 200])
def test_constant_features_predict_the_mean(width: int) -> None:
    x = np.full((20, width), 0.1)
    y = rng(7).standard_normal((20, 3))
    decomposition = represent(x).decomposition(ids(20)[:15])
    assert decomposition.rank == 0
    assert (penalty_criteria(decomposition, y[:15]) == 0).all()
    ours = predict(represent(x), ids(20)[:15], ids(20)[15:], y[:15], 1e-10)
    np.testing.assert_allclose(ours, np.tile(y[:15].mean(0), (5, 1)), rtol=1e-14)


def test_correlations_follow_scipy_and_the_rules_for_constants() -> None:
    random = rng(8)
    a, b = random.standard_normal((30, 4)) + 1e6, random.standard_normal((30, 4))
    a[:, 2], b[:, 3] = 0.1, 7.7
    got = correlations(Backend(), a, b)
    np.testing.assert_allclose(got[:2], [stats.pearsonr(a[:, j], b[:, j])[0] for j in range(2)], rtol=1e-7)
    assert got[2] == 0
    assert np.isnan(got[3])


@pytest.mark.parametrize("shape", ["narrow", "wide"])
@pytest.mark.parametrize(
    "backend",
    [
        Backend("torch"),
        pytest.param(Backend("torch", "cuda:0"), marks=pytest.mark.gpu),
        pytest.param(Backend("cupy", "cuda:0"), marks=pytest.mark.gpu),
    ],
    ids=lambda b: f"{b.name}-{b.device}",
)
def test_other_backends_equal_numpy(shape: str, backend: Backend) -> None:
    if backend.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    if backend.name == "cupy":
        pytest.importorskip("cupy", reason="cupy is not installed")
    x, new, y = case(shape, "duplicates")
    groups = [f"g{i // 2}" if i < 8 else f"h{i}" for i in range(len(x))]
    names = ids(len(x) + len(new))
    results = []
    for library in (Backend(), backend):
        representation = represent(np.vstack([x, new]), library)
        decomposition = representation.decomposition(names[: len(x)])
        results.append(
            (
                predict(representation, names[: len(x)], names[len(x) :], y, 10.0),
                penalty_criteria(decomposition, y, [1.0, 1e3, 1e8]),
                penalty_criteria(decomposition, y, [1.0, 1e3, 1e8], groups),
            )
        )
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), wide=st.booleans(), log_penalty=st.integers(-3, 5))
def test_invariances(seed: int, wide: bool, log_penalty: int) -> None:
    """Rotating and translating features, and reordering stimuli or neuroids, changes no prediction."""
    random = rng(9, seed)
    n, p = 18, 40 if wide else 6
    x, y = random.standard_normal((n + 5, p)), random.standard_normal((n, 3))
    penalty = 10.0**log_penalty
    base = fitted(x[:n], x[n:], y, penalty)
    rotation = np.linalg.qr(random.standard_normal((p, p)))[0]
    moved = x @ rotation + 10 * random.standard_normal(p)
    np.testing.assert_allclose(fitted(moved[:n], moved[n:], y, penalty), base, rtol=1e-7, atol=1e-8)
    order, neuroids = random.permutation(n), random.permutation(3)
    np.testing.assert_allclose(
        fitted(x[:n][order], x[n:], y[order][:, neuroids], penalty), base[:, neuroids], rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("groups", [None, [str(i // 4) for i in range(24)]], ids=["loo", "groups"])
def test_thousands_of_neuroids_are_taken_in_turn(groups: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test, y = case("wide", "plain", neuroids=7)
    decomposition = represent(np.concatenate([train, test])).decomposition(ids(24))
    rest = ids(33)[24:]
    penalties = np.array([1e-2, 1.0, 1e2, 1e3, 1e-5, 3.0, 7.0])
    at_once = penalty_criteria(decomposition, y, groups=groups), predicted_deviations(decomposition, rest, y, penalties)
    monkeypatch.setattr("benchmark_core.held_out.AT_ONCE", 24 * 3)
    in_turn = penalty_criteria(decomposition, y, groups=groups), predicted_deviations(decomposition, rest, y, penalties)
    np.testing.assert_allclose(in_turn[0], at_once[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(in_turn[1], at_once[1], rtol=1e-10)
