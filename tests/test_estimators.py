"""RidgeGCV: scikit-learn's own checks, and the same fits as scikit-learn, himalaya and the metric code."""

from __future__ import annotations

import doctest
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from benchmark_core import InputError, RidgeGCV, estimators
from benchmark_core.representation import Representation
from benchmark_core.ridge import AccuracyWarning, predict

ALPHAS = tuple(float(a) for a in np.logspace(-3, 5, 9))


def data(n: int, p: int, m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training features, test features and training responses that the features explain in part."""
    random = np.random.Generator(np.random.Philox([seed, n, p, m]))
    x = random.standard_normal((n + 7, p)) + 2
    weights = random.standard_normal((p, m)) / np.sqrt(p)
    y = x @ weights + random.standard_normal((n + 7, m)) * np.linspace(0.2, 3, m) + 4
    return x[:n], x[n:], y[:n]


@parametrize_with_checks([RidgeGCV(), RidgeGCV(alpha_per_target=True, alphas=(0.1, 10.0), selection="paper")])
@pytest.mark.filterwarnings("ignore::benchmark_core.ridge.AccuracyWarning")
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def leave_one_out(x: np.ndarray, y: np.ndarray, alpha: float, groups: np.ndarray | None = None) -> np.ndarray:
    """Held-out predictions by scikit-learn, refitted for each sample or group."""
    groups = np.arange(len(x)) if groups is None else groups
    return cross_val_predict(Ridge(alpha, solver="svd"), x, y, groups=groups, cv=LeaveOneGroupOut())


def means_of_kept(y: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    groups = np.arange(len(y)) if groups is None else groups
    return np.array([y[groups != g].mean(axis=0) for g in groups])


@pytest.mark.parametrize("p", [5, 30, 200], ids=["narrow", "square", "wide"])
@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
def test_chooses_what_refits_would_choose(p: int, grouped: bool) -> None:
    x, new, y = data(30, p, 3)
    groups = np.arange(30) // 3 if grouped else None
    fitted = RidgeGCV(ALPHAS, alpha_per_target=True).fit(x, y, groups=groups)
    held = np.array([leave_one_out(x, y, a, groups) - means_of_kept(y, groups) for a in ALPHAS])
    criteria = np.array([[stats.pearsonr(h[:, j], y[:, j])[0] for j in range(3)] for h in held])
    np.testing.assert_allclose(fitted.criteria_, criteria, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(fitted.alpha_, np.array(ALPHAS)[criteria.argmax(axis=0)])
    np.testing.assert_allclose(fitted.best_score_, criteria.max(axis=0), rtol=1e-8)
    together = RidgeGCV(ALPHAS).fit(x, y, groups=groups)
    assert together.alpha_ == ALPHAS[int(criteria.mean(axis=1).argmax())]
    assert together.best_score_ == pytest.approx(criteria.mean(axis=1).max(), rel=1e-8)
    for ours in (fitted, together):
        theirs = Ridge(ours.alpha_ * np.ones(3), solver="svd").fit(x, y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-8)
        np.testing.assert_allclose(ours.predict(new), theirs.predict(new), rtol=1e-8)


@pytest.mark.parametrize("p", [6, 150], ids=["narrow", "wide"])
def test_held_out_correlations_agree_with_ridge_cv(p: int) -> None:
    """scikit-learn stores leave-one-out predictions; their r with the target is the published criterion."""
    x, _, y = data(40, p, 2)
    stored = RidgeCV(ALPHAS, store_cv_results=True, scoring="r2").fit(x, y).cv_results_  # (n, targets, alphas)
    ours = RidgeGCV(ALPHAS, selection="paper").fit(x, y)
    theirs = [[stats.pearsonr(stored[:, j, k], y[:, j])[0] for j in range(2)] for k in range(len(ALPHAS))]
    np.testing.assert_allclose(ours.criteria_, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("p", [4, 100], ids=["narrow", "wide"])
def test_is_the_fit_of_the_metric(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimators, "BLOCK", 7)
    x, new, y = data(25, p, 4)
    ours = RidgeGCV(ALPHAS, alpha_per_target=True).fit(x, y)
    names = [f"s{i:02d}" for i in range(32)]
    representation = Representation.from_features(np.vstack([x, new]), names)
    theirs = predict(representation, names[:25], names[25:], y, ours.alpha_)
    np.testing.assert_allclose(ours.predict(new), theirs, rtol=1e-9)


@pytest.mark.parametrize("p", [8, 90], ids=["narrow", "wide"])
def test_backends_and_single_precision_input(p: int) -> None:
    x, new, y = data(30, p, 3)
    numpy = RidgeGCV(ALPHAS).fit(x, y)
    torch = RidgeGCV(ALPHAS, backend="torch").fit(x, y)
    np.testing.assert_allclose(torch.predict(new), numpy.predict(new), rtol=1e-9)
    assert torch.coef_.dtype == np.float64
    single = RidgeGCV(ALPHAS).fit(x.astype(np.float32), y.astype(np.float32))
    assert single.predict(new.astype(np.float32)).dtype == np.float64  # computed in float64 whatever comes in
    np.testing.assert_allclose(single.predict(new), numpy.predict(new), rtol=1e-5)
    with pytest.raises(InputError, match="unknown backend 'jax'"):
        RidgeGCV(backend="jax").fit(x, y)


def test_tiny_penalties_are_not_chosen_for_rounding() -> None:
    """Features with a large common mean: the textbook form of leave-one-out looks perfect at 1e-10 on their centred kernel."""
    random = np.random.Generator(np.random.Philox(3))
    x = 1e4 + 50 * random.standard_normal((60, 400)) * np.linspace(3, 0.01, 400)
    y = (x[:, :5] - x[:, :5].mean(0)) @ random.standard_normal((5, 3)) / 50 + 3 * random.standard_normal((60, 3))
    ours = RidgeGCV().fit(x, y)
    assert ours.alpha_ > 1
    held = leave_one_out(x, y, ours.alpha_) - means_of_kept(y)
    expected = np.mean([stats.pearsonr(held[:, j], y[:, j])[0] for j in range(3)])
    assert ours.best_score_ == pytest.approx(expected, abs=1e-6)


def test_constant_and_one_dimensional_targets() -> None:
    x, new, y = data(30, 6, 3)
    y[:, 1] = 2.5
    mixed = RidgeGCV(ALPHAS, alpha_per_target=True).fit(x, y)
    assert mixed.alpha_[1] == max(ALPHAS)
    assert np.isnan(mixed.best_score_[1])
    np.testing.assert_allclose(mixed.predict(new)[:, 1], 2.5, rtol=1e-12)
    assert RidgeGCV(ALPHAS).fit(x, y).alpha_ == RidgeGCV(ALPHAS).fit(x, y[:, [0, 2]]).alpha_  # no say
    single = RidgeGCV(ALPHAS, alpha_per_target=True).fit(x, y[:, 0])
    assert single.coef_.shape == (6,)
    assert isinstance(single.alpha_, float)
    assert isinstance(single.intercept_, float)
    np.testing.assert_allclose(single.predict(new), mixed.predict(new)[:, 0], rtol=1e-10)
    flat = RidgeGCV(ALPHAS).fit(np.ones((5, 2)), y[:5])  # nothing to learn from
    np.testing.assert_allclose(flat.predict(new[:, :2]), np.tile(y[:5].mean(0), (7, 1)), rtol=1e-12)


def test_lost_directions_at_a_vanishing_penalty_warn() -> None:
    x, _, y = data(20, 60, 2)
    x[1:4] = x[0]
    with pytest.warns(AccuracyWarning, match="may depend on rounding"):
        RidgeGCV([1e-10]).fit(1e3 * x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RidgeGCV([1.0]).fit(x, y)


def test_works_with_pipelines_searches_frames_and_pickles() -> None:
    x, new, y = data(36, 10, 2)
    frame = pd.DataFrame(x, columns=[f"f{i}" for i in range(10)])
    ours = RidgeGCV(ALPHAS).fit(frame, y)
    assert list(ours.feature_names_in_) == list(frame.columns)
    assert ours.n_features_in_ == 10
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(frame.rename(columns={"f0": "other"}))
    again = pickle.loads(pickle.dumps(ours))
    with pytest.warns(UserWarning, match="feature names"):
        # Frames lie in memory by columns, and sums round otherwise.
        np.testing.assert_allclose(again.predict(new), RidgeGCV(ALPHAS).fit(x, y).predict(new), rtol=1e-12)
    assert clone(ours).get_params() == ours.get_params()
    assert ours.score(frame, y) == pytest.approx(r2_score(y, ours.predict(frame)), abs=1e-12)
    pipeline = make_pipeline(StandardScaler(), RidgeGCV())
    search = GridSearchCV(pipeline, {"ridgegcv__selection": ["loo", "paper"]}, cv=3).fit(x, y)
    groups = np.arange(36) // 4
    inner = pipeline.fit(x, y, ridgegcv__groups=groups)[-1]
    direct = RidgeGCV().fit(StandardScaler().fit_transform(x), y, groups)
    np.testing.assert_array_equal(inner.criteria_, direct.criteria_)
    assert np.isfinite(search.best_score_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": []}, "alphas must be a list of positive numbers"),
        ({"alphas": [1.0, 0.0]}, "positive numbers"),
        ({"alphas": [1.0, np.inf]}, "positive numbers"),
        ({"alphas": 1.0}, "positive numbers"),
        ({"selection": "best"}, "selection must be 'loo' or 'paper'; got 'best'"),
    ],
)
def test_bad_parameters(options: dict[str, Any], message: str) -> None:
    x, _, y = data(10, 3, 1)
    with pytest.raises(ValueError, match=message):
        RidgeGCV(**options).fit(x, y)


def test_bad_groups() -> None:
    x, _, y = data(10, 3, 1)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RidgeGCV().fit(x, y, groups=[1, 2])
    with pytest.raises(ValueError, match="1 groups cannot be held out"):
        RidgeGCV().fit(x, y, groups=[1] * 10)


def test_examples_of_the_documentation() -> None:
    assert doctest.testmod(estimators).failed == 0
    assert doctest.testmod(estimators).attempted > 5
    page = (Path(__file__).resolve().parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = page.split("## RidgeGCV")[1]
    world: dict[str, Any] = {}
    exec(section.split("```python\n")[1].split("```")[0], world)
    assert world["ridge"].coef_.shape == (8, 2000)
    assert all(f"`{name}`" in section for name in RidgeGCV().get_params())


def test_importing_the_package_stays_light() -> None:
    code = "import sys, benchmark_core; print(*sorted({'numpy', 'torch', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
