"""What the metric says about populations whose truth is known. The slow tests print the figures of docs/statistics.md."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark_core.assembly import Responses
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.splits import KFold, Splits, fixed_split
from plugins.metrics._encoding import compute, score_predictions

REPETITIONS = 10
UNITS = 30


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> list[str]:
    return [f"s{i:05d}" for i in range(n)]


def rates_of(seed: int, n: int, dead: float = 0.0, low: float = 1.0, high: float = 20.0) -> np.ndarray:
    """Expected spikes (n, 30): log-normal over stimuli, mean rates from ``low`` to ``high``; some units unselective."""
    random = rng(1, seed)
    spread = np.where(np.arange(UNITS) < dead * UNITS, 0.0, 0.5)
    centre = rng(2).uniform(np.log(low), np.log(high), UNITS)
    return np.asarray(np.exp(centre + spread * random.standard_normal((n, UNITS))))


def record(seed: int, rates: np.ndarray) -> Responses:
    trials = rng(3, seed).poisson(rates[:, None, :], (len(rates), REPETITIONS, UNITS)).astype(float)
    return Responses(tuple(ids(len(rates))), trials, tuple(f"n{j}" for j in range(UNITS)), ("A",) * UNITS)


def true_reliability(rates: np.ndarray) -> np.ndarray:
    variance = rates.var(axis=0)
    return np.asarray(variance / (variance + rates.mean(axis=0) / REPETITIONS))


def unfitted(seed: int, n: int, splits: Splits, n_bootstrap: int = 200, **population: float) -> Score:
    rates = rates_of(seed, n, **population)
    return score_predictions(rates, record(seed, rates), splits, n_bootstrap=n_bootstrap)


def fitted(seed: int, n: int, n_bootstrap: int = 200) -> Score:
    rates = rates_of(seed, n)
    representation = Representation.from_features(rates, ids(n))
    return compute([{"rates": representation}], record(seed, rates), KFold(5).assign(ids(n)), n_bootstrap=n_bootstrap)


def values(scores: list[Score]) -> np.ndarray:
    return np.array([s.value for s in scores], dtype=float)


def report(name: str, figures: np.ndarray) -> None:
    error = figures.std(ddof=1) / np.sqrt(len(figures))
    print(f"\n{name}: {figures.mean():.4f} +- {error:.4f} ({len(figures)} seeds)", end="")


def shuffled_r(seed: int, n: int, width: int, shuffles: int) -> np.ndarray:
    """Mean r_neuroid after shuffling which stimulus_id each row of features belongs to."""
    rates = rates_of(seed, n)
    target = record(seed, rates)
    features = np.maximum(np.log(rates) @ rng(4, seed).standard_normal((UNITS, width)), 0) if width else rates
    found = []
    for shuffle in range(shuffles):
        names = np.array(ids(n))[rng(5, seed, shuffle).permutation(n)]
        representation = Representation.from_features(features, names)
        score = compute([{"rates": representation}], target, KFold(5).assign(ids(n)), n_bootstrap=100)
        found.append(score.fields["r_neuroid"])
    return np.array(found)


def test_true_rates_score_one_quickly() -> None:
    found = values([unfitted(seed, 400, KFold(5).assign(ids(400)), 100) for seed in range(10)])
    assert found.mean() == pytest.approx(1, abs=0.02)


def test_reliability_is_recovered_quickly() -> None:
    errors = []
    for seed in range(10):
        rates = rates_of(seed, 400)
        score = score_predictions(rates, record(seed, rates), KFold(5).assign(ids(400)), n_bootstrap=100)
        errors.append(np.median(score.subjects["A"]["reliability"]) - np.median(true_reliability(rates)))
    assert abs(np.mean(errors)) < 0.02


def test_more_stimuli_fit_better_quickly() -> None:
    small, large = fitted(0, 60, 100), fitted(0, 1000, 100)
    assert small.value is not None
    assert large.value is not None
    assert small.value < large.value
    assert large.value > 0.95


def test_shuffled_stimuli_score_nothing_quickly() -> None:
    found = shuffled_r(0, 150, 0, 15)
    assert abs(found.mean()) < 3 * found.std(ddof=1) / np.sqrt(len(found))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_true_rates_score_one() -> None:
    for n, folds in ((200, 5), (400, 5), (1000, 5), (400, 1)):
        splits = KFold(5).assign(ids(n)) if folds == 5 else fixed_split(ids(n)[: n // 2], ids(n)[n // 2 :])
        found = values([unfitted(seed, n, splits) for seed in range(100)])
        report(f"true rates unfitted, n = {n}, folds = {folds}", found)
        assert found.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_unselective_units_do_not_spoil_the_score() -> None:
    splits = KFold(5).assign(ids(400))
    scores = [unfitted(seed, 400, splits, dead=0.6) for seed in range(100)]
    report("true rates unfitted, 60 % unselective units, n = 400", values(scores))
    report("  the median of ratios for comparison", np.array([_median_of_ratios(s) for s in scores]))
    assert values(scores).mean() == pytest.approx(1, abs=0.02)


def _median_of_ratios(score: Score) -> float:
    r, reliability = (np.array(score.subjects["A"][name], dtype=float) for name in ("r", "reliability"))
    return float(np.median(np.sign(r) * r**2 / reliability))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("photographs", [20, 60])
def test_true_rates_score_one_where_stimuli_come_in_groups(photographs: int) -> None:
    """A third of the variance lies between photographs; folds and resamples are by photograph."""
    n = 300
    groups = {i: f"photo{k * photographs // n}" for k, i in enumerate(ids(n))}
    splits = KFold(5).assign(ids(n), list(groups.values()))
    scores = []
    for seed in range(100):
        own, shared = np.log(rates_of(seed, n)), np.log(rates_of(seed + 1000, photographs))
        mean = np.log(rates_of(0, 100_000)).mean(axis=0)
        photograph = np.repeat(shared, n // photographs, axis=0)
        rates = np.exp(mean + np.sqrt(2 / 3) * (own - mean) + np.sqrt(1 / 3) * (photograph - mean))
        scores.append(score_predictions(rates, record(seed, rates), splits, groups=groups, n_bootstrap=200))
    report(f"true rates unfitted, n = 300 in {photographs} groups", values(scores))
    assert values(scores).mean() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_score_rises_with_stimuli() -> None:
    means = []
    for n in (60, 125, 250, 500, 1000):
        found = values([fitted(seed, n) for seed in range(100)])
        report(f"fitted on true rates, n = {n}", found)
        means.append(found.mean())
    assert (np.diff(means) > 0).all()
    assert means[-1] > 0.95


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_reliability_is_recovered() -> None:
    for n, low, high in ((400, 1.0, 20.0), (400, 0.2, 2.0), (100, 1.0, 20.0)):
        errors, halves = [], []
        for seed in range(100):
            rates = rates_of(seed, n, low=low, high=high)
            score = score_predictions(rates, record(seed, rates), KFold(5).assign(ids(n)), n_bootstrap=100)
            truth = np.median(true_reliability(rates))
            errors.append(np.median(score.subjects["A"]["reliability"]) - truth)
            halves.append(np.median(score.subjects["A"]["reliability_split_half"]) - truth)
        name = f"n = {n}, {low:g} to {high:g} spikes (truth {truth:.2f})"
        report(f"median reliability minus truth, {name}", np.array(errors))
        report(f"  split-half, {name}", np.array(halves))
        assert abs(np.mean(errors)) < 0.02


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("width", [0, 400], ids=["narrow", "wide"])
def test_shuffled_stimuli_score_nothing(width: int) -> None:
    found = shuffled_r(0, 300, width, 50)
    report(f"r_neuroid after shuffling stimulus ids, {width or UNITS} features, 50 shuffles", found)
    assert abs(found.mean()) < 3 * found.std(ddof=1) / np.sqrt(50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_intervals_cover_the_truth() -> None:
    """Predictions that are noisy copies of the rates, and fits on noisy copies of the rates."""

    def noisy(seed: int, rates: np.ndarray) -> np.ndarray:
        return rates + rates.std(axis=0) * rng(6, seed).standard_normal(rates.shape)

    big = rates_of(10**6, 200_000)
    x, rho = noisy(10**6, big), []
    for j in range(UNITS):
        rho.append(np.corrcoef(x[:, j], big[:, j])[0, 1] * np.sqrt(true_reliability(big)[j]))
    truth = np.sum(np.square(rho)) / true_reliability(big).sum()
    n, splits = 400, fixed_split(ids(400)[:100], ids(400)[100:])
    covered = []
    for seed in range(300):
        rates = rates_of(seed, n)
        score = score_predictions(noisy(seed, rates), record(seed, rates), splits, n_bootstrap=300)
        assert score.ci_low is not None
        assert score.ci_high is not None
        covered.append(score.ci_low < truth < score.ci_high)
    report(f"coverage, unfitted, 300 test stimuli (truth {truth:.3f})", np.array(covered, dtype=float))
    assert 0.9 < np.mean(covered) < 0.99

    scores, fits = [], []
    test, test_target = rates_of(10**6 + 1, 5000), None
    test_target = record(10**6 + 1, test)
    for seed in range(150):
        rates = rates_of(seed, n)
        both = np.vstack([rates, test])
        features = Representation.from_features(noisy(seed, both), ids(n + 5000))
        target = Responses(
            tuple(ids(n + 5000)),
            np.concatenate([record(seed, rates).values, test_target.values]),
            test_target.neuroid_ids,
            test_target.subjects,
        )
        folds = KFold(5).assign(ids(n))
        small = Representation.from_features(noisy(seed, both)[:n], ids(n))
        scores.append(compute([{"x": small}], record(seed, rates), folds, n_bootstrap=300))
        if seed < 40:
            split = fixed_split(folds.folds[0].train, ids(n + 5000)[n:])
            fits.append(compute([{"x": features}], target, split, n_bootstrap=100))
    truth = values(fits).mean()
    low, high = (np.array([getattr(s, end) for s in scores], dtype=float) for end in ("ci_low", "ci_high"))
    cover = ((low < truth) & (truth < high)).astype(float)
    report(f"coverage, fitted in 5 folds, 400 stimuli (truth {truth:.3f}, mean {values(scores).mean():.3f})", cover)
    assert np.mean(cover) > 0.9
