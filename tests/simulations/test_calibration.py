"""Whether intervals cover and p values are uniform where the truth is known exactly. The slow tests print the figures.

Each quick test is its slow twin on few datasets: it sees a broken interval, not one that is a little too narrow.
"""

from __future__ import annotations

import numpy as np
import pytest
from calibration_world import World, ids, make_world, rng
from scipy import stats

from benchmark_core.comparison import compare
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.splits import KFold, Splits, fixed_split
from plugins.metrics._encoding import compute, score_predictions

N_TRAIN, N_TEST = 128, 128
RESAMPLES = 500
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)


@pytest.fixture(autouse=True)
def one_split_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split-half reliabilities, which are reported beside the score, take half of the time."""
    monkeypatch.setattr("plugins.metrics._predictivity.N_SPLITS", 1)


def coverage(hits: list[bool]) -> tuple[float, float]:
    """Return the share of hits and its standard error, in per cent."""
    share = float(np.mean(hits))
    return 100 * share, 100 * float(np.sqrt(share * (1 - share) / len(hits)))


def report(name: str, hits: list[bool], more: str = "") -> float:
    share, error = coverage(hits)
    print(f"\n{name}: {share:.1f} % +- {error:.1f} ({len(hits)} datasets) {more}", end="")
    return share


def covers(low_high: tuple[float | None, float | None], truth: float) -> bool:
    low, high = low_high
    return low is not None and high is not None and low <= truth <= high


def map_of(features: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the weights (n_seen, m) of the linear map that made predictions."""
    design = np.column_stack([features, np.ones(len(features))])
    return np.asarray(np.linalg.lstsq(design, predictions.astype(float), rcond=None)[0][:-1])


def fit(world: World, seed: int, splits: Splits, n: int) -> tuple[Score, list[np.ndarray]]:
    """Return the score of a fitted dataset, and the map of each fold."""
    features, _, target = world.sample(n, seed)
    layers = {"features": Representation.from_features(features, ids(n))}
    score = compute([layers], target, splits, n_bootstrap=RESAMPLES, seed=seed, penalties=PENALTIES)
    row_of = {int(p): i for i, p in enumerate(score.arrays["stimulus"])}
    maps = []
    for fold in splits.folds:
        rows = [int(i[1:]) for i in fold.test]
        maps.append(map_of(features[rows], score.arrays["predictions"][[row_of[r] for r in rows]]))
    return score, maps


def fixed(world: World, n_datasets: int, n_test: int = N_TEST) -> dict[str, list[bool]]:
    """Whether the intervals of a fixed split cover what the fitted map reaches in the population."""
    n = N_TRAIN + n_test
    splits = fixed_split(ids(n)[:N_TRAIN], ids(n)[N_TRAIN:])
    hits: dict[str, list[bool]] = {"score": [], "r_neuroid": []}
    errors, medians = [], []
    for seed in range(n_datasets):
        score, (map_,) = fit(world, seed, splits, n)
        truth, r = world.score(map_), world.r(map_)
        hits["score"].append(covers((score.ci_low, score.ci_high), truth))
        hits["r_neuroid"].append(covers(score.details["r_neuroid_ci"], float(r.mean())))
        errors.append(float(score.value or 0.0) - truth)
        medians.append(float(score.details["score_median"]) - float(np.median(np.sign(r) * r**2 / world.reliability)))
    print(f"\nscore - truth {spread(errors)}, score_median - truth {spread(medians)}", end="")
    return hits


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.4f} +- {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"


def folds(world: World, n_datasets: int) -> list[bool]:
    """Whether intervals over five folds cover the expected score at the training size."""
    n = N_TRAIN * 5 // 4
    splits = KFold(5).assign(ids(n))
    scores, truths = [], []
    for seed in range(n_datasets):
        score, maps = fit(world, seed, splits, n)
        scores.append(score)
        truths += [world.score(map_) for map_ in maps]
    truth = float(np.mean(truths))
    print(f"\nscore {spread([float(s.value or 0.0) for s in scores])}, truth {truth:.4f}", end="")
    return [covers((s.ci_low, s.ci_high), truth) for s in scores]


def copies(world: World, seed: int, n_models: int, n_test: int = N_TEST) -> dict[str, Score]:
    """Return the scores of predictions that are the rates with noise of their own: different models, equal in truth."""
    _, rates, target = world.sample(n_test + 3, seed)
    splits = fixed_split(ids(n_test + 3)[:3], ids(n_test + 3)[3:])
    scores = {}
    for model in range(n_models):
        own = rng(13, seed, model).standard_normal(rates.shape) * np.sqrt(world.signal)
        scores[f"model {model}"] = score_predictions(rates + own, target, splits, n_bootstrap=RESAMPLES, seed=seed)
    return scores


def p_values(world: World, n_datasets: int) -> np.ndarray:
    """Return the p values of two different models of equal population score."""
    return np.array([compare(copies(world, seed, 2)).differences[0].p for seed in range(n_datasets)], dtype=float)


def ten_equal(world: World, n_datasets: int) -> dict[str, list[bool]]:
    """Whether the best set, and the naive comparison with the best, keep all of ten equal models."""
    kept: dict[str, list[bool]] = {"best set": [], "naive": []}
    for seed in range(n_datasets):
        comparison = compare(copies(world, seed, 10))
        raw = [d.p for d in comparison.differences if d.first == comparison.names[0]]
        kept["best set"].append(len(comparison.best_set) == 10)
        kept["naive"].append(all(p is not None and p >= 0.05 for p in raw))
    return kept


def test_the_world_is_as_it_says() -> None:
    """The exact truths of the world against a large sample."""
    world = make_world()
    features, rates, target = world.sample(40_000, 1)
    map_ = world.seen * rng(14).uniform(-0.5, 1, world.seen.shape)
    np.testing.assert_allclose(rates.var(axis=0), world.signal, rtol=0.08)
    y = target.averages()
    found = [np.corrcoef(features @ map_[:, j], y[:, j])[0, 1] for j in range(y.shape[1])]
    np.testing.assert_allclose(found, world.r(map_), atol=0.03)
    noise = target.values.var(axis=1, ddof=1).mean(axis=0) / world.repetitions
    np.testing.assert_allclose(1 - noise / y.var(axis=0), world.reliability, atol=0.02)


def test_intervals_of_a_fixed_split_quickly() -> None:
    hits = fixed(make_world(), 40)
    assert min(sum(hits["score"]), sum(hits["r_neuroid"])) >= 30  # at 92 % coverage: fewer once in 10 000 times


def test_p_values_quickly() -> None:
    found = p_values(make_world(), 40)
    assert stats.kstest(found, "uniform").pvalue > 1e-4
    assert (found > 0.01).sum() >= 34


def test_the_best_set_keeps_equal_models_quickly() -> None:
    assert sum(ten_equal(make_world(), 8)["best set"]) >= 4  # at 93 %: fewer once in 10 000 times


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("n_test", [128, 640])
def test_intervals_of_a_fixed_split(n_test: int) -> None:
    for name, hits in fixed(make_world(), 2000 if n_test == 128 else 500, n_test).items():
        share = report(f"coverage of {name}, fixed split, {n_test} test stimuli", hits)
        assert 92 <= share <= 98


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_intervals_without_any_signal() -> None:
    for name, hits in fixed(make_world(signal=False), 500).items():
        assert report(f"coverage of {name}, fixed split, no signal", hits) >= 92


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_intervals_over_folds() -> None:
    share = report("coverage of score, 5 folds of 160 stimuli", folds(make_world(), 600))
    assert 90 <= share <= 99


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_p_values_are_uniform() -> None:
    found = p_values(make_world(), 2000)
    test = stats.kstest(found, "uniform")
    shares = ", ".join(f"{(found < level).mean():.4f} below {level}" for level in (0.5, 0.1, 0.05, 0.01))
    print(f"\np of two models of equal score: KS p = {test.pvalue:.2f}; {shares} ({len(found)} datasets)", end="")
    assert test.pvalue > 0.01


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_best_set_keeps_equal_models() -> None:
    kept = ten_equal(make_world(), 1000)
    report("the naive comparison with the best keeps all of ten equal models", kept["naive"])
    assert report("the best set keeps all of ten equal models", kept["best set"]) >= 93
